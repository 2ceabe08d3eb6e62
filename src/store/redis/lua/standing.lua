#!lua flags=no-writes
-- Reads a grant, and how its owner stands.
--
-- KEYS 1 the grant  2 its owner
-- Returns the record of the grant, and the owner's status, epoch and subject.
-- Atomic because neither may be of another time than the other; and it is one command.
return {redis.call('GET', KEYS[1]), redis.call('HMGET', KEYS[2], 'st', 'ue', 'sub')}
