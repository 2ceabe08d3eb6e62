#!lua flags=allow-oom
-- Stores, replaces or deletes a client, and tells every node to forget its copy.
--
-- KEYS 1 the client
-- ARGV 1 client_id  2 the version that must be stored ('' none: there is no such client; '*' any)
--      3 the new version  4 the new record as JSON ('' deletes)
-- Returns 1, or 0 when the condition does not hold.
-- Atomic because two administrators must not overwrite each other's change.
-- allow-oom: a full store must not keep a client in.
-- Repeating the last change is storing it again, for whoever did not hear that the replicas have it; deleting what is
-- gone writes as well, for the same reason.
local stored = redis.call('HGET', KEYS[1], 'v')
if ARGV[2] ~= '' and ARGV[4] ~= '' and stored == ARGV[3] and redis.call('HGET', KEYS[1], 'j') == ARGV[4] then
  redis.call('HSET', KEYS[1], 'v', ARGV[3])
  return 1
end
if ARGV[2] == '*' and not stored then
  redis.call('HSET', KEYS[1], 'v', '0')
  redis.call('DEL', KEYS[1])
  return 0
end
if ARGV[2] == '' and stored then return 0 end
if ARGV[2] ~= '' and not stored then return 0 end
if ARGV[2] ~= '' and ARGV[2] ~= '*' and stored ~= ARGV[2] then return 0 end
if ARGV[4] == '' then redis.call('DEL', KEYS[1]) else redis.call('HSET', KEYS[1], 'v', ARGV[3], 'j', ARGV[4]) end
redis.call('PUBLISH', 'as:clients', ARGV[1])
return 1
