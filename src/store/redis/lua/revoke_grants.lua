-- Revokes all living grants of an owner. Follows grant.lua.
--
-- KEYS 1 the owner's index of grants
-- ARGV 1 reason  2 tombstone (ms)  3 clock offset (ms)  4 where from, as in USE
--      5 what all grant keys of the owner begin with
-- Returns how many were revoked.
-- Atomic because a grant must not be rotated between the index and its revocation.
local T, offset = redis.call('TIME'), tonumber(ARGV[3])
local now = T[1] * 1000 + math.floor(T[2] / 1000) + offset
local number = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[5] .. id
  local stored = redis.call('GET', key)
  local _, revoked = active(stored or 'A')
  if stored and not revoked then
    revoke(key, stored, ARGV[1], now, offset, tonumber(ARGV[2]), ARGV[4])
    number = number + 1
  end
end
-- A write in any case: whoever repeats this then waits until the replicas have the first one.
redis.call('ZADD', KEYS[1], 0, '')
redis.call('DEL', KEYS[1])
return number
