#!lua flags=allow-oom
-- Ends leases.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms; then for each lease (at most 1,000) one of
--       "gone", member                                    nothing of the job stays
--       "back", member                                    it is due again, as it was
--       "quarantine", member                              the same, but it runs alone
--       "later", member, due time in ms (14 digits)       it waits until then, as it was
--       "again", member, head start (4 digits), due time in ms (14 digits), envelope
-- Returns one character a lease: "1" done, "0" stale.
--
-- Atomic, since the fence is the removal itself: who removes the member was the holder, and only
-- he may touch the job. It needs no look at the generation: a token is given out once, since claims
-- of a generation that is not open are refused and each generation is opened once. So a member that
-- is here, be it one that a rollback brought back, is exactly that claim's, and what it says of the
-- job was checked in the ledger before.
-- allow-oom: at maxmemory workers must go on, or nothing would ever free memory.

local jobs, ready, delayed, leases, wake, _, _, quarantine = unpack(KEYS)

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
-- A wrong type anywhere is an error now, rather than half-way.
redis.call('HLEN', jobs)
redis.call('ZCARD', ready)
redis.call('ZCARD', leases)
redis.call('ZCARD', quarantine)
redis.call('LLEN', wake)
local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
local earliest = first[2] and tonumber(first[2]) or math.huge

local answers, gone = {}, {}
local wakes = false

-- The job's value, flagged: the first ten digits name the generation it is fresh in, 0 is none.
local function back(id, place)
  local value = redis.call('HGET', jobs, id)
  if not value then
    return
  end
  local score = now
  local head_start, due = string.match(string.sub(value, 12, 29), '^(%d%d%d%d)(%d+)$')
  if due and #due == 14 then
    redis.call('HSET', jobs, id, '0000000000' .. string.sub(value, 11))
    score = due - head_start * 1000
  end
  redis.call('ZADD', place, score, id)
  wakes = true
end

-- The job waits where its time says.
local function put(id, head_start, due)
  if tonumber(due) <= now then
    redis.call('ZREM', delayed, id)
    redis.call('ZADD', ready, due - head_start * 1000, id)
    wakes = true
  else
    redis.call('ZREM', ready, id)
    redis.call('ZADD', delayed, due, id)
    wakes = wakes or tonumber(due) < earliest
  end
end

local function again(id, head_start, due, envelope)
  -- Its run ended in good order, so earlier crashes are forgotten.
  redis.call('HSET', jobs, id, '00000000000' .. head_start .. due .. envelope)
  put(id, head_start, due)
end

local function later(id, due)
  local value = redis.call('HGET', jobs, id)
  if not value then
    return
  end
  local orphaned, head_start = string.match(string.sub(value, 11, 15), '^(%d)(%d%d%d%d)$')
  orphaned, head_start = orphaned or '0', head_start or '0000'
  redis.call('HSET', jobs, id,
    '0000000000' .. orphaned .. head_start .. due .. string.sub(value, 30))
  put(id, head_start, due)
end

local i = 2
while i <= #ARGV do
  local member = ARGV[i + 1]
  local id = string.sub(member, 1, 32)
  local mine = redis.call('ZREM', leases, member) == 1
  answers[#answers + 1] = mine and '1' or '0'
  if ARGV[i] == 'again' then
    if mine then
      again(id, ARGV[i + 2], ARGV[i + 3], ARGV[i + 4])
    end
    i = i + 5
  elseif ARGV[i] == 'later' then
    if mine then
      later(id, ARGV[i + 2])
    end
    i = i + 3
  else
    if mine and ARGV[i] == 'gone' then
      gone[#gone + 1] = id
    elseif mine then
      back(id, ARGV[i] == 'quarantine' and quarantine or ready)
    end
    i = i + 2
  end
end
for from = 1, #gone, 1000 do
  redis.call('HDEL', jobs, unpack(gone, from, math.min(from + 999, #gone)))
end
if wakes and redis.call('LLEN', wake) == 0 then
  redis.call('RPUSH', wake, '1')
end
return table.concat(answers)
