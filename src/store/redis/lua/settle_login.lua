#!lua
-- Says how an attempt to log in ended. A port of AccountThrottle::settle.
--
-- KEYS 1 what is counted for the account
-- ARGV 1 clock offset (ms)  2 the source  3 1 when it was trusted  4 S (right) | F (wrong) | W (not checked)
--      5 longest wait (ms)  6 strangers' interval (ms)  7 how long an address is trusted (ms)  8 most trusted sources
-- Returns 1.
-- Atomic because other attempts count at the same time. Without a deadline: late or twice, it makes a limit a little weaker.
local T = redis.call('TIME')
local now = T[1] * 1000 + math.floor(T[2] / 1000) + tonumber(ARGV[1])
local function text(n) return string.format('%.0f', n) end
local source, trusted, outcome, longest = ARGV[2], ARGV[3] == '1', ARGV[4], tonumber(ARGV[5])

local account = redis.call('GET', KEYS[1])
account = account and cjson.decode(account) or {whole_at = 0, streak = 0, last = 0, sources = {}}
local s = account.sources[source] or {count = 0, in_flight = 0, last = 0, trusted_until = 0}
local late = s.in_flight == 0
s.in_flight = math.max(s.in_flight - 1, 0)
if outcome ~= 'F' and not trusted then account.whole_at = account.whole_at - tonumber(ARGV[6]) end
if outcome == 'F' and late then
  s.count = s.count + 1
elseif outcome == 'W' then
  if not late then s.count = math.max(s.count - 1, 0) end
  if not trusted then account.streak = math.max(account.streak - 1, 0) end
elseif outcome == 'S' then
  s.count = s.in_flight
  account.streak = 0
  if string.sub(source, 1, 1) == 'a' then s.trusted_until = now + tonumber(ARGV[7]) end
end
account.sources[source] = s
if s.count == 0 and s.in_flight == 0 and s.trusted_until == 0 then account.sources[source] = nil end

local number, oldest = 0, nil
for name, known in pairs(account.sources) do
  if known.trusted_until > 0 then
    number = number + 1
    local than = oldest and account.sources[oldest]
    if not than or known.trusted_until < than.trusted_until
      or (known.trusted_until == than.trusted_until and name < oldest) then oldest = name end
  end
end
if number > tonumber(ARGV[8]) then account.sources[oldest] = nil end

local expires = math.max(account.whole_at, account.last + longest)
for _, known in pairs(account.sources) do expires = math.max(expires, known.trusted_until, known.last + longest) end
if expires > now then
  redis.call('SET', KEYS[1], cjson.encode(account), 'PXAT', text(expires - tonumber(ARGV[1])))
else
  redis.call('DEL', KEYS[1])
end
return 1
