#!lua flags=allow-oom
-- Revokes all living grants of an owner.
--
-- KEYS 1 the owner's index of grants
-- ARGV 1 reason  2 tombstone (ms)  3 clock offset (ms)  4 address  5 agent  6 what all grant keys of the owner begin with
-- Returns how many were revoked.
-- Atomic because a grant must not be rotated between the index and its revocation.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[3])
local function text(n) return string.format('%.0f', n) end
local revoked = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[6] .. id
  local g = redis.call('HMGET', key, 'st', 'atx')
  if g[1] == 'A' then
    local forget = now + tonumber(ARGV[2])
    if tonumber(g[2]) > forget then forget = tonumber(g[2]) end
    redis.call('HSET', key, 'st', 'R', 'rr', ARGV[1], 'rt', text(now), 'rip', ARGV[4], 'rua', ARGV[5])
    redis.call('PEXPIREAT', key, text(forget - tonumber(ARGV[3])))
    revoked = revoked + 1
  end
end
-- A write in any case: whoever repeats this then waits until the replicas have the first one.
redis.call('ZADD', KEYS[1], 0, '')
redis.call('DEL', KEYS[1])
return revoked
