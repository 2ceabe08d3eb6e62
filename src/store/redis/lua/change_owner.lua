#!lua
-- Changes a resource owner. A change that ends older grants counts the epoch up in the same step.
--
-- KEYS 1 the owner
-- ARGV 1 'password' | 'rehash' | 'disable' | 'enable' | 'logout'  2 the sealed hash  3 the expected one
-- Returns 1, or 0 when there is no such owner or the expected hash is not stored any more.
-- Atomic because a rehash that raced with a password change would bring the old password back.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local change = ARGV[1]
if change == 'rehash' then
  if redis.call('HGET', KEYS[1], 'phc') ~= ARGV[3] then return 0 end
  redis.call('HSET', KEYS[1], 'phc', ARGV[2])
elseif change == 'enable' then
  redis.call('HSET', KEYS[1], 'st', 'A')
else
  if change == 'password' then redis.call('HSET', KEYS[1], 'phc', ARGV[2]) end
  if change == 'disable' then redis.call('HSET', KEYS[1], 'st', 'D') end
  redis.call('HINCRBY', KEYS[1], 'ue', 1)
end
return 1
