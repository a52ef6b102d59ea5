#!lua flags=allow-oom
-- Puts back a wake token that was taken for a waiter who had given up.
--
-- KEYS  wake
-- Returns nothing of use.
--
-- Atomic, since there must be at most one token.

if redis.call('LLEN', KEYS[1]) == 0 then
  redis.call('RPUSH', KEYS[1], '1')
end
return 1
