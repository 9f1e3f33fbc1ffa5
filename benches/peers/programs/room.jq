.joined_at_ms = .joined_at * 1000
| del(.joined_at)
| .participants[]? |= (
    .identity = .id
    | del(.id)
    | if .since then .since |= todate else . end
    | if .state then .state |= (if . == "idle" or . == "away" then "inactive" else "active" end) else . end)
| .meta = {v: "2024-06"}
