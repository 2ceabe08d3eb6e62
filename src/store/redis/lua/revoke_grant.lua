-- Revokes a grant; the first reason and origin stay. Follows grant.lua.
--
-- KEYS 1 the grant  2 the owner's index of grants
-- ARGV 1 grant id  2 reason  3 tombstone (ms)  4 clock offset (ms)  5 where from, as in USE
-- Returns 1, or 0 when there is no such grant.
-- It writes also when the grant was revoked before: whoever repeats a revocation then waits until the replicas have it.
-- Atomic because a revocation must not be overwritten by a rotation that read the grant before it.
-- allow-oom: a full store must not keep what was taken away.
redis.call('ZREM', KEYS[2], ARGV[1])
local stored = redis.call('GET', KEYS[1])
if not stored then return 0 end
local _, revoked = active(stored)
if revoked then
  redis.call('SET', KEYS[1], stored, 'KEEPTTL')
  return 1
end
local T, offset = redis.call('TIME'), tonumber(ARGV[4])
local now = T[1] * 1000 + math.floor(T[2] / 1000) + offset
revoke(KEYS[1], stored, ARGV[2], now, offset, tonumber(ARGV[3]), ARGV[5])
return 1
