#!lua flags=allow-oom
-- Allows claims in a generation, if it is greater than the one held.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 generation (10 digits)
-- Returns "" if claims are allowed now, in this generation or a later one; else the generation
--       held, which the caller must exceed.
--
-- Atomic, since two reconcilers may open the same queue. Jobs that survived are flagged by this
-- very change: a job is fresh in the generation that its value names, and in no other. Some may
-- be lost, so that the gap begins before everything; a refill under way knows nothing of that.
-- allow-oom: at maxmemory workers must be able to start.

local wake, boot, window = KEYS[5], KEYS[6], KEYS[9]

local held = redis.call('HMGET', boot, 'run', 'generation')
local generation = string.match(held[2] or '', '^%d%d%d%d%d%d%d%d%d%d$')
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
redis.call('LLEN', wake)
redis.call('HLEN', window)

if generation and generation >= ARGV[1] then
  return held[1] == run and '' or generation
end
redis.call('DEL', boot)
redis.call('HSET', boot, 'run', run, 'generation', ARGV[1], 'sequence', '0')
redis.call('HSET', window, 'gap', '-99999999999999 ' .. string.rep('0', 32))
redis.call('HDEL', window, 'round', 'until')
if redis.call('LLEN', wake) == 0 then
  redis.call('RPUSH', wake, '1')
end
return ''
