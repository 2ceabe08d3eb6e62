#!lua flags=allow-oom
-- Forgets what an owner allowed a client for good, or all clients.
--
-- KEYS 1 the owner's consents
-- ARGV 1 client_id, or '' for all
-- Returns how many consents were forgotten.
-- Atomic because a consent that is remembered meanwhile must be counted or stay, not both.
local forgotten
if ARGV[1] == '' then
  forgotten = redis.call('HLEN', KEYS[1])
  redis.call('DEL', KEYS[1])
else
  forgotten = redis.call('HDEL', KEYS[1], ARGV[1])
end
-- A write in any case: whoever repeats this then waits until the replicas have the first one.
redis.call('HSET', KEYS[1], '', '')
redis.call('HDEL', KEYS[1], '')
return forgotten
