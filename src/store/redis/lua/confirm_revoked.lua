#!lua flags=allow-oom
-- Writes once more that a grant is revoked, if it is: whoever waits for this write waits for the revocation.
--
-- KEYS 1 the grant
-- Returns 1, or 0 when it is not revoked.
-- Atomic because it must not revoke anything itself.
if redis.call('HGET', KEYS[1], 'st') ~= 'R' then return 0 end
redis.call('HSET', KEYS[1], 'st', 'R')
return 1
