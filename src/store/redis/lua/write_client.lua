#!lua
-- Stores, replaces or deletes a client, and tells every node to forget its copy.
--
-- KEYS 1 the client
-- ARGV 1 client_id  2 the version that must be stored ('' none: there is no such client; '*' any)
--      3 the new version  4 the new record as JSON ('' deletes)
-- Returns 1, or 0 when the condition does not hold.
-- Atomic because two administrators must not overwrite each other's change.
local stored = redis.call('HGET', KEYS[1], 'v')
if ARGV[2] == '' and stored then return 0 end
if ARGV[2] ~= '' and not stored then return 0 end
if ARGV[2] ~= '' and ARGV[2] ~= '*' and stored ~= ARGV[2] then return 0 end
if ARGV[4] == '' then redis.call('DEL', KEYS[1]) else redis.call('HSET', KEYS[1], 'v', ARGV[3], 'j', ARGV[4]) end
redis.call('PUBLISH', 'as:clients', ARGV[1])
return 1
