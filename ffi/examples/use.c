// A program in C that uses libunskew: records up and down, a new pack, and a request on its way.
// cc -Iffi/include -o use ffi/examples/use.c -L target/release -lunskew && ./use unskew.toml pack-2.toml [rounds]

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "unskew.h"

static unskew_bytes text(const char *text) {
  unskew_bytes bytes = {(const uint8_t *)text, strlen(text)};
  return bytes;
}

static unskew_bytes bytes(unskew_buffer buffer) {
  unskew_bytes bytes = {buffer.data, buffer.len};
  return bytes;
}

static int failed(const char *what) {
  unskew_bytes why = unskew_last_error();
  fprintf(stderr, "%s: %.*s\n", what, (int)why.len, (const char *)why.data);
  return 1;
}

static void show(const char *what, unskew_bytes bytes) {
  printf("%s: %.*s\n", what, (int)bytes.len, (const char *)bytes.data);
}

// Down to version 1 and back, with the carry between.
static int there_and_back(const unskew *handle, const char *record, int shown) {
  unskew_buffer down, carry, up, rest;
  if (unskew_normalize(handle, text(record), text(""), text("1"), &down, &carry) != UNSKEW_CODE_OK) {
    return failed("down");
  }
  if (unskew_translate(handle, bytes(down), bytes(carry), text("1"), text("2"), &up, &rest) != UNSKEW_CODE_OK) {
    return failed("up");
  }
  if (shown) {
    show("down", bytes(down));
    show("up", bytes(up));
  }
  int same = up.len == strlen(record) && memcmp(up.data, record, up.len) == 0;
  unskew_free(down);
  unskew_free(carry);
  unskew_free(up);
  unskew_free(rest);
  return same ? 0 : failed("the record came back changed");
}

// A join whose record is read by the server that the library picks.
static int request(const unskew *handle, const char *record, int shown) {
  unskew_answer answer;
  const char *head = "host: localhost\r\ncontent-type: application/json\r\n";
  unskew_exchange *exchange = unskew_begin(handle, text("POST"), text("/sessions/s1/join"), text(head), &answer);
  if (exchange == NULL) return failed("begin");
  unskew_have have = answer.verdict == UNSKEW_VERDICT_BODY ? UNSKEW_HAVE_WHOLE : UNSKEW_HAVE_NOTHING;
  if (unskew_place(exchange, have, text(record), &answer) != UNSKEW_CODE_OK) return failed("place");
  if (answer.verdict == UNSKEW_VERDICT_REFUSE) {
    show("refused with", answer.body);
    return 1;
  }
  if (shown) {
    show("to", answer.server);
    show("body", answer.body);
  }
  if (unskew_answer_head(exchange, 200, text("content-type: application/json\r\n"), &answer) != UNSKEW_CODE_OK) {
    return failed("answer");
  }
  unskew_end(exchange);
  return 0;
}

int main(int count, char **args) {
  if (count < 3) return fprintf(stderr, "a configuration and a pack\n"), 2;
  int rounds = count > 3 ? atoi(args[3]) : 1;
  if (count > 4 && unskew_set_traps(UNSKEW_TRAPS_CHECKS) != UNSKEW_CODE_OK) return failed("traps");

  if (unskew_open(text("no-such-file.toml"), UNSKEW_SURFACE_LIBRARY) != NULL) return 1;
  show("refused", unskew_last_error());
  unskew *handle = unskew_open(text(args[1]), UNSKEW_SURFACE_LIBRARY);
  if (handle == NULL) return failed("open");
  // Several processes with sessions of their own would need a directory that they share.
  if (unskew_processes(handle, 1) != UNSKEW_CODE_OK) return failed("processes");
  if (unskew_processes(handle, 2) != UNSKEW_CODE_INPUT) return failed("processes that share nothing");
  if (unskew_start(handle) != UNSKEW_CODE_OK) return failed("start");

  const char *record = "{\"session_id\":\"s1\",\"bitrate\":4500,\"schema\":2}";
  unskew_buffer found;
  if (unskew_detect(handle, text(record), &found) != UNSKEW_CODE_OK) return failed("detect");
  show("version", bytes(found));
  unskew_free(found);
  size_t before = 0; // bytes of memory in use, once everything is warm
  for (int round = 0; round < rounds; round++) {
    if (there_and_back(handle, record, round == 0) != 0) return 1;
    if (request(handle, record, round == 0) != 0) return 1;
    if (unskew_detect(handle, text("no json"), &found) != UNSKEW_CODE_FAULT) return failed("a fault");
    if (round == rounds / 10) before = mallinfo2().uordblks;
  }
  printf("grown: %zd\n", (ssize_t)(mallinfo2().uordblks - before));
  if (unskew_explain(handle, text(record), text(""), text("2"), text("1"), &found) != UNSKEW_CODE_OK) {
    return failed("explain");
  }
  printf("explained: %s\n", found.len > 2 ? "yes" : "no");
  unskew_free(found);
  if (unskew_route(handle, text("s1"), text(record), &found) != UNSKEW_CODE_OK) return failed("route");
  show("route", bytes(found));
  unskew_free(found);

  if (unskew_push(handle, text("name = \"broken\"")) != UNSKEW_CODE_INPUT) return failed("a broken pack");
  char pack[65536];
  FILE *file = fopen(args[2], "r");
  if (file == NULL) return fprintf(stderr, "%s can't be read\n", args[2]), 1;
  size_t length = fread(pack, 1, sizeof pack, file);
  fclose(file);
  unskew_bytes pushed = {(const uint8_t *)pack, length};
  if (unskew_push(handle, pushed) != UNSKEW_CODE_OK) return failed("push");
  if (unskew_status(handle, &found) != UNSKEW_CODE_OK) return failed("status");
  show("status", bytes(found));
  unskew_free(found);

  // What is wrong is told, and nothing else happens.
  if (unskew_detect(NULL, text(record), &found) != UNSKEW_CODE_INPUT) return failed("no handle");
  if (unskew_detect(handle, text(record), NULL) != UNSKEW_CODE_INPUT) return failed("nowhere to answer");
  if (unskew_open(text(args[1]), 99) != NULL) return failed("no such surface");
  unskew_close(handle);
  unskew_close(NULL);
  return 0;
}
