#!lua flags=allow-oom
-- Gives an office to whoever comes first in a term.
--
-- KEYS  1 the office
-- ARGV  1 who asks, 2 length of the term in ms
-- Returns 1 if it is his now, 0 if it is another's.
--
-- A script for its flag alone. allow-oom: a full Redis is emptied by those who do the chores, too:
-- the jobs of vanished workers must find others.

return redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
