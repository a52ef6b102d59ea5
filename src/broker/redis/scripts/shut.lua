#!lua flags=allow-oom
-- Lets nothing be claimed from a queue until a time; never shortens such a time.
--
-- KEYS  gate calls wake
-- ARGV  1 until when, in ms
-- Returns 1.
--
-- Atomic, since of two answers of a platform the longer wait counts.
-- allow-oom: at maxmemory workers go on, and so must what protects platforms.

local gate = KEYS[1]

local shut = tonumber(redis.call('HGET', gate, 'shut') or '0')
if not shut or shut < tonumber(ARGV[1]) then
  redis.call('HSET', gate, 'shut', ARGV[1])
end
return 1
