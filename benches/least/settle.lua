-- The least that a settle by the lease can be. KEYS as in push.lua; ARGV token, then ids.
-- Returns how many leases were there.
local leases = {}
for at = 2, #ARGV do leases[at - 1] = ARGV[at] .. '|' .. ARGV[1] end
local mine = redis.call('ZREM', KEYS[3], unpack(leases))
redis.call('HDEL', KEYS[1], unpack(ARGV, 2))
return mine
