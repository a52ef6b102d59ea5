#!lua flags=allow-oom
-- Throws out keys of a gate that are of a wrong type.
--
-- KEYS  gate calls wake
-- Returns how many.
--
-- Atomic, since a key that another caller has just healed must stay. What people want of the queue
-- is written again when it is opened, so the caller closes it.
-- allow-oom: at maxmemory workers must go on.

local types = { 'hash', 'hash', 'list' }
local removed = 0
for i, key in ipairs(KEYS) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= types[i] then
    removed = removed + redis.call('UNLINK', key)
  end
end
return removed
