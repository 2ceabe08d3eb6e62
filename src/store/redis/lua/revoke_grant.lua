#!lua flags=allow-oom
-- Revokes a grant; the first reason and origin stay.
--
-- KEYS 1 the grant  2 the owner's index of grants
-- ARGV 1 grant id  2 reason  3 tombstone (ms)  4 clock offset (ms)  5 address  6 agent
-- Returns 1, or 0 when there is no such grant.
-- It writes also when the grant was revoked before: whoever repeats a revocation then waits until the replicas have it.
-- Atomic because a revocation must not be overwritten by a rotation that read the grant before it.
redis.call('ZREM', KEYS[2], ARGV[1])
local g = redis.call('HMGET', KEYS[1], 'st', 'atx')
if not g[1] then return 0 end
if g[1] ~= 'R' then
  local T = redis.call('TIME')
  local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[4])
  local forget = now + tonumber(ARGV[3])
  if tonumber(g[2]) > forget then forget = tonumber(g[2]) end
  redis.call('HSET', KEYS[1], 'st', 'R', 'rr', ARGV[2], 'rt', string.format('%.0f', now), 'rip', ARGV[5], 'rua', ARGV[6])
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', forget - tonumber(ARGV[4])))
else
  redis.call('HSET', KEYS[1], 'st', 'R')
end
return 1
