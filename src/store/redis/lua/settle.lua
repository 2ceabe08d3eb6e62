-- What the scripts that settle an attempt to log in begin with. A port of AccountThrottle::settle.
--
-- key      what is counted for the account
-- now, offset  the time and the clock offset (ms)
-- source   the source that was counted
-- trusted  whether it was trusted
-- outcome  S (right) | F (wrong) | W (not checked)
-- longest  the longest wait (ms)
-- interval the strangers' interval (ms)
-- trust    how long an address is trusted (ms)
-- most     trusted sources at most
local function text(n) return string.format('%.0f', n) end -- Lua would write 1.7e+12
local function settle(key, now, offset, source, trusted, outcome, longest, interval, trust, most)
  local account = redis.call('GET', key)
  account = account and cjson.decode(account) or {whole_at = 0, streak = 0, last = 0, sources = {}}
  local s = account.sources[source] or {count = 0, in_flight = 0, last = 0, trusted_until = 0}
  local late = s.in_flight == 0
  s.in_flight = math.max(s.in_flight - 1, 0)
  if outcome ~= 'F' and not trusted then account.whole_at = account.whole_at - interval end
  if outcome == 'F' and late then
    s.count = s.count + 1
  elseif outcome == 'W' then
    if not late then s.count = math.max(s.count - 1, 0) end
    if not trusted then account.streak = math.max(account.streak - 1, 0) end
  elseif outcome == 'S' then
    s.count = s.in_flight
    account.streak = 0
    if string.sub(source, 1, 1) == 'a' then s.trusted_until = now + trust end
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
  if number > most then account.sources[oldest] = nil end

  local expires = math.max(account.whole_at, account.last + longest)
  for _, known in pairs(account.sources) do expires = math.max(expires, known.trusted_until, known.last + longest) end
  if expires > now then
    redis.call('SET', key, cjson.encode(account), 'PXAT', text(expires - offset))
  else
    redis.call('DEL', key)
  end
end
