#!lua
-- Stores a new device authorization.
--
-- KEYS 1 the device authorization
-- ARGV 1 deadline (ms)  2 clock offset (ms)  3 secret hash  4 client_id  5 client epoch  6 scope  7 audience  8 address
--      9 agent  10 lifetime (ms)  11 interval (ms)  12 remembrance (ms)
-- Returns TL (too late) | TK (the address is taken) | OK; then the store's time.
-- Atomic because two devices must not get one user code.
-- Idempotent: the same secret twice stores one.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[2])
local function text(n) return string.format('%.0f', n) end
if now > tonumber(ARGV[1]) then return {'TL', text(now)} end
local there = redis.call('HGET', KEYS[1], 'sh')
if there == ARGV[3] then return {'OK', text(now)} end
if there then return {'TK', text(now)} end
local exp = now + tonumber(ARGV[10])
redis.call('HSET', KEYS[1], 'st', 'P', 'sh', ARGV[3], 'cid', ARGV[4], 'ce', ARGV[5], 'sc', ARGV[6], 'au', ARGV[7],
  'ip', ARGV[8], 'ua', ARGV[9], 't0', text(now), 'exp', text(exp), 'int', ARGV[11], 'nx', text(now))
redis.call('PEXPIREAT', KEYS[1], text(exp + tonumber(ARGV[12]) - tonumber(ARGV[2])))
return {'OK', text(now)}
