#!lua flags=allow-oom
-- Blocks an account until a time, unless it is blocked for longer.
--
-- KEYS  1 the account's block
-- ARGV  1 clock skew in ms, 2 until when, in ms, 3 the longest block in ms
-- Returns 1.
--
-- The key holds the end of the block in ms, and goes by itself. What somebody else put there is
-- overwritten.
-- allow-oom: a platform's window does not wait for memory.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local held = redis.pcall('GET', KEYS[1])
local until_ms = math.max(tonumber(ARGV[2]), type(held) == 'string' and tonumber(held) or 0)
until_ms = math.min(until_ms, now + ARGV[3])
if until_ms > now then
  redis.call('SET', KEYS[1], string.format('%.0f', until_ms), 'PX',
    string.format('%.0f', until_ms - now))
end
return 1
