/* Who may come in: tokens and their roles, TLS, certificates between the coordinator and its agents. */
#include "tests/lib/world.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct world_options secure = {.secure = true};

/* A client of its own, which must be freed; `token` NULL: it shows none. */
static struct api *client_with(const struct world *w, const char *token, const char *ca) {
  char url[64];
  (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", w->ports[COORDINATOR]);
  struct api *api = api_new(url);
  api_identify(api, &(struct http_identity){.token = token, .ca = ca});
  return api;
}

static void reload(struct world *w, const char *event) {
  unsigned before = world_logged(w, COORDINATOR, event);
  process_kill(w->processes[COORDINATOR], SIGHUP);
  UNTIL(world_logged(w, COORDINATOR, event) == before + 1);
}

static void transfer_commits_over_tls(enum world_mode mode) {
  struct world *w = world_open(mode, &secure);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  world_restart(w, COORDINATOR);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, 2);
  world_close(w);
}
IN_BOTH_MODES(transfer_commits_over_tls)

/* ---- tokens ---------------------------------------------------------------------------------- */

static void check_refused(struct world *w, const char *token) {
  struct api *api = client_with(w, token, w->ca);
  CHECK_PROBLEM(api_run(api, ONE_CALL("", TRANSFER(1))), 401, "unauthorized");
  CHECK_PROBLEM(api_get(api, "/v1/transactions"), 401, "unauthorized");
  CHECK_PROBLEM(api_get(api, "/v1/participants"), 401, "unauthorized");
  CHECK_STATUS(api_get(api, "/healthz"), 200);
  api_free(api);
}

static void requests_without_a_known_token_are_401_and_logged(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &secure);
  check_refused(w, NULL);
  check_refused(w, "");
  check_refused(w, "assent_wrong");
  char near[TOKEN_TEXT_SIZE];
  (void)strcpy(near, w->tokens[TOKEN_SHOP]);
  near[strlen(near) - 1] = near[strlen(near) - 1] == 'A' ? 'B' : 'A';
  check_refused(w, near);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "access_refused"), 12);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, w->tokens[TOKEN_SHOP]), 0);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, near), 0);
  CHECK_MOVED(w, 0);
  world_close(w);
}

static void tokens_do_what_their_role_may(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &secure);
  struct api *shop = client_with(w, w->tokens[TOKEN_SHOP], w->ca);
  struct api *metrics = client_with(w, w->tokens[TOKEN_METRICS], w->ca);
  const struct reply *reply = api_run(shop, ONE_CALL("", TRANSFER(1)));
  CHECK_STATUS(reply, 200);
  const char *id = reply_string(reply, "/id");
  CHECK_STATUS(api_read(shop, id), 200);
  CHECK_PROBLEM(api_get(shop, "/v1/participants"), 403, "forbidden");
  CHECK_PROBLEM(api_post(shop, api_text(shop, "/v1/transactions/%s/resolve", id),
                         "{'branch':1,'outcome':'aborted','reason':'because'}"),
                403, "forbidden");
  CHECK_PROBLEM(api_run(metrics, ONE_CALL("", TRANSFER(1))), 403, "forbidden");
  CHECK_PROBLEM(api_read(metrics, id), 403, "forbidden");
  CHECK_STATUS(api_get(w->api, "/v1/participants"), 200);
  CHECK_STATUS(api_read(w->api, id), 200);
  CHECK_STATUS(api_get(shop, "/v1/transactions/%s/timeline", id), 200);
  CHECK_PROBLEM(api_get(metrics, "/v1/transactions/%s/timeline", id), 403, "forbidden");
  CHECK_STATUS(api_get(metrics, "/metrics"), 200);
  CHECK_STATUS(api_get(w->api, "/metrics"), 200);
  CHECK_PROBLEM(api_get(shop, "/metrics"), 403, "forbidden");
  CHECK_PROBLEM(api_get(shop, "/v1/events"), 403, "forbidden");
  CHECK_PROBLEM(api_get(metrics, "/v1/events"), 403, "forbidden");
  CHECK_PROBLEM(api_post(shop, "/v1/participants/bank_a/drain", "{}"), 403, "forbidden");
  CHECK_PROBLEM(api_post(shop, "/v1/participants/bank_a/undrain", "{}"), 403, "forbidden");
  CHECK_STATUS(api_post(w->api, "/v1/participants/bank_a/drain", "{}"), 200);
  CHECK_STATUS(api_post(w->api, "/v1/participants/bank_a/undrain", "{}"), 200);
  CHECK_MOVED(w, 1);
  api_free(shop);
  api_free(metrics);
  world_close(w);
}

/* ---- whose it is ------------------------------------------------------------------------------ */

/* As if it were not there: nothing tells it from one that never was. */
static void check_hidden(struct api *api, const char *id) {
  static const char never[] = "01900000-0000-7000-8000-000000000000";
  CHECK_PROBLEM(api_read(api, never), 404, "not_found");
  char expected[200];
  (void)snprintf(expected, sizeof expected, "%s", reply_string(api_read(api, never), "/detail"));
  const struct reply *reply = api_read(api, id);
  CHECK_PROBLEM(reply, 404, "not_found");
  CHECK_STRING(reply, "/detail", expected);
  CHECK_PROBLEM(api_get(api, "/v1/transactions/%s?wait=applied&timeout_ms=1", id), 404,
                "not_found");
  CHECK_PROBLEM(api_get(api, "/v1/transactions/%s/timeline", id), 404, "not_found");
  CHECK_PROBLEM(api_statement(api, id, "bank_a", "'sql':'SELECT 1'"), 404, "not_found");
  CHECK_PROBLEM(api_post(api, api_text(api, "/v1/transactions/%s/branches", id),
                         "{'participant':'bank_a'}"),
                404, "not_found");
  CHECK_PROBLEM(api_commit(api, id), 404, "not_found");
  CHECK_PROBLEM(api_rollback(api, id), 404, "not_found");
}

static void check_listed(struct api *api, const char *query, size_t count) {
  const struct reply *list = api_get(api, "/v1/transactions%s", query);
  CHECK_STATUS(list, 200);
  CU_ASSERT_EQUAL(json_array_size(reply_at(list, "/transactions")), count);
}

static void check_seen(struct api *api, const char *id) {
  CHECK_STATUS(api_read(api, id), 200);
  CHECK_STATUS(api_get(api, "/v1/transactions/%s/timeline", id), 200);
}

static void client_sees_and_touches_its_own_transactions_only(enum world_mode mode) {
  struct world *w = world_open(mode, &secure);
  struct api *shop = client_with(w, w->tokens[TOKEN_SHOP], w->ca);
  struct api *other = client_with(w, w->tokens[TOKEN_OTHER_SHOP], w->ca);
  char open[64], committed[64], aborted[64];
  (void)snprintf(open, sizeof open, "%s", api_begin(shop, "{'label':'x'}"));
  CHECK_STATUS(api_statement(shop, open, "bank_a", "'sql':'SELECT 1'"), 200);
  const struct reply *reply = api_run(shop, ONE_CALL("'label':'x',", TRANSFER(1)));
  (void)snprintf(committed, sizeof committed, "%s", reply_string(reply, "/id"));
  reply = api_run(shop, ONE_CALL("'label':'x',", TRANSFER(1000000)));
  (void)snprintf(aborted, sizeof aborted, "%s", reply_string(reply, "/transaction/id"));
  const char *const ids[] = {open, committed, aborted};
  for (int life = 0; life < 2; life++) {
    for (size_t i = 0; i < 3; i++) {
      check_hidden(other, ids[i]);
      check_seen(shop, ids[i]);
      check_seen(w->api, ids[i]);
    }
    check_listed(other, "", 0);
    check_listed(other, "?label=x", 0);
    check_listed(other, "?state=committed", 0);
    check_listed(shop, "", 3);
    check_listed(shop, "?label=x&participant=bank_a", 3);
    check_listed(w->api, "", 3);
    if (life == 1) break;
    CHECK_STRING(api_read(shop, open), "/state", "open");
    CHECK_STATUS(api_rollback(shop, open), 200);
    UNTIL(json_array_size(
              reply_at(api_get(w->api, "/v1/transactions?state=aborted"), "/transactions")) == 2);
    world_stop(w, COORDINATOR);
    world_start(w, COORDINATOR, NULL);
    world_wait_ready(w);
    char url[64];
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", w->ports[COORDINATOR]);
    api_set_url(shop, url);
    api_set_url(other, url);
  }
  CHECK_MOVED(w, 1);
  api_free(shop);
  api_free(other);
  world_close(w);
}
IN_BOTH_MODES(client_sees_and_touches_its_own_transactions_only)

/* As many as it may have under way: one more is refused, and nobody else. It may again with the end of one. */
static void token_over_its_share_is_refused_alone(enum world_mode mode) {
  struct world *w =
      world_open(mode,
                 &(struct world_options){.secure = true, .settings = "token_transactions = 2\n"});
  struct api *shop = client_with(w, w->tokens[TOKEN_SHOP], w->ca);
  struct api *other = client_with(w, w->tokens[TOKEN_OTHER_SHOP], w->ca);
  const char *first = api_begin(shop, "{}");
  const char *second = api_begin(shop, "{}");
  CHECK_LIMIT(api_run(shop, "{}"), 429, "too_many", "token_transactions", 2);
  CHECK_LIMIT(api_run(shop, ONE_CALL("", TRANSFER(1))), 429, "too_many", "token_transactions", 2);
  CHECK_STATUS(api_statement(shop, first, "bank_a", "'sql':'SELECT 1'"), 200);
  CHECK_STATUS(api_run(other, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(100))), 200);
  CHECK_STATUS(api_commit(shop, first), 200);
  CHECK_STATUS(api_run(shop, ONE_CALL("", TRANSFER(1))), 200);
  const char *third = api_begin(shop, "{}");
  CHECK_PROBLEM(api_run(shop, "{}"), 429, "too_many");
  CHECK_STATUS(api_rollback(shop, second), 200);
  CHECK_STATUS(api_rollback(shop, third), 200);
  const struct reply *figures = api_get(w->api, "/metrics");
  CU_ASSERT_PTR_NOT_NULL(strstr(
      figures->text, "assent_transactions_refused_total{reason=\"token_transactions\"} 3\n"));
  CHECK_MOVED(w, 111);
  api_free(shop);
  api_free(other);
  world_close(w);
}
IN_BOTH_MODES(token_over_its_share_is_refused_alone)

static const struct reply *keyed_by(struct world *w, const char *token, const char *body) {
  return api_post_keyed(w->api, "/v1/transactions", "k",
                        api_text(w->api, "Authorization: Bearer %s\r\n", token), body);
}

/* In the clear, on the loopback, with tokens: what is spoken by hand. */
static struct world *open_with_tokens(const char *more, char shop[TOKEN_TEXT_SIZE],
                                      char other[TOKEN_TEXT_SIZE]) {
  char path[] = "/tmp/assent-tokens-XXXXXX", line[TOKEN_LINE_SIZE];
  static char settings[128];
  struct token token;
  int fd = mkstemp(path);
  CU_ASSERT_TRUE_FATAL(fd >= 0);
  token_make("shop", ROLE_CLIENT, shop, &token);
  token_line(&token, line);
  CU_ASSERT_TRUE(write(fd, line, strlen(line)) == (ssize_t)strlen(line));
  token_make("other", ROLE_CLIENT, other, &token);
  token_line(&token, line);
  CU_ASSERT_TRUE(write(fd, line, strlen(line)) == (ssize_t)strlen(line));
  (void)close(fd);
  (void)snprintf(settings, sizeof settings, "tokens = %s\n%s", path, more);
  struct world *w = world_open(WORLD_EMBEDDED, &(struct world_options){.settings = settings});
  (void)unlink(path);
  return w;
}

static void refusal_over_the_share_says_when_to_come_again(void) {
  char shop[TOKEN_TEXT_SIZE], other[TOKEN_TEXT_SIZE];
  struct world *w = open_with_tokens("token_transactions = 1\n", shop, other);
  const char *mine = api_text(w->api, "Authorization: Bearer %s\r\n", shop);
  const struct reply *reply = api_post_with(w->api, "/v1/transactions", mine, "{}");
  CHECK_STATUS(reply, 201);
  const char *id = reply_string(reply, "/id");
  reply = keyed_by(w, shop, ONE_CALL("", TRANSFER(1)));
  CHECK_PROBLEM(reply, 429, "too_many");
  CU_ASSERT_TRUE(reply_has_header(reply, "Retry-After: 1"));
  CHECK_STATUS(keyed_by(w, other, ONE_CALL("", TRANSFER(10))), 200);
  const char *rollback = api_text(w->api, "/v1/transactions/%s/rollback", id);
  CHECK_STATUS(api_post_with(w->api, rollback, mine, "{}"), 200);
  CHECK_STATUS(keyed_by(w, shop, ONE_CALL("", TRANSFER(1))), 200); /* its key was free */
  CHECK_MOVED(w, 11);
  world_close(w);
}

static void key_of_one_client_is_not_that_of_another(void) {
  char shop[TOKEN_TEXT_SIZE], other[TOKEN_TEXT_SIZE], id[64];
  struct world *w = open_with_tokens("", shop, other);
  const struct reply *reply = keyed_by(w, shop, ONE_CALL("", TRANSFER(1)));
  CHECK_STATUS(reply, 200);
  (void)snprintf(id, sizeof id, "%s", reply_string(reply, "/id"));
  reply = keyed_by(w, other, ONE_CALL("", TRANSFER(1)));
  CHECK_STATUS(reply, 200);
  CU_ASSERT_STRING_NOT_EQUAL(reply_string(reply, "/id"), id);
  CHECK_PROBLEM(keyed_by(w, other, ONE_CALL("", TRANSFER(2))), 422, "key_reused");
  CHECK_STRING(keyed_by(w, shop, ONE_CALL("", TRANSFER(1))), "/id", id);
  CHECK_MOVED(w, 2);
  world_close(w);
}

/* ---- who tries tokens out --------------------------------------------------------------------- */

static int guess(const struct api *api) {
  static const char request[] = "GET /v1/transactions HTTP/1.1\r\nHost: localhost\r\n"
                                "Authorization: Bearer assent_guess\r\n\r\n";
  int fd = api_connect(api);
  CU_ASSERT_TRUE_FATAL(fd >= 0);
  CU_ASSERT_EQUAL(send(fd, request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
  return fd;
}

static bool answers(int fd, int wait_ms) {
  struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
  return poll(&poll_fd, 1, wait_ms) == 1;
}

/* However many come behind it, and how often. */
static void guess_is_answered_while_others_go_on_guessing(void) {
  enum { GUESSES = 400 };
  char shop[TOKEN_TEXT_SIZE], other[TOKEN_TEXT_SIZE];
  struct world *w = open_with_tokens("", shop, other);
  int first = guess(w->api), guesses[GUESSES], count = 0;
  while (count < GUESSES && !answers(first, 20))
    guesses[count++] = guess(w->api);
  CU_ASSERT_TRUE(count < GUESSES);
  for (int i = 0; i < count; i++)
    (void)close(guesses[i]);
  (void)close(first);
  CHECK_STATUS(keyed_by(w, shop, ONE_CALL("", TRANSFER(1))), 200);
  world_close(w);
}

/* With 40 connections 10 may wait; over that they are let go. */
static void guesses_do_not_take_the_connections_of_others(void) {
  enum { CONNECTIONS = 40, ROUND = 30 };
  char shop[TOKEN_TEXT_SIZE], other[TOKEN_TEXT_SIZE], answer[2048];
  struct world *w = open_with_tokens("connections = 40\n", shop, other);
  bool let_go = false;
  for (int round = 0; round < 20 && !let_go; round++) {
    int fds[ROUND];
    for (int i = 0; i < ROUND; i++)
      fds[i] = guess(w->api);
    CHECK_STATUS(keyed_by(w, shop, ONE_CALL("", TRANSFER(1))), 200);
    for (int i = 0; i < ROUND; i++) {
      CU_ASSERT_TRUE(answers(fds[i], 10000));
      ssize_t length = recv(fds[i], answer, sizeof answer - 1, 0);
      answer[length > 0 ? length : 0] = '\0';
      CU_ASSERT_PTR_NOT_NULL(strstr(answer, " 401 "));
      let_go |= strcasestr(answer, "\r\nConnection: close\r\n") != NULL;
      (void)close(fds[i]);
    }
  }
  CU_ASSERT_TRUE(let_go);
  world_close(w);
}

/* ---- tokens change ---------------------------------------------------------------------------- */

static FILE *open_tokens(const struct world *w, const char *mode) {
  char path[512];
  (void)snprintf(path, sizeof path, "%s/tokens", w->directory);
  FILE *file = fopen(path, mode);
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  return file;
}

static void add_token(const struct world *w, const char *mode, const char *name,
                      char text[TOKEN_TEXT_SIZE]) {
  char line[TOKEN_LINE_SIZE];
  struct token token;
  token_make(name, ROLE_CLIENT, text, &token);
  token_line(&token, line);
  FILE *file = open_tokens(w, mode);
  (void)fputs(line, file);
  (void)fclose(file);
}

static void tokens_change_without_a_restart(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &secure);
  char newer[TOKEN_TEXT_SIZE], newest[TOKEN_TEXT_SIZE];
  add_token(w, "a", "newer", newer);
  struct api *api = client_with(w, newer, w->ca);
  CHECK_STATUS(api_get(api, "/v1/transactions"), 401);
  reload(w, "\"reloaded\"");
  CHECK_STATUS(api_get(api, "/v1/transactions"), 200);
  FILE *file = open_tokens(w, "a");
  (void)fputs("somebody king 00\n", file);
  (void)fclose(file);
  reload(w, "reload_failed");
  CHECK_STATUS(api_get(api, "/v1/transactions"), 200);
  add_token(w, "w", "newest", newest);
  reload(w, "\"reloaded\"");
  CHECK_STATUS(api_get(api, "/v1/transactions"), 401);
  CHECK_STATUS(api_get(w->api, "/v1/transactions"), 401);
  api_free(api);
  api = client_with(w, newest, w->ca);
  CHECK_STATUS(api_run(api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, 1);
  api_free(api);
  world_close(w);
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* Another authority's certificate is put in the place of the coordinator's. */
static void certificate_changes_without_a_restart(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &secure);
  char directory[512], ca[600], command[2048];
  (void)snprintf(directory, sizeof directory, "%s/other", w->directory);
  (void)snprintf(ca, sizeof ca, "%s/ca.pem", directory);
  struct pki *other = pki_new(directory);
  pki_issue(other, "coordinator");
  struct api *old = client_with(w, w->tokens[TOKEN_SHOP], w->ca);
  struct api *new = client_with(w, w->tokens[TOKEN_SHOP], ca);
  CHECK_STATUS(api_get(old, "/v1/transactions"), 200);
  CU_ASSERT_EQUAL(api_get(new, "/v1/transactions")->error, ERR_UNAVAILABLE);
  /* A key that is not the certificate's: nothing changes. */
  (void)snprintf(command, sizeof command, "cp %s/coordinator.pem %s/pki/coordinator.pem", directory,
                 w->directory);
  CU_ASSERT_EQUAL_FATAL(system(command), 0);
  reload(w, "reload_failed");
  CHECK_STATUS(api_get(old, "/v1/transactions"), 200);
  (void)snprintf(command, sizeof command, "cp %s/coordinator.key %s/pki/coordinator.key", directory,
                 w->directory);
  CU_ASSERT_EQUAL_FATAL(system(command), 0);
  reload(w, "\"reloaded\"");
  CHECK_STATUS(api_get(new, "/v1/transactions"), 200);
  api_free(old);
  old = client_with(w, w->tokens[TOKEN_SHOP], w->ca);
  CU_ASSERT_EQUAL(api_get(old, "/v1/transactions")->error, ERR_UNAVAILABLE);
  api_identify(w->api, &(struct http_identity){.token = w->tokens[TOKEN_OPERATOR], .ca = ca});
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, 1);
  api_free(old);
  api_free(new);
  pki_free(other);
  world_close(w);
}

/* Plain HTTP to a port that speaks TLS. */
static void plain_request_is_not_answered(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &secure);
  char url[64];
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", w->ports[COORDINATOR]);
  struct api *api = api_new(url);
  CU_ASSERT_EQUAL(api_get(api, "/healthz")->status, 0);
  api_free(api);
  world_close(w);
}

/* What libmicrohttpd gives up reading. */
static void request_too_long_is_told_so_over_tls(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &secure);
  char url[64];
  (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", w->ports[COORDINATOR]);
  struct api *api = api_new_of_agent(url);
  api_identify(api, &(struct http_identity){.ca = w->ca});
  CHECK_PROBLEM(api_get(api, "/healthz?%060000d", 0), 414, "uri_too_long");
  CHECK_STATUS(api_get(api, "/healthz"), 200);
  api_free(api);
  world_close(w);
}

static void check_agent(struct world *w, const struct http_identity *identity, int status) {
  char url[64];
  (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", w->ports[AGENT_A]);
  struct api *api = api_new_of_agent(url);
  api_identify(api, identity);
  CHECK_STATUS(api_get(api, "/healthz"), status);
  CHECK_STATUS(api_get(api, "/v1/databases/bank_a/health"), status);
  api_free(api);
}

static void agent_hears_nobody_without_a_certificate_of_its_authority(void) {
  struct world *w = world_open(WORLD_AGENTS, &secure);
  char certificate[512], key[512], directory[256 + 8];
  (void)snprintf(certificate, sizeof certificate, "%s/pki/coordinator.pem", w->directory);
  (void)snprintf(key, sizeof key, "%s/pki/coordinator.key", w->directory);
  check_agent(w, &(struct http_identity){.ca = w->ca, .certificate = certificate, .key = key}, 200);
  check_agent(w, &(struct http_identity){.ca = w->ca}, 403);
  (void)snprintf(directory, sizeof directory, "%s/other", w->directory);
  struct pki *other = pki_new(directory);
  pki_issue(other, "coordinator");
  (void)snprintf(certificate, sizeof certificate, "%s/coordinator.pem", directory);
  (void)snprintf(key, sizeof key, "%s/coordinator.key", directory);
  check_agent(w, &(struct http_identity){.ca = w->ca, .certificate = certificate, .key = key}, 403);
  CU_ASSERT_TRUE(world_logged(w, AGENT_A, "access_refused") >= 4);
  pki_free(other);
  world_close(w);
}

SUITE(access, BOTH(transfer_commits_over_tls),
      CASE(requests_without_a_known_token_are_401_and_logged), CASE(tokens_do_what_their_role_may),
      BOTH(client_sees_and_touches_its_own_transactions_only),
      BOTH(token_over_its_share_is_refused_alone),
      CASE(refusal_over_the_share_says_when_to_come_again),
      CASE(key_of_one_client_is_not_that_of_another),
      CASE(guess_is_answered_while_others_go_on_guessing),
      CASE(guesses_do_not_take_the_connections_of_others), CASE(tokens_change_without_a_restart),
      CASE(certificate_changes_without_a_restart), CASE(plain_request_is_not_answered),
      CASE(request_too_long_is_told_so_over_tls),
      CASE(agent_hears_nobody_without_a_certificate_of_its_authority))
