#!lua flags=allow-oom
-- Removes a sealed signing key.
--
-- KEYS 1 the signing keys
-- ARGV 1 slot
-- Returns 1, or 0 when there was none.
-- A script so that whoever waits for the replicas waits for this write, also when the key was gone before.
local there = redis.call('HEXISTS', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], '')
redis.call('HDEL', KEYS[1], ARGV[1])
return there
