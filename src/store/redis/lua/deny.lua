#!lua flags=allow-oom
-- Denies an access token until it expires.
--
-- KEYS 1 the denial
-- ARGV 1 the token's expiry (ms)
-- Returns 1.
-- One command; a script so that whoever waits for the replicas waits for this write. A late one does no harm.
redis.call('SET', KEYS[1], '1', 'PXAT', ARGV[1])
return 1
