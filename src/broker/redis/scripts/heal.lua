#!lua flags=allow-oom
-- Throws out keys of a wrong type, and closes the queue, so that it is filled again.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- Returns the keys that were thrown out.
--
-- Atomic, since a key that another caller has just healed must stay.
-- allow-oom: at maxmemory workers must go on, or nothing would ever free memory.

local types = { 'hash', 'zset', 'zset', 'zset', 'list', 'hash', 'hash', 'zset', 'hash' }
local removed = {}
for i, key in ipairs(KEYS) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= types[i] then
    redis.call('UNLINK', key)
    removed[#removed + 1] = key
  end
end
if #removed > 0 then
  redis.call('UNLINK', KEYS[6])
end
return removed
