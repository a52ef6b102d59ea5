#!lua flags=allow-oom
-- Puts the cutoff where a refill is about to fill up to.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 the refill's name, 2 the cutoff or "", 3 the gap as it was when the refill began
-- Returns 1, or 0 if another refill has begun since, or jobs before the gap were put out: a refill
--       that reads from the old gap on would never bring them back.
--
-- Atomic, since the gap must not be lowered between look and write.
-- allow-oom: at maxmemory the workers' queue must not run dry.

local window = KEYS[9]

local held = redis.call('HMGET', window, 'round', 'gap')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[3] then
  return 0
end
if ARGV[2] == '' then
  redis.call('HDEL', window, 'cutoff')
else
  redis.call('HSET', window, 'cutoff', ARGV[2])
end
return 1
