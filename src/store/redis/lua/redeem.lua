#!lua flags=allow-oom
-- Presents an authorization code: the port of `redeem` in store/redeem.rs, row for row.
--
-- KEYS 1 the code  2 the grant that it may become  3 its owner  4 the owner's index of grants
-- ARGV 1 code hash  2 client_id  3 client epoch  4 hash of the redirect_uri  5 challenge  6 deadline (ms)
--      7 request id  8 family hash  9 key id  10 idle (ms)  11 absolute (ms)  12 grace (ms)
--      13 access token lifetime (ms)  14 tombstone (ms)  15 clock offset (ms)  16 '1' in cookie mode  17 grant id
--      18 most grants an owner may have  19 address  20 agent
-- Returns the code, the store's time, and what the code needs:
--   TL too late | NF unknown | WF wrong secret | WC wrong client, its client | RV revoked, reason | XP expired
--   OW owner changed | CE client changed | RD redirect_uri | PK challenge | RP replayed
--   OK: generation, key id, current since, expiry, absolute expiry, scope, audience, subject, the number of indexed grants
--   beyond the cap, and the oldest of them
-- Atomic because two requests with one code must not both find it good.
-- allow-oom: replays must be revoked in a full store as well, and a code is about to be given back.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[15])
local function text(n) return string.format('%.0f', n) end
if now > tonumber(ARGV[6]) then return {'TL', text(now)} end
local u = redis.call('HMGET', KEYS[3], 'st', 'ue', 'sub')

local g = redis.call('HMGET', KEYS[2], 'st', 'ch', 'cid', 'rid', 'rr', 'atx', 'gen', 'k', 'tr', 'idl', 'abs', 'sc', 'au')
if g[1] then
  if g[2] ~= ARGV[1] then return {'WF', text(now)} end
  if g[3] ~= ARGV[2] then return {'WC', text(now), g[3]} end
  if g[1] == 'R' then return {'RV', text(now), g[5]} end
  if u[1] and g[4] == ARGV[7] then
    local expiry, abs = tonumber(g[9]) + tonumber(g[10]), tonumber(g[11])
    if expiry > abs then expiry = abs end
    return {'OK', text(now), g[7], g[8], g[9], text(expiry), g[11], g[12], g[13] or '', u[3], '0', {}}
  end
  local forget, atx = now + tonumber(ARGV[14]), tonumber(g[6])
  if atx > forget then forget = atx end
  redis.call('HSET', KEYS[2], 'st', 'R', 'rr', 'code_replay', 'rt', text(now), 'rip', ARGV[19], 'rua', ARGV[20])
  redis.call('PEXPIREAT', KEYS[2], text(forget - tonumber(ARGV[15])))
  redis.call('ZREM', KEYS[4], ARGV[17])
  return {'RP', text(now)}
end

local c = redis.call('HMGET', KEYS[1], 'ch', 'cid', 'ue', 'ce', 'exp', 'ru', 'cc', 'sc', 'au')
if not c[1] then return {'NF', text(now)} end
if c[1] ~= ARGV[1] then return {'WF', text(now)} end
if c[2] ~= ARGV[2] then return {'WC', text(now), c[2]} end
-- Whatever comes now, the code is gone.
redis.call('DEL', KEYS[1])
if u[1] ~= 'A' or u[2] ~= c[3] then return {'OW', text(now)} end
if c[4] ~= ARGV[3] then return {'CE', text(now)} end
if now >= tonumber(c[5]) then return {'XP', text(now)} end
if c[6] ~= ARGV[4] then return {'RD', text(now)} end
if c[7] ~= ARGV[5] then return {'PK', text(now)} end

local abs = now + tonumber(ARGV[11])
local function earlier(a, b) if a < b then return a end return b end
local expiry = earlier(now + tonumber(ARGV[10]), abs)
redis.call('HSET', KEYS[2], 'st', 'A', 'fh', ARGV[8], 'gen', '1', 'k', ARGV[9], 'tr', text(now), 't0', text(now),
  'abs', text(abs), 'idl', ARGV[10], 'grw', ARGV[12], 'cid', c[2], 'ue', c[3], 'ce', c[4], 'sc', c[8],
  'atx', text(earlier(now + tonumber(ARGV[13]), abs)), 'ip', ARGV[19], 'ua', ARGV[20], 'ch', ARGV[1], 'rid', ARGV[7])
if c[9] ~= '' then redis.call('HSET', KEYS[2], 'au', c[9]) end
if ARGV[16] == '1' then redis.call('HSET', KEYS[2], 'cm', '1') end
redis.call('PEXPIREAT', KEYS[2], text(expiry - tonumber(ARGV[15])))

redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', text(now))
redis.call('ZADD', KEYS[4], text(abs), ARGV[17])
local last = redis.call('ZRANGE', KEYS[4], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[4], text(tonumber(last[2]) - tonumber(ARGV[15])))
local beyond = redis.call('ZCARD', KEYS[4]) - tonumber(ARGV[18])
local oldest = {}
if beyond > 0 then oldest = redis.call('ZRANGE', KEYS[4], 0, beyond + 8) else beyond = 0 end
return {'OK', text(now), '1', ARGV[9], text(now), text(expiry), text(abs), c[8], c[9], u[3], text(beyond), oldest}
