#!lua
-- Stores a sealed signing key unless its place is taken.
--
-- KEYS 1 the signing keys
-- ARGV 1 slot  2 the key as JSON
-- Returns 1, or 0 when the place is taken.
-- Atomic because two nodes that start at once must sign with the same key. It writes what is there once more: whoever
-- meets another's key then waits until the replicas have it.
local taken = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], taken or ARGV[2])
if taken then return 0 end
return 1
