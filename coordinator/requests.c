/* See requests.h. */
#include "coordinator/requests.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "coordinator/txn.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

const struct request_limits request_limits_widest = {
    .timeout_max_ms = INT64_C(86400000),
    .depth_max = DEPTH_MAX,
    .branches_max = TXN_BRANCHES_MAX,
    .statements = {STATEMENTS_MAX, PARAMS_MAX, SQL_BYTES_MAX},
};

/* Of a POST: what is asked for stands in the body, and a query has nothing to say. Where parameters may
 * be JSON, its depth is limited as configured; other bodies have no use for any. */
static json_t *parse_body(const struct http_request *request, unsigned depth_max,
                          struct error *err) {
  static const char *const no_query[] = {NULL};
  size_t length = 0;
  if (http_check_query(request, no_query, err) != ERR_OK) return NULL;
  const char *body = http_body(request, &length);
  if (!body || length == 0) {
    json_t *empty = json_object();
    if (!empty) (void)error_set(err, ERR_MEMORY, "no memory for the request");
    return empty;
  }
  return json_parse_within(body, length, depth_max, err);
}

static enum error_code wait_parse(const char *text, const char *where, enum wait_until *out,
                                  struct error *err) {
  if (strcmp(text, "applied") == 0)
    *out = WAIT_APPLIED;
  else if (strcmp(text, "decided") == 0)
    *out = WAIT_DECIDED;
  else {
    (void)error_set(err, ERR_INVALID, "wait is \"applied\" or \"decided\", not \"%.40s\"", text);
    return error_field(err, where);
  }
  return ERR_OK;
}

/* ---- key -------------------------------------------------------------------------------------- */

enum error_code key_decode(const struct http_request *request, struct key_id *out,
                           char fingerprint[FINGERPRINT_SIZE], struct error *err) {
  const char *name = http_header(request, KEY_HEADER);
  size_t length = strnlen(name, KEY_NAME_MAX + 1), printable = 0, body_length = 0;
  while (printable < length && name[printable] >= ' ' && name[printable] <= '~')
    printable++;
  if (http_header_count(request, KEY_HEADER) > 1)
    (void)error_set(err, ERR_INVALID, KEY_HEADER " came twice");
  else if (length == 0 || length > KEY_NAME_MAX || printable < length)
    (void)error_set(err, ERR_INVALID, KEY_HEADER " is 1 to %d printable ASCII characters",
                    KEY_NAME_MAX);
  if (err->code != ERR_OK) return error_field(err, KEY_HEADER);
  *out = (struct key_id){.name_space = http_principal(request) ? http_principal(request) : "",
                         .name = name,
                         .fingerprint = fingerprint};
  const char *body = http_body(request, &body_length);
  return fingerprint_make(body, body_length, fingerprint, err);
}

/* ---- begin ------------------------------------------------------------------------------------ */

static enum error_code branch_decode(const json_t *json, const struct statement_limits *limits,
                                     struct branch_body *out, struct error *err) {
  static const struct json_field fields[] = {
      {"participant", JSON_KIND_STRING, true, 1, PARTICIPANT_BYTES_MAX},
      {"statements", JSON_KIND_ARRAY, true, 1, INT64_MAX},
  };
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code != ERR_OK) return code;
  out->participant = json_get_string(json, "participant", NULL);
  return statement_call_list_decode(json_object_get(json, "statements"), "/statements", limits,
                                    &out->statements, err);
}

static enum error_code check_not_repeated(const struct begin_body *body, size_t index,
                                          struct error *err) {
  for (size_t i = 0; i < index; i++) {
    if (strcmp(body->branches[i].participant, body->branches[index].participant) != 0) continue;
    (void)error_set(err, ERR_INVALID,
                    "participant \"%.64s\" is named twice: give it one branch with all statements",
                    body->branches[index].participant);
    return error_field(err, "/participant");
  }
  return ERR_OK;
}

static enum error_code branches_decode(const json_t *json, const struct request_limits *limits,
                                       struct begin_body *out, struct error *err) {
  size_t count = json_array_size(json);
  if (out->commit && count == 0) {
    (void)error_set(err, ERR_INVALID, "a transaction to commit needs at least one branch");
    return error_field(err, "/branches");
  }
  if (count > limits->branches_max) {
    (void)error_set(err, ERR_LIMIT, "%zu branches, at most %zu are allowed", count,
                    limits->branches_max);
    (void)error_limit(err, "branches", (int64_t)limits->branches_max);
    return error_field(err, "/branches");
  }
  out->branches = memory_zeroed((count + 1) * sizeof *out->branches);
  if (!out->branches) return error_set(err, ERR_MEMORY, "no memory for the request");
  for (size_t i = 0; i < count; i++) {
    out->branch_count = i + 1;
    enum error_code code =
        branch_decode(json_array_get(json, i), &limits->statements, &out->branches[i], err);
    if (code == ERR_OK) code = check_not_repeated(out, i, err);
    if (code != ERR_OK) return error_field_below(err, code, "/branches/%zu", i);
  }
  return ERR_OK;
}

/* Of all that can be wrong with it, whether it is too long. */
static void note_timeout_limit(const json_t *timeout_ms, int64_t max, struct error *err) {
  if (json_is_integer(timeout_ms) && json_integer_value(timeout_ms) > max &&
      strcmp(err->field, "/timeout_ms") == 0)
    (void)error_limit(err, "timeout_max", max);
}

enum error_code begin_body_decode(const struct http_request *request,
                                  const struct request_limits *limits, struct begin_body *out,
                                  struct error *err) {
  *out = (struct begin_body){.wait = WAIT_APPLIED};
  const struct json_field fields[] = {
      {"commit", JSON_KIND_BOOLEAN, false, 0, 0},
      {"wait", JSON_KIND_STRING, false, 0, 0},
      {"timeout_ms", JSON_KIND_INTEGER, false, 1, limits->timeout_max_ms},
      {"label", JSON_KIND_STRING, false, 1, LABEL_BYTES_MAX},
      {"branches", JSON_KIND_ARRAY, false, 0, 0},
  };
  out->json = parse_body(request, limits->depth_max, err);
  if (!out->json) return err->code;
  enum error_code code = json_check_object(out->json, "", fields, COUNT(fields), err);
  if (code != ERR_OK) {
    note_timeout_limit(json_object_get(out->json, "timeout_ms"), limits->timeout_max_ms, err);
    return code;
  }
  out->commit = json_get_boolean(out->json, "commit", false);
  out->begin.label = json_get_string(out->json, "label", NULL);
  out->begin.timeout_ms = json_get_integer(out->json, "timeout_ms", 0);
  const char *wait = json_get_string(out->json, "wait", "applied");
  code = wait_parse(wait, "/wait", &out->wait, err);
  if (code != ERR_OK) return code;
  return branches_decode(json_object_get(out->json, "branches"), limits, out, err);
}

void begin_body_release(struct begin_body *body) {
  for (size_t i = 0; i < body->branch_count; i++)
    statement_list_free(&body->branches[i].statements);
  free(body->branches);
  json_decref(body->json);
}

/* ---- statement, enlist, commit ---------------------------------------------------------------- */

/* The rest of the body is a statement as it stands in a branch. */
static enum error_code rest_decode(const json_t *json, const struct statement_limits *limits,
                                   struct statement_list *out, struct error *err) {
  json_t *statement = json_copy((json_t *)(uintptr_t)json);
  out->items = calloc(1, sizeof *out->items);
  enum error_code code =
      statement && out->items ? ERR_OK : error_set(err, ERR_MEMORY, "no memory for the request");
  if (code == ERR_OK) {
    (void)json_object_del(statement, "participant");
    code = statement_call_decode(statement, "", limits, out->items, err);
    out->count = code == ERR_OK;
  }
  json_decref(statement);
  return code;
}

enum error_code statement_body_decode(const struct http_request *request,
                                      const struct request_limits *limits,
                                      struct statement_body *out, struct error *err) {
  static const struct json_field fields[] = {
      {"participant", JSON_KIND_STRING, true, 1, PARTICIPANT_BYTES_MAX},
      {"sql", JSON_KIND_ANY, false, 0, 0},
      {"name", JSON_KIND_ANY, false, 0, 0},
      {"params", JSON_KIND_ANY, false, 0, 0},
      {"expect_rows", JSON_KIND_ANY, false, 0, 0},
  };
  *out = (struct statement_body){0};
  out->json = parse_body(request, limits->depth_max, err);
  if (!out->json) return err->code;
  enum error_code code = json_check_object(out->json, "", fields, COUNT(fields), err);
  if (code != ERR_OK) return code;
  out->participant = json_get_string(out->json, "participant", NULL);
  return rest_decode(out->json, &limits->statements, &out->statements, err);
}

void statement_body_release(struct statement_body *body) {
  statement_list_free(&body->statements);
  json_decref(body->json);
}

enum error_code enlist_body_decode(const struct http_request *request,
                                   struct branch_enlist_body *out, struct error *err) {
  static const struct json_field fields[] = {
      {"participant", JSON_KIND_STRING, true, 1, PARTICIPANT_BYTES_MAX}};
  *out = (struct branch_enlist_body){0};
  out->json = parse_body(request, JSON_DEPTH_MAX, err);
  if (!out->json) return err->code;
  enum error_code code = json_check_object(out->json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) out->participant = json_get_string(out->json, "participant", NULL);
  return code;
}

enum error_code commit_body_decode(const struct http_request *request, enum wait_until *wait,
                                   struct error *err) {
  static const struct json_field fields[] = {{"wait", JSON_KIND_STRING, false, 0, 0}};
  json_t *json = parse_body(request, JSON_DEPTH_MAX, err);
  if (!json) return err->code;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK)
    code = wait_parse(json_get_string(json, "wait", "applied"), "/wait", wait, err);
  json_decref(json);
  return code;
}

enum error_code resolve_body_decode(const struct http_request *request, struct resolve_body *out,
                                    struct error *err) {
  static const struct json_field fields[] = {
      {"branch", JSON_KIND_INTEGER, true, 1, TXN_BRANCHES_MAX},
      {"outcome", JSON_KIND_STRING, true, 0, 0},
      {"reason", JSON_KIND_STRING, true, 1, RESOLVE_REASON_MAX},
  };
  *out = (struct resolve_body){0};
  out->json = parse_body(request, JSON_DEPTH_MAX, err);
  if (!out->json) return err->code;
  enum error_code code = json_check_object(out->json, "", fields, COUNT(fields), err);
  if (code != ERR_OK) return code;
  out->branch = (unsigned)json_get_integer(out->json, "branch", 0);
  out->reason = json_get_string(out->json, "reason", NULL);
  const char *outcome = json_get_string(out->json, "outcome", "");
  if (strcmp(outcome, "committed") == 0) {
    out->outcome = BRANCH_OUTCOME_COMMITTED;
  } else if (strcmp(outcome, "aborted") == 0) {
    out->outcome = BRANCH_OUTCOME_ABORTED;
  } else {
    (void)error_set(err, ERR_INVALID, "outcome is committed or aborted, not \"%.40s\"", outcome);
    code = error_field(err, "/outcome");
  }
  return code;
}

enum error_code empty_body_decode(const struct http_request *request, struct error *err) {
  json_t *json = parse_body(request, JSON_DEPTH_MAX, err);
  if (!json) return err->code;
  enum error_code code = json_check_object(json, "", NULL, 0, err);
  json_decref(json);
  return code;
}

/* ---- queries ---------------------------------------------------------------------------------- */

static enum error_code query_integer(const struct http_request *request, const char *name,
                                     int64_t min, int64_t max, int64_t absent, int64_t *out,
                                     struct error *err) {
  *out = absent;
  const char *text = http_query(request, name);
  if (!text) return ERR_OK;
  char *end;
  errno = 0;
  long long value = strtoll(text, &end, 10);
  *out = value;
  if (errno || *end || end == text || *text == ' ' || *text == '+' || value < min || value > max) {
    (void)error_set(err, ERR_INVALID, "%s is a whole number from %lld to %lld, not \"%.40s\"", name,
                    (long long)min, (long long)max, text);
    return error_field(err, name);
  }
  return ERR_OK;
}

enum error_code read_query_decode(const struct http_request *request, int64_t timeout_max_ms,
                                  bool *waits, enum wait_until *until, int64_t *timeout_ms,
                                  struct error *err) {
  static const char *const names[] = {"wait", "timeout_ms", NULL};
  enum error_code code = http_check_query(request, names, err);
  if (code != ERR_OK) return code;
  const char *wait = http_query(request, "wait");
  *waits = wait != NULL;
  *until = WAIT_APPLIED;
  if (wait) code = wait_parse(wait, "wait", until, err);
  if (code != ERR_OK) return code;
  code = query_integer(request, "timeout_ms", 0, timeout_max_ms, 30000, timeout_ms, err);
  if (code != ERR_OK && *timeout_ms > timeout_max_ms)
    (void)error_limit(err, "timeout_max", timeout_max_ms);
  return code;
}

static enum error_code check_state_name(const char *state, struct error *err) {
  if (!state) return ERR_OK;
  for (enum txn_state s = TXN_OPEN; s < TXN_STATE_COUNT; s++)
    if (strcmp(state, txn_state_name(s)) == 0) return ERR_OK;
  (void)error_set(err, ERR_INVALID,
                  "state is open, preparing, committing, committed, aborting or aborted, "
                  "not \"%.40s\"",
                  state);
  return error_field(err, "state");
}

static enum error_code query_length(const struct http_request *request, const char *name,
                                    size_t min, size_t max, struct error *err) {
  const char *text = http_query(request, name);
  if (!text || (strlen(text) >= min && strlen(text) <= max)) return ERR_OK;
  (void)error_set(err, ERR_INVALID, "%s has %zu to %zu bytes", name, min, max);
  return error_field(err, name);
}

enum error_code list_query_decode(const struct http_request *request, struct list_filter *out,
                                  struct error *err) {
  static const char *const names[] = {"state", "participant", "label", "older_than_ms",
                                      "limit", "cursor",      NULL};
  enum error_code code = http_check_query(request, names, err);
  if (code != ERR_OK) return code;
  *out = (struct list_filter){.state = http_query(request, "state"),
                              .participant = http_query(request, "participant"),
                              .label = http_query(request, "label")};
  code = check_state_name(out->state, err);
  if (code == ERR_OK) code = query_length(request, "label", 0, LABEL_BYTES_MAX, err);
  if (code == ERR_OK) code = query_length(request, "participant", 1, PARTICIPANT_BYTES_MAX, err);
  if (code != ERR_OK) return code;
  int64_t limit;
  code = query_integer(request, "limit", 1, LIST_LIMIT_MAX, LIST_LIMIT_DEFAULT, &limit, err);
  if (code != ERR_OK) return code;
  out->limit = (unsigned)limit;
  code = query_integer(request, "older_than_ms", 0, INT64_C(10) * 365 * 86400 * 1000, 0,
                       &out->older_than_ms, err);
  if (code != ERR_OK) return code;
  const char *cursor = http_query(request, "cursor");
  if (cursor && !txid_parse(cursor, &out->before)) {
    (void)error_set(err, ERR_INVALID, "cursor is the next_cursor of an earlier answer");
    return error_field(err, "cursor");
  }
  return ERR_OK;
}
