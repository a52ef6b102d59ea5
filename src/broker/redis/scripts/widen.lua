#!lua flags=allow-oom
-- Puts the cutoff where a refill is about to fill up to.
--
-- KEYS  jobs ready delayed leases wake boot gate window
-- ARGV  1 the refill's name, 2 the cutoff or ""
-- Returns 1, or 0 if another refill has begun since.
--
-- Atomic, since an older refill must not undo what a later one did.
-- allow-oom: at maxmemory the workers' queue must not run dry.

local window = KEYS[8]

if redis.call('HGET', window, 'round') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('HDEL', window, 'cutoff')
else
  redis.call('HSET', window, 'cutoff', ARGV[2])
end
return 1
