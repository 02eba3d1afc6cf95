/* common/blockers_json.c: round trips, and refusals. */
#include <stdlib.h>
#include <string.h>

#include "common/message_json.h"
#include "tests/lib/suite.h"

#define GID "assent_0123456789az_7_01a1fc21-2de8-727e-ab64-6544289d91dd_1"

static json_t *parsed(const char *text) {
  json_t *json = json_parse(text, strlen(text), NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(json);
  return json;
}

static json_t *written(struct json_writer *w) {
  char *text = json_writer_take(w, NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  json_t *json = parsed(text);
  free(text);
  return json;
}

static void request_reads_back(void) {
  struct json_writer w;
  json_writer_init(&w);
  blockers_request_encode(&w, &(struct blockers_request){.gid = GID});
  json_t *json = written(&w);
  struct blockers_request out;
  CU_ASSERT_EQUAL_FATAL(blockers_request_decode(json, &out, NULL), ERR_OK);
  CU_ASSERT_STRING_EQUAL(out.gid, GID);
  json_decref(json);
}

static void request_that_names_no_gid_is_refused(void) {
  static const char *const bad[] = {"{}", "{\"gid\":\"x\"}", "{\"gid\":1}",
                                    "{\"gid\":\"" GID "\",\"pid\":1}"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct blockers_request out;
    struct error err = {0};
    json_t *json = parsed(bad[i]);
    CU_ASSERT_NOT_EQUAL(blockers_request_decode(json, &out, &err), ERR_OK);
    CU_ASSERT(err.text[0] != '\0');
    json_decref(json);
  }
}

static void reply_reads_back(void) {
  const struct blocker sent[] = {
      {.pid = 4711, .application = "psql", .state = "active", .since_us = 1795237200000000},
      {.gid = "somebody's 'own'", .since_us = 1},
      {.pid = 1, .gid = GID}};
  struct json_writer w;
  json_writer_init(&w);
  blockers_reply_encode(&w, &(struct blockers_reply){.blockers = sent, .count = 3});
  json_t *json = written(&w);
  struct blocker items[BLOCKERS_MAX];
  memset(items, 'x', sizeof items); /* each member is set */
  struct blockers_reply out;
  CU_ASSERT_EQUAL_FATAL(blockers_reply_decode(json, items, &out, NULL), ERR_OK);
  CU_ASSERT_EQUAL_FATAL(out.count, 3);
  for (size_t i = 0; i < 3; i++) {
    CU_ASSERT_EQUAL(out.blockers[i].pid, sent[i].pid);
    CU_ASSERT_EQUAL(out.blockers[i].since_us, sent[i].since_us);
    CU_ASSERT_STRING_EQUAL(out.blockers[i].application, sent[i].application);
    CU_ASSERT_STRING_EQUAL(out.blockers[i].state, sent[i].state);
    CU_ASSERT_STRING_EQUAL(out.blockers[i].gid, sent[i].gid);
  }
  json_decref(json);
}

static void reply_that_cannot_be_is_refused(void) {
  static const char *const bad[] = {"{}", "{\"blockers\":[1]}", "{\"blockers\":[{\"pid\":0}]}",
                                    "{\"blockers\":[{\"pid\":1,\"query\":\"SELECT 1\"}]}",
                                    "{\"blockers\":[{},{},{},{},{}]}"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    struct blocker items[BLOCKERS_MAX];
    struct blockers_reply out;
    struct error err = {0};
    json_t *json = parsed(bad[i]);
    CU_ASSERT_NOT_EQUAL(blockers_reply_decode(json, items, &out, &err), ERR_OK);
    CU_ASSERT(err.text[0] != '\0');
    json_decref(json);
  }
}

/* Others choose these names: one that is too long is no reason to tell nothing. */
static void name_that_is_too_long_is_cut(void) {
  json_t *json =
      json_pack("{s:[{s:i,s:s}]}", "blockers", "pid", 1, "application",
                "0123456789012345678901234567890123456789012345678901234567890123456789");
  struct blocker items[BLOCKERS_MAX];
  struct blockers_reply out;
  CU_ASSERT_EQUAL_FATAL(blockers_reply_decode(json, items, &out, NULL), ERR_OK);
  CU_ASSERT_EQUAL(strlen(out.blockers[0].application), APPLICATION_NAME_SIZE - 1);
  json_decref(json);
}

SUITE(blockers_json, CASE(request_reads_back), CASE(request_that_names_no_gid_is_refused),
      CASE(reply_reads_back), CASE(reply_that_cannot_be_is_refused),
      CASE(name_that_is_too_long_is_cut))
