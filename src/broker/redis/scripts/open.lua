#!lua flags=allow-oom
-- Allows claims in a generation, if it is greater than the one held.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine
-- ARGV  1 generation (10 digits)
-- Returns "" if claims are allowed now, in this generation or a later one; else the generation
--       held, which the caller must exceed.
--
-- Atomic, since two reconcilers may open the same queue. Jobs that survived are flagged by this
-- very change: a job is fresh in the generation that its value names, and in no other.
-- allow-oom: at maxmemory workers must be able to start.

local wake, boot = KEYS[5], KEYS[6]

local held = redis.call('HMGET', boot, 'run', 'generation')
local generation = string.match(held[2] or '', '^%d%d%d%d%d%d%d%d%d%d$')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
redis.call('LLEN', wake)

if generation and generation >= ARGV[1] then
  return held[1] == run and '' or generation
end
redis.call('DEL', boot)
redis.call('HSET', boot, 'run', run, 'generation', ARGV[1], 'sequence', '0')
if redis.call('LLEN', wake) == 0 then
  redis.call('RPUSH', wake, '1')
end
return ''
