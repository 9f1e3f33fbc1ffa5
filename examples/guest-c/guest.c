// A guest in C: two versions of a room's record, written by hand against wit/compat.wit, without a library.
//
//     version 1   {"room":"lobby", ...}
//     version 2   {"room_id":"lobby", ..., "schema":2}
//
// Of the pack it reads the name and the revision; what it does stands here. It walks the members of the record's root and
// copies every byte that it has nothing to say about. Build it and load it as docs/guests.md says.

#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

// The canonical ABI lays records out as C does on wasm32: a list or a string is a pointer and a length, a variant a tag
// of one byte and its payload, each aligned to its own size.
typedef struct { const u8 *at; u32 length; } text;
typedef struct { text name; u64 revision; const void *versions; u32 version_count;
                 struct { u8 carry; text carry_member; u32 max_bytes, max_depth; u8 unknown_version, opaque; } policy; } manifest;
typedef struct { text id; const u16 *reads; u32 read_count; u64 digest; } version_info;
typedef struct { u8 kind; text op, place, expected, found; } fault;
typedef struct { u16 version; u8 carries; } detection;
typedef struct { text record, carry; u32 counts[6]; } translation;
typedef struct { u16 found; struct { u8 is_some; translation it; } changed; } normalized;
typedef struct { u8 fidelity; text reason; } verdict;
typedef struct { text op, place; u8 has_before; text before; u8 has_after; text after; text effect, outcome; } change;

enum { OK, ERR };
enum { NOT_JSON = 0, UNKNOWN_VERSION = 5, WRONG_VERSION = 7 }; // fault-kind
enum { NATIVE = 0, EXACT = 1 };                                // fidelity
enum { CARRY_NONE = 2, REFUSE = 1 };                           // carry-place, outlook

#define TEXT(literal) ((text){(const u8 *)(literal), sizeof(literal) - 1})
#define EXPORT(name) __attribute__((export_name(name)))
#define RULES "unskew:compat/rules@0.1.0#"

// Room for arguments and answers. The host reads an answer before it calls again, so the room is free with the next call.
extern u8 __heap_base;
static u8 *top;
static int done = 1;

static u8 *room(u32 bytes) {
    if (done) { top = &__heap_base; done = 0; }
    u8 *at = (u8 *)(((u32)top + 7) & ~7u);
    top = at + bytes;
    u32 pages = __builtin_wasm_memory_size(0), wanted = ((u32)top + 65535) >> 16;
    if (wanted > pages && __builtin_wasm_memory_grow(0, wanted - pages) == (u32)-1) __builtin_trap();
    return at;
}

EXPORT("cabi_realloc") void *cabi_realloc(void *old, u32 had, u32 align, u32 wanted) {
    (void)align;
    u8 *new = room(wanted);
    for (u32 i = 0; i < had && i < wanted; i++) new[i] = ((u8 *)old)[i];
    return new;
}

static int same(text a, text b) {
    if (a.length != b.length) return 0;
    for (u32 i = 0; i < a.length; i++) if (a.at[i] != b.at[i]) return 0;
    return 1;
}

// The members of an object, one after the other.
typedef struct { const u8 *at, *end; int broken, first; } walk;
typedef struct { text key, value; const u8 *start; } member; // key with its quotes

static void blank(walk *w) {
    while (w->at < w->end && (*w->at == ' ' || *w->at == '\t' || *w->at == '\n' || *w->at == '\r')) w->at++;
}

static int take(walk *w, u8 byte) {
    blank(w);
    if (w->at >= w->end || *w->at != byte) return 0;
    w->at++;
    return 1;
}

static text string(walk *w) {
    const u8 *start = w->at;
    if (!take(w, '"')) { w->broken = 1; return (text){start, 0}; }
    start = w->at - 1;
    while (w->at < w->end && *w->at != '"') w->at += *w->at == '\\' ? 2 : 1;
    if (w->at >= w->end) w->broken = 1; else w->at++;
    return (text){start, (u32)(w->at - start)};
}

static text value(walk *w) {
    blank(w);
    const u8 *start = w->at;
    int depth = 0;
    while (w->at < w->end && !w->broken) {
        u8 byte = *w->at;
        if (byte == '"') { string(w); }
        else if (byte == '{' || byte == '[') { depth++; w->at++; }
        else if ((byte == '}' || byte == ']') && depth > 0) { depth--; w->at++; }
        else if (depth == 0 && (byte == ',' || byte == '}' || byte == ']')) break;
        else w->at++;
        if (depth == 0 && (byte == '"' || byte == '}' || byte == ']')) break;
    }
    if (depth > 0 || w->at == start) w->broken = 1;
    const u8 *end = w->at;
    while (end > start && (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\r' || end[-1] == '\t')) end--;
    return (text){start, (u32)(end - start)};
}

static walk begin(text object) {
    walk w = {object.at, object.at + object.length, 0, 1};
    if (!take(&w, '{')) w.broken = 1;
    return w;
}

static int next(walk *w, member *found) {
    if (w->broken) return 0;
    if (take(w, '}')) { blank(w); if (w->at != w->end) w->broken = 1; return 0; }
    if (!w->first && !take(w, ',')) { w->broken = 1; return 0; }
    w->first = 0;
    blank(w);
    found->start = w->at;
    found->key = string(w);
    if (!take(w, ':')) w->broken = 1;
    found->value = value(w);
    return !w->broken;
}

static text kept_name;
static u8 name_room[256];
static u64 revision;
static const u16 reads[2] = {0, 1};
static const version_info versions[2] = {{{(const u8 *)"1", 1}, reads, 1, 1}, {{(const u8 *)"2", 1}, reads + 1, 1, 2}};

EXPORT(RULES "load") void *load(const u8 *pack, u32 length) {
    static struct { u8 tag; union { manifest ok; text err; } as; } answer;
    walk w = begin((text){pack, length});
    kept_name = (text){name_room, 0};
    revision = 0;
    for (member m; next(&w, &m);) {
        if (same(m.key, TEXT("\"name\"")))
            for (u32 i = 1; i + 1 < m.value.length && i <= sizeof name_room; i++) name_room[kept_name.length++] = m.value.at[i];
        if (same(m.key, TEXT("\"revision\"")))
            for (u32 i = 0; i < m.value.length; i++) revision = revision * 10 + (m.value.at[i] - '0');
    }
    answer.tag = OK;
    answer.as.ok = (manifest){kept_name, revision, versions, 2, {CARRY_NONE, TEXT("_unskew"), 1 << 20, 64, REFUSE, REFUSE}};
    done = 1;
    return &answer;
}

EXPORT(RULES "test") void *test(void) {
    static struct { const void *at; u32 length; } none;
    done = 1;
    return &none;
}

// The version of a record, or the kind of fault as a negative number less one.
static int version(text record) {
    walk w = begin(record);
    int found = 0;
    for (member m; next(&w, &m);)
        if (same(m.key, TEXT("\"schema\""))) found = same(m.value, TEXT("2")) ? 1 : -1 - UNKNOWN_VERSION;
    return w.broken ? -1 - NOT_JSON : found;
}

static fault refusal(int kind) {
    return (fault){(u8)kind, TEXT(""), TEXT(""), TEXT("a room's record of version 1 or 2"), TEXT("")};
}

EXPORT(RULES "detect") void *detect(const u8 *at, u32 length) {
    static struct { u8 tag; union { detection ok; fault err; } as; } answer;
    int found = version((text){at, length});
    answer.tag = found < 0 ? ERR : OK;
    if (found < 0) answer.as.err = refusal(-1 - found); else answer.as.ok = (detection){(u16)found, 0};
    done = 1;
    return &answer;
}

static u8 *put(u8 *to, text what) {
    for (u32 i = 0; i < what.length; i++) *to++ = what.at[i];
    return to;
}

// The record in the other version; every member that is not ours is copied as it stands.
static translation written(text record, u16 target) {
    u8 *start = room(record.length + 32), *to = start;
    walk w = begin(record);
    int any = 0;
    *to++ = '{';
    for (member m; next(&w, &m);) {
        if (target == 0 && same(m.key, TEXT("\"schema\""))) continue;
        if (any++) *to++ = ',';
        text from = target ? TEXT("\"room\"") : TEXT("\"room_id\""), now = target ? TEXT("\"room_id\"") : TEXT("\"room\"");
        if (same(m.key, from)) { to = put(to, now); *to++ = ':'; to = put(to, m.value); }
        else to = put(to, (text){m.start, (u32)(m.value.at + m.value.length - m.start)});
    }
    if (target == 1) to = put(to, any ? TEXT(",\"schema\":2") : TEXT("\"schema\":2"));
    *to++ = '}';
    return (translation){{start, (u32)(to - start)}, {start, 0}, {0}};
}

EXPORT(RULES "translate") void *translate(const u8 *at, u32 length, const u8 *carry, u32 carried, u32 origin, u32 target) {
    static struct { u8 tag; union { translation ok; fault err; } as; } answer;
    (void)carry, (void)carried;
    text record = {at, length};
    int found = version(record);
    answer.tag = found < 0 || found != (int)origin ? ERR : OK;
    if (answer.tag == ERR) answer.as.err = refusal(found < 0 ? -1 - found : WRONG_VERSION);
    else if (origin == target) answer.as.ok = (translation){record, {at, 0}, {0}};
    else answer.as.ok = written(record, (u16)target);
    done = 1;
    return &answer;
}

EXPORT(RULES "normalize") void *normalize(const u8 *at, u32 length, const u8 *carry, u32 carried, u32 target) {
    static struct { u8 tag; union { normalized ok; fault err; } as; } answer;
    (void)carry, (void)carried;
    text record = {at, length};
    int found = version(record);
    answer.tag = found < 0 ? ERR : OK;
    if (found < 0) answer.as.err = refusal(-1 - found);
    else {
        answer.as.ok.found = (u16)found;
        answer.as.ok.changed.is_some = found != (int)target;
        if (answer.as.ok.changed.is_some) answer.as.ok.changed.it = written(record, (u16)target);
    }
    done = 1;
    return &answer;
}

EXPORT(RULES "judge") void *judge(u32 held, u32 server) {
    static verdict answer;
    answer = held == server ? (verdict){NATIVE, TEXT("")} : (verdict){EXACT, TEXT("room is renamed, schema is stamped")};
    done = 1;
    return &answer;
}

EXPORT(RULES "explain") void *explain(const u8 *at, u32 length, const u8 *carry, u32 carried, u32 origin, u32 target) {
    static struct { u8 tag; union { struct { const change *at; u32 length; } ok; fault err; } as; } answer;
    static change changes[1];
    (void)carry, (void)carried;
    int found = version((text){at, length});
    answer.tag = found < 0 || found != (int)origin ? ERR : OK;
    if (answer.tag == ERR) answer.as.err = refusal(found < 0 ? -1 - found : WRONG_VERSION);
    else {
        changes[0] = (change){TEXT("room"), target ? TEXT("/room_id") : TEXT("/room"), 0, TEXT(""), 0, TEXT(""), TEXT("moved"), TEXT("changed")};
        answer.as.ok.at = changes;
        answer.as.ok.length = origin != target;
    }
    done = 1;
    return &answer;
}
