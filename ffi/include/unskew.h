// libunskew: sessions over servers of different versions, for gateways written in C or in what calls C.
//
// Every function may be called from every thread, and none lets a panic or a trap out. A handle may be opened before a
// fork: sandbox and threads begin with the first call in a process, and what was begun before a fork is refused after it.
//
// Texts are UTF-8 and need no terminating zero. A pointer that is handed in is read during the call and not kept.
// What is answered as `unskew_buffer` belongs to the caller, who gives it back with `unskew_free`. What is answered as
// `unskew_bytes` belongs to its exchange, and holds until the next call with it.
//
// Generated from ffi/src by cbindgen; do not edit.

#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// What is to be done.
enum unskew_verdict
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Go on: with the request to `server`, or with the answer to the client.
  UNSKEW_VERDICT_FORWARD = 0,
  // Hand over the body first, with the next step; one that is longer than `limit` need not be read any further.
  UNSKEW_VERDICT_BODY = 1,
  // Answer the client with `status`, the lines of `set` and `body`, and end the exchange.
  UNSKEW_VERDICT_REFUSE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unskew_verdict unskew_verdict;
#else
typedef uint32_t unskew_verdict;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What became of a call. `unskew_last_error` says more.
enum unskew_code
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done.
  UNSKEW_CODE_OK = 0,
  // The record can't be read or translated; it is the record's fault, and says where.
  UNSKEW_CODE_FAULT = 1,
  // There are no rules.
  UNSKEW_CODE_NO_RULES = 2,
  // The guest failed: it trapped, or spent its budget.
  UNSKEW_CODE_GUEST = 3,
  // An argument, a configuration or a pack can't be used.
  UNSKEW_CODE_INPUT = 4,
  // The library itself failed.
  UNSKEW_CODE_INTERNAL = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unskew_code unskew_code;
#else
typedef uint32_t unskew_code;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where requests and answers are read and written: what a surface can't do is refused by `unskew_open`.
enum unskew_surface
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // A program of one's own, in one process.
  UNSKEW_SURFACE_LIBRARY = 0,
  // nginx: several processes that share no memory.
  UNSKEW_SURFACE_NGINX = 1,
  // HAProxy.
  UNSKEW_SURFACE_HAPROXY = 2,
  // Envoy.
  UNSKEW_SURFACE_ENVOY = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unskew_surface unskew_surface;
#else
typedef uint32_t unskew_surface;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How the sandbox notices that a guest does what it must not.
enum unskew_traps
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // By signals (SIGSEGV, SIGILL, SIGFPE); what is not a guest's goes to the handler before.
  UNSKEW_TRAPS_SIGNALS = 0,
  // By checks in the guest's code: slower, for programs that want their signals to themselves.
  UNSKEW_TRAPS_CHECKS = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unskew_traps unskew_traps;
#else
typedef uint32_t unskew_traps;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What is in `body` of a step.
enum unskew_have
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // There is none, or it wasn't wanted.
  UNSKEW_HAVE_NOTHING = 0,
  // All of it.
  UNSKEW_HAVE_WHOLE = 1,
  // There is more of it than was wanted, or not all of it is to be had.
  UNSKEW_HAVE_TOO_LONG = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unskew_have unskew_have;
#else
typedef uint32_t unskew_have;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a server failed a request.
enum unskew_fault
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It took no connection.
  UNSKEW_FAULT_UNREACHABLE = 0,
  // It took too long.
  UNSKEW_FAULT_TIMEOUT = 1,
  // Its answer broke off or made no sense.
  UNSKEW_FAULT_BROKEN_ANSWER = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unskew_fault unskew_fault;
#else
typedef uint32_t unskew_fault;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// One request on its way. Calls with one exchange come one after the other, on whatever thread.
typedef struct unskew_exchange unskew_exchange;

// A configuration that is open.
typedef struct unskew unskew;

// Bytes of somebody else's. `data` may be null where `len` is 0.
typedef struct unskew_bytes {
  const uint8_t *data;
  size_t len;
} unskew_bytes;

// Bytes that belong to the caller, who gives them back with `unskew_free`.
typedef struct unskew_buffer {
  uint8_t *data;
  size_t len;
} unskew_buffer;

// What is to be done, and what is changed on the way.
typedef struct unskew_answer {
  unskew_verdict verdict;
  // Of a refusal.
  uint16_t status;
  // Of `unskew_place`: whether the head of the answer waits for its body, because its record is translated.
  bool holds;
  // Of `unskew_place`: whether the body of the answer will be asked for.
  bool looks;
  // The longest body that is wanted.
  size_t limit;
  // The server's name.
  struct unskew_bytes server;
  // Where it listens, as `ip:port`.
  struct unskew_bytes address;
  // Headers that go, with all their values: a name a line, each ended by CR LF.
  struct unskew_bytes remove;
  // Headers that come, in place of all of their name: lines like `name: value`, each ended by CR LF.
  struct unskew_bytes set;
  // Another body, whose length stands in `set`. Its `data` is null where the body stays as it is.
  struct unskew_bytes body;
} unskew_answer;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// What the last call of this thread that failed has to say; empty if none did. It holds until the thread's next call.
struct unskew_bytes unskew_last_error(void);

// Gives back what a call has answered; null is allowed.
//
// # Safety
// `buffer` is one that a function of this library has answered, and is given back once.
void unskew_free(struct unskew_buffer buffer);

// Begins an exchange. `target` is path and query as they stand in the request, `headers` lines like `name: value`, ended
// by LF or CR LF. The verdict is `FORWARD` or `BODY`: `unskew_place` comes next in both cases. Null where the handle can't
// be used: then the request can't be served, unless the program says otherwise.
//
// # Safety
// `handle` is open and stays so until the exchange has ended, the texts can be read, `answer` can be written to.
struct unskew_exchange *unskew_begin(const struct unskew *handle,
                                     struct unskew_bytes method,
                                     struct unskew_bytes target,
                                     struct unskew_bytes headers,
                                     struct unskew_answer *answer);

// Chooses the request's server, and makes its record readable for it. `have` is an `unskew_have`. The verdict is `FORWARD` or `REFUSE`.
//
// # Safety
// `exchange` has begun and not ended, `body` can be read, `answer` can be written to.
unskew_code unskew_place(struct unskew_exchange *exchange,
                         uint32_t have,
                         struct unskew_bytes body,
                         struct unskew_answer *answer);

// The server took no connection: another one. The verdict is `FORWARD` or `REFUSE`.
//
// # Safety
// As `unskew_place`.
unskew_code unskew_unreachable(struct unskew_exchange *exchange, struct unskew_answer *answer);

// The server failed the request: `fault` is an `unskew_fault`. The verdict is `REFUSE`.
//
// # Safety
// As `unskew_place`.
unskew_code unskew_failed(struct unskew_exchange *exchange,
                          uint32_t fault,
                          struct unskew_answer *answer);

// Looks at the head of the answer. The verdict is `FORWARD`, with what is changed in the head, or `BODY`, with the same:
// then head and body wait for `unskew_answer_body`, or `REFUSE`.
//
// # Safety
// As `unskew_place`.
unskew_code unskew_answer_head(struct unskew_exchange *exchange,
                               uint16_t status,
                               struct unskew_bytes headers,
                               struct unskew_answer *answer);

// Looks at the body of the answer. The verdict is `FORWARD`, with what is changed on top of what `unskew_answer_head`
// said, or `REFUSE`.
//
// # Safety
// As `unskew_place`.
unskew_code unskew_answer_body(struct unskew_exchange *exchange,
                               uint32_t have,
                               struct unskew_bytes body,
                               struct unskew_answer *answer);

// Ends an exchange, wherever it stands; null is allowed.
//
// # Safety
// `exchange` has begun and not ended, and is not used again.
void unskew_end(struct unskew_exchange *exchange);

// The version of this interface: it grows by one where a caller has to be compiled anew.
uint32_t unskew_abi(void);

// Says how the sandbox of this process traps: `traps` is an `unskew_traps`. Call it before the first call that needs a handle.
unskew_code unskew_set_traps(uint32_t traps);

// Opens the configuration in this file, for the `unskew_surface` that reads and writes. Null where it can't be used; the last error names every problem. Nothing is
// started: a handle may be opened before a fork, and closed with `unskew_close` in each process.
//
// # Safety
// `path` can be read.
struct unskew *unskew_open(struct unskew_bytes path,
                           uint32_t surface);

// Says in how many processes the handle will be used, such as nginx' workers. Refused where they would have nothing to
// agree by: a configuration with sessions, and no directory that they share.
//
// # Safety
// `handle` is open.
unskew_code unskew_processes(const struct unskew *handle,
                             size_t count);

// Starts what a handle needs in this process: the sandbox, the pack, health checks, the watch over the pack's file. The
// first call that needs them does the same; after a failure only this one tries again.
//
// # Safety
// `handle` is open.
unskew_code unskew_start(const struct unskew *handle);

// Closes a handle; null is allowed. Exchanges that were begun with it must have ended.
//
// # Safety
// `handle` is open, no other call uses it, and it is not used again.
void unskew_close(struct unskew *handle);

// The id of the version that a record is of.
//
// # Safety
// `handle` is open, `record` can be read, `version` can be written to.
unskew_code unskew_detect(const struct unskew *handle,
                          struct unskew_bytes record,
                          struct unskew_buffer *version);

// Writes a record of version `from` as one of version `to`. `carry` is what an earlier call kept beside the record, or
// empty; `new_carry` is to be kept with the new record, and to be given back with it, where it is not empty.
//
// # Safety
// `handle` is open, the texts can be read, `new_record` and `new_carry` can be written to.
unskew_code unskew_translate(const struct unskew *handle,
                             struct unskew_bytes record,
                             struct unskew_bytes carry,
                             struct unskew_bytes from,
                             struct unskew_bytes to,
                             struct unskew_buffer *new_record,
                             struct unskew_buffer *new_carry);

// Brings a record of whatever version to version `to`. A record that is right already is answered as a buffer whose
// `data` is null, and so is its carry: both stay as they are.
//
// # Safety
// As `unskew_translate`.
unskew_code unskew_normalize(const struct unskew *handle,
                             struct unskew_bytes record,
                             struct unskew_bytes carry,
                             struct unskew_bytes to,
                             struct unskew_buffer *new_record,
                             struct unskew_buffer *new_carry);

// Every change that a translation makes, as a JSON array of objects with `op`, `place`, `before`, `after`. It shows what
// the record says: for people, and slow.
//
// # Safety
// As `unskew_translate`.
unskew_code unskew_explain(const struct unskew *handle,
                           struct unskew_bytes record,
                           struct unskew_bytes carry,
                           struct unskew_bytes from,
                           struct unskew_bytes to,
                           struct unskew_buffer *changes);

// Where a join of this session would go, as a JSON object with `server`, `address`, `tier`, `reason`; `server` is null
// where it would be refused. An empty record is none: then the directory says what is known. Nothing is noted.
//
// # Safety
// `handle` is open, `session` and `record` can be read, `decision` can be written to.
unskew_code unskew_route(const struct unskew *handle,
                         struct unskew_bytes session,
                         struct unskew_bytes record,
                         struct unskew_buffer *decision);

// Swaps a pack in, written as TOML or as JSON: later requests see it, those under way finish on theirs. The last error
// names every problem of one that is refused; the old one serves on. It takes milliseconds: keep it off request threads.
//
// # Safety
// `handle` is open, `pack` can be read.
unskew_code unskew_push(const struct unskew *handle,
                        struct unskew_bytes pack);

// Throws the switch: `off`, `observe` or `enforce`.
//
// # Safety
// `handle` is open, `mode` can be read.
unskew_code unskew_set_mode(const struct unskew *handle, struct unskew_bytes mode);

// What runs, as a JSON object: `library`, `mode`, `pack` (`name`, `revision`, `digest`, or null), `servers` (`name`,
// `healthy`), `directory` (`link`: `here`, `up` or `away`, with `since` and `reason`), `counts`.
//
// # Safety
// `handle` is open, `status` can be written to.
unskew_code unskew_status(const struct unskew *handle,
                          struct unskew_buffer *status);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus
