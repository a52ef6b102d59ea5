#!lua flags=allow-oom
-- Takes slots for retries, so far apart (GCRA).
--
-- KEYS  1 the queue's slots
-- ARGV  1 clock skew in ms, 2 slots, 3 how far apart in microseconds
-- Returns the time of the first slot in ms.
--
-- The key holds when the next slot is free, in microseconds, and goes by itself once that is past.
-- What somebody else put there is overwritten.
-- allow-oom: at maxmemory the retries of a failing platform must not all come at once.

local time = redis.call('TIME')
local now = (time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]) * 1000
local held = redis.pcall('GET', KEYS[1])
local first = math.max(now, type(held) == 'string' and tonumber(held) or 0)
local free_from = first + ARGV[2] * ARGV[3]
local lasts = math.ceil((free_from - now) / 1000) + 1000
redis.call('SET', KEYS[1], string.format('%.0f', free_from), 'PX', string.format('%.0f', lasts))
return math.ceil(first / 1000)
