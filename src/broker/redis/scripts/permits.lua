#!lua flags=no-writes,allow-oom
-- Names the commands that the user may not run.
--
-- KEYS  none, so that every node of a Cluster answers
-- ARGV  1 a key of the installation, 2 "1" if this is a node of a Cluster
-- Returns the names, as in {"zadd", "client|list"}.
--
-- Asks, and runs none of them. EVALSHA and EVAL are not asked for: without them this is not run.
-- allow-oom: a full Redis must be able to say what is wrong with it.

local key = ARGV[1]
local calls = {
  { 'blpop', key, '1' },
  { 'client|list', 'client', 'list' },
  { 'client|setname', 'client', 'setname', 'x' },
  { 'del', key },
  { 'exists', key },
  { 'get', key },
  { 'hdel', key, 'x' },
  { 'hexists', key, 'x' },
  { 'hget', key, 'x' },
  { 'hgetall', key },
  { 'hincrby', key, 'x', '1' },
  { 'hlen', key },
  { 'hmget', key, 'x' },
  { 'hset', key, 'x', 'x' },
  { 'info' },
  { 'llen', key },
  { 'pexpire', key, '1' },
  { 'ping' },
  { 'role' },
  { 'rpush', key, 'x' },
  { 'set', key, 'x', 'nx', 'px', '1' },
  { 'time' },
  { 'type', key },
  { 'unlink', key },
  { 'zadd', key, '1', 'x' },
  { 'zcard', key },
  { 'zcount', key, '0', '1' },
  { 'zrange', key, '0', '1' },
  { 'zrank', key, 'x' },
  { 'zrem', key, 'x' },
  { 'zscore', key, 'x' },
}

if ARGV[2] == '1' then
  calls[#calls + 1] = { 'asking' }
  calls[#calls + 1] = { 'cluster|info', 'cluster', 'info' }
  calls[#calls + 1] = { 'cluster|slots', 'cluster', 'slots' }
end

local lacking = {}
for _, call in ipairs(calls) do
  local name = call[1]
  local from = string.find(name, '|', 1, true) and 2 or 1
  if not redis.acl_check_cmd(unpack(call, from)) then
    lacking[#lacking + 1] = name
  end
end
return lacking
