-- The edit of the incident's pack, version 1 to 2, on a tree, as a Lua filter of Envoy has to do it: Envoy brings no JSON.
local escapes = { ['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', f = '\f', n = '\n', r = '\r', t = '\t' }
local array, object, null = {}, {}, {}
local value

local function letter(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xc0 + math.floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return string.char(0xe0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return string.char(0xf0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function text(s, at)
  local parts, from = {}, at + 1
  while true do
    local stop = s:find('["\\]', from)
    if not stop then error('a string has no end') end
    parts[#parts + 1] = s:sub(from, stop - 1)
    if s:sub(stop, stop) == '"' then return table.concat(parts), stop + 1 end
    local escape = s:sub(stop + 1, stop + 1)
    from = stop + 2
    if escape == 'u' then
      local code = tonumber(s:sub(from, from + 3), 16)
      from = from + 4
      if code >= 0xd800 and code < 0xdc00 and s:sub(from, from + 1) == '\\u' then
        code = 0x10000 + (code - 0xd800) * 1024 + tonumber(s:sub(from + 2, from + 5), 16) - 0xdc00
        from = from + 6
      end
      parts[#parts + 1] = letter(code)
    else
      parts[#parts + 1] = escapes[escape] or error('an escape is none')
    end
  end
end

local function members(s, at, close, read)
  at = s:find('%S', at + 1)
  if s:sub(at, at) == close then return at + 1 end
  while true do
    at = s:find('%S', read(at))
    local mark = s:sub(at, at)
    if mark == close then return at + 1 end
    if mark ~= ',' then error('a comma is missing') end
    at = s:find('%S', at + 1)
  end
end

-- Numbers stay as they are written: 2^53 + 1 has no place in a double.
function value(s, at)
  local mark = s:sub(at, at)
  if mark == '"' then return text(s, at) end
  if mark == '{' then
    local tree = setmetatable({}, object)
    return tree, members(s, at, '}', function(from)
      local key, colon = text(s, from)
      colon = s:find('%S', colon)
      tree[key], from = value(s, s:find('%S', colon + 1))
      return from
    end)
  end
  if mark == '[' then
    local list = setmetatable({}, array)
    return list, members(s, at, ']', function(from)
      list[#list + 1], from = value(s, from)
      return from
    end)
  end
  if s:sub(at, at + 3) == 'true' then return true, at + 4 end
  if s:sub(at, at + 4) == 'false' then return false, at + 5 end
  if s:sub(at, at + 3) == 'null' then return null, at + 4 end
  local from, to = s:find('^-?%d+%.?%d*[eE]?[+-]?%d*', at)
  return { number = s:sub(from, to) }, to + 1
end

local quoted = { ['"'] = '\\"', ['\\'] = '\\\\', ['\b'] = '\\b', ['\f'] = '\\f', ['\n'] = '\\n', ['\r'] = '\\r', ['\t'] = '\\t' }

local function quote(s)
  return '"' .. s:gsub('[%c"\\]', function(c) return quoted[c] or string.format('\\u%04x', c:byte()) end) .. '"'
end

local function write(tree, parts)
  local kind = getmetatable(tree)
  if type(tree) == 'string' then parts[#parts + 1] = quote(tree)
  elseif type(tree) == 'boolean' then parts[#parts + 1] = tostring(tree)
  elseif tree == null then parts[#parts + 1] = 'null'
  elseif kind == array then
    parts[#parts + 1] = '['
    for at, element in ipairs(tree) do
      if at > 1 then parts[#parts + 1] = ',' end
      write(element, parts)
    end
    parts[#parts + 1] = ']'
  elseif kind == object then
    local more = '{'
    for key, member in pairs(tree) do
      parts[#parts + 1] = more .. quote(key) .. ':'
      write(member, parts)
      more = ','
    end
    parts[#parts + 1] = more == '{' and '{}' or '}'
  else parts[#parts + 1] = tree.number end
end

local function number(n) return { number = string.format('%d', n) } end

local function edit(session)
  session.session_id, session.sessionId = session.sessionId, nil
  session.project_id, session.projectId = session.projectId, nil
  session.createdAt = number(tonumber(session.createdAt.number) * 1000)
  session.legacyToken = nil
  for _, connection in ipairs(session.connections) do
    connection.connection_id, connection.connectionId = connection.connectionId, nil
    connection.createdAt = number(tonumber(connection.createdAt.number) * 1000)
    if connection.capabilities == nil then
      connection.capabilities = setmetatable({ 'publish', 'subscribe' }, array)
    end
  end
  local mode = session.mediaMode
  session.media = setmetatable({ mode = mode == 'routed' and 'sfu' or mode == 'relayed' and 'p2p' or mode, bitrate = number(3000) }, object)
  session.archive = setmetatable({ mode = session.archiveMode, resolution = '1280x720' }, object)
  session.mediaMode, session.archiveMode = nil, nil
  session.schema = number(2)
end

function envoy_on_request(handle)
  local body = handle:body()
  if body == nil then return end
  local session = value(body:getBytes(0, body:length()), 1)
  edit(session)
  local parts = {}
  write(session, parts)
  handle:headers():replace('content-length', tostring(body:setBytes(table.concat(parts))))
end
