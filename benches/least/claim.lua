-- The least that a claim under a lease can be. KEYS as in push.lua; ARGV most jobs, deadline.
-- Returns a token, the ids, and the values.
local popped = redis.call('ZPOPMIN', KEYS[2], ARGV[1])
if #popped == 0 then return {0, {}, {}} end
local ids, leases = {}, {}
local token = redis.call('INCR', KEYS[4])
for at = 1, #popped, 2 do
  ids[#ids + 1] = popped[at]
  leases[#leases + 1], leases[#leases + 2] = ARGV[2], popped[at] .. '|' .. token
end
redis.call('ZADD', KEYS[3], unpack(leases))
return {token, ids, redis.call('HMGET', KEYS[1], unpack(ids))}
