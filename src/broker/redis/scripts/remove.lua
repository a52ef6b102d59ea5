#!lua flags=allow-oom
-- Takes a waiting job out.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 id
-- Returns "removed", "running" or "absent".
--
-- Atomic, since a job that is claimed between look and removal would run without its envelope.
-- allow-oom: removing frees memory.

local jobs, ready, delayed, leases, _, _, _, quarantine = unpack(KEYS)
local SCANNED_MAX = 20000

local id = ARGV[1]
-- A wrong type anywhere is an error now, rather than half-way.
redis.call('ZCARD', delayed)
redis.call('ZCARD', leases)
redis.call('ZCARD', quarantine)
if redis.call('HEXISTS', jobs, id) == 0 then
  return 'absent'
end
local waited = redis.call('ZREM', ready, id) + redis.call('ZREM', delayed, id)
if waited + redis.call('ZREM', quarantine, id) > 0 then
  redis.call('HDEL', jobs, id)
  return 'removed'
end
for from = 0, SCANNED_MAX - 1, 1000 do
  local members = redis.call('ZRANGE', leases, from, from + 999)
  for _, member in ipairs(members) do
    if string.sub(member, 1, 32) == id then
      return 'running'
    end
  end
  if #members < 1000 then
    -- In no place at all: left over from a set that somebody deleted.
    redis.call('HDEL', jobs, id)
    return 'absent'
  end
end
return 'running'
