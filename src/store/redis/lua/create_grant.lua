-- Stores and indexes a new grant, if its owner is still the one who was authenticated. Follows settle.lua.
--
-- KEYS 1 the grant  2 its owner  3 the owner's index of grants  4 what is counted for the account
-- ARGV 1 deadline (ms)  2 clock offset (ms)  3 grant id  4 owner epoch  5 family hash  6 key id
--      7 client_id  8 client epoch  9 scope  10 audience  11 idle (ms)  12 absolute (ms)  13 grace (ms)
--      14 access token lifetime (ms)  15 most grants an owner may have  16 '1' in cookie mode
--      17 address  18 agent
--      19.. for a grant that comes of an attempt to log in: as settle_login.lua takes them from 3 on
-- Returns TL (too late) | OW (owner changed) | OK; then the store's time, the number of indexed grants
-- beyond the cap, and the oldest of them.
-- Atomic because a password change between the check and the creation must not leave a live grant.
-- Idempotent: the caller chose the id, so the same command twice stores one grant.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[2])
if now > tonumber(ARGV[1]) then return {'TL', text(now), '0', {}} end
local known = redis.call('HMGET', KEYS[1], 'fh', 't0')
if known[1] == ARGV[5] then return {'OK', known[2], '0', {}} end
if ARGV[19] then
  settle(KEYS[4], now, tonumber(ARGV[2]), ARGV[19], ARGV[20] == '1', 'S', tonumber(ARGV[21]), tonumber(ARGV[22]),
    tonumber(ARGV[23]), tonumber(ARGV[24]))
end
local u = redis.call('HMGET', KEYS[2], 'st', 'ue')
if u[1] ~= 'A' or u[2] ~= ARGV[4] then return {'OW', text(now), '0', {}} end

local abs = now + tonumber(ARGV[12])
local function earlier(a, b) if a < b then return a end return b end
redis.call('HSET', KEYS[1], 'st', 'A', 'fh', ARGV[5], 'gen', '1', 'k', ARGV[6], 'tr', text(now), 't0', text(now),
  'abs', text(abs), 'idl', ARGV[11], 'grw', ARGV[13], 'cid', ARGV[7], 'ue', ARGV[4], 'ce', ARGV[8], 'sc', ARGV[9],
  'atx', text(earlier(now + tonumber(ARGV[14]), abs)), 'ip', ARGV[17], 'ua', ARGV[18])
if ARGV[10] ~= '' then redis.call('HSET', KEYS[1], 'au', ARGV[10]) end
if ARGV[16] == '1' then redis.call('HSET', KEYS[1], 'cm', '1') end
redis.call('PEXPIREAT', KEYS[1], text(earlier(now + tonumber(ARGV[11]), abs) - tonumber(ARGV[2])))

redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now))
redis.call('ZADD', KEYS[3], text(abs), ARGV[3])
-- The index lives as long as its last grant may.
local last = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[3], text(tonumber(last[2]) - tonumber(ARGV[2])))
local beyond = redis.call('ZCARD', KEYS[3]) - tonumber(ARGV[15])
if beyond <= 0 then return {'OK', text(now), '0', {}} end
return {'OK', text(now), text(beyond), redis.call('ZRANGE', KEYS[3], 0, beyond + 8)}
