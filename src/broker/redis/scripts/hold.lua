#!lua flags=allow-oom
-- Writes what people want of a queue, unless a later wish is there.
--
-- KEYS  gate calls wake
-- ARGV  1 revision, 2 "1" if it is paused, 3 "1" if its breaker is held open
-- Returns 1, or 0 if a later wish is there.
--
-- Atomic, since two people's wishes may arrive in any order.
-- allow-oom: at three in the morning a person must be able to stop a queue.

local gate, _, wake = unpack(KEYS)

redis.call('LLEN', wake)
local revision = tonumber(redis.call('HGET', gate, 'revision') or '0')
if revision and revision > tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', gate, 'revision', ARGV[1])
for i, field in ipairs({ 'paused', 'forced' }) do
  if ARGV[i + 1] == '1' then
    redis.call('HSET', gate, field, '1')
  else
    redis.call('HDEL', gate, field)
  end
end
if redis.call('LLEN', wake) == 0 then
  redis.call('RPUSH', wake, '1')
end
return 1
