#!lua flags=no-writes
-- Tells what the processes that live say of themselves.
--
-- KEYS  1 until when each process is believed, 2 what each said
-- ARGV  1 clock skew in ms, 2 how many at most
-- Returns what each said, in no order.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local said = {}
for _, who in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. string.format('%.0f', now), '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[2])) do
  local what = redis.call('HGET', KEYS[2], who)
  if what then said[#said + 1] = what end
end
return said
