/* The public API's requests: target, headers and body, as coordinator/requests.c decodes them.
 *
 * An input is what a client sends, in short: which request ('0'..'7'), its target, header lines, an
 * empty line, the body. The rest of http_server.h is stood in for here, so that nothing is between
 * the input and the decoders.
 *
 * What must hold: an error has a code and a text, and what was accepted is within the named limits.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/http_rules.h"
#include "common/http_uri.h"
#include "coordinator/requests.h"
#include "tests/fuzz/fuzz.h"

enum { TIMEOUT_MAX_MS = 600000 };
static const struct request_limits limits = {.timeout_max_ms = TIMEOUT_MAX_MS,
                                             .depth_max = 32,
                                             .branches_max = TXN_BRANCHES_MAX,
                                             .statements = {1000, 1000, 262144}};

struct http_request {
  struct http_target target;
  const char *key; /* Idempotency-Key, as often as it came */
  unsigned keys;
  const char *body;
  size_t length;
};

const char *http_header(const struct http_request *request, const char *name) {
  return strcmp(name, KEY_HEADER) == 0 ? request->key : NULL;
}

const char *http_principal(const struct http_request *request) {
  (void)request;
  return NULL;
}

unsigned http_header_count(const struct http_request *request, const char *name) {
  return strcmp(name, KEY_HEADER) == 0 ? request->keys : 0;
}

const char *http_query(const struct http_request *request, const char *name) {
  for (size_t i = 0; i < request->target.param_count; i++)
    if (strcmp(request->target.params[i].name, name) == 0) return request->target.params[i].value;
  return NULL;
}

enum error_code http_check_query(const struct http_request *request, const char *const *names,
                                 struct error *err) {
  for (size_t i = 0; i < request->target.param_count; i++) {
    const char *const *name = names;
    while (*name && strcmp(*name, request->target.params[i].name) != 0)
      name++;
    if (!*name) return error_set(err, ERR_UNKNOWN_FIELD, "unknown");
  }
  return ERR_OK;
}

const char *http_body(const struct http_request *request, size_t *length) {
  *length = request->length;
  return request->body;
}

static void check_statements(const struct statement_list *list) {
  assert(list->count <= limits.statements.statements_max);
  for (size_t i = 0; i < list->count; i++) {
    assert(!list->items[i].sql != !list->items[i].name);
    assert(!list->items[i].sql || strlen(list->items[i].sql) <= limits.statements.sql_bytes_max);
    assert(list->items[i].param_count <= limits.statements.params_max &&
           list->items[i].expect_rows >= -1);
  }
}

static enum error_code decode_begin(const struct http_request *request, struct error *err) {
  struct begin_body body;
  enum error_code code = begin_body_decode(request, &limits, &body, err);
  if (code == ERR_OK) {
    assert(body.branch_count <= limits.branches_max);
    assert(body.begin.timeout_ms >= 0 && body.begin.timeout_ms <= TIMEOUT_MAX_MS);
    assert(!body.begin.label || strlen(body.begin.label) <= LABEL_BYTES_MAX);
    for (size_t i = 0; i < body.branch_count; i++)
      check_statements(&body.branches[i].statements);
  }
  begin_body_release(&body);
  return code;
}

static enum error_code decode_statement(const struct http_request *request, struct error *err) {
  struct statement_body body;
  enum error_code code = statement_body_decode(request, &limits, &body, err);
  if (code == ERR_OK) {
    assert(body.participant && body.statements.count == 1);
    check_statements(&body.statements);
  }
  statement_body_release(&body);
  return code;
}

static enum error_code decode_enlist(const struct http_request *request, struct error *err) {
  struct branch_enlist_body body;
  enum error_code code = enlist_body_decode(request, &body, err);
  if (code == ERR_OK) assert(body.participant);
  json_decref(body.json);
  return code;
}

static enum error_code decode_resolve(const struct http_request *request, struct error *err) {
  struct resolve_body body;
  enum error_code code = resolve_body_decode(request, &body, err);
  if (code == ERR_OK) {
    assert(body.branch >= 1 && body.branch <= TXN_BRANCHES_MAX);
    assert(*body.reason && strlen(body.reason) <= RESOLVE_REASON_MAX);
    assert(body.outcome != BRANCH_OUTCOME_RETRY);
  }
  json_decref(body.json);
  return code;
}

static enum error_code decode_read(const struct http_request *request, struct error *err) {
  bool waits;
  enum wait_until until;
  int64_t timeout_ms;
  enum error_code code =
      read_query_decode(request, TIMEOUT_MAX_MS, &waits, &until, &timeout_ms, err);
  if (code == ERR_OK && waits) assert(timeout_ms >= 0 && timeout_ms <= TIMEOUT_MAX_MS);
  return code;
}

static enum error_code decode_list(const struct http_request *request, struct error *err) {
  struct list_filter filter;
  enum error_code code = list_query_decode(request, &filter, err);
  if (code == ERR_OK) assert(filter.limit >= 1 && filter.limit <= LIST_LIMIT_MAX);
  return code;
}

static enum error_code decode(char kind, const struct http_request *request, struct error *err) {
  enum wait_until wait;
  switch (kind) {
  case '0': return decode_begin(request, err);
  case '1': return decode_statement(request, err);
  case '2': return decode_enlist(request, err);
  case '3': return commit_body_decode(request, &wait, err);
  case '4': return empty_body_decode(request, err);
  case '5': return decode_read(request, err);
  case '7': return decode_resolve(request, err);
  default: return decode_list(request, err);
  }
}

/* Header lines up to an empty one; returns where the body begins. */
static char *take_headers(char *at, struct http_headers *headers, struct http_request *request) {
  while (*at) {
    char *end = strchr(at, '\n');
    if (!end) return at + strlen(at);
    *end = '\0';
    char *line = at;
    at = end + 1;
    if (!*line) return at;
    char *colon = strchr(line, ':');
    if (!colon) continue;
    *colon = '\0';
    const char *value = colon + 1 + strspn(colon + 1, " ");
    http_headers_add(headers, line, value);
    if (strcasecmp(line, KEY_HEADER) != 0) continue;
    request->key = value;
    request->keys++;
  }
  return at;
}

static void check_headers(const struct http_headers *headers) {
  struct error err = {0};
  size_t length = 0;
  static const struct http_hosts hosts = {.listen_host = "127.0.0.1", .names = "bank.example"};
  if (http_check_framing(headers, &length, &err) != ERR_OK) assert(err.text[0]);
  /* A name that a foreign page could have made lead here is none of ours. */
  if (http_check_source(headers, &hosts, &err) == ERR_OK && headers->host)
    assert(strncmp(headers->host, "127.", 4) == 0 || headers->host[0] == '[' ||
           strncasecmp(headers->host, "localhost", 9) == 0 ||
           strncasecmp(headers->host, "bank.example", 12) == 0);
  if (http_check_accept(headers, "application/json", &err) != ERR_OK) assert(err.text[0]);
  if (http_check_content_type(headers, &err) != ERR_OK) assert(err.text[0]);
}

static void check_key(const struct http_request *request) {
  struct error err = {0};
  struct key_id id;
  char fingerprint[FINGERPRINT_SIZE];
  if (!request->key) return;
  if (key_decode(request, &id, fingerprint, &err) != ERR_OK) {
    assert(err.text[0] && strcmp(err.field, KEY_HEADER) == 0);
    return;
  }
  assert(request->keys == 1 && id.name[0] && strlen(id.name) <= KEY_NAME_MAX);
  assert(strlen(id.fingerprint) == FINGERPRINT_SIZE - 1);
  for (const char *at = id.name; *at; at++)
    assert(*at >= ' ' && *at <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  char *text = fuzz_text(data + 1, size - 1);
  char *line_end = strchr(text, '\n');
  char *rest = line_end ? line_end + 1 : text + size - 1;
  if (line_end) *line_end = '\0';
  struct http_headers headers = {.host_required = true};
  struct http_request request = {0};
  char *body = take_headers(rest, &headers, &request);
  check_headers(&headers);

  request.body = body;
  request.length = (size_t)(text + size - 1 - body);
  check_key(&request);
  if (request.length == 0) request.body = NULL;
  if (http_target_parse(text, &request.target)) {
    struct http_captures captures;
    (void)http_path_match("/v1/transactions/{id}/branches/{branch}", request.target.path,
                          &captures);
    struct error err = {0};
    if (decode((char)data[0], &request, &err) != ERR_OK) assert(err.code != ERR_OK && err.text[0]);
  }
  free(text);
  return 0;
}
