-- Says how an attempt to log in ended. Follows settle.lua.
--
-- KEYS 1 what is counted for the account
-- ARGV 1 clock offset (ms)  2 S (right) | F (wrong) | W (not checked)  3 the source  4 1 when it was trusted
--      5 longest wait (ms)  6 strangers' interval (ms)  7 how long an address is trusted (ms)  8 most trusted sources
-- Returns 1.
-- Atomic because other attempts count at the same time. Without a deadline: late or twice, it makes a limit a little weaker.
local T = redis.call('TIME')
local offset = tonumber(ARGV[1])
local now = T[1] * 1000 + math.floor(T[2] / 1000) + offset
settle(KEYS[1], now, offset, ARGV[3], ARGV[4] == '1', ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]),
  tonumber(ARGV[8]))
return 1
