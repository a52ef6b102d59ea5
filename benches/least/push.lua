-- The least that a push can be. KEYS jobs ready leases sequence; ARGV time, then id and value of each.
-- Returns how many were new.
local jobs, ready = {}, {}
for at = 2, #ARGV, 2 do
  jobs[#jobs + 1], jobs[#jobs + 2] = ARGV[at], ARGV[at + 1]
  ready[#ready + 1], ready[#ready + 2] = ARGV[1], ARGV[at]
end
redis.call('HSET', KEYS[1], unpack(jobs))
return redis.call('ZADD', KEYS[2], unpack(ready))
