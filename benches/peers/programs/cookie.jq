.principal = ((if has("user") then {id: .user} else {} end) + {roles: [], kind: "person"})
| del(.user, .flash)
| .cookie |= (if has("httpOnly") then .http_only = .httpOnly | del(.httpOnly) else . end)
