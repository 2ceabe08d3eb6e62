-- Writes once more that a grant is revoked, if it is: whoever waits for this write waits for the revocation. Follows
-- grant.lua.
--
-- KEYS 1 the grant
-- Returns 1, or 0 when it is not revoked.
-- Atomic because it must not revoke anything itself.
local stored = redis.call('GET', KEYS[1])
local _, revoked = active(stored or 'A')
if not revoked then return 0 end
redis.call('SET', KEYS[1], stored, 'KEEPTTL')
return 1
