#!lua flags=allow-oom
-- Takes leases back: their jobs are due at once, flagged. With a worker that is gone, one more is
-- counted for each; an expired lease says nothing about its worker.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 clock skew in ms, 2 "" for expired leases or the worker that is gone,
--       3 most leases (at most 1,000), 4 time in ms by which leases expired, "" for now
-- Returns the ids of the jobs.
--
-- Atomic, since a job must never be out of all of ready, delayed and leases.
-- allow-oom: at maxmemory workers must go on, or nothing would ever free memory.

local jobs, ready, delayed, leases, wake = unpack(KEYS)
local gone = ARGV[2]
local most = tonumber(ARGV[3])
-- A worker's leases are looked for among so many; what lies beyond expires by itself.
local SCANNED_MAX = 20000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
-- A wrong type anywhere is an error now, rather than half-way.
redis.call('HLEN', jobs)
redis.call('ZCARD', ready)
redis.call('LLEN', wake)

local members = {}
if gone == '' then
  members = redis.call('ZRANGE', leases, '-inf', tonumber(ARGV[4]) or now, 'BYSCORE', 'LIMIT', 0, most)
else
  for from = 0, SCANNED_MAX - 1, 1000 do
    local scanned = redis.call('ZRANGE', leases, from, from + 999)
    for _, member in ipairs(scanned) do
      -- id|token|worker, and only the worker may hold further bars.
      if #members < most and string.match(member, '^[^|]*|[^|]*|(.*)$') == gone then
        members[#members + 1] = member
      end
    end
    if #scanned < 1000 or #members == most then
      break
    end
  end
end

local ids = {}
for _, member in ipairs(members) do
  local id = string.sub(member, 1, 32)
  local value = redis.call('HGET', jobs, id)
  if value then
    local score = now
    local orphaned, head_start, due =
      string.match(string.sub(value, 11, 29), '^(%d)(%d%d%d%d)(%d+)$')
    if due and #due == 14 then
      orphaned = gone == '' and orphaned or string.format('%.0f', math.min(9, orphaned + 1))
      redis.call('HSET', jobs, id, '0000000000' .. orphaned .. string.sub(value, 12))
      score = due - head_start * 1000
    end
    redis.call('ZADD', ready, score, id)
  end
  redis.call('ZREM', leases, member)
  ids[#ids + 1] = id
end
if #ids > 0 and redis.call('LLEN', wake) == 0 then
  redis.call('RPUSH', wake, '1')
end
return ids
