-- unskew for HAProxy 2.5 and newer: picks the server of each request and makes its session record readable for it.
--
-- Loaded with `lua-load-per-thread`; the environment's UNSKEW_CONFIG and UNSKEW_LIBRARY say where things are. Three actions, `lua.unskew_begin`, `lua.unskew_place` and
-- `lua.unskew_answer`, decide; the filter `lua.unskew` lays the bodies that they made into the messages.
-- docs/gateways/haproxy.md has the configuration that this is used with.
--
-- An action and a filter of one stream see each other's values only by a table of the thread. The filter, which lives as
-- long as its stream, holds the entry; the table forgets it with the stream, and the exchange ends then.

local config, library = os.getenv("UNSKEW_CONFIG"), os.getenv("UNSKEW_LIBRARY")
if not config or not library then
  error("unskew: say `setenv UNSKEW_CONFIG` and `setenv UNSKEW_LIBRARY` before it, the paths of unskew.toml and libunskew.so")
end

local FORWARD, BODY, REFUSE = 0, 1, 2
local NOTHING, WHOLE, TOO_LONG = 0, 1, 2

local load, why = package.loadlib(library, "luaopen_unskew")
local unskew = load and load()
if not unskew then error("unskew: " .. (why or "this HAProxy has no Lua 5.3")) end
local ok, problems = unskew.open(config)
if not ok then error("unskew: " .. problems) end

-- In the process that serves, and not in the one that has read the configuration: threads do not outlive a fork.
core.register_task(function()
  local started, reason = unskew.start()
  if not started then core.Alert("unskew: " .. reason) end
end)

local entries = setmetatable({}, { __mode = "v" })
local last = 0

local function lines(headers)
  local out = {}
  for name, values in pairs(headers) do
    for index = 0, #values do
      if values[index] then out[#out + 1] = name .. ": " .. values[index] end
    end
  end
  return table.concat(out, "\n")
end

-- The header lines of an answer of the library's, as lists of values by name.
local function by_name(set)
  local found = {}
  for name, value in (set or ""):gmatch("([^:\r\n]+): ([^\r\n]*)\r\n") do
    found[name] = found[name] or {}
    table.insert(found[name], value)
  end
  return found
end

local function refuse(txn, status, set, body)
  local headers = by_name(set)
  headers["content-length"] = nil -- HAProxy writes it
  txn:done(txn:reply({ status = status, headers = headers, body = body or "" }))
end

-- The library itself has failed: nothing is forwarded that was not looked at.
local function broken(txn, message)
  core.Alert("unskew: " .. tostring(message))
  refuse(txn, 503, "content-type: application/problem+json\r\ncache-control: no-store\r\n",
    '{"type":"urn:unskew:problem:no-rules","title":"The gateway has no rules","status":503,"reason":"no-rules"}')
end

-- A body, if all of it is in the buffer: HAProxy cuts what is longer without a word, and a full buffer is how it shows.
local function whole(channel, body, length)
  length = tonumber(length)
  if length and length ~= #body then return TOO_LONG end
  if not length and not channel:may_recv() then return TOO_LONG end
  return #body > 0 and WHOLE or NOTHING
end

local function edit(http, del, add, remove, set, new)
  for name in (remove or ""):gmatch("([^\r\n]+)\r\n") do http[del](http, name) end
  for name, values in pairs(by_name(set)) do
    if name ~= "content-length" and name ~= "transfer-encoding" then
      http[del](http, name)
      for _, value in ipairs(values) do http[add](http, name, value) end
    end
  end
  if new then -- its length is told by chunks
    http[del](http, "content-length")
    http[del](http, "transfer-encoding")
    http[add](http, "transfer-encoding", "chunked")
  end
end

-- Looks at the head of a request. txn.unskew_wants says whether its body is wanted.
core.register_action("unskew_begin", { "http-req" }, function(txn)
  local entry = entries[txn:get_var("txn.unskew_id")]
  if not entry then return broken(txn, "no filter: say `filter lua.unskew` in the frontend") end
  local exchange, verdict = unskew.begin(txn.sf:method(), txn.sf:pathq(), lines(txn.http:req_get_headers()))
  if not exchange then return broken(txn, verdict) end
  entry.exchange, entry.wants = exchange, verdict == BODY
  txn:set_var("txn.unskew_wants", entry.wants)
end, 0)

-- Picks the server, and makes the record readable for it. txn.unskew_looks says whether the answer's body is wanted.
core.register_action("unskew_place", { "http-req" }, function(txn)
  local entry, http = entries[txn:get_var("txn.unskew_id")], txn.http
  if not entry or not entry.exchange then return broken(txn, "say `http-request lua.unskew_begin` before it") end
  local have, body = NOTHING, nil
  if entry.wants then
    body = txn.sf:req_body() or ""
    have = whole(txn.req, body, txn.sf:req_hdr("content-length"))
  end
  local verdict, status, _, looks, _, address, remove, set, new = entry.exchange:place(have, body)
  if not verdict then return broken(txn, status) end
  if verdict == REFUSE then return refuse(txn, status, set, new) end
  local host, port = address:match("^%[?([^%]]+)%]?:(%d+)$")
  txn:set_var("txn.unskew_host", host)
  txn:set_var("txn.unskew_port", tonumber(port))
  txn:set_var("txn.unskew_looks", looks)
  edit(http, "req_del_header", "req_add_header", remove, set, new)
  entry.request = new
end, 0)

-- Looks at an answer.
core.register_action("unskew_answer", { "http-res" }, function(txn)
  local entry = entries[txn:get_var("txn.unskew_id")]
  if not entry or not entry.exchange then return end
  local http = txn.http
  local code, length = txn.f:status(), txn.f:res_hdr("content-length")
  local verdict, status, _, _, limit, _, remove, set, new = entry.exchange:answer_head(code, lines(http:res_get_headers()))
  if not verdict then return broken(txn, status) end
  if verdict == REFUSE then return refuse(txn, status, set, new) end
  edit(http, "res_del_header", "res_add_header", remove, set)
  if verdict ~= BODY then return end
  local body = txn.f:res_body() or ""
  local have = whole(txn.res, body, length)
  if #body > limit then have = TOO_LONG end
  verdict, status, _, _, _, _, remove, set, new = entry.exchange:answer_body(have, body)
  if not verdict then return broken(txn, status) end
  if verdict == REFUSE then return refuse(txn, status, set, new) end
  if new == body then new = nil end
  edit(http, "res_del_header", "res_add_header", remove, set, new)
  entry.response = new
end, 0)

local Bodies = { id = "unskew", flags = filter.FLT_CFG_FL_HTX }
Bodies.__index = Bodies

function Bodies:new()
  return setmetatable({}, Bodies)
end

function Bodies:start_analyze(txn, channel)
  if not channel:is_resp() then
    last = last + 1
    self.entry = {}
    entries[last] = self.entry
    txn:set_var("txn.unskew_id", last)
  end
  filter.register_data_filter(self, channel)
end

function Bodies:http_payload(txn, message)
  local key = message:is_resp() and "response" or "request"
  local new = self.entry[key]
  local data = new and message:body()
  if data and #data > 0 then
    self.entry[key] = nil
    message:set(new, 0, #data)
  end
end

core.register_filter("unskew", Bodies, function(bodies) return bodies end)
