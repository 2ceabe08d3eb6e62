-- Presents a refresh token: the port of `decide` in store/decide.rs, row for row. Follows grant.lua.
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
-- or one string, see `live` in grant.lua, for OK rotated, RT repeated, FW repaired
-- Atomic because two requests with one token must not both find it unused.
-- allow-oom: a full store must not log out those who are signed in; nothing here grows but a revocation, which soon goes.
local T = redis.call('TIME')
local offset = tonumber(ARGV[11])
local now = T[1] * 1000 + math.floor(T[2] / 1000) + offset
if now > tonumber(ARGV[5]) then return {'TL', now} end
local stored = redis.call('GET', KEYS[1])
if not stored then return {'NF', now} end
local at, revoked = active(stored)
local _, current, key, in_place, since, access, repeats, address, agent, terms = struct.unpack(USE, stored, at)
local family, delivery, client, client_epoch, owner_epoch, _, abs, idle, grace, scope, audience =
  struct.unpack(TERMS, stored, terms)
if family ~= ARGV[1] then return {'WF', now} end
if client ~= ARGV[3] then return {'WC', now, client} end
if delivery ~= tonumber(ARGV[12]) then return {'WD', now} end
if revoked then return {'RV', now, revoked} end
if now < since then now = since end -- a grant's clock never runs backwards

local function stop(reason)
  revoke(KEYS[1], stored, reason, now, offset, tonumber(ARGV[10]), ARGV[14], ARGV[15])
end

local owner = redis.call('HMGET', KEYS[2], 'st', 'ue', 'sub')
if owner[1] ~= 'A' or tonumber(owner[2]) ~= owner_epoch then stop('owner') return {'RV', now, 'owner'} end
if client_epoch ~= tonumber(ARGV[4]) then stop('client_epoch') return {'RV', now, 'client_epoch'} end
local function expiry(t) if t + idle < abs then return t + idle end return abs end
if now >= expiry(since) then return {'XP', now} end

local given = tonumber(ARGV[2])
local code, generation, start, used = nil, current, since, 0
if given == current then
  code, start = 'OK', now
  if ARGV[8] == 'keep' then used = 1 else generation, key = current + 1, tonumber(ARGV[7]) end
elseif given + 1 == current and in_place == 0 and now - since < grace then
  code, repeats = 'RT', repeats + 1
elseif given > current and given - current <= 2 then
  code, generation, key, start = 'FW', given + 1, tonumber(ARGV[7]), now
else
  local reason = 'replay'
  if given > current then reason = 'future' end
  stop(reason)
  return {'RP', now, reason, current}
end

local function within(requested, granted)
  for token in string.gmatch(requested, '%S+') do
    if not string.find(' ' .. granted .. ' ', ' ' .. token .. ' ', 1, true) then return false end
  end
  return true
end
if ARGV[9] ~= '' and not within(ARGV[9], scope) then return {'SC', now} end
if ARGV[13] ~= '' and not within(ARGV[13], audience) then return {'AU', now} end

if code ~= 'RT' then
  local latest = start + tonumber(ARGV[6])
  if latest > abs then latest = abs end
  if latest > access then access = latest end
  address, agent = ARGV[14], ARGV[15]
end
local expires = expiry(start)
redis.call('SET', KEYS[1], struct.pack(USE, 'A', generation, key, used, start, access, repeats, #address, address,
  #agent, agent) .. string.sub(stored, terms), 'PXAT', expires - offset)
return live(code, now, generation, key, start, expires, abs, owner[3], scope, audience)
