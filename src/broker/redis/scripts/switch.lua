#!lua flags=allow-oom
-- Changes a breaker, if it is still in an epoch.
--
-- KEYS  gate calls wake
-- ARGV  1 epoch, 2 open until (ms) or "", 3 closing since (ms) or "", 4 last cooldown in ms,
--       5 calls a second before it opened
-- Returns 1, or 0 if it is in another epoch; then nothing was changed.
--
-- Atomic, since of several workers that see the same calls one makes the change.
-- allow-oom: at maxmemory workers go on, and so must what protects platforms.

local gate, calls, wake = unpack(KEYS)

redis.call('LLEN', wake)
if (redis.call('HGET', gate, 'epoch') or '0') ~= ARGV[1] then
  return 0
end
redis.call('HDEL', gate, 'open', 'closing', 'probes', 'since', 'ramped')
redis.call('HSET', gate, 'cooldown', ARGV[4], 'rate', ARGV[5])
redis.call('HINCRBY', gate, 'epoch', 1)
if ARGV[2] ~= '' then
  redis.call('HSET', gate, 'open', ARGV[2])
elseif ARGV[3] ~= '' then
  redis.call('HSET', gate, 'closing', ARGV[3])
end
redis.call('DEL', calls)
if redis.call('LLEN', wake) == 0 then
  redis.call('RPUSH', wake, '1')
end
return 1
