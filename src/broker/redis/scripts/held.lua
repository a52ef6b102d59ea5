#!lua flags=no-writes
-- Tells which leases a worker holds.
--
-- KEYS  jobs ready delayed leases wake boot gate quarantine window
-- ARGV  1 worker
-- Returns {id, token, id, token, ...}.
--
-- Atomic, since a walk in several steps would miss leases that are renewed meanwhile.

local leases = KEYS[4]
-- A worker's leases are looked for among so many; what lies beyond expires by itself.
local SCANNED_MAX = 20000

local held = {}
for from = 0, SCANNED_MAX - 1, 1000 do
  local members = redis.call('ZRANGE', leases, from, from + 999)
  for _, member in ipairs(members) do
    -- id|token|worker, and only the worker may hold further bars.
    local id, token, worker = string.match(member, '^([^|]*)|([^|]*)|(.*)$')
    if worker == ARGV[1] then
      held[#held + 1] = id
      held[#held + 1] = token
    end
  end
  if #members < 1000 then
    break
  end
end
return held
