-- Presents an authorization code: the port of `redeem` in store/redeem.rs, row for row. Follows new_grant.lua.
--
-- KEYS 1 the code  2 the grant that it may become  3 its owner  4 the owner's index of grants
-- ARGV 1 code hash  2 client_id  3 client epoch  4 hash of the redirect_uri  5 challenge  6 deadline (ms)
--      7 request id  8 family hash  9 key id  10 idle (ms)  11 absolute (ms)  12 grace (ms)
--      13 access token lifetime (ms)  14 tombstone (ms)  15 clock offset (ms)  16 '1' in cookie mode  17 grant id
--      18 most grants an owner may have  19 where from, as in USE  20 what all grant keys of the owner begin with
-- Returns the code, the store's time, and what the code needs:
--   TL too late | NF unknown | WF wrong secret | WC wrong client, its client | RV revoked, reason | XP expired
--   OW owner changed | CE client changed | RD redirect_uri | PK challenge | RP replayed
--   OK: `live` of grant.lua
-- Atomic because two requests with one code must not both find it good.
-- allow-oom: replays must be revoked in a full store as well, and a code is about to be given back.
local T = redis.call('TIME')
local offset = tonumber(ARGV[15])
local now = T[1] * 1000 + math.floor(T[2] / 1000) + offset
if now > tonumber(ARGV[6]) then return {'TL', now} end
local owner = redis.call('HMGET', KEYS[3], 'st', 'ue', 'sub')

local stored = redis.call('GET', KEYS[2])
if stored then
  local at, revoked = active(stored)
  local _, generation, key, _, since, _, _, _, holder = struct.unpack(USE, stored, at)
  local _, _, client, _, terms = struct.unpack(HOLDER, stored, holder)
  local _, _, abs, idle, _, scope, audience, origin = struct.unpack(TERMS, stored, terms)
  local code, request = struct.unpack(CODE, stored, origin)
  if code ~= ARGV[1] then return {'WF', now} end
  if client ~= ARGV[2] then return {'WC', now, client} end
  if revoked then return {'RV', now, revoked} end
  if owner[1] and request == ARGV[7] then
    local expires = earlier(since + idle, abs)
    return {'OK', now, live('OK', now, generation, key, since, expires, abs, owner[3], scope, audience)}
  end
  revoke(KEYS[2], stored, 'code_replay', now, offset, tonumber(ARGV[14]), ARGV[19])
  redis.call('ZREM', KEYS[4], ARGV[17])
  return {'RP', now}
end

local c = redis.call('HMGET', KEYS[1], 'ch', 'cid', 'ue', 'ce', 'exp', 'ru', 'cc', 'sc', 'au')
if not c[1] then return {'NF', now} end
if c[1] ~= ARGV[1] then return {'WF', now} end
if c[2] ~= ARGV[2] then return {'WC', now, c[2]} end
-- Whatever comes now, the code is gone.
redis.call('DEL', KEYS[1])
if owner[1] ~= 'A' or owner[2] ~= c[3] then return {'OW', now} end
if c[4] ~= ARGV[3] then return {'CE', now} end
if now >= tonumber(c[5]) then return {'XP', now} end
if c[6] ~= ARGV[4] then return {'RD', now} end
if c[7] ~= ARGV[5] then return {'PK', now} end

local expires, abs = create(KEYS[2], KEYS[4], now, offset, {
  id = ARGV[17], owner_epoch = c[3], family = ARGV[8], key = ARGV[9], client = c[2], client_epoch = c[4], scope = c[8],
  audience = c[9], idle = tonumber(ARGV[10]), absolute = tonumber(ARGV[11]), grace = ARGV[12],
  access = tonumber(ARGV[13]), most = tonumber(ARGV[18]), delivery = ARGV[16], from = ARGV[19],
  code = ARGV[1], request = ARGV[7], tombstone = tonumber(ARGV[14]), prefix = ARGV[20],
})
return {'OK', now, live('OK', now, 1, ARGV[9], now, expires, abs, owner[3], c[8], c[9])}
