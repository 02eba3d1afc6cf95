/* See api.h. Limits: API_BYTES_MAX for a formatted body, CALL_MS_MAX for a call. */
#include "tests/lib/api.h"

#include <CUnit/CUnit.h>
#include <assert.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/http_client.h"
#include "tests/lib/contract.h"
#include "tests/lib/suite.h"

enum { CALL_MS_MAX = 60000, API_BYTES_MAX = 1 << 16, RAW_BYTES_MAX = 1 << 20 };

/* What an api owns: a list of texts, and one of replies. */
struct kept_text {
  struct kept_text *next;
  char *text;
};

struct kept_reply {
  struct kept_reply *next;
  struct reply reply;
};

struct api {
  char url[64];
  bool of_agent;
  struct http_caller *caller;
  struct http_identity identity;
  struct kept_text *texts;
  struct kept_reply *replies;
};

static void *must(void *memory) {
  if (!memory) abort();
  return memory;
}

/* ---- ownership ------------------------------------------------------------------------------- */

static char *keep_text(struct api *api, char *text) {
  struct kept_text *kept = must(malloc(sizeof *kept));
  *kept = (struct kept_text){api->texts, must(text)};
  api->texts = kept;
  return text;
}

static struct reply *keep_reply(struct api *api) {
  struct kept_reply *kept = must(calloc(1, sizeof *kept));
  kept->next = api->replies;
  kept->reply = (struct reply){.text = "", .headers = ""};
  api->replies = kept;
  return &kept->reply;
}

struct api *api_new(const char *url) {
  struct api *api = must(calloc(1, sizeof *api));
  api->caller = must(http_caller_new());
  api_set_url(api, url);
  return api;
}

struct api *api_new_of_agent(const char *url) {
  struct api *api = api_new(url);
  api->of_agent = true;
  return api;
}

void api_free(struct api *api) {
  if (!api) return;
  for (struct kept_text *kept = api->texts, *next; kept; kept = next) {
    next = kept->next;
    free(kept->text);
    free(kept);
  }
  for (struct kept_reply *kept = api->replies, *next; kept; kept = next) {
    next = kept->next;
    json_decref(kept->reply.json);
    free(kept);
  }
  http_caller_free(api->caller);
  free(api);
}

void api_identify(struct api *api, const struct http_identity *identity) {
  api->identity = *identity;
  http_caller_identify(api->caller, identity);
}

void api_set_url(struct api *api, const char *url) {
  (void)snprintf(api->url, sizeof api->url, "%s", url);
}

/* ---- texts ----------------------------------------------------------------------------------- */

static char *format_text(const char *format, va_list arguments)
    __attribute__((format(printf, 1, 0)));
static char *format_text(const char *format, va_list arguments) {
  char *text = NULL;
  int length = vasprintf(&text, format, arguments);
  assert(length >= 0 && length < API_BYTES_MAX);
  return text;
}

static void put_quotes(char *text) {
  for (char *at = text; *at; at++)
    if (*at == '\'') *at = '"';
}

const char *api_text(struct api *api, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char *text = keep_text(api, format_text(format, arguments));
  va_end(arguments);
  return text;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct reply *call(struct api *api, const char *method, const char *path, const char *body) {
  struct reply *reply = keep_reply(api);
  const char *url = api_text(api, "%s%s", api->url, path);
  char *response = NULL;
  reply->error = http_caller_call(api->caller, method, url, body, CALL_MS_MAX, &reply->status,
                                  &response, NULL, NULL);
  if (reply->error != ERR_OK) reply->status = 0;
  if (!response) return reply;
  reply->text = keep_text(api, response);
  reply->json = json_loads(response, JSON_DECODE_ANY, NULL);
  return reply;
}

/* The answer is held against the contract. For the thread that counts. */
static const struct reply *check_contract(const struct api *api, const struct reply *reply,
                                          const char *method, const char *path) {
  char why[CONTRACT_WHY_SIZE];
  if (reply->status != 0 && !api->of_agent &&
      !contract_allows_answer(method, path, reply->status, reply->json, why))
    check_failed(__FILE__, __LINE__, false,
                 "%s %s is not answered as openapi.json says: %s in %.900s", method, path, why,
                 reply->text);
  return reply;
}

const struct reply *api_get(struct api *api, const char *path_format, ...) {
  va_list arguments;
  va_start(arguments, path_format);
  const char *path = keep_text(api, format_text(path_format, arguments));
  va_end(arguments);
  return check_contract(api, call(api, "GET", path, NULL), "GET", path);
}

const struct reply *api_post(struct api *api, const char *path, const char *body_format, ...) {
  va_list arguments;
  va_start(arguments, body_format);
  char *body = keep_text(api, format_text(body_format, arguments));
  va_end(arguments);
  put_quotes(body);
  return check_contract(api, call(api, "POST", path, body), "POST", path);
}

const struct reply *api_post_plain(struct api *api, const char *path, const char *body) {
  return check_contract(api, call(api, "POST", path, body), "POST", path);
}

const struct reply *api_run(struct api *api, const char *body_format, ...) {
  va_list arguments;
  va_start(arguments, body_format);
  char *body = keep_text(api, format_text(body_format, arguments));
  va_end(arguments);
  put_quotes(body);
  return check_contract(api, call(api, "POST", "/v1/transactions", body), "POST",
                        "/v1/transactions");
}

const char *api_begin(struct api *api, const char *body) {
  const struct reply *reply = api_post(api, "/v1/transactions", "%s", body);
  CHECK_STATUS(reply, 201);
  CHECK_STRING(reply, "/state", "open");
  return reply_string(reply, "/id");
}

const struct reply *api_statement(struct api *api, const char *id, const char *participant,
                                  const char *statement_members) {
  return api_post(api, api_text(api, "/v1/transactions/%s/statements", id),
                  "{'participant':'%s',%s}", participant, statement_members);
}

const struct reply *api_commit(struct api *api, const char *id) {
  return api_post(api, api_text(api, "/v1/transactions/%s/commit", id), "{}");
}

const struct reply *api_rollback(struct api *api, const char *id) {
  return api_post(api, api_text(api, "/v1/transactions/%s/rollback", id), "{}");
}

const struct reply *api_read(struct api *api, const char *id) {
  return api_get(api, "/v1/transactions/%s", id);
}

const json_t *api_find(struct api *api, const char *label) {
  const struct reply *reply = api_get(api, "/v1/transactions?label=%s", label);
  CHECK_STATUS(reply, 200);
  const json_t *found = reply_at(reply, "/transactions");
  if (json_array_size(found) > 1)
    check_failed(__FILE__, __LINE__, false, "more than one transaction has the label %s", label);
  return json_array_get(found, 0);
}

const char *api_outcome(struct api *api, const char *label) {
  const json_t *transaction = api_find(api, label);
  const char *outcome = json_string_value(json_object_get(transaction, "outcome"));
  return outcome ? outcome : "";
}

/* ---- by hand, on a socket -------------------------------------------------------------------- */

int api_connect(const struct api *api) {
  unsigned port = 0;
  int matched = sscanf(api->url, "http://127.0.0.1:%u", &port);
  assert(matched == 1);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const struct timeval limit = {.tv_sec = CALL_MS_MAX / 1000};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert(fd >= 0);
  (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
  (void)close(fd);
  return -1;
}

/* What the server does not take it has refused; its answer tells. */
static void raw_send(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
    if (sent <= 0) return;
    bytes += sent;
    length -= (size_t)sent;
  }
}

const struct reply *api_raw(struct api *api, const char *bytes, size_t length) {
  struct reply *reply = keep_reply(api);
  char *answer = keep_text(api, must(malloc(RAW_BYTES_MAX + 1)));
  size_t have = 0;
  answer[0] = '\0';
  int fd = api_connect(api);
  if (fd < 0) return reply;
  raw_send(fd, bytes, length);
  for (ssize_t got; have < RAW_BYTES_MAX; have += (size_t)got) {
    got = recv(fd, answer + have, RAW_BYTES_MAX - have, 0);
    if (got <= 0) break;
  }
  (void)close(fd);
  answer[have] = '\0';
  char *body = strstr(answer, "\r\n\r\n");
  if (sscanf(answer, "HTTP/1.1 %d", &reply->status) != 1 || !body) return reply;
  *body = '\0';
  reply->headers = answer;
  reply->text = body + 4;
  reply->json = json_loads(body + 4, JSON_DECODE_ANY, NULL);
  return reply;
}

static const struct reply *post_with(struct api *api, const char *path, const char *more,
                                     const char *body) {
  char *json = keep_text(api, must(strdup(body)));
  put_quotes(json);
  const char *request =
      api_text(api,
               "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               "%sConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
               path, more, strlen(json), json);
  return api_raw(api, request, strlen(request));
}

static const struct reply *post_keyed(struct api *api, const char *path, const char *key,
                                      const char *more, const char *body) {
  return post_with(api, path, api_text(api, "Idempotency-Key: %s\r\n%s", key, more), body);
}

const struct reply *api_post_with(struct api *api, const char *path, const char *more,
                                  const char *body) {
  return check_contract(api, post_with(api, path, more, body), "POST", path);
}

const struct reply *api_post_keyed(struct api *api, const char *path, const char *key,
                                   const char *more, const char *body) {
  return check_contract(api, post_keyed(api, path, key, more, body), "POST", path);
}

const struct reply *api_keyed(struct api *api, const char *key, const char *body) {
  return api_post_keyed(api, "/v1/transactions", key, "", body);
}

void api_send_and_leave(struct api *api, const char *path, const char *body) {
  char *json = keep_text(api, must(strdup(body)));
  put_quotes(json);
  const char *request =
      api_text(api,
               "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               "Content-Length: %zu\r\n\r\n%s",
               path, strlen(json), json);
  int fd = api_connect(api);
  assert(fd >= 0);
  raw_send(fd, request, strlen(request));
  (void)close(fd);
}

/* ---- asynchronous ---------------------------------------------------------------------------- */

struct async {
  struct api *owner; /* of the reply, in the end */
  struct api *own;
  char *path, *key, *body; /* key NULL: none */
  const struct reply *reply;
  pthread_t thread;
  atomic_bool done;
};

static void *async_main(void *data) {
  struct async *async = data;
  async->reply = async->key ? post_keyed(async->own, async->path, async->key, "", async->body)
                            : call(async->own, "POST", async->path, async->body);
  atomic_store(&async->done, true);
  return NULL;
}

static struct async *async_start(struct api *api, const char *path, const char *key,
                                 const char *body) {
  struct async *async = must(calloc(1, sizeof *async));
  async->key = key ? must(strdup(key)) : NULL;
  async->owner = api;
  async->own = api_new(api->url);
  api_identify(async->own, &api->identity);
  async->path = must(strdup(path));
  async->body = must(strdup(body));
  put_quotes(async->body);
  int created = pthread_create(&async->thread, NULL, async_main, async);
  assert(created == 0);
  return async;
}

struct async *async_post(struct api *api, const char *path, const char *body) {
  return async_start(api, path, NULL, body);
}

struct async *async_keyed(struct api *api, const char *key, const char *body) {
  return async_start(api, "/v1/transactions", key, body);
}

bool async_is_done(struct async *async) {
  return atomic_load(&async->done);
}

const struct reply *async_finish(struct async *async) {
  (void)pthread_join(async->thread, NULL);
  struct reply *reply = keep_reply(async->owner);
  *reply = *async->reply;
  json_incref(reply->json);
  reply->text = keep_text(async->owner, must(strdup(reply->text)));
  reply->headers = keep_text(async->owner, must(strdup(reply->headers)));
  (void)check_contract(async->owner, reply, "POST", async->path);
  api_free(async->own);
  free(async->path);
  free(async->key);
  free(async->body);
  free(async);
  return reply;
}

/* ---- what is in an answer -------------------------------------------------------------------- */

const json_t *reply_at(const struct reply *reply, const char *pointer) {
  const json_t *at = reply->json;
  char segment[64];
  while (at && *pointer == '/') {
    size_t length = strcspn(++pointer, "/");
    assert(length < sizeof segment);
    memcpy(segment, pointer, length);
    segment[length] = '\0';
    at = json_is_array(at) ? json_array_get(at, strtoul(segment, NULL, 10))
                           : json_object_get(at, segment);
    pointer += length;
  }
  return at;
}

const char *reply_string(const struct reply *reply, const char *pointer) {
  const char *text = json_string_value(reply_at(reply, pointer));
  return text ? text : "";
}

bool reply_has_header(const struct reply *reply, const char *line) {
  size_t length = strlen(line);
  for (const char *at = reply->headers; at; at = strstr(at, "\r\n")) {
    at += *at == '\r' ? 2 : 0;
    if (strncasecmp(at, line, length) == 0 && (at[length] == '\r' || at[length] == '\0'))
      return true;
  }
  return false;
}

/* ---- checks ---------------------------------------------------------------------------------- */

static void (*fatal_hook)(void);

void check_on_fatal(void (*hook)(void)) {
  fatal_hook = hook;
}

void check_failed(const char *file, unsigned line, bool fatal, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  char *text = format_text(format, arguments);
  va_end(arguments);
  char kept[2048]; /* a fatal one does not come back to free anything */
  (void)snprintf(kept, sizeof kept, "%s", text);
  free(text);
  if (fatal && fatal_hook) fatal_hook();
  CU_assertImplementation(CU_FALSE, line, kept, file, "", fatal ? CU_TRUE : CU_FALSE);
}

static void passed(void) {
  CU_PASS("");
}

void check_status(const struct reply *reply, int status, const char *file, unsigned line) {
  if (reply->status == status)
    passed();
  else
    check_failed(file, line, false, "status %d expected, came %d (%s): %.1200s", status,
                 reply->status, error_wire_code(reply->error), reply->text);
}

static void check_same(const struct reply *reply, const char *pointer, json_t *expected,
                       const char *file, unsigned line) {
  const json_t *at = reply_at(reply, pointer);
  if (at && json_equal(at, expected)) {
    passed();
  } else {
    char *want = json_dumps(expected, JSON_ENCODE_ANY | JSON_COMPACT);
    char *got = at ? json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    check_failed(file, line, false, "%s: %s expected, came %.300s in (%d) %.1000s", pointer, want,
                 got ? got : "nothing", reply->status, reply->text);
    free(want);
    free(got);
  }
  json_decref(expected);
}

void check_string(const struct reply *reply, const char *pointer, const char *expected,
                  const char *file, unsigned line) {
  check_same(reply, pointer, json_string(expected), file, line);
}

void check_limit(const struct reply *reply, int status, const char *code, const char *name,
                 int64_t value, const char *file, unsigned line) {
  check_problem(reply, status, code, file, line);
  check_string(reply, "/limit/name", name, file, line);
  check_integer(reply, "/limit/value", value, file, line);
}

void check_gave_way(const struct reply *reply, const char *file, unsigned line) {
  if (strcmp(reply_string(reply, "/transaction/cause/kind"), "timeout") == 0) return;
  check_string(reply, "/transaction/cause/kind", "conflict", file, line);
  check_string(reply, "/transaction/cause/sqlstate", "55P03", file, line);
}

void check_integer(const struct reply *reply, const char *pointer, int64_t expected,
                   const char *file, unsigned line) {
  check_same(reply, pointer, json_integer(expected), file, line);
}

void check_json(const struct reply *reply, const char *pointer, const char *expected,
                const char *file, unsigned line) {
  char *text = must(strdup(expected));
  put_quotes(text);
  json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
  assert(json && "the test's own JSON");
  free(text);
  check_same(reply, pointer, json, file, line);
}

void check_problem(const struct reply *reply, int status, const char *code, const char *file,
                   unsigned line) {
  static const char *const members[] = {"/type", "/title", "/detail"};
  check_status(reply, status, file, line);
  check_string(reply, "/code", code, file, line);
  check_integer(reply, "/status", status, file, line);
  for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
    if (!*reply_string(reply, members[i]))
      check_failed(file, line, false, "no %s in %.1000s", members[i], reply->text);
}
