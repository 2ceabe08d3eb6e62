#!lua
-- Stores a new resource owner.
--
-- KEYS 1 the owner
-- ARGV field, value, ...
-- Returns 1, or 0 when the name is taken.
-- Atomic because two creations of one name must not mix their fields.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
