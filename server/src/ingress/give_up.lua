-- Lets go of tasks that were taken: of some for good, and of others because they are no jobs. The
-- latter keep their data, and a note why.
--
-- KEYS: taken, data, refused
-- ARGV: the prefix of the tasks' metadata; how many were recorded; their ids; then id and reason of
-- each that was refused
local recorded = tonumber(ARGV[2])
for n = 3, 2 + recorded do
    redis.call('ZREM', KEYS[1], ARGV[n])
    redis.call('HDEL', KEYS[2], ARGV[n])
    redis.call('DEL', ARGV[1] .. ':' .. ARGV[n])
end
for n = 3 + recorded, #ARGV, 2 do
    redis.call('ZREM', KEYS[1], ARGV[n])
    redis.call('HSET', KEYS[3], ARGV[n], ARGV[n + 1])
end
return recorded
