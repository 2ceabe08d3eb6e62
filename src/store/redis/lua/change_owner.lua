#!lua flags=allow-oom
-- Changes a resource owner. A change that ends older grants counts the epoch up in the same step.
--
-- KEYS 1 the owner
-- ARGV 1 'password' | 'rehash' | 'disable' | 'enable' | 'logout'  2 the sealed hash  3 the expected one  4 deadline (ms)
--      5 clock offset (ms)
-- Returns TL (too late: nothing changed) | NF (there is no such owner, or the expected hash is not stored any more)
-- | OK; then the store's time.
-- Atomic because a rehash that raced with a password change would bring the old password back; so would a change that
-- was stuck on its way, but for the deadline. allow-oom: a full store must not keep a user in.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[5])
local function answer(code) return {code, string.format('%.0f', now)} end
if now > tonumber(ARGV[4]) then return answer('TL') end
if redis.call('EXISTS', KEYS[1]) == 0 then return answer('NF') end
local change = ARGV[1]
if change == 'rehash' then
  if redis.call('HGET', KEYS[1], 'phc') ~= ARGV[3] then return answer('NF') end
  redis.call('HSET', KEYS[1], 'phc', ARGV[2])
elseif change == 'enable' then
  redis.call('HSET', KEYS[1], 'st', 'A')
else
  if change == 'password' then redis.call('HSET', KEYS[1], 'phc', ARGV[2]) end
  if change == 'disable' then redis.call('HSET', KEYS[1], 'st', 'D') end
  redis.call('HINCRBY', KEYS[1], 'ue', 1)
end
return answer('OK')
