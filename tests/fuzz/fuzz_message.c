/* What coordinator and agent say to each other. An input is which message ('0'..'9', 'b', 'B') and its JSON.
 *
 * What must hold: what is accepted comes out of the encoder, is accepted again, and then comes out as
 * the same text: nothing that one side understands is lost on the way to the other.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/message_json.h"
#include "tests/fuzz/fuzz.h"

static const char gid[] = "assent_0123456789ab_1_0190a0e3-7c9b-7000-8000-000000000001_1";

/* Decodes `json` as the kind of message and writes it again. NULL: refused. Owner: free(). */
/* NOLINTNEXTLINE(readability-function-size): a case for each kind, and nothing between them */
static char *pass_on(char kind, const json_t *json) {
  struct error err = {0};
  enum error_code code = ERR_INVALID;
  struct json_writer w;
  json_writer_init(&w);
#define PASS(type)                                                                                 \
  do {                                                                                             \
    struct type message = {0}; /* a trace is not decoded with it */                                \
    code = type##_decode(json, &message, &err);                                                    \
    if (code == ERR_OK) type##_encode(&w, &message);                                               \
  } while (0)
  switch (kind) {
  case '0': PASS(fence_request); break;
  case '1': {
    struct fence_reply message;
    const struct fence_asked asked = {"bank", "0123456789abcdef"};
    code = fence_reply_decode(json, &asked, &message, &err);
    if (code == ERR_OK) fence_reply_encode(&w, &asked, &message);
    break;
  }
  case '2': {
    struct run_request message = {0};
    struct statement_list statements;
    code = run_request_decode(json, &message, &statements, &err);
    if (code == ERR_OK) {
      run_request_encode(&w, &message);
      statement_list_free(&statements);
    }
    break;
  }
  case '3': {
    struct run_reply message;
    char *results = NULL;
    code = run_reply_decode(json, gid, &message, &results, &err);
    if (code == ERR_OK) run_reply_encode(&w, &message);
    free(results);
    break;
  }
  case '4': PASS(decide_request); break;
  case '5': {
    struct decide_reply message;
    code = decide_reply_decode(json, gid, &message, &err);
    if (code == ERR_OK) decide_reply_encode(&w, gid, &message);
    break;
  }
  case '6': PASS(list_request); break;
  case '7': {
    struct list_reply message;
    struct prepared_branch *branches = NULL;
    code = list_reply_decode(json, &message, &branches, &err);
    if (code == ERR_OK) list_reply_encode(&w, &message);
    free(branches);
    break;
  }
  case '9': {
    struct message message;
    code = message_decode(json, &message, &err);
    if (code == ERR_OK) {
      assert(message.id > 0 && strlen(message_gid(message.body)) < GID_SIZE);
      message_begin(&w, message.id, message.kind);
      json_write_value(&w, message.body);
      message_end(&w);
    }
    break;
  }
  case 'b': PASS(blockers_request); break;
  case 'B': {
    struct blocker items[BLOCKERS_MAX];
    struct blockers_reply message;
    code = blockers_reply_decode(json, items, &message, &err);
    if (code == ERR_OK) blockers_reply_encode(&w, &message);
    break;
  }
  default: PASS(health_reply); break;
  }
#undef PASS
  if (code != ERR_OK) {
    assert(err.code != ERR_OK && err.text[0]);
    json_writer_close(&w);
    return NULL;
  }
  char *text = json_writer_take(&w, NULL);
  assert(text);
  return text;
}

static char *pass_text_on(char kind, const char *text, size_t length) {
  struct error err = {0};
  json_t *json = json_parse(text, length, &err);
  if (!json) {
    assert(err.code != ERR_OK && err.text[0]);
    return NULL;
  }
  char *out = pass_on(kind, json);
  json_decref(json);
  return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1) return 0;
  char kind = (char)data[0];
  char *text = fuzz_text(data + 1, size - 1);
  char *once = pass_text_on(kind, text, size - 1);
  if (once) {
    char *twice = pass_text_on(kind, once, strlen(once));
    assert(twice && strcmp(once, twice) == 0);
    free(twice);
  }
  free(once);
  free(text);
  return 0;
}
