#!lua flags=allow-oom
-- Gives an office to whoever has it, or, if nobody has, to whoever asks first; for one term.
--
-- KEYS  1 the office
-- ARGV  1 who asks, 2 length of the term in ms
-- Returns 1 if it is his now, 0 if it is another's.
--
-- allow-oom: a full Redis is what people most want to read about.

-- An error, since the key holds what none of ours ever does, counts as nobody.
local holder = redis.pcall('GET', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
