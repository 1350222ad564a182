-- One decision over several token buckets at once, on the server's own clock: limits/bucket.py, line for line.
--
-- KEYS: one hash a bucket. ARGV: operation, now ("" asks the server), n, seconds, then rate, burst and ramp of each key.
-- A bucket: t (when it was last looked at), a (what its level is right for), r (when its ramp began), u (last used),
-- l (level), p (rate), b (burst), m (ramp). Times are seconds; one that is not there starts empty.
local FLOOR = 0.1
local operation, n, seconds = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1e6
end

local function climbed(at, ramp)
  if ramp == 0 then return 0 end
  return FLOOR * at + (1 - FLOOR) * at * at / (2 * ramp)
end

local function filled(one, from, to)
  local climbing = climbed(math.min(to, one.m), one.m) - climbed(math.min(from, one.m), one.m)
  return (climbing + math.max(to - math.max(from, one.m), 0)) * one.p
end

local function filled_by(one, from, tokens)
  local span = tokens / one.p
  if from >= one.m then return from + span end
  local wanted, whole = climbed(from, one.m) + span, climbed(one.m, one.m)
  if wanted >= whole then return one.m + wanted - whole end
  local slope = (1 - FLOOR) / one.m
  return (math.sqrt(FLOOR * FLOOR + 2 * slope * wanted) - FLOOR) / slope
end

local function idle(one) return math.max(one.m, 2 / one.p) end

local function stop(one, finish)
  one.l = 0
  if finish - now > one.m then one.r = finish else one.r = one.r + finish - math.max(one.a, now) end
  one.a, one.u = finish, finish
end

local function open(key, rate, burst, ramp)
  local found = redis.call('HMGET', key, 't', 'a', 'r', 'u', 'l', 'p', 'b', 'm', 's')
  local one = {key = key, p = rate, b = burst, m = ramp, t = now, a = now, r = now, u = now, l = 0}
  if found[2] then
    for place, name in ipairs({'t', 'a', 'r', 'u', 'l', 'p', 'b', 'm'}) do one[name] = tonumber(found[place]) end
    local back = one.t - now
    if back > 0 then  -- the server's clock was put back: the bucket goes with it, and nothing flowed in
      one.t, one.a, one.r, one.u = now, one.a - back, one.r - back, one.u - back
    end
  elseif found[9] and tonumber(found[9]) > now then  -- paused before anybody used it
    stop(one, tonumber(found[9]))
  end
  return one
end

local function refill(one, rate, burst, ramp)
  if now > one.a then
    one.l = math.min(one.l + filled(one, one.a - one.r, now - one.r), one.b)
    one.a = now
  end
  one.p, one.b, one.m, one.t = rate, burst, ramp, now
  one.l = math.min(one.l, burst)
  if now - one.u > idle(one) then one.r = now end
  if now < one.a then return 0 end
  return math.floor(one.l)
end

local function number(value) return string.format('%.17g', value) end

local function keep(one)
  local fields = {}
  for _, name in ipairs({'t', 'a', 'r', 'u', 'l', 'p', 'b', 'm'}) do
    fields[#fields + 1] = name
    fields[#fields + 1] = number(one[name])
  end
  redis.call('HSET', one.key, unpack(fields))
  redis.call('PEXPIRE', one.key, math.ceil((idle(one) + math.max(one.a - now, 0) + 60) * 1000))
end

if operation == 'pause' then
  local key, finish = KEYS[1], now + seconds
  local found = redis.call('HMGET', key, 'p', 'b', 'm', 's')
  if found[1] then
    local one = open(key, tonumber(found[1]), tonumber(found[2]), tonumber(found[3]))
    if finish > math.max(one.a, now) then stop(one, finish) end
    keep(one)
  else
    finish = math.max(finish, tonumber(found[4]) or finish)
    redis.call('HSET', key, 's', number(finish))
    redis.call('PEXPIRE', key, math.ceil((finish - now + 60) * 1000))
  end
  return '0'
end

if operation == 'ease' then
  local found = redis.call('HMGET', KEYS[1], 'p', 'b', 'm')
  if found[1] then
    local one = open(KEYS[1], tonumber(found[1]), tonumber(found[2]), tonumber(found[3]))
    if one.m > 0 then
      one.l, one.a = 0, math.max(one.a, now)
      one.r = one.a
    end
    keep(one)
  end
  return '0'
end

local buckets, least = {}, nil
for place, key in ipairs(KEYS) do
  local at = 4 + (place - 1) * 3
  local rate, burst, ramp = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local one = open(key, rate, burst, ramp)
  local whole = refill(one, rate, burst, ramp)
  least = math.min(least or whole, whole)
  buckets[place] = one
end

local answer = least
if operation == 'take' then
  answer = math.max(math.min(n, least), 0)
  if answer > 0 then
    for _, one in ipairs(buckets) do one.l, one.u = one.l - answer, now end
  end
elseif operation == 'back' then
  for _, one in ipairs(buckets) do one.l = math.min(one.l + math.max(n - seconds * one.p, 0), one.b) end
elseif operation == 'wait' then
  answer = 0
  if least < 1 then
    for _, one in ipairs(buckets) do
      local left
      if one.l >= 1 then
        left = math.max(one.a - now, 0)
      else
        left = one.a - now + filled_by(one, one.a - one.r, 1 - one.l) - (one.a - one.r)
      end
      answer = math.max(answer, left)
    end
  end
end
for _, one in ipairs(buckets) do keep(one) end
return number(answer)
