def rename(f; t): if has(f) then .[t] = .[f] | del(.[f]) else . end;
rename("sessionId"; "session_id")
| rename("projectId"; "project_id")
| if .createdAt then .createdAt *= 1000 else . end
| del(.legacyToken)
| .connections[]? |= (
    rename("connectionId"; "connection_id")
    | if .createdAt then .createdAt *= 1000 else . end
    | if has("capabilities") then . else .capabilities = ["publish", "subscribe"] end)
| .media = ((if has("mediaMode") then {mode: ({"routed": "sfu", "relayed": "p2p"}[.mediaMode] // .mediaMode)} else {} end)
    + {bitrate: 3000})
| .archive = ((if has("archiveMode") then {mode: .archiveMode} else {} end) + {resolution: "1280x720"})
| del(.mediaMode, .archiveMode)
| .schema = 2
