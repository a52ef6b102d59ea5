#!lua
-- Puts jobs into a queue, unless they are held already.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms, 2 jobs that may wait, 3 the generation that unflagged values name, or
--       ten digits that no generation has; then three for each job (at most 1,000 jobs):
--       id, its place, value
--       A place is: due time in ms (14 digits), time in ms from which it is flagged anyway (14),
--       head start in seconds (4), "1" if it may be left to the ledger (1).
-- Returns {one character a job: "1" added, "0" held, "2" left to the ledger;
--       how many jobs are too many now, for `trim.lua`; the generation}.
--
-- A value is taken as it came wherever that can be: Redis reads every byte of a text that a script
-- makes, and a job's are the longest there are.
-- Atomic, since "is it held?" and "put it in" must not be parted: the relay and the enqueuing
-- call may push the same job at the same time.
-- It needs no look at the run id: a job pushed into a queue that is not open names an older
-- generation or none, and so is flagged once the queue is opened.
-- Without allow-oom: a full Redis refuses new jobs, so that workers have room to drain it.

local jobs, ready, delayed, leases, wake, boot, _, quarantine, window = unpack(KEYS)
local SCANNED_MAX = 20000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local generation = redis.call('HGET', boot, 'generation') or '0000000000'
-- A wrong type anywhere is an error now, rather than half-way.
redis.call('HLEN', jobs)
redis.call('ZCARD', ready)
redis.call('ZCARD', leases)
redis.call('ZCARD', quarantine)
redis.call('LLEN', wake)
local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local earliest = first[2] and tonumber(first[2]) or math.huge
local cutoff = redis.call('HGET', window, 'cutoff')
local cutoff_at, cutoff_id = string.match(cutoff or '', '^(%-?%d+) (%x+)$')
cutoff_at = tonumber(cutoff_at)

-- Jobs that are held but do not wait: leased, or left over from a set that somebody deleted.
local doubtful, doubts = {}, 0
local known = {}
local ids = {}
for i = 4, #ARGV, 3 do
  ids[#ids + 1] = ARGV[i]
end
-- In one call, though it copies what is held: mostly nothing is.
for i, value in ipairs(#ids > 0 and redis.call('HMGET', jobs, unpack(ids)) or ids) do
  local id = ids[i]
  if value then
    known[id] = true
    local waits = redis.call('ZSCORE', ready, id) or redis.call('ZSCORE', delayed, id)
    if not (waits or redis.call('ZSCORE', quarantine, id)) then
      doubtful[id] = true
      doubts = doubts + 1
    end
  end
end
if doubts > 0 and redis.call('ZCARD', leases) <= SCANNED_MAX then
  for from = 0, SCANNED_MAX - 1, 1000 do
    local members = redis.call('ZRANGE', leases, from, from + 999)
    for _, member in ipairs(members) do
      doubtful[string.sub(member, 1, 32)] = nil
    end
    if #members < 1000 then
      break
    end
  end
  -- What is left is in no place at all: pushing it again brings it back.
  for id in pairs(doubtful) do
    known[id] = nil
  end
end

local answers, values, due_now, due_later = {}, {}, {}, {}
local wakes, trims = false, false
local named = ARGV[3]
-- Texts are read as numbers as seldom as can be: for a thousand jobs it is what takes longest.
local due_read, at
local rest_read, head_start, recorded, late
for i = 4, #ARGV, 3 do
  local id, place = ARGV[i], ARGV[i + 1]
  local due, rest = string.sub(place, 1, 14), string.sub(place, 15)
  if due ~= due_read then
    due_read, at = due, tonumber(due)
  end
  if rest ~= rest_read then
    rest_read = rest
    late = now > tonumber(string.sub(rest, 1, 14))
    head_start = tonumber(string.sub(rest, 15, 18))
    recorded = string.sub(rest, 19) == '1'
  end
  local turn = at <= now and head_start > 0 and at - head_start * 1000 or at
  if known[id] then
    answers[#answers + 1] = '0'
  elseif recorded and cutoff_at
    and (turn > cutoff_at or (turn == cutoff_at and id >= cutoff_id)) then
    answers[#answers + 1] = '2'
  else
    trims = trims or recorded
    known[id] = true
    answers[#answers + 1] = '1'
    local value = ARGV[i + 2]
    if late then
      value = '0000000000' .. string.sub(value, 11)
    elseif named ~= generation and string.sub(value, 1, 10) == named then
      value = generation .. string.sub(value, 11)
    end
    local n = #values
    values[n + 1], values[n + 2] = id, value
    if at <= now then
      n = #due_now
      -- A number would be written out in full; the due time is written already.
      due_now[n + 1], due_now[n + 2] = turn == at and due or string.format('%.0f', turn), id
      wakes = true
    else
      n = #due_later
      due_later[n + 1], due_later[n + 2] = due, id
      wakes = wakes or at < earliest
    end
  end
end

local function write(command, key, list)
  for from = 1, #list, 1000 do
    redis.call(command, key, unpack(list, from, math.min(from + 999, #list)))
  end
end
write('HSET', jobs, values)
write('ZADD', ready, due_now)
write('ZADD', delayed, due_later)
if wakes and redis.call('LLEN', wake) == 0 then
  redis.call('RPUSH', wake, '1')
end
local excess = 0
if trims then
  excess = redis.call('ZCARD', ready) + redis.call('ZCARD', delayed) - ARGV[2]
end
return { table.concat(answers), math.max(0, excess), generation }
