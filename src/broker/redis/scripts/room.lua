#!lua flags=allow-oom
-- Gives calls room within their quotas, or says when to come back (`quota.rs` says how).
--
-- KEYS  blocks of accounts, then vessels of quotas (at most 4,000 in all)
-- ARGV  1 clock skew in ms, 2 "1" to look only, 3 how many of KEYS are blocks,
--       4 how long a line is in µs, 5 how many places it has at least;
--       then for each vessel: µs between two calls, room for ordinary calls, room for urgent ones;
--       then for each call (at most 1,000): 1 if it is urgent, the place of its account's block
--       or 0, how many quotas it counts for, and the place of each one's vessel
-- Returns two numbers for each call: until when it waits, in ms, and the quota's place among the
--       call's own; or the end of a block and 0; or 0 and 0 if it may be made.
--
-- Atomic, since a call takes room in all of its vessels or in none.
-- A vessel holds, in µs: when all of it is free, and of the ordinary and of the urgent line the
-- front and the last place. It goes by itself once that is past. What somebody else put there is
-- overwritten.
-- allow-oom: at maxmemory a platform's limits hold, too. It adds a key of a hundred bytes for each
-- account that makes calls.

local time = redis.call('TIME')
local now = (time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]) * 1000
local looks, blocks = ARGV[2] == '1', tonumber(ARGV[3])
local line_us, places_min = tonumber(ARGV[4]), tonumber(ARGV[5])

local function held(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value or ''
end

-- No place lies behind the end of the longest line.
local function last_place(last, apart, urgent)
  local longest = now + apart * urgent + math.max(line_us, apart * places_min)
  return math.min(tonumber(last or 0), longest)
end

local blocked, vessels = {}, {}
for i = 1, blocks do
  blocked[i] = tonumber(held(KEYS[i])) or 0
end
local at = 6
for i = 1, #KEYS - blocks do
  local apart, ordinary, urgent = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local free, front, last, urgent_front, urgent_last =
    string.match(held(KEYS[blocks + i]), '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  vessels[i] = {
    apart = apart,
    room = { ordinary, urgent },
    free = math.min(tonumber(free or 0), now + apart * urgent),
    front = { tonumber(front or 0), tonumber(urgent_front or 0) },
    last = { last_place(last, apart, urgent), last_place(urgent_last, apart, urgent) },
  }
  at = at + 3
end

-- Where the next of a line waits, and whether that is the front.
local function next_place(vessel, line, room_from)
  if vessel.front[line] ~= room_from then
    return room_from, true
  end
  local behind = math.max(vessel.last[line], room_from) + vessel.apart
  if behind > room_from + math.max(line_us, vessel.apart * places_min) then
    behind = room_from + vessel.apart
  end
  return behind, false
end

local function ask(line, block, wanted)
  if block > 0 and blocked[block] * 1000 > now then
    return blocked[block], 0
  end
  local longest, longest_at, is_front, place = nil, 0, false, 0
  for i, vessel in ipairs(wanted) do
    local room_from = vessel.free - vessel.apart * (vessel.room[line] - 1)
    if room_from > now then
      local behind, front = next_place(vessel, line, room_from)
      if behind > longest_at then
        longest, longest_at, is_front, place = vessel, behind, front, i
      end
    end
  end
  if not longest then
    for _, vessel in ipairs(wanted) do
      vessel.free = math.max(vessel.free, now) + vessel.apart
      vessel.changed = true
    end
    return 0, 0
  end
  if is_front then
    longest.front[line] = longest_at
  else
    longest.last[line] = longest_at
  end
  longest.changed = true
  return math.ceil(longest_at / 1000), place
end

local answers = {}
while at <= #ARGV do
  local wanted = {}
  for i = 1, tonumber(ARGV[at + 2]) do
    wanted[i] = vessels[tonumber(ARGV[at + 2 + i])]
  end
  local until_ms, place = ask(ARGV[at] == '1' and 2 or 1, tonumber(ARGV[at + 1]), wanted)
  answers[#answers + 1] = until_ms
  answers[#answers + 1] = place
  at = at + 3 + #wanted
end

if not looks then
  for i, vessel in ipairs(vessels) do
    if vessel.changed then
      local over = math.max(vessel.free, vessel.last[1], vessel.last[2])
      redis.call('SET', KEYS[blocks + i], string.format('%.0f %.0f %.0f %.0f %.0f', vessel.free,
        vessel.front[1], vessel.last[1], vessel.front[2], vessel.last[2]),
        'PX', string.format('%.0f', math.ceil((over - now) / 1000) + 1000))
    end
  end
end
return answers
