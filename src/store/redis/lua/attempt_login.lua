#!lua
-- Counts an attempt to log in, before the password is checked, and reads the owner. A port of AccountThrottle::attempt.
--
-- KEYS 1 what is counted for the account  2 the owner
-- ARGV 1 deadline (ms)  2 clock offset (ms)  3 the address's source  4 the device's source, or empty  5 the device's epoch
--      6 free failures  7 those of a trusted source  8 first wait (ms)  9 longest wait (ms)  10 strangers' burst
--      11 their interval (ms)  12 their longest streak  13 most in flight  14 time to settle (ms)
--      15 most devices
-- Returns TL (too late), the store's time | NO, the time, the wait (ms) | OK, the time, the source, 1 when it is trusted,
--         then the owner's fields.
-- Atomic because of many guesses at once none may get past the limit.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[2])
local function text(n) return string.format('%.0f', n) end
if now > tonumber(ARGV[1]) then return {'TL', text(now)} end
local longest = tonumber(ARGV[9])

local owner = redis.call('HGETALL', KEYS[2])
local source, by_device = ARGV[3], false
if ARGV[4] ~= '' then
  for i = 1, #owner, 2 do
    if owner[i] == 'ue' and tonumber(owner[i + 1]) % 4294967296 == tonumber(ARGV[5]) then
      source, by_device = ARGV[4], true
    end
  end
end

local account = redis.call('GET', KEYS[1])
account = account and cjson.decode(account) or {whole_at = 0, streak = 0, last = 0, sources = {}}
for name, s in pairs(account.sources) do
  if now >= s.trusted_until and now - s.last >= longest then account.sources[name] = nil end
end
local s = account.sources[source] or {count = 0, in_flight = 0, last = 0, trusted_until = 0}
if now - s.last >= tonumber(ARGV[14]) then s.count, s.in_flight = math.max(s.count - s.in_flight, 0), 0 end
if now - s.last >= longest then s.count = 0 end
if s.in_flight >= tonumber(ARGV[13]) then return {'NO', text(now), '1000'} end
local trusted = by_device or now < s.trusted_until
local free = tonumber(trusted and ARGV[7] or ARGV[6])
local failed = math.max(s.count - s.in_flight, 0)
if failed >= free then
  local wait = math.min(tonumber(ARGV[8]) * 2 ^ math.min(failed - free, 10), longest)
  if now < s.last + wait then return {'NO', text(now), text(s.last + wait - now)} end
end
if not trusted then
  if account.streak >= tonumber(ARGV[12]) and now < account.last + longest then
    return {'NO', text(now), text(account.last + longest - now)}
  end
  local interval = tonumber(ARGV[11])
  local earliest = account.whole_at - (tonumber(ARGV[10]) - 1) * interval
  if now < earliest then return {'NO', text(now), text(earliest - now)} end
  account.whole_at = math.max(account.whole_at, now) + interval
  account.streak = account.streak + 1
  account.last = now
end
if by_device then
  local number, oldest = 0, nil
  for name, known in pairs(account.sources) do
    if string.sub(name, 1, 1) == 'd' and name ~= source then
      number = number + 1
      local than = oldest and account.sources[oldest]
      if not than or known.last < than.last or (known.last == than.last and name < oldest) then oldest = name end
    end
  end
  if number >= tonumber(ARGV[15]) then account.sources[oldest] = nil end
end
s.count, s.in_flight, s.last = s.count + 1, s.in_flight + 1, now
account.sources[source] = s

local expires = math.max(account.whole_at, account.last + longest)
for _, known in pairs(account.sources) do expires = math.max(expires, known.trusted_until, known.last + longest) end
redis.call('SET', KEYS[1], cjson.encode(account), 'PXAT', text(expires - tonumber(ARGV[2])))
local reply = {'OK', text(now), source, trusted and '1' or '0'}
for i = 1, #owner do reply[#reply + 1] = owner[i] end
return reply
