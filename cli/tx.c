/* `assent tx ...`: one transaction, step by step, and what became of it.
 *
 * Each subcommand is one call to the public API. A lost answer never looks like a failure: the
 * text says how to ask again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"
#include "cli/transaction.h"
#include "common/json.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Of a begin whose answer was lost: what may have begun holds nothing. */
static const char begin_again[] = "assent tx begin (one that began unseen aborts at its timeout)";

enum { DAY_MS = 86400000, HINT_SIZE = 160, ROWS_MAX = 1000000000, LIST_MAX = 500 };

/* "/v1/transactions/ID" + rest; false and a word on stderr when ID cannot be one. */
static bool transaction_path(const struct client *client, const char *id, const char *rest,
                             char path[PATH_SIZE]) {
  if (!is_plain_name(id)) {
    (void)fprintf(stderr, "%s: not a transaction id: %s\n", client->command, id);
    return false;
  }
  (void)snprintf(path, PATH_SIZE, "/v1/transactions/%s%s", id, rest);
  return true;
}

static void ask_again_text(const struct client *client, const char *id, char out[HINT_SIZE]) {
  const char *usual = client_make("").url;
  bool elsewhere = strcmp(client->url, usual) != 0;
  (void)snprintf(out, HINT_SIZE, "assent tx show %s%s%s", id, elsewhere ? " --url " : "",
                 elsewhere ? client->url : "");
}

/* ---- begin, exec ----------------------------------------------------------------------------- */

static int tx_begin(int argc, char **argv) {
  struct client client = client_make("assent tx begin");
  const char *label = NULL;
  int64_t timeout_ms = -1;
  const struct option options[] = {{"label", "L", "a name of your own, to find it again",
                                    OPTION_TEXT, &label, 0, 0, NULL},
                                   {"timeout", "30s", "aborts by then unless it is decided",
                                    OPTION_DURATION, &timeout_ms, 1, DAY_MS, NULL},
                                   CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command, "", "Begins a transaction and prints its id.", options, COUNT(options), 0, 0};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;

  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  if (label) {
    json_key(&w, "label");
    json_write_string(&w, label);
  }
  if (timeout_ms > 0) {
    json_key(&w, "timeout_ms");
    json_write_integer(&w, timeout_ms);
  }
  json_object_end(&w);
  char *body = json_writer_take(&w, NULL);
  struct answer answer = {0};
  struct error err = {0};
  enum error_code code =
      client_call(&client, "POST", "/v1/transactions", body, READ_TIMEOUT_MS, &answer, &err);
  free(body);
  if (code != ERR_OK) return (int)client_failed(&client, &err, begin_again);
  enum exit_code exit_code = answer_exit(&answer);
  if (client.json)
    (void)printf("%s\n", answer.text);
  else if (exit_code == EXIT_DONE)
    (void)printf("%s\n", member_text(answer.body, "id", ""));
  if (exit_code != EXIT_DONE) exit_code = client_refused(&client, &answer, begin_again);
  answer_close(&answer);
  return (int)exit_code;
}

static char *statement_body(int argc, char **argv, int64_t expect_rows) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "participant");
  json_write_string(&w, argv[1]);
  json_key(&w, "sql");
  json_write_string(&w, argv[2]);
  json_key(&w, "params");
  json_array_begin(&w);
  for (int i = 3; i < argc; i++)
    json_write_string(&w, argv[i]);
  json_array_end(&w);
  if (expect_rows >= 0) {
    json_key(&w, "expect_rows");
    json_write_integer(&w, expect_rows);
  }
  json_object_end(&w);
  return json_writer_take(&w, NULL);
}

static enum exit_code exec_answer(const struct client *client, const struct answer *answer,
                                  const char *ask_again) {
  char summary[1024];
  enum exit_code code = answer_exit(answer);
  if (client->json) (void)printf("%s\n", answer->text);
  if (code == EXIT_DONE) {
    if (!client->json) results_print(json_object_get(answer->body, "results"), stdout);
    return code;
  }
  code = client_refused(client, answer, ask_again);
  const json_t *transaction = answer_transaction(answer);
  if (transaction) {
    transaction_summary(transaction, summary, sizeof summary);
    (void)fprintf(stderr, "The transaction is %s\n", summary);
  }
  return code;
}

static int tx_exec(int argc, char **argv) {
  struct client client = client_make("assent tx exec");
  int64_t expect_rows = -1;
  const struct option options[] = {{"expect-rows", "N", "abort unless it touches as many rows",
                                    OPTION_INTEGER, &expect_rows, 0, ROWS_MAX, NULL},
                                   CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command,
      "ID PARTICIPANT SQL [PARAM...]",
      "Runs a statement in an open transaction. Parameters stand for $1, $2, ... and take the\n"
      "types the database gives these; for a null write NULL into the statement.",
      options,
      COUNT(options),
      3,
      1000};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  char path[PATH_SIZE], ask_again[HINT_SIZE];
  if (!transaction_path(&client, argv[0], "/statements", path)) return EXIT_USAGE;
  for (int i = 1; i < argc; i++) {
    if (is_utf8(argv[i])) continue;
    (void)fprintf(stderr, "%s: argument %d is not UTF-8\n", client.command, i + 1);
    return EXIT_USAGE;
  }
  ask_again_text(&client, argv[0], ask_again);

  struct answer answer = {0};
  struct error err = {0};
  char *body = statement_body(argc, argv, expect_rows);
  enum error_code code = client_call(&client, "POST", path, body, RUN_TIMEOUT_MS, &answer, &err);
  free(body);
  if (code != ERR_OK) return (int)client_failed(&client, &err, ask_again);
  enum exit_code exit_code = exec_answer(&client, &answer, ask_again);
  answer_close(&answer);
  return (int)exit_code;
}

/* ---- commit, rollback ------------------------------------------------------------------------ */

static int tx_commit(int argc, char **argv) {
  struct client client = client_make("assent tx commit");
  const char *wait = NULL;
  const struct option options[] = {{"wait", "W",
                                    "applied (default): in all databases; decided: for certain",
                                    OPTION_CHOICE, &wait, 0, 0, "applied|decided"},
                                   CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command, "ID", "Commits, in all databases or in none.", options, COUNT(options), 1, 1};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  char path[PATH_SIZE], ask_again[HINT_SIZE], body[64] = "{}";
  if (!transaction_path(&client, argv[0], "/commit", path)) return EXIT_USAGE;
  ask_again_text(&client, argv[0], ask_again);
  if (wait) (void)snprintf(body, sizeof body, "{\"wait\":\"%s\"}", wait);

  struct answer answer = {0};
  struct error err = {0};
  enum error_code code = client_call(&client, "POST", path, body, RUN_TIMEOUT_MS, &answer, &err);
  if (code != ERR_OK) return (int)client_failed(&client, &err, ask_again);
  enum exit_code exit_code = transaction_answer(&client, &answer, ask_again);
  answer_close(&answer);
  return (int)exit_code;
}

/* Here aborted is what was asked for. */
static enum exit_code rollback_exit(const struct client *client, enum exit_code outcome) {
  if (outcome == EXIT_REFUSED) return EXIT_DONE;
  if (outcome != EXIT_DONE) return outcome;
  (void)fprintf(stderr, "%s: it has committed already\n", client->command);
  return EXIT_REFUSED;
}

static int tx_rollback(int argc, char **argv) {
  struct client client = client_make("assent tx rollback");
  const struct option options[] = {CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command, "ID", "Rolls back, in all databases.", options, COUNT(options), 1, 1};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  char path[PATH_SIZE], ask_again[HINT_SIZE];
  if (!transaction_path(&client, argv[0], "/rollback", path)) return EXIT_USAGE;
  ask_again_text(&client, argv[0], ask_again);

  struct answer answer = {0};
  struct error err = {0};
  enum error_code code = client_call(&client, "POST", path, "{}", READ_TIMEOUT_MS, &answer, &err);
  if (code != ERR_OK) return (int)client_failed(&client, &err, ask_again);
  enum exit_code exit_code = transaction_answer(&client, &answer, ask_again);
  const json_t *transaction = answer_transaction(&answer);
  if (transaction) exit_code = rollback_exit(&client, transaction_exit(transaction));
  answer_close(&answer);
  return (int)exit_code;
}

/* ---- show, list ------------------------------------------------------------------------------ */

static int tx_show(int argc, char **argv) {
  struct client client = client_make("assent tx show");
  const char *wait = NULL;
  int64_t timeout_ms = 10000;
  const struct option options[] = {{"wait", "W", "until it is decided, or applied", OPTION_CHOICE,
                                    &wait, 0, 0, "applied|decided"},
                                   {"timeout", "10s", "wait at most so long", OPTION_DURATION,
                                    &timeout_ms, 1, DAY_MS, NULL},
                                   CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command,
      "ID",
      "Shows a transaction: state, outcome, branches, cause. One that is not known\n"
      "was never decided committed. Ends with 0 whatever the outcome; with --wait,\n"
      "as commit does.",
      options,
      COUNT(options),
      1,
      1};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  char path[PATH_SIZE], ask_again[HINT_SIZE], milliseconds[24];
  if (!transaction_path(&client, argv[0], "", path)) return EXIT_USAGE;
  ask_again_text(&client, argv[0], ask_again);
  (void)snprintf(milliseconds, sizeof milliseconds, "%lld", (long long)timeout_ms);
  (void)path_add_query(path, "wait", wait); /* both fit */
  if (wait) (void)path_add_query(path, "timeout_ms", milliseconds);

  struct answer answer = {0};
  struct error err = {0};
  uint64_t patience_ms = READ_TIMEOUT_MS + (wait ? (uint64_t)timeout_ms : 0);
  enum error_code code = client_call(&client, "GET", path, NULL, patience_ms, &answer, &err);
  if (code != ERR_OK) return (int)client_failed(&client, &err, ask_again);
  enum exit_code exit_code = answer_exit(&answer);
  if (wait || exit_code != EXIT_DONE)
    exit_code = transaction_answer(&client, &answer, ask_again);
  else if (client.json)
    (void)printf("%s\n", answer.text);
  else
    transaction_print(answer.body, stdout, colour_wanted(stdout));
  answer_close(&answer);
  return (int)exit_code;
}

struct list_options {
  const char *state, *participant, *label;
  int64_t older_than_ms, limit;
};

static bool list_path(const struct list_options *list, char path[PATH_SIZE]) {
  char older[24], limit[24];
  (void)snprintf(older, sizeof older, "%lld", (long long)list->older_than_ms);
  (void)snprintf(limit, sizeof limit, "%lld", (long long)list->limit);
  (void)snprintf(path, PATH_SIZE, "/v1/transactions");
  return path_add_query(path, "state", list->state) &&
         path_add_query(path, "participant", list->participant) &&
         path_add_query(path, "label", list->label) &&
         path_add_query(path, "older_than_ms", list->older_than_ms >= 0 ? older : NULL) &&
         path_add_query(path, "limit", limit);
}

static int list_answer(const struct client *client, const struct answer *answer) {
  if (client->json) (void)printf("%s\n", answer->text);
  if (answer_exit(answer) != EXIT_DONE) return (int)client_refused(client, answer, NULL);
  if (client->json) return EXIT_DONE;
  transaction_list_print(json_object_get(answer->body, "transactions"), stdout,
                         colour_wanted(stdout));
  if (json_is_string(json_object_get(answer->body, "next_cursor")))
    (void)printf("There are more; --limit shows more of them.\n");
  return EXIT_DONE;
}

static int tx_list(int argc, char **argv) {
  struct client client = client_make("assent tx list");
  struct list_options list = {.older_than_ms = -1, .limit = 50};
  const struct option options[] = {
      {"state", "S", "open, preparing, committing, committed, aborting, aborted", OPTION_CHOICE,
       &list.state, 0, 0, "open|preparing|committing|committed|aborting|aborted"},
      {"participant", "P", "with a branch there", OPTION_TEXT, &list.participant, 0, 0, NULL},
      {"label", "L", "begun with this label", OPTION_TEXT, &list.label, 0, 0, NULL},
      {"older-than", "5m", "begun before that", OPTION_DURATION, &list.older_than_ms, 0,
       365LL * DAY_MS, NULL},
      {"limit", "50", "at most so many, newest first", OPTION_INTEGER, &list.limit, 1, LIST_MAX,
       NULL},
      CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command, "", "Lists transactions, newest first.", options, COUNT(options), 0, 0};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  char path[PATH_SIZE];
  if (!list_path(&list, path)) {
    (void)fprintf(stderr, "%s: the options are too long\n", client.command);
    return EXIT_USAGE;
  }
  struct answer answer = {0};
  struct error err = {0};
  enum error_code code = client_call(&client, "GET", path, NULL, READ_TIMEOUT_MS, &answer, &err);
  if (code != ERR_OK) return (int)client_failed(&client, &err, "the same command");
  int exit_code = list_answer(&client, &answer);
  answer_close(&answer);
  return exit_code;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static const char tx_help[] =
    "usage: assent tx COMMAND ...\n\n"
    "  begin                        begin a transaction, print its id\n"
    "  exec ID PARTICIPANT SQL ...  run a statement in it\n"
    "  commit ID                    commit in all databases, or in none\n"
    "  rollback ID                  roll back in all databases\n"
    "  show ID                      state, outcome, branches\n"
    "  timeline ID                  its steps, and what it waits for\n"
    "  list                         transactions, newest first\n\n"
    "`assent tx COMMAND --help` says more; `assent --help` has the exit codes.\n";

int command_tx(int argc, char **argv) {
  static const char *const names[] = {"begin", "exec",     "commit", "rollback",
                                      "show",  "timeline", "list",   NULL};
  static int (*const commands[])(int, char **) = {tx_begin, tx_exec,     tx_commit, tx_rollback,
                                                  tx_show,  tx_timeline, tx_list};
  if (argc < 1) {
    (void)fputs(tx_help, stderr);
    return EXIT_USAGE;
  }
  if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
    (void)fputs(tx_help, stdout);
    return EXIT_DONE;
  }
  for (size_t i = 0; names[i]; i++)
    if (strcmp(argv[0], names[i]) == 0) return commands[i](argc - 1, argv + 1);
  const char *nearest = nearest_name(argv[0], names);
  (void)fprintf(stderr, "assent tx: no command \"%s\"%s%s%s\n", argv[0],
                nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
  return EXIT_USAGE;
}
