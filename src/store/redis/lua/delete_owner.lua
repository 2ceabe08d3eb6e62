#!lua flags=allow-oom
-- Deletes a resource owner; with the record their grants are dead.
--
-- KEYS 1 the owner  2 the owner's consents  3 the owner's index of browser sessions
-- Returns 1, or 0 when there is no such owner.
-- Atomic because the answer must be that of the deletion. It writes also when there is nothing to delete: whoever
-- repeats a deletion then waits until the replicas have the first one.
local known = redis.call('EXISTS', KEYS[1])
redis.call('HSET', KEYS[1], 'st', 'D')
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return known
