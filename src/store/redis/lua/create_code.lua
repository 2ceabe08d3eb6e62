#!lua
-- Stores an authorization code, if its owner is still the one who consented.
--
-- KEYS 1 the code  2 its owner
-- ARGV 1 deadline (ms)  2 clock offset (ms)  3 owner epoch  4 code hash  5 challenge  6 hash of the redirect_uri
--      7 client_id  8 client epoch  9 scope  10 audience  11 lifetime (ms)
-- Returns TL (too late) | OW (owner changed) | OK; then the store's time.
-- Atomic because a password change between the check and the creation must not leave a good code.
-- Idempotent: the caller chose the id and the secret, so the same command twice stores one code.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[2])
local function text(n) return string.format('%.0f', n) end
if now > tonumber(ARGV[1]) then return {'TL', text(now)} end
if redis.call('HGET', KEYS[1], 'ch') == ARGV[4] then return {'OK', text(now)} end
local u = redis.call('HMGET', KEYS[2], 'st', 'ue')
if u[1] ~= 'A' or u[2] ~= ARGV[3] then return {'OW', text(now)} end
local expiry = now + tonumber(ARGV[11])
redis.call('HSET', KEYS[1], 'ch', ARGV[4], 'cc', ARGV[5], 'ru', ARGV[6], 'cid', ARGV[7], 'ce', ARGV[8], 'ue', ARGV[3],
  'sc', ARGV[9], 'au', ARGV[10], 'exp', text(expiry))
redis.call('PEXPIREAT', KEYS[1], text(expiry - tonumber(ARGV[2])))
return {'OK', text(now)}
