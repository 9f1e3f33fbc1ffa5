#!/usr/bin/env python3
"""Writes the session records of this folder: OpenTok-like sessions of both versions at about 0.4, 0.7, 4 and 64 KiB.

The output is committed; run this only to change it: python3 testdata/records/generate.py
The same seed gives the same bytes. Version 2 holds what version 1 cannot (bitrates, capabilities, milliseconds),
and version 1 what version 2 dropped (the legacy token), so every record has something to carry.
"""

import base64
import json
import pathlib
import random

HERE = pathlib.Path(__file__).parent
NAMES = ["Zoë Krüger", "李小龍", "Ada Lovelace", "José Ñandú", "Ирина", "Sam O'Neil", "Søren Å", "نور", "Mia 🎧", "Bob"]
# size name, connections, members of free data
SIZES = [("0.4k", 0, 0), ("0.7k", 2, 0), ("4k", 21, 1), ("64k", 345, 6)]


def connection(rng, version, n):
    """One client of the session."""
    uuid = "%08x-%04x-4%03x-a%03x-%012x" % tuple(rng.getrandbits(b) for b in (32, 16, 12, 12, 48))
    joined = 1487880541_000 + n * 1730 + rng.randrange(1000)
    out = {"connectionId" if version == 1 else "connection_id": uuid}
    out["createdAt"] = joined // 1000 if version == 1 else joined
    out["role"] = rng.choice(["publisher", "subscriber", "moderator"])
    out["data"] = json.dumps({"user": NAMES[n % len(NAMES)], "seat": n}, ensure_ascii=n % 3 == 0)
    if version == 2:
        out["capabilities"] = rng.choice([["publish", "subscribe"], ["subscribe"], ["publish", "subscribe", "moderate"]])
    return out


def session(version, connections, extra):
    """One session as its servers write it."""
    rng = random.Random(20170223)  # the same session in both versions
    token = base64.b64encode(rng.randbytes(60)).decode()
    ident = "2_MX40NTgyODA2Mn5-MTQ4Nzg4MDU0MDQ0M35" + base64.urlsafe_b64encode(rng.randbytes(12)).decode().rstrip("=")
    free = {"host": "Zoë Krüger", "purpose": "Dienstagsrunde", "e2ee": False}
    free |= {f"note{i}": {"text": f"Raum {i} – “offen”", "weight": 1.50, "big": 9007199254740993 + i, "flags": [True, None]}
             for i in range(extra)}
    people = [connection(random.Random(n), version, n) for n in range(connections)]
    if version == 1:
        return {"sessionId": ident, "projectId": "45828062", "createdAt": 1487880540, "name": "Sprechstunde Zürich",
                "mediaMode": "routed", "archiveMode": "manual", "location": "198.51.100.17", "legacyToken": "T1==" + token,
                "data": free, "connections": people}
    return {"session_id": ident, "project_id": "45828062", "createdAt": 1487880540443, "name": "Sprechstunde Zürich",
            "location": "198.51.100.17", "data": free, "connections": people,
            "media": {"mode": "sfu", "bitrate": 4500},
            "archive": {"mode": "manual", "resolution": "1920x1080"}, "schema": 2}


for version in (1, 2):
    for name, connections, extra in SIZES:
        text = json.dumps(session(version, connections, extra), ensure_ascii=False, separators=(",", ":"))
        (HERE / f"opentok-v{version}-{name}.json").write_bytes(text.encode())
pretty = json.dumps(session(2, 2, 1), ensure_ascii=False, indent=2) + "\n"
(HERE / "opentok-v2-pretty.json").write_bytes(pretty.encode())
