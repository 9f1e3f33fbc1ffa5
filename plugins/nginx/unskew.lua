-- unskew for nginx with lua-nginx-module: picks the server of each request and makes its session record readable for it.
--
-- Needs libunskew.so. docs/gateways/nginx.md has the configuration that this module is used with; each function here is
-- called from the phase of its name. An exchange lives in a table of the worker under the request's id, because `ngx.ctx`
-- does not outlive the redirect to an error page.

local ffi = require "ffi"

ffi.cdef [[
typedef struct unskew unskew;
typedef struct unskew_exchange unskew_exchange;
typedef struct unskew_bytes { const uint8_t *data; size_t len; } unskew_bytes;
typedef struct unskew_buffer { uint8_t *data; size_t len; } unskew_buffer;
typedef struct unskew_answer {
  uint32_t verdict; uint16_t status; bool holds; bool looks; size_t limit;
  unskew_bytes server; unskew_bytes address; unskew_bytes remove; unskew_bytes set; unskew_bytes body;
} unskew_answer;
uint32_t unskew_abi(void);
unskew_bytes unskew_last_error(void);
void unskew_free(unskew_buffer buffer);
unskew *unskew_open(unskew_bytes path, uint32_t surface);
uint32_t unskew_processes(const unskew *handle, size_t count);
uint32_t unskew_start(const unskew *handle);
uint32_t unskew_push(const unskew *handle, unskew_bytes pack);
uint32_t unskew_status(const unskew *handle, unskew_buffer *status);
unskew_exchange *unskew_begin(const unskew *handle, unskew_bytes method, unskew_bytes target, unskew_bytes headers, unskew_answer *answer);
uint32_t unskew_place(unskew_exchange *exchange, uint32_t have, unskew_bytes body, unskew_answer *answer);
uint32_t unskew_unreachable(unskew_exchange *exchange, unskew_answer *answer);
uint32_t unskew_failed(unskew_exchange *exchange, uint32_t fault, unskew_answer *answer);
uint32_t unskew_answer_head(unskew_exchange *exchange, uint16_t status, unskew_bytes headers, unskew_answer *answer);
uint32_t unskew_answer_body(unskew_exchange *exchange, uint32_t have, unskew_bytes body, unskew_answer *answer);
void unskew_end(unskew_exchange *exchange);
]]

local ABI = 1
local NGINX = 1
local FORWARD, BODY, REFUSE = 0, 1, 2
local NOTHING, WHOLE, TOO_LONG = 0, 1, 2
local TIMEOUT, BROKEN = 1, 2

-- Headers that nginx writes by itself: a body has its length from where it is.
local FRAMING = { ["content-length"] = true, ["transfer-encoding"] = true, ["connection"] = true, ["keep-alive"] = true }

local M = {}
local lib, handle
local exchanges = {}
local answer = ffi.new("unskew_answer")

-- The request's id, which `set` has fixed; `$request_id` itself is another at each look.
local function id()
  return ngx.var.unskew_id or ""
end

local function bytes(text)
  text = text or ""
  return ffi.new("unskew_bytes", { ffi.cast("const uint8_t *", text), #text })
end

local function text(from)
  if from.data == nil then return nil end
  return ffi.string(from.data, from.len)
end

local function last_error()
  return text(lib.unskew_last_error()) or "unskew: unknown error"
end

-- Opens the configuration; in init_by_lua. What can't be used stops nginx, and `nginx -t`, with every problem.
function M.open(config, library)
  lib = ffi.load(library or "libunskew.so")
  if lib.unskew_abi() ~= ABI then
    error("unskew: the library has another interface (" .. lib.unskew_abi() .. ") than this module (" .. ABI .. ")", 0)
  end
  handle = lib.unskew_open(bytes(config), NGINX)
  if handle == nil then error("unskew: " .. last_error(), 0) end
  if lib.unskew_processes(handle, ngx.worker.count()) ~= 0 then error("unskew: " .. last_error(), 0) end
end

-- Starts the sandbox and loads the pack; in init_worker_by_lua, because threads do not outlive a fork.
function M.start()
  if lib.unskew_start(handle) ~= 0 then ngx.log(ngx.ERR, "unskew: ", last_error()) end
end

-- What runs in this worker, as JSON.
function M.status()
  local buffer = ffi.new("unskew_buffer")
  if lib.unskew_status(handle, buffer) ~= 0 then return nil, last_error() end
  local status = ffi.string(buffer.data, buffer.len)
  lib.unskew_free(buffer)
  return status
end

-- Swaps a pack into this worker. True, or nil and every problem of the pack.
function M.push(pack)
  if lib.unskew_push(handle, bytes(pack)) ~= 0 then return nil, last_error() end
  return true
end

local function lines(headers)
  local out = {}
  for name, value in pairs(headers) do
    if type(value) == "table" then
      for _, one in ipairs(value) do out[#out + 1] = name .. ": " .. tostring(one) end
    else
      out[#out + 1] = name .. ": " .. (value == true and "" or tostring(value))
    end
  end
  return table.concat(out, "\n")
end

-- The header lines of an answer of the library's, as pairs; the value of a name that comes several times is a table.
local function pairs_of(set)
  local found, at = {}, {}
  for name, value in (set or ""):gmatch("([^:\r\n]+): ([^\r\n]*)\r\n") do
    local known = at[name]
    if not known then
      at[name] = { name, value }
      found[#found + 1] = at[name]
    elseif type(known[2]) == "table" then
      known[2][#known[2] + 1] = value
    else
      known[2] = { known[2], value }
    end
  end
  return found
end

-- What is to be done, copied out of the exchange, which holds it only until its next call.
local function taken()
  return {
    verdict = answer.verdict, status = answer.status, holds = answer.holds, limit = tonumber(answer.limit),
    address = text(answer.address), remove = text(answer.remove), set = pairs_of(text(answer.set)),
    body = text(answer.body),
  }
end

-- A failure of the library itself: nothing is forwarded that was not looked at.
local function broken(message)
  ngx.log(ngx.ERR, "unskew: ", message)
  return { verdict = REFUSE, status = 503, set = { { "content-type", "application/problem+json" }, { "cache-control", "no-store" } },
    body = '{"type":"urn:unskew:problem:no-rules","title":"The gateway has no rules","status":503,"reason":"no-rules"}' }
end

local function stepped(status)
  if status ~= 0 then return broken(last_error()) end
  return taken()
end

local function refuse(what)
  ngx.status = what.status
  for _, pair in ipairs(what.set) do ngx.header[pair[1]] = pair[2] end
  if ngx.req.get_method() ~= "HEAD" then ngx.print(what.body or "") end
  return ngx.exit(ngx.HTTP_OK)
end

-- The request's body, wherever nginx has put it: in memory, or in a file where it is longer than its buffer.
local function read_body(limit)
  local length = tonumber(ngx.var.http_content_length)
  if length and length > limit then return TOO_LONG, nil end
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  if body then
    if #body > limit then return TOO_LONG, nil end
    return WHOLE, body
  end
  local name = ngx.req.get_body_file()
  if not name then return NOTHING, nil end
  local file, why = io.open(name, "rb")
  if not file then return nil, why end
  body = file:read(limit + 1) or ""
  file:close()
  if #body > limit then return TOO_LONG, nil end
  return WHOLE, body
end

-- Puts the request as it came back, so that it can be made readable for another server.
local function restore(entry)
  for name, value in pairs(entry.original) do ngx.req.set_header(name, value) end
  if entry.changed then ngx.req.set_body_data(entry.body) end
  entry.original, entry.changed = {}, false
end

-- Makes the request what its server reads.
local function prepare(entry, what)
  entry.peer = what.address
  local headers = ngx.req.get_headers(0)
  for name in (what.remove or ""):gmatch("([^\r\n]+)\r\n") do
    if not FRAMING[name] then
      entry.original[name] = headers[name]
      ngx.req.clear_header(name)
    end
  end
  for _, pair in ipairs(what.set) do
    if not FRAMING[pair[1]] then
      entry.original[pair[1]] = headers[pair[1]] or {}
      ngx.req.set_header(pair[1], pair[2])
    end
  end
  if what.body then
    entry.changed = true
    ngx.req.set_body_data(what.body)
  end
end

-- Sends the request once as a subrequest, so that its answer is all here before the client gets the first byte.
local function captured(entry)
  local method = ngx["HTTP_" .. ngx.req.get_method()]
  if not method then return nil end
  entry.connected = false
  return ngx.location.capture("/.unskew", {
    method = method, always_forward_body = true, ctx = { unskew = entry }, vars = { unskew_target = ngx.var.request_uri },
  })
end

-- Whether the server took no connection: then nothing was sent.
local function unreached(res)
  return (res.status == 502 or res.status == 504) and res.header["Unskew-Connected"] == nil
end

-- Answers a request by subrequests: another server where one can't be reached, and the answer translated as a whole.
local function answer_captured(entry)
  while true do
    local res = captured(entry)
    if not res then
      lib.unskew_failed(entry.exchange, BROKEN, answer)
      return refuse(taken())
    end
    if unreached(res) then
      restore(entry)
      local what = stepped(lib.unskew_unreachable(entry.exchange, answer))
      if what.verdict == REFUSE then return refuse(what) end
      prepare(entry, what)
    else
      if res.truncated then
        lib.unskew_failed(entry.exchange, BROKEN, answer)
        return refuse(taken())
      end
      res.header["Unskew-Connected"] = nil
      local headers = lines(res.header)
      local what = stepped(lib.unskew_answer_head(entry.exchange, res.status, bytes(headers), answer))
      if what.verdict == REFUSE then return refuse(what) end
      ngx.status = res.status
      for name, value in pairs(res.header) do
        if not FRAMING[name:lower()] then ngx.header[name] = value end
      end
      local function edit()
        for name in (what.remove or ""):gmatch("([^\r\n]+)\r\n") do ngx.header[name] = nil end
        for _, pair in ipairs(what.set) do
          if not FRAMING[pair[1]] then ngx.header[pair[1]] = pair[2] end
        end
      end
      edit()
      local body = res.body
      if what.verdict == BODY then
        local have = #body > what.limit and TOO_LONG or WHOLE
        what = stepped(lib.unskew_answer_body(entry.exchange, have, bytes(body), answer))
        if what.verdict == REFUSE then
          for name in pairs(res.header) do ngx.header[name] = nil end
          return refuse(what)
        end
        edit()
        body = what.body or body
      end
      if res.status ~= 204 and res.status ~= 304 then
        ngx.header["Content-Length"] = #body
        ngx.print(body)
      end
      return ngx.exit(ngx.HTTP_OK)
    end
  end
end

-- Looks at the request and picks its server; in access_by_lua.
function M.access()
  if ngx.is_subrequest then return end
  local method, target, headers = ngx.req.get_method(), ngx.var.request_uri, lines(ngx.req.get_headers(0))
  local exchange = lib.unskew_begin(handle, bytes(method), bytes(target), bytes(headers), answer)
  if exchange == nil then return refuse(broken(last_error())) end
  local entry = { exchange = ffi.gc(exchange, lib.unskew_end), original = {} }
  exchanges[id()] = entry
  local have, body = NOTHING, nil
  if answer.verdict == BODY then
    have, body = read_body(tonumber(answer.limit))
    if not have then return refuse(broken("the request's body can't be read: " .. tostring(body))) end
    entry.body = body
  end
  local what = stepped(lib.unskew_place(exchange, have, bytes(body), answer))
  if what.verdict == REFUSE then return refuse(what) end
  prepare(entry, what)
  if what.holds then return answer_captured(entry) end
end

-- Sends the request to its server; in balancer_by_lua.
function M.balance()
  local balancer = require "ngx.balancer"
  local entry = ngx.ctx.unskew or exchanges[id()]
  if not entry then return ngx.exit(ngx.HTTP_SERVICE_UNAVAILABLE) end
  local ok, why = balancer.set_current_peer(entry.peer)
  if not ok then
    ngx.log(ngx.ERR, "unskew: ", why)
    return ngx.exit(ngx.HTTP_INTERNAL_SERVER_ERROR)
  end
end

-- What the server's failure is to the client: another server, or a problem document. In the location of error_page.
function M.failed()
  local entry = exchanges[id()]
  if not entry then return refuse(broken("an error page without an exchange")) end
  entry.failed = true
  local reached = (ngx.var.upstream_connect_time or "-"):match("%d") ~= nil
  if not reached then
    restore(entry)
    local what = stepped(lib.unskew_unreachable(entry.exchange, answer))
    if what.verdict == REFUSE then return refuse(what) end
    prepare(entry, what)
    return answer_captured(entry)
  end
  local fault = ngx.status == 504 and TIMEOUT or BROKEN
  return refuse(stepped(lib.unskew_failed(entry.exchange, fault, answer)))
end

-- Looks at the head of an answer; in header_filter_by_lua.
function M.header()
  if ngx.is_subrequest then
    -- A server's own 502 is told from nginx's by this: there was a connection.
    if (ngx.var.upstream_connect_time or "-"):match("%d") then ngx.header["Unskew-Connected"] = "1" end
    return
  end
  local entry = exchanges[id()]
  if not entry or not ngx.var.upstream_status or entry.failed then return end
  local headers = lines(ngx.resp.get_headers(0))
  local what = stepped(lib.unskew_answer_head(entry.exchange, ngx.status, bytes(headers), answer))
  if what.verdict == REFUSE then
    for name in pairs(ngx.resp.get_headers(0)) do ngx.header[name] = nil end
    ngx.status = what.status
    entry.instead = what.body or ""
  end
  for name in (what.remove or ""):gmatch("([^\r\n]+)\r\n") do ngx.header[name] = nil end
  for _, pair in ipairs(what.set) do
    if pair[1] ~= "content-length" then ngx.header[pair[1]] = pair[2] end
  end
  if entry.instead then ngx.header["Content-Length"] = #entry.instead end
  if what.verdict == BODY then entry.pieces, entry.limit, entry.read = {}, what.limit, 0 end
end

-- Looks at the body of an answer that passes, for a session id in it; in body_filter_by_lua.
function M.body()
  local entry = not ngx.is_subrequest and exchanges[id()]
  if not entry then return end
  if entry.instead then
    ngx.arg[1], ngx.arg[2] = entry.instead, true
    entry.instead = ""
    return
  end
  if not entry.pieces then return end
  local piece = ngx.arg[1]
  if piece and piece ~= "" then
    entry.read = entry.read + #piece
    if entry.read <= entry.limit then entry.pieces[#entry.pieces + 1] = piece end
  end
  if ngx.arg[2] then
    local have = entry.read > entry.limit and TOO_LONG or WHOLE
    stepped(lib.unskew_answer_body(entry.exchange, have, bytes(table.concat(entry.pieces)), answer))
    entry.pieces = nil
  end
end

-- Ends the exchange; in log_by_lua.
function M.log()
  local entry = not ngx.is_subrequest and exchanges[id()]
  if entry then
    exchanges[id()] = nil
    lib.unskew_end(ffi.gc(entry.exchange, nil))
  end
end

return M
