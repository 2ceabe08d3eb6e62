#!lua flags=allow-oom
-- Presents a refresh token: the port of `decide` in store/decide.rs, row for row.
--
-- KEYS 1 the grant  2 its owner
-- ARGV 1 family hash  2 presented generation  3 client_id  4 client epoch  5 deadline (ms)
--      6 access token lifetime (ms)  7 MAC key id of a new generation  8 'rotate' or 'keep'
--      9 requested scope ('' none)  10 tombstone (ms)  11 clock offset (ms, 0 outside tests)
--      12 '1' from a cookie, '0' from a body  13 requested audience ('' none)
--      14 address  15 agent
-- Returns the code, the store's time, and what the code needs:
--   TL too late | NF unknown | WF wrong family | WC wrong client, owner client | WD wrong delivery | RV revoked, reason
--   XP expired | SC scope | AU audience | RP replayed, reason, current generation
--   OK rotated, RT repeated, FW repaired: generation, key id, current since, expiry, absolute expiry,
--   granted scope, audience, subject
-- Atomic because two requests with one token must not both find it unused.
-- allow-oom: a full store must not log out those who are signed in; nothing here grows but a revocation, which soon goes.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[11])
if now > tonumber(ARGV[5]) then return {'TL', now} end
local g = redis.call('HMGET', KEYS[1], 'st', 'fh', 'gen', 'k', 'tr', 'abs', 'idl', 'grw', 'cid', 'ue', 'ce', 'sc', 'au', 'atx',
  'cu', 'cm')
if not g[1] then return {'NF', now} end
if g[2] ~= ARGV[1] then return {'WF', now} end
if g[9] ~= ARGV[3] then return {'WC', now, g[9]} end
if (g[16] or '0') ~= ARGV[12] then return {'WD', now} end
if g[1] == 'R' then return {'RV', now, redis.call('HGET', KEYS[1], 'rr')} end
local since = tonumber(g[5])
if now < since then now = since end -- a grant's clock never runs backwards
local atx = tonumber(g[14])

local function revoke(reason)
  local forget = now + tonumber(ARGV[10])
  if atx > forget then forget = atx end
  redis.call('HSET', KEYS[1], 'st', 'R', 'rr', reason, 'rt', now, 'rip', ARGV[14], 'rua', ARGV[15])
  redis.call('PEXPIREAT', KEYS[1], forget - tonumber(ARGV[11]))
end

local u = redis.call('HMGET', KEYS[2], 'st', 'ue', 'sub')
if u[1] ~= 'A' or u[2] ~= g[10] then revoke('owner') return {'RV', now, 'owner'} end
if g[11] ~= ARGV[4] then revoke('client_epoch') return {'RV', now, 'client_epoch'} end
local abs, idle = tonumber(g[6]), tonumber(g[7])
local function expiry(t) if t + idle < abs then return t + idle end return abs end
if now >= expiry(since) then return {'XP', now} end

local given, current = tonumber(ARGV[2]), tonumber(g[3])
local code, generation, key, start, in_place = nil, current, g[4], since, false
if given == current then
  code, start = 'OK', now
  if ARGV[8] == 'keep' then in_place = true else generation, key = current + 1, ARGV[7] end
elseif given + 1 == current and g[15] ~= '1' and now - since < tonumber(g[8]) then
  code = 'RT'
elseif given > current and given - current <= 2 then
  code, generation, key, start = 'FW', given + 1, ARGV[7], now
else
  local reason = 'replay'
  if given > current then reason = 'future' end
  revoke(reason)
  return {'RP', now, reason, current}
end

local function within(requested, granted)
  for token in string.gmatch(requested, '%S+') do
    if not string.find(' ' .. granted .. ' ', ' ' .. token .. ' ', 1, true) then return false end
  end
  return true
end
if ARGV[9] ~= '' and not within(ARGV[9], g[12]) then return {'SC', now} end
if ARGV[13] ~= '' and not within(ARGV[13], g[13] or '') then return {'AU', now} end

local expires = expiry(start)
if code == 'RT' then
  redis.call('HINCRBY', KEYS[1], 'nr', 1)
else
  local access = start + tonumber(ARGV[6])
  if access > abs then access = abs end
  if atx > access then access = atx end
  redis.call('HSET', KEYS[1], 'gen', generation, 'k', key, 'tr', start, 'atx', access,
    'ip', ARGV[14], 'ua', ARGV[15])
  if in_place then redis.call('HSET', KEYS[1], 'cu', '1') elseif g[15] then redis.call('HDEL', KEYS[1], 'cu') end
  redis.call('PEXPIREAT', KEYS[1], expires - tonumber(ARGV[11]))
end
return {code, now, generation, key, start, expires, g[6], g[12], g[13] or '', u[3]}
