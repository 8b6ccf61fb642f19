-- Renders templates that the translator has read. They come as data, so nothing of them is ever code; loops run over data only, and
-- steps, sizes and depth are limited. Values: strings, booleans and whole numbers are those of Lua; other numbers are {k = "f"}, lists
-- {k = "a"}, objects {k = "o"}.
local STEPS, BYTES, DEPTH, PROGRAMS = 500000, 4194304, 128, 256
local SAFE = 9007199254740992
local NAMESPACE = "postern.transformation"
local NULL = {k = "n"}
local byte, char, find, format, gsub, sub = string.byte, string.char, string.find, string.format, string.gsub, string.sub
local concat, floor = table.concat, math.floor

local function fail(at, message)
  error({at = at, message = message}, 0)
end

-- The steps that are left for this message. Scripts do not yield while they render, so there is one count.
local left = STEPS

local function charge(steps)
  left = left - steps
  if left < 0 then fail(nil, "it takes too many steps") end
end

-- JSON: reading

local function wrong_json(i, what)
  fail(nil, "the body is not JSON: " .. what .. " at byte " .. i)
end

-- Whether all of `s` is UTF-8 (RFC 3629); else where it is not.
local function not_utf8(s)
  local i = 1
  while true do
    i = find(s, "[\128-\255]", i)
    if not i then return nil end
    local a, b, c, d = byte(s, i, i + 3)
    local function tail(x, low, high) return x and x >= (low or 0x80) and x <= (high or 0xBF) end
    if a >= 0xC2 and a <= 0xDF and tail(b) then i = i + 2
    elseif a >= 0xE0 and a <= 0xEF and tail(b, a == 0xE0 and 0xA0, a == 0xED and 0x9F) and tail(c) then i = i + 3
    elseif a >= 0xF0 and a <= 0xF4 and tail(b, a == 0xF0 and 0x90, a == 0xF4 and 0x8F) and tail(c) and tail(d) then i = i + 4
    else return i end
  end
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end
  return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

local ESCAPES = {['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t"}

local function json_string(s, i)
  local parts, from = nil, i + 1
  while true do
    local at = find(s, '["\\%z\1-\31]', from)
    if not at then wrong_json(i, "a string does not end") end
    local c = sub(s, at, at)
    if c == '"' then
      local rest = sub(s, from, at - 1)
      if not parts then return rest, at + 1 end
      parts[#parts + 1] = rest
      return concat(parts), at + 1
    elseif c ~= "\\" then
      wrong_json(at, "a control character")
    end
    parts = parts or {}
    parts[#parts + 1] = sub(s, from, at - 1)
    local escape = sub(s, at + 1, at + 1)
    if escape == "u" then
      local hex = s:match("^%x%x%x%x", at + 2)
      if not hex then wrong_json(at, "a wrong escape") end
      local code = tonumber(hex, 16)
      from = at + 6
      if code >= 0xD800 and code <= 0xDBFF then
        local low = s:match("^\\u(%x%x%x%x)", from)
        low = low and tonumber(low, 16)
        if not low or low < 0xDC00 or low > 0xDFFF then wrong_json(at, "half of a character") end
        code = 0x10000 + (code - 0xD800) * 1024 + low - 0xDC00
        from = from + 6
      elseif code >= 0xDC00 and code <= 0xDFFF then
        wrong_json(at, "half of a character")
      end
      parts[#parts + 1] = utf8(code)
    else
      parts[#parts + 1] = ESCAPES[escape] or wrong_json(at, "a wrong escape")
      from = at + 2
    end
  end
end

local function json_number(s, i)
  local _, last = find(s, "^%-?%d+", i)
  if not last or find(s, "^%-?0%d", i) then wrong_json(i, "no value") end
  local _, fraction = find(s, "^%.%d+", last + 1)
  local _, exponent = find(s, "^[eE][+-]?%d+", (fraction or last) + 1)
  local stop = exponent or fraction or last
  local text = sub(s, i, stop)
  local n = tonumber(text)
  if n ~= n or n == math.huge or n == -math.huge then wrong_json(i, "a number out of range") end
  local whole = not (fraction or exponent)
  if whole and n > -SAFE and n < SAFE then return n, stop + 1 end
  return {k = "f", n = n, s = text, whole = whole}, stop + 1
end

local json_value

local function space(s, i)
  local _, last = find(s, "^[ \t\r\n]*", i)
  return last + 1
end

local function json_list(s, i, depth)
  local out, n = {k = "a"}, 0
  i = space(s, i + 1)
  if sub(s, i, i) ~= "]" then
    while true do
      n = n + 1
      out[n], i = json_value(s, i, depth)
      i = space(s, i)
      local c = sub(s, i, i)
      if c == "]" then break end
      if c ~= "," then wrong_json(i, "no , or ]") end
      i = space(s, i + 1)
    end
  end
  out.n = n
  return out, i + 1
end

local function json_object(s, i, depth)
  local values, n = {}, 0
  i = space(s, i + 1)
  if sub(s, i, i) ~= "}" then
    while true do
      n = n + 1
      if sub(s, i, i) ~= '"' then wrong_json(i, "no name") end
      local name
      name, i = json_string(s, i)
      i = space(s, i)
      if sub(s, i, i) ~= ":" then wrong_json(i, "no :") end
      values[name], i = json_value(s, space(s, i + 1), depth)
      i = space(s, i)
      local c = sub(s, i, i)
      if c == "}" then break end
      if c ~= "," then wrong_json(i, "no , or }") end
      i = space(s, i + 1)
    end
  end
  return {k = "o", v = values, n = n}, i + 1
end

function json_value(s, i, depth)
  local c = sub(s, i, i)
  if c == '"' then return json_string(s, i) end
  if c == "{" or c == "[" then
    if depth >= DEPTH then wrong_json(i, "more than " .. DEPTH .. " levels") end
    return (c == "{" and json_object or json_list)(s, i, depth + 1)
  end
  if sub(s, i, i + 3) == "true" then return true, i + 4 end
  if sub(s, i, i + 4) == "false" then return false, i + 5 end
  if sub(s, i, i + 3) == "null" then return NULL, i + 4 end
  return json_number(s, i)
end

local function json(s)
  local bad = not_utf8(s)
  if bad then wrong_json(bad, "no UTF-8") end
  local value, i = json_value(s, space(s, 1), 0)
  i = space(s, i)
  if i <= #s then wrong_json(i, "something after the value") end
  return value
end

-- JSON: writing

local QUOTED = {['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t"}

local function escaped(s)
  return (gsub(s, '["\\%z\1-\31]', function(c) return QUOTED[c] or format("\\u%04x", byte(c)) end))
end

local function number_text(v)
  if type(v) == "number" then return format("%d", v) end
  if v.s then return v.s end
  local text
  for digits = 15, 17 do
    text = format("%." .. digits .. "g", v.n)
    if tonumber(text) == v.n then break end
  end
  return find(text, "[.e]") and text or text .. ".0"
end

local function names_of(object)
  local names = {}
  for name in pairs(object.v) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function write(out, v, depth)
  local t = type(v)
  if t == "string" then
    out[#out + 1] = '"' .. escaped(v) .. '"'
  elseif t == "boolean" then
    out[#out + 1] = tostring(v)
  elseif t == "number" or v.k == "f" then
    out[#out + 1] = number_text(v)
  elseif v == NULL then
    out[#out + 1] = "null"
  elseif depth > DEPTH then
    fail(nil, "a value has more than " .. DEPTH .. " levels")
  elseif v.k == "a" then
    out[#out + 1] = "["
    for i = 1, v.n do
      if i > 1 then out[#out + 1] = "," end
      write(out, v[i], depth + 1)
    end
    out[#out + 1] = "]"
  else
    out[#out + 1] = "{"
    for i, name in ipairs(names_of(v)) do
      out[#out + 1] = (i > 1 and ',"' or '"') .. escaped(name) .. '":'
      write(out, v.v[name], depth + 1)
    end
    out[#out + 1] = "}"
  end
end

local function dump(v)
  local out = {}
  write(out, v, 0)
  local text = concat(out)
  charge(#text / 16)
  return text
end

local function text_of(v)
  local t = type(v)
  if t == "string" then return v end
  if t == "number" then return format("%d", v) end
  if v == NULL then return "" end
  return dump(v)
end

-- Values

local RANK = {n = 0, boolean = 1, number = 2, f = 2, o = 3, a = 4, string = 5}
local NAMES = {n = "null", f = "a number", o = "an object", a = "a list", string = "a string", boolean = "a truth value", number = "a number"}

local function kind(v)
  local t = type(v)
  return t == "table" and v.k or t
end

local function real(v)
  local t = type(v)
  if t == "number" then return v end
  return t == "table" and v.k == "f" and v.n or nil
end

local function float(n)
  if n ~= n or n == math.huge or n == -math.huge then fail(nil, "a number out of range") end
  return {k = "f", n = n}
end

local function whole(n)
  if n <= -SAFE or n >= SAFE or n ~= n then return float(n) end
  return n
end

local function truthy(v)
  local k = kind(v)
  if k == "boolean" then return v end
  if k == "string" then return v ~= "" end
  if k == "n" then return false end
  if k == "a" then return v.n > 0 end
  if k == "o" then return next(v.v) ~= nil end
  return real(v) ~= 0
end

local function compare(a, b)
  charge(1)
  local ka, kb = kind(a), kind(b)
  if RANK[ka] ~= RANK[kb] then return RANK[ka] - RANK[kb] end
  local x, y = real(a), real(b)
  if ka == "boolean" then x, y = a and 1 or 0, b and 1 or 0 elseif ka == "string" then x, y = a, b end
  if x then return x == y and 0 or (x < y and -1 or 1) end
  if ka == "a" then
    for i = 1, math.min(a.n, b.n) do
      local order = compare(a[i], b[i])
      if order ~= 0 then return order end
    end
    return a.n - b.n
  end
  if ka == "o" then
    local left, right = dump(a), dump(b)
    return left == right and 0 or (left < right and -1 or 1)
  end
  return 0
end

local function list(items)
  items.k, items.n = "a", #items
  return items
end

local function child(v, name)
  local k = kind(v)
  if k == "o" then return v.v[name] end
  if k == "a" and type(name) == "string" and find(name, "^%d+$") then return v[tonumber(name) + 1] end
  return nil
end

local function walk(v, path)
  for i = 1, #path do
    v = child(v, path[i])
    if v == nil then return nil end
  end
  return v
end

local function want(v, k, at, name)
  local found = kind(v)
  if k == "number" and found == "f" then return v.n end
  if found ~= k then fail(at, name .. " needs " .. NAMES[k] .. ", not " .. NAMES[found]) end
  return v
end

local function limited(s)
  if #s > BYTES then fail(nil, "the result has more than " .. BYTES .. " bytes") end
  return s
end

-- Base 64 (RFC 4648)

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local DIGIT = {}
for i = 1, 64 do DIGIT[byte(ALPHABET, i)] = i - 1 end

local function encode64(s, pad)
  local out = {}
  for i = 1, #s, 3 do
    local a, b, c = byte(s, i, i + 2)
    local n = a * 65536 + (b or 0) * 256 + (c or 0)
    local function digit(shift) local d = floor(n / shift) % 64 + 1 return sub(ALPHABET, d, d) end
    out[#out + 1] = digit(262144) .. digit(4096) .. (b and digit(64) or pad) .. (c and digit(1) or pad)
  end
  return concat(out)
end

-- What is not base 64 gives nothing.
local function decode64(s, padded)
  if padded and #s % 4 ~= 0 then return "" end
  s = gsub(s, "=?=$", "")
  if #s % 4 == 1 then return "" end
  local out = {}
  for i = 1, #s, 4 do
    local n, count = 0, 0
    for j = i, i + 3 do
      local c = byte(s, j)
      if c and not DIGIT[c] then return "" end
      if c then count = count + 1 end
      n = n * 64 + (c and DIGIT[c] or 0)
    end
    out[#out + 1] = sub(char(floor(n / 65536), floor(n / 256) % 256, n % 256), 1, count - 1)
  end
  return concat(out)
end

local entropy
local function random_text()
  entropy = entropy or io.open("/dev/urandom", "rb")
  local bytes = entropy and entropy:read(16)
  if not bytes then fail(nil, "there are no random numbers") end
  return encode64(bytes, "")
end

local function words(v)
  charge(1)
  local k = kind(v)
  if k == "number" or k == "f" or k == "boolean" then return 1 end
  local n = 0
  if k == "string" then
    for _ in v:gmatch("%S+") do n = n + 1 end
  elseif k == "a" then
    for i = 1, v.n do n = n + words(v[i]) end
  elseif k == "o" then
    for name, item in pairs(v.v) do n = n + words(name) + words(item) end
  end
  return n
end

local function replaced(s, from, to)
  if from == "" then return s end
  local count = select(2, gsub(s, gsub(from, "%W", "%%%0"), "%0"))
  if #s + count * (#to - #from) > BYTES then limited(string.rep(" ", BYTES + 1)) end
  return (gsub(s, gsub(from, "%W", "%%%0"), (gsub(to, "%%", "%%%%"))))
end

local function metadata_text(v)
  local function plain(it)
    local t = type(it)
    if t == "number" then return it == floor(it) and whole(it) or float(it) end
    if t ~= "table" then return it == nil and NULL or it end
    if #it > 0 then
      local out = {}
      for i = 1, #it do out[i] = plain(it[i]) end
      return list(out)
    end
    local values = {}
    for name, item in pairs(it) do values[tostring(name)] = plain(item) end
    return {k = "o", v = values}
  end
  if v == nil then return "" end
  local value = plain(v)
  return type(value) == "number" and value or text_of(value)
end

-- Functions and operators: each gets the state, where it stands, its name, and its values.

local function first_of(headers, name)
  return headers and headers:getAtIndex(name, 0) or ""
end

local function arithmetic(on_whole, on_real)
  return function(_, at, name, a, b)
    local x, y = want(a, "number", at, name), want(b, "number", at, name)
    if on_whole and type(a) == "number" and type(b) == "number" then return whole(on_whole(x, y)) end
    return float((on_real or on_whole)(x, y, at))
  end
end

local function integer(v, at, name)
  local n = want(v, "number", at, name)
  if n ~= floor(n) then fail(at, name .. " needs whole numbers") end
  return n
end

local function of_kind(test)
  return function(_, _, _, v) return test(kind(v), v) end
end

local function of_string(f)
  return function(_, at, name, v) return limited(f(want(v, "string", at, name))) end
end

local function extreme(sign)
  return function(_, at, name, v)
    want(v, "a", at, name)
    local best = v[1]
    for i = 2, v.n do
      if compare(v[i], best) * sign > 0 then best = v[i] end
    end
    return best
  end
end

local function holds(items, v)
  local k = kind(items)
  if k == "a" then
    for i = 1, items.n do if compare(items[i], v) == 0 then return true end end
    return false
  elseif k == "o" then
    for _, item in pairs(items.v) do if compare(item, v) == 0 then return true end end
    return false
  end
  return compare(items, v) == 0
end

local function remainder(a, b) return a - b * (a / b < 0 and math.ceil(a / b) or floor(a / b)) end

local F = {
  ["=="] = function(_, _, _, a, b) return compare(a, b) == 0 end,
  ["!="] = function(_, _, _, a, b) return compare(a, b) ~= 0 end,
  ["<"] = function(_, _, _, a, b) return compare(a, b) < 0 end,
  ["<="] = function(_, _, _, a, b) return compare(a, b) <= 0 end,
  [">"] = function(_, _, _, a, b) return compare(a, b) > 0 end,
  [">="] = function(_, _, _, a, b) return compare(a, b) >= 0 end,
  ["in"] = function(_, _, _, a, b) return holds(b, a) end,
  ["not"] = function(_, _, _, v) return not truthy(v) end,
  ["-"] = arithmetic(function(a, b) return a - b end),
  ["*"] = arithmetic(function(a, b) return a * b end),
  ["/"] = arithmetic(nil, function(a, b, at)
    if b == 0 then fail(at, "division by zero") end
    return a / b
  end),
  ["^"] = function(_, at, name, a, b)
    local n = want(a, "number", at, name) ^ integer(b, at, name)
    return type(a) == "number" and real(b) >= 0 and whole(n) or float(n)
  end,
  ["%"] = function(_, at, name, a, b)
    local x, y = integer(a, at, name), integer(b, at, name)
    if y == 0 then fail(at, "division by zero") end
    return whole(remainder(x, y))
  end,
  at = function(_, at, name, v, key)
    if kind(v) == "o" then return v.v[want(key, "string", at, name)] end
    return want(v, "a", at, name)[integer(key, at, name) + 1]
  end,
  ["."] = function(_, _, _, v, key) return child(v, key) end,
  base64_decode = of_string(function(s) return decode64(s, true) end),
  base64_encode = of_string(function(s) return encode64(s, "=") end),
  base64url_decode = of_string(function(s) return decode64((gsub(s, "[+/_-]", {["-"] = "+", ["_"] = "/", ["+"] = "!", ["/"] = "!"}))) end),
  base64url_encode = of_string(function(s) return (gsub(encode64(s, ""), "[+/]", {["+"] = "-", ["/"] = "_"})) end),
  body = function(S) return S.body end,
  capitalize = of_string(function(s) return sub(s, 1, 1):upper() .. sub(s, 2):lower() end),
  context = function(S) return S.json end,
  divisibleBy = function(_, at, name, a, b)
    local y = integer(b, at, name)
    return y ~= 0 and integer(a, at, name) % y == 0
  end,
  dynamic_metadata = function(S, at, name, key, namespace)
    local value = S.handle:streamInfo():dynamicMetadata():get(namespace and want(namespace, "string", at, name) or "io.solo.transformation")
    for part in want(key, "string", at, name):gmatch("[^:]+") do
      if type(value) ~= "table" then return "" end
      value = value[part]
    end
    return metadata_text(value)
  end,
  env = function(_, at, name, variable) return os.getenv(want(variable, "string", at, name)) or "" end,
  even = function(_, at, name, v) return integer(v, at, name) % 2 == 0 end,
  existsIn = function(_, at, name, v, key) return kind(v) == "o" and v.v[want(key, "string", at, name)] ~= nil end,
  first = function(_, at, name, v) return want(v, "a", at, name)[1] end,
  float = function(_, at, name, v)
    local n = real(v) or tonumber(want(v, "string", at, name):match("^%s*[-+]?%d*%.?%d+[%d.eE+-]*") or "")
    if not n then fail(at, "it is no number: " .. v) end
    return float(n)
  end,
  header = function(S, at, name, v) return first_of(S.headers, want(v, "string", at, name)) end,
  int = function(_, at, name, v)
    if real(v) then return whole(real(v) < 0 and math.ceil(real(v)) or floor(real(v))) end
    local n = tonumber(want(v, "string", at, name):match("^%s*[-+]?%d+") or "")
    if not n then fail(at, "it is no number: " .. v) end
    return whole(n)
  end,
  isArray = of_kind(function(k) return k == "a" end),
  isBoolean = of_kind(function(k) return k == "boolean" end),
  isFloat = of_kind(function(k, v) return k == "f" and not v.whole end),
  isInteger = of_kind(function(k, v) return k == "number" or k == "f" and v.whole == true end),
  isNumber = of_kind(function(k) return k == "number" or k == "f" end),
  isObject = of_kind(function(k) return k == "o" end),
  isString = of_kind(function(k) return k == "string" end),
  join = function(_, at, name, v, separator)
    local out = {}
    for i = 1, want(v, "a", at, name).n do out[i] = type(v[i]) == "string" and v[i] or dump(v[i]) end
    local between = want(separator, "string", at, name)
    if #out * #between > BYTES then limited(string.rep(" ", BYTES + 1)) end
    return limited(concat(out, between))
  end,
  last = function(_, at, name, v) return want(v, "a", at, name)[v.n] end,
  length = function(_, _, _, v)
    local k = kind(v)
    if k == "string" then return #v end
    if k == "a" then return v.n end
    if k == "o" then return #names_of(v) end
    return v == NULL and 0 or 1
  end,
  lower = of_string(string.lower),
  max = extreme(1),
  min = extreme(-1),
  odd = function(_, at, name, v) return integer(v, at, name) % 2 ~= 0 end,
  range = function(_, at, name, v)
    local n = integer(v, at, name)
    if n < 0 or n > STEPS then fail(at, "range needs a number from 0 to " .. STEPS) end
    charge(n)
    local out = {}
    for i = 1, n do out[i] = i - 1 end
    return list(out)
  end,
  raw_string = of_string(escaped),
  replace = function(_, at, name, s, from, to)
    return replaced(want(s, "string", at, name), want(from, "string", at, name), want(to, "string", at, name))
  end,
  replace_with_random = function(S, at, name, s, pattern)
    want(s, "string", at, name)
    S.random[want(pattern, "string", at, name)] = S.random[pattern] or random_text()
    return replaced(s, pattern, S.random[pattern])
  end,
  request_header = function(S, at, name, v) return first_of(S.request_headers, want(v, "string", at, name)) end,
  round = function(_, at, name, v, digits)
    local scale = 10 ^ integer(digits, at, name)
    local n = want(v, "number", at, name) * scale
    local rounded = (n < 0 and -floor(0.5 - n) or floor(n + 0.5)) / scale
    return digits == 0 and whole(rounded) or float(rounded)
  end,
  sort = function(_, at, name, v)
    local out = {}
    for i = 1, want(v, "a", at, name).n do out[i] = v[i] end
    table.sort(out, function(a, b) return compare(a, b) < 0 end)
    return list(out)
  end,
  substring = function(_, at, name, s, start, length)
    want(s, "string", at, name)
    if type(start) ~= "number" or length ~= nil and type(length) ~= "number" then return "" end
    if start < 0 or start >= #s then return "" end
    if not length or length <= 0 then length = #s end
    return sub(s, start + 1, start + length)
  end,
  trim = of_string(function(s) return s:match("^%s*(.-)%s*$") end),
  upper = of_string(string.upper),
  word_count = function(_, _, _, v) return words(v) end,
}

F["+"] = function(_, at, name, a, b)
  if type(a) == "string" and type(b) == "string" then return limited(a .. b) end
  return arithmetic(function(x, y) return x + y end)(nil, at, name, a, b)
end

-- Programs become closures, once for each VM.

local compile

-- The value, or an error that says which name there is not.
local function given(S, f)
  local v = f(S)
  if v == nil then fail(S.missing_at, "there is no " .. (S.missing or "such value")) end
  return v
end

local function compile_variable(at, name, path)
  return function(S)
    local v = walk(S.variables, path)
    if v == nil and kind(S.json) == "o" then v = walk(S.json, path) end
    if v == nil and name == "body" then v = S.body end
    if v == nil and name == "context" then v = S.json end
    if v == nil then S.missing_at, S.missing = at, name end
    return v
  end
end

local function compile_call(at, name, a, b, c)
  if name == "and" then return function(S) return truthy(given(S, a)) and truthy(given(S, b)) end end
  if name == "or" then return function(S) return truthy(given(S, a)) or truthy(given(S, b)) end end
  if name == "default" then
    return function(S)
      local v = a(S)
      if v == nil then return b(S) end
      return v
    end
  end
  if name == "exists" then
    return function(S)
      local path = {}
      for part in want(given(S, a), "string", at, name):gmatch("[^.]+") do path[#path + 1] = part end
      return kind(S.json) == "o" and walk(S.json, path) ~= nil
    end
  end
  local f = F[name]
  return function(S)
    local x, y, z
    if name == "." then x = a(S) else x = a and given(S, a) end
    y, z = b and given(S, b), c and given(S, c)
    if x == nil and a then return nil end
    local size = type(x) == "string" and #x / 64 or type(x) == "table" and x.n
    if size and x.k ~= "f" then charge(size) end
    local v
    if c then v = f(S, at, name, x, y, z) elseif b then v = f(S, at, name, x, y) else v = f(S, at, name, x) end
    if v == nil then S.missing_at, S.missing = at, name == "." and y or nil end
    return v
  end
end

local function expression(it)
  if it[1] == "l" then
    local value = it[2]
    return function() return value end
  end
  local path = {}
  if it[1] == "v" then
    for i = 1, it[4].n do path[i] = it[4][i] end
    return compile_variable(it[2], it[3], path)
  end
  return compile_call(it[2], it[3], it[4] and expression(it[4]), it[5] and expression(it[5]), it[6] and expression(it[6]))
end

local function put(S, s)
  S.size = S.size + #s
  if S.size > BYTES then fail(nil, "the result has more than " .. BYTES .. " bytes") end
  S.out[#S.out + 1] = s
end

local function loop_over(S, count, body)
  local variables = S.variables.v
  local parent = variables.loop
  for i = 1, count do
    charge(1)
    local loop = {index = i - 1, index1 = i, is_first = i == 1, is_last = i == count, parent = parent}
    variables.loop = {k = "o", v = loop}
    body(i)
  end
  variables.loop = parent
end

local STATEMENTS = {
  p = function(it)
    local f = expression(it[2])
    return function(S) put(S, text_of(given(S, f))) end
  end,
  i = function(it)
    local f, yes, no = expression(it[2]), compile(it[3]), compile(it[4])
    return function(S) if truthy(given(S, f)) then yes(S) else no(S) end end
  end,
  a = function(it)
    local at, name, f, body = it[2], it[3], expression(it[4]), compile(it[5])
    return function(S)
      local items = want(given(S, f), "a", at, "for")
      loop_over(S, items.n, function(i)
        S.variables.v[name] = items[i]
        body(S)
      end)
      S.variables.v[name] = nil
    end
  end,
  o = function(it)
    local at, key, name, f, body = it[2], it[3], it[4], expression(it[5]), compile(it[6])
    return function(S)
      local object = want(given(S, f), "o", at, "for")
      local names = names_of(object)
      loop_over(S, #names, function(i)
        S.variables.v[key], S.variables.v[name] = names[i], object.v[names[i]]
        body(S)
      end)
      S.variables.v[key], S.variables.v[name] = nil, nil
    end
  end,
  s = function(it)
    local path, f = it[2], expression(it[3])
    return function(S)
      local v, into = given(S, f), S.variables
      for i = 1, path.n - 1 do
        -- A copy: what it was taken from stays as it is.
        local inner, copy, n = into.v[path[i]], {}, 1
        for name, item in pairs(kind(inner) == "o" and inner.v or {}) do
          copy[name], n = item, n + 1
        end
        charge(n)
        into.v[path[i]] = {k = "o", v = copy, n = n}
        into = into.v[path[i]]
      end
      into.v[path[path.n]] = v
    end
  end,
}

function compile(nodes)
  local parts = {}
  for i = 1, nodes.n do
    local it = nodes[i]
    if type(it) == "string" then
      parts[i] = function(S) put(S, it) end
    else
      parts[i] = STATEMENTS[it[1]](it)
    end
  end
  return function(S)
    charge(1)
    for i = 1, #parts do parts[i](S) end
  end
end

local function compile_headers(entries)
  local out = {}
  for i = 1, entries.n do out[i] = {name = entries[i][1], template = compile(entries[i][2])} end
  return out
end

local function compile_program(text)
  local out = {body = false}
  for i, it in ipairs(json(text)) do
    local v = it.v
    out[i] = {set = compile_headers(v.set), add = compile_headers(v.add), remove = v.remove, json = v.json, body = v.body and compile(v.body)}
    out.body = out.body or v.buffer
    out.writes = out.writes or v.body ~= nil
  end
  return out
end

local cache, cached = {}, 0

local function program_of(text)
  local program = cache[text]
  if not program then
    if cached >= PROGRAMS then cache, cached = {}, 0 end
    program = compile_program(text)
    cache[text], cached = program, cached + 1
  end
  return program
end

-- Messages

local function render(S, template)
  S.out, S.size, S.variables = {}, 0, {k = "o", v = {}}
  template(S)
  return concat(S.out)
end

local LEGAL = {
  [":path"] = function(v) return find(v, "^/") and not find(v, "[%z\1-\32\127]") end,
  [":authority"] = function(v) return v ~= "" and not find(v, "[%z\1-\32\127/]") end,
  [":method"] = function(v, old) return find(v, "^[A-Z]+$") and (v == old or v ~= "CONNECT" and v ~= "HEAD") end,
  [":scheme"] = function(v) return v == "http" or v == "https" end,
  [":status"] = function(v, old) return find(v, "^[2-5]%d%d$") and (v == old or v ~= "204" and v ~= "304") end,
}

-- Renders the value of a header; what would break the message is an error.
local function header_value(S, entry)
  local ok, value = pcall(render, S, entry.template)
  local legal = LEGAL[entry.name]
  if ok and (find(value, "[%z\r\n]") or legal and not legal(value, S.headers:get(entry.name))) then
    ok, value = false, {message = "its value is not legal there"}
  end
  if not ok then
    if type(value) == "table" then value.where = value.where or "header " .. entry.name end
    error(value, 0)
  end
  return value
end

local function apply(S, program)
  left, S.random, S.json = STEPS, {}, NULL
  if program.json and S.body ~= "" then
    if (S.headers:get("content-encoding") or "identity") ~= "identity" then
      fail(nil, "the body is not JSON: it is compressed (content-encoding)")
    end
    S.json = json(S.body)
  end
  local body = S.body
  if program.body and S.writable then
    local ok, value = pcall(render, S, program.body)
    if not ok then
      if type(value) == "table" then value.where = "body" end
      error(value, 0)
    end
    body = value
  end
  local values = {}
  for i, entry in ipairs(program.set) do values[i] = header_value(S, entry) end
  for i, entry in ipairs(program.set) do
    if values[i] == "" then S.headers:remove(entry.name) else S.headers:replace(entry.name, values[i]) end
  end
  for i = 1, program.remove.n do S.headers:remove(program.remove[i]) end
  for _, entry in ipairs(program.add) do
    local value = header_value(S, entry)
    if value ~= "" then S.headers:add(entry.name, value) end
  end
  S.body = body
end

-- What Envoy gives is void once the script has waited for a body.
local function attach(S)
  S.headers = S.handle:headers()
  S.request_headers = S.side == "request" and S.headers or S.handle:requestHeaders()
end

-- Whether the message has a body that is a whole: not that of gRPC, nor of an upgraded connection, nor one that is only spoken of.
local function has_whole_body(S)
  local requested = S.request_headers
  local method = requested:get(":method")
  if find(requested:get("content-type") or "", "^application/grpc") or method == "CONNECT" then return false end
  if S.side == "response" then
    local status = S.headers:get(":status")
    return method ~= "HEAD" and status ~= "204" and status ~= "304" and not find(status, "^1")
  end
  local upgrades = requested:get("upgrade") and find((requested:get("connection") or ""):lower(), "upgrade", 1, true)
  return not upgrades
end

-- The answer where something cannot be transformed. The status of an error stays what it is.
local function refuse(S, problem)
  local message = "the transformation failed"
  local status = "500"
  if type(problem) == "table" then
    local place = (problem.where and problem.where .. ": " or "") .. (problem.at and problem.at .. ": " or "")
    message, status = "bad request: transformation: " .. place .. problem.message, "400"
  else
    S.handle:logErr("transformation: " .. tostring(problem))
  end
  if S.side == "response" and tonumber(S.headers:get(":status")) >= 400 then status = S.headers:get(":status") end
  if S.side == "request" then
    S.handle:streamInfo():dynamicMetadata():set(NAMESPACE, "refused", true)
    S.handle:respond({[":status"] = status, ["content-type"] = "text/plain"}, message)
    return
  end
  local speaks = S.request_headers:get(":method") ~= "HEAD"
  local body = speaks and S.handle:body(true)
  attach(S)
  S.headers:replace(":status", status)
  S.headers:remove("content-encoding")
  S.headers:remove("content-length")
  if speaks then
    S.headers:replace("content-type", "text/plain")
    S.headers:replace("content-length", tostring(body:setBytes(message)))
  end
end

local function run(handle, side)
  local text = handle:filterContext():get(side)
  if not text then return end
  if side == "response" then
    local own = handle:streamInfo():dynamicMetadata():get(NAMESPACE)
    if own and own.refused then return end
  end
  local S = {handle = handle, side = side, body = ""}
  attach(S)
  local program = program_of(text)
  local buffer
  if program.body then
    S.writable = has_whole_body(S)
    if S.writable then
      buffer = handle:body()
      attach(S)
      if buffer then S.body = buffer:getBytes(0, buffer:length()) end
    elseif program.writes and S.request_headers:get(":method") == "HEAD" then
      S.headers:remove("content-length")
    end
  end
  local ok, problem = pcall(function() for i = 1, #program do apply(S, program[i]) end end)
  if not ok then return refuse(S, problem) end
  if program.writes and S.writable and (buffer or S.body ~= "") then
    local length = (buffer or handle:body(true)):setBytes(S.body)
    S.headers:replace("content-length", tostring(length))
    if S.body == "" then S.headers:remove("content-type") end
  end
end

function envoy_on_request(handle) run(handle, "request") end
function envoy_on_response(handle) run(handle, "response") end
