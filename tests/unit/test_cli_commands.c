/* The commands against a scripted coordinator: what is sent, what is shown, and the exit code. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/commands.h"
#include "tests/lib/suite.h"

enum { REQUEST_SIZE = 4096, WORDS_MAX = 16 };

#define TXID "01920000-0000-7000-8000-000000000001"

/* ---- a coordinator that gives one answer ------------------------------------------------------
 */

struct script {
  int listener;
  const char *status; /* "200 OK"; NULL: reads the request and closes */
  const char *body;
  char request[REQUEST_SIZE];
};

static bool is_whole(const char *request) {
  const char *end = strstr(request, "\r\n\r\n"), *length = strcasestr(request, "Content-Length:");
  if (!end) return false;
  return strlen(end + 4) >= (length && length < end ? strtoul(length + 15, NULL, 10) : 0);
}

static void *serve(void *data) {
  struct script *script = data;
  size_t used = 0;
  char head[256];
  int fd = accept(script->listener, NULL, NULL);
  if (fd < 0) return NULL;
  while (!is_whole(script->request) && used + 1 < REQUEST_SIZE) {
    ssize_t got = read(fd, script->request + used, REQUEST_SIZE - 1 - used);
    if (got <= 0) break;
    used += (size_t)got;
    script->request[used] = '\0';
  }
  if (script->status) {
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                          "Connection: close\r\n\r\n",
                          script->status, strlen(script->body));
    if (write(fd, head, (size_t)length) != length ||
        write(fd, script->body, strlen(script->body)) != (ssize_t)strlen(script->body))
      script->request[0] = '\0'; /* the test will see it */
  }
  (void)close(fd);
  return NULL;
}

static uint16_t listen_anywhere(int *out) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CU_ASSERT_FATAL(fd >= 0);
  CU_ASSERT_FATAL(bind(fd, (const struct sockaddr *)&address, sizeof address) == 0);
  CU_ASSERT_FATAL(listen(fd, 1) == 0);
  CU_ASSERT_FATAL(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
  *out = fd;
  return ntohs(address.sin_port);
}

/* ---- a command with its output caught ---------------------------------------------------------
 */

struct result {
  int code;
  char out[8192], err[2048];
  char request[REQUEST_SIZE];
};

static void read_back(FILE *file, char *out, size_t size) {
  rewind(file);
  out[fread(out, 1, size - 1, file)] = '\0';
  (void)fclose(file);
}

static void run_caught(int (*command)(int, char **), int argc, char **argv, struct result *result) {
  FILE *out = tmpfile(), *err = tmpfile();
  CU_ASSERT_FATAL(out && err);
  (void)fflush(stdout);
  int saved_out = dup(1), saved_err = dup(2);
  CU_ASSERT_FATAL(dup2(fileno(out), 1) == 1 && dup2(fileno(err), 2) == 2);
  result->code = command(argc, argv);
  (void)fflush(stdout);
  CU_ASSERT_FATAL(dup2(saved_out, 1) == 1 && dup2(saved_err, 2) == 2);
  (void)close(saved_out);
  (void)close(saved_err);
  read_back(out, result->out, sizeof result->out);
  read_back(err, result->err, sizeof result->err);
}

/* Runs `command` with the words (ends with NULL) and --url of a coordinator that follows the
 * script. */
static void run(int (*command)(int, char **), const char *status, const char *body,
                const char *const *words, struct result *result) {
  struct script script = {.status = status, .body = body};
  pthread_t thread;
  char url[64], *argv[WORDS_MAX];
  int argc = 0;
  memset(result, 0, sizeof *result);
  (void)snprintf(url, sizeof url, "--url=http://127.0.0.1:%d",
                 (int)listen_anywhere(&script.listener));
  for (; words[argc]; argc++) {
    argv[argc] = strdup(words[argc]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(argv[argc]);
  }
  int own = argc;
  argv[argc++] = url;
  CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, serve, &script), 0);
  char *order[WORDS_MAX];
  memcpy(order, argv, sizeof order);
  run_caught(command, argc, order, result);
  (void)shutdown(script.listener, SHUT_RDWR); /* where the command has sent nothing */
  (void)pthread_join(thread, NULL);
  (void)close(script.listener);
  memcpy(result->request, script.request, sizeof result->request);
  for (int i = 0; i < own; i++)
    free(argv[i]);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static bool has(const char *text, const char *part) {
  bool is_there = strstr(text, part) != NULL;
  if (!is_there) (void)fprintf(stderr, "\n  \"%s\" is not in:\n%s\n", part, text);
  return is_there;
}

/* ---- tx ---------------------------------------------------------------------------------------
 */

static void begin_prints_the_id(void) {
  struct result r;
  run(command_tx, "201 Created", "{\"id\":\"" TXID "\",\"state\":\"open\",\"outcome\":null}",
      WORDS("begin", "--label", "x\"y", "--timeout", "30s"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_STRING_EQUAL(r.out, TXID "\n");
  CU_ASSERT_TRUE(has(r.request, "POST /v1/transactions HTTP/1.1\r\n"));
  CU_ASSERT_TRUE(has(r.request, "{\"label\":\"x\\\"y\",\"timeout_ms\":30000}"));
}

static void exec_sends_parameters_as_text_and_prints_rows(void) {
  struct result r;
  run(command_tx, "200 OK",
      "{\"branch\":1,\"results\":[{\"rows_affected\":1,\"columns\":[\"id\",\"balance\"],"
      "\"rows\":[[7,\"12.50\"]]}]}",
      WORDS("exec", TXID, "bank_a", "SELECT $1", "-5", "--expect-rows", "1"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_STRING_EQUAL(r.out, "id  balance\n--  -------\n 7  12.50\n1 row\n");
  CU_ASSERT_TRUE(has(r.request, "POST /v1/transactions/" TXID "/statements HTTP/1.1\r\n"));
  CU_ASSERT_TRUE(has(r.request, "{\"participant\":\"bank_a\",\"sql\":\"SELECT $1\","
                                "\"params\":[\"-5\"],\"expect_rows\":1}"));
}

static void exec_that_aborts_is_refused_with_the_cause(void) {
  struct result r;
  run(command_tx, "409 Conflict",
      "{\"title\":\"The transaction has aborted\",\"code\":\"aborted\",\"status\":409,"
      "\"transaction\":{\"id\":\"" TXID "\",\"state\":\"aborted\",\"outcome\":\"aborted\","
      "\"cause\":{\"kind\":\"statement\",\"branch\":1,\"statement\":0,\"sqlstate\":\"23514\","
      "\"message\":\"not enough\"}}}",
      WORDS("exec", TXID, "bank_a", "UPDATE x"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_REFUSED);
  CU_ASSERT_TRUE(has(r.err, "aborted: statement (branch 1, statement 0) 23514: not enough"));
}

static void exec_of_bad_utf8_sends_nothing(void) {
  struct result r;
  run(command_tx, "200 OK", "{}", WORDS("exec", TXID, "bank_a", "SELECT '\xff'"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_USAGE);
  CU_ASSERT_STRING_EQUAL(r.request, "");
}

static void commit_committed_ends_with_0(void) {
  struct result r;
  run(command_tx, "200 OK",
      "{\"id\":\"" TXID "\",\"state\":\"committed\",\"outcome\":\"committed\",\"branches\":"
      "[{\"id\":1,\"participant\":\"bank_a\",\"state\":\"committed\",\"xid\":\"77\"}]}",
      WORDS("commit", TXID, "--wait", "decided"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_TRUE(has(r.out, "outcome      committed\n"));
  CU_ASSERT_TRUE(has(r.request, "/commit HTTP/1.1\r\n"));
  CU_ASSERT_TRUE(has(r.request, "{\"wait\":\"decided\"}"));
}

static void commit_aborted_ends_with_1(void) {
  struct result r;
  run(command_tx, "409 Conflict",
      "{\"code\":\"aborted\",\"transaction\":{\"id\":\"" TXID "\",\"state\":\"aborted\","
      "\"outcome\":\"aborted\"}}",
      WORDS("commit", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_REFUSED);
}

static void commit_not_settled_ends_with_3_and_how_to_ask(void) {
  struct result r;
  run(command_tx, "202 Accepted", "{\"id\":\"" TXID "\",\"state\":\"preparing\",\"outcome\":null}",
      WORDS("commit", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_UNKNOWN);
  CU_ASSERT_TRUE(has(r.err, "assent tx show " TXID));
}

static void commit_mixed_ends_with_5(void) {
  struct result r;
  run(command_tx, "200 OK", "{\"id\":\"" TXID "\",\"state\":\"committed\",\"outcome\":\"mixed\"}",
      WORDS("commit", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_MIXED);
}

static void commit_with_a_lost_answer_ends_with_3_and_how_to_ask(void) {
  struct result r;
  run(command_tx, NULL, NULL, WORDS("commit", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_UNKNOWN);
  CU_ASSERT_TRUE(has(r.err, "assent tx show " TXID " --url http://127.0.0.1:"));
}

static void commit_refused_for_the_moment_ends_with_4(void) {
  struct result r;
  run(command_tx, "503 Service Unavailable", "{\"code\":\"overloaded\",\"title\":\"Overloaded\"}",
      WORDS("commit", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_NOT_TAKEN);
}

static void commit_with_a_failed_log_ends_with_3(void) {
  struct result r;
  run(command_tx, "503 Service Unavailable", "{\"code\":\"log_failed\",\"title\":\"Failed\"}",
      WORDS("commit", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_UNKNOWN);
}

static void commit_answered_by_a_stranger_ends_with_3(void) {
  struct result r;
  run(command_tx, "502 Bad Gateway", "<html>", WORDS("commit", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_UNKNOWN);
}

static void rollback_aborted_ends_with_0(void) {
  struct result r;
  run(command_tx, "200 OK", "{\"id\":\"" TXID "\",\"state\":\"aborted\",\"outcome\":\"aborted\"}",
      WORDS("rollback", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
}

static void rollback_of_a_committed_one_ends_with_1(void) {
  struct result r;
  run(command_tx, "409 Conflict",
      "{\"code\":\"committed\",\"transaction\":{\"id\":\"" TXID "\",\"state\":\"committed\","
      "\"outcome\":\"committed\"}}",
      WORDS("rollback", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_REFUSED);
}

static void rollback_of_an_unknown_one_ends_with_1(void) {
  struct result r;
  run(command_tx, "404 Not Found", "{\"code\":\"not_found\",\"title\":\"No such thing here\"}",
      WORDS("rollback", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_REFUSED);
}

static void show_of_an_aborted_one_ends_with_0(void) {
  struct result r;
  run(command_tx, "200 OK", "{\"id\":\"" TXID "\",\"state\":\"aborted\",\"outcome\":\"aborted\"}",
      WORDS("show", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_TRUE(has(r.request, "GET /v1/transactions/" TXID " HTTP/1.1\r\n"));
}

static void show_with_wait_ends_as_commit_does(void) {
  struct result r;
  run(command_tx, "200 OK", "{\"id\":\"" TXID "\",\"state\":\"aborted\",\"outcome\":\"aborted\"}",
      WORDS("show", TXID, "--wait", "decided"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_REFUSED);
  CU_ASSERT_TRUE(has(r.request, "/" TXID "?wait=decided&timeout_ms=10000 HTTP/1.1\r\n"));
}

static void timeline_shows_steps_and_what_is_waited_for(void) {
  struct result r;
  run(command_tx, "200 OK",
      "{\"id\":\"" TXID "\",\"state\":\"committing\",\"outcome\":\"committed\",\"cause\":null,"
      "\"source\":\"memory\",\"dropped\":0,\"waiting_for\":[{\"for\":\"participant\",\"branch\":2,"
      "\"participant\":\"bank_b\",\"since\":\"2026-01-02T03:04:05.000006Z\",\"error\":"
      "{\"kind\":\"unreachable\",\"branch\":2,\"message\":\"gone\"}}],\"steps\":[{\"at\":"
      "\"2026-01-02T03:04:05.000001Z\",\"after_ms\":0,\"step\":\"begun\"},{\"at\":"
      "\"2026-01-02T03:04:05.000002Z\",\"step\":\"steps_dropped\",\"count\":7}]}",
      WORDS("timeline", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_TRUE(has(r.request, "GET /v1/transactions/" TXID "/timeline HTTP/1.1\r\n"));
  CU_ASSERT_TRUE(has(r.out, "03:04:05.000001   0  begun"));
  CU_ASSERT_TRUE(has(r.out, "steps_dropped  7"));
  CU_ASSERT_TRUE(has(r.out, "waits for a connection at bank_b since 2026-01-02T03:04:05.000006Z: "
                            "unreachable (branch 2): gone"));
}

static void drain_tells_what_is_under_way(void) {
  struct result r;
  run(command_drain, "200 OK", "{\"name\":\"bank_b\",\"draining\":true,\"live_branches\":3}",
      WORDS("bank_b"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_TRUE(has(r.request, "POST /v1/participants/bank_b/drain HTTP/1.1\r\n"));
  CU_ASSERT_STRING_EQUAL(r.out, "bank_b takes no new branches; 3 are under way there.\n");
  run(command_undrain, "404 Not Found",
      "{\"code\":\"not_found\",\"status\":404,\"title\":\"No such thing here\"}", WORDS("bank_z"),
      &r);
  CU_ASSERT_EQUAL(r.code, EXIT_REFUSED);
  CU_ASSERT_TRUE(has(r.request, "POST /v1/participants/bank_z/undrain HTTP/1.1\r\n"));
}

static void show_of_an_id_with_a_slash_sends_nothing(void) {
  struct result r;
  run(command_tx, "200 OK", "{}", WORDS("show", "../participants"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_USAGE);
  CU_ASSERT_STRING_EQUAL(r.request, "");
}

static void list_encodes_its_filters(void) {
  struct result r;
  run(command_tx, "200 OK",
      "{\"transactions\":[{\"id\":\"" TXID
      "\",\"state\":\"committed\",\"label\":\"a b\",\"branches\":"
      "[{\"participant\":\"bank_a\"},{\"participant\":\"bank_b\"}]}],\"next_cursor\":null}",
      WORDS("list", "--label", "a&b c", "--older-than", "5m", "--limit", "3"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_TRUE(has(r.request, "/v1/transactions?label=a%26b%20c&older_than_ms=300000&limit=3 "));
  CU_ASSERT_TRUE(has(r.out, "bank_a bank_b"));
}

static void json_prints_the_body_as_it_came(void) {
  struct result r;
  run(command_tx, "200 OK", "{\"transactions\" : [ ]}", WORDS("list", "--json"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_STRING_EQUAL(r.out, "{\"transactions\" : [ ]}\n");
}

static void unknown_subcommand_names_the_nearest(void) {
  struct result r;
  run(command_tx, "200 OK", "{}", WORDS("comit", TXID), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_USAGE);
  CU_ASSERT_TRUE(has(r.err, "did you mean \"commit\"?"));
}

static void nobody_listening_ends_with_4(void) {
  struct result r;
  int fd;
  char url[64], list[] = "list", *argv[] = {list, url};
  (void)snprintf(url, sizeof url, "--url=http://127.0.0.1:%d", (int)listen_anywhere(&fd));
  (void)close(fd);
  run_caught(command_tx, 2, argv, &r);
  CU_ASSERT_EQUAL(r.code, EXIT_NOT_TAKEN);
}

/* ---- transfer, participants -------------------------------------------------------------------
 */

static const char committed[] =
    "{\"id\":\"" TXID "\",\"state\":\"committed\",\"outcome\":\"committed\"}";

static void transfer_sends_two_branches(void) {
  struct result r;
  run(command_transfer, "200 OK", committed,
      WORDS("--from", "bank_a:1", "--to", "bank_b:7", "--amount", "10.50", "--label", "l"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_TRUE(
      has(r.request,
          "{\"commit\":true,\"label\":\"l\",\"branches\":["
          "{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"UPDATE account SET balance = "
          "balance - $1 WHERE id = $2\",\"params\":[\"10.50\",\"1\"],\"expect_rows\":1}]},"
          "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"UPDATE account SET balance = "
          "balance + $1 WHERE id = $2\",\"params\":[\"10.50\",\"7\"],\"expect_rows\":1}]}]}"));
}

static void transfer_within_one_participant_is_one_branch(void) {
  struct result r;
  run(command_transfer, "200 OK", committed,
      WORDS("--from", "bank_a:1", "--to", "bank_a:2", "--amount", "1"), &r);
  const char *first = strstr(r.request, "\"participant\"");
  CU_ASSERT_PTR_NOT_NULL_FATAL(first);
  CU_ASSERT_PTR_NULL(strstr(first + 1, "\"participant\""));
}

static void transfer_with_a_lost_answer_says_how_to_ask_by_label(void) {
  struct result r;
  run(command_transfer, NULL, NULL, WORDS("--from", "a:1", "--to", "b:2", "--amount", "1"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_UNKNOWN);
  CU_ASSERT_TRUE(has(r.err, "assent tx list --label 'transfer-"));
  CU_ASSERT_TRUE(has(r.request, "\"label\":\"transfer-"));
}

static void transfer_of_no_amount_sends_nothing(void) {
  static const char *const wrong[] = {"0", "0.00", "-1", "1e3", "1.", ".5", "1,5", "", "x"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct result r;
    run(command_transfer, "200 OK", committed,
        WORDS("--from", "a:1", "--to", "b:2", "--amount", wrong[i]), &r);
    CU_ASSERT_EQUAL(r.code, EXIT_USAGE);
    CU_ASSERT_STRING_EQUAL(r.request, "");
  }
}

static void transfer_from_half_an_account_sends_nothing(void) {
  static const char *const wrong[] = {"bank_a", "bank_a:", ":1", "bank_a:1x", "bank_a:-1"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct result r;
    run(command_transfer, "200 OK", committed,
        WORDS("--from", wrong[i], "--to", "b:2", "--amount", "1"), &r);
    CU_ASSERT_EQUAL(r.code, EXIT_USAGE);
    CU_ASSERT_STRING_EQUAL(r.request, "");
  }
}

static void participants_shows_how_they_do(void) {
  struct result r;
  run(command_participants, "200 OK",
      "{\"participants\":[{\"name\":\"bank_a\",\"state\":\"up\",\"latency_us\":250,"
      "\"prepared_count\":3,\"prepared_limit\":200,\"oldest_prepared_ms\":null,"
      "\"undelivered_decisions\":1,\"connections\":2,\"connections_max\":20,\"last_error\":null,"
      "\"availability\":{\"mttr_ms\":1500}}]}",
      WORDS("--json"), &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  run(command_participants, "200 OK",
      "{\"participants\":[{\"name\":\"bank_a\",\"state\":\"up\",\"latency_us\":250,"
      "\"prepared_count\":3,\"prepared_limit\":200,\"oldest_prepared_ms\":null,"
      "\"undelivered_decisions\":1,\"connections\":2,\"connections_max\":20,\"last_error\":null,"
      "\"availability\":{\"mttr_ms\":1500}}]}",
      (const char *const[]){NULL}, &r);
  CU_ASSERT_EQUAL(r.code, EXIT_DONE);
  CU_ASSERT_TRUE(has(r.out, "bank_a       up      250 us     3/200"));
  CU_ASSERT_TRUE(has(r.out, "1.5 s"));
}

SUITE(cli_commands, CASE(begin_prints_the_id), CASE(exec_sends_parameters_as_text_and_prints_rows),
      CASE(exec_that_aborts_is_refused_with_the_cause), CASE(exec_of_bad_utf8_sends_nothing),
      CASE(commit_committed_ends_with_0), CASE(commit_aborted_ends_with_1),
      CASE(commit_not_settled_ends_with_3_and_how_to_ask), CASE(commit_mixed_ends_with_5),
      CASE(commit_with_a_lost_answer_ends_with_3_and_how_to_ask),
      CASE(commit_refused_for_the_moment_ends_with_4), CASE(commit_with_a_failed_log_ends_with_3),
      CASE(commit_answered_by_a_stranger_ends_with_3), CASE(rollback_aborted_ends_with_0),
      CASE(rollback_of_a_committed_one_ends_with_1), CASE(rollback_of_an_unknown_one_ends_with_1),
      CASE(show_of_an_aborted_one_ends_with_0), CASE(show_with_wait_ends_as_commit_does),
      CASE(show_of_an_id_with_a_slash_sends_nothing),
      CASE(timeline_shows_steps_and_what_is_waited_for), CASE(drain_tells_what_is_under_way),
      CASE(list_encodes_its_filters), CASE(json_prints_the_body_as_it_came),
      CASE(unknown_subcommand_names_the_nearest), CASE(nobody_listening_ends_with_4),
      CASE(transfer_sends_two_branches), CASE(transfer_within_one_participant_is_one_branch),
      CASE(transfer_with_a_lost_answer_says_how_to_ask_by_label),
      CASE(transfer_of_no_amount_sends_nothing), CASE(transfer_from_half_an_account_sends_nothing),
      CASE(participants_shows_how_they_do))
