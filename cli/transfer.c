/* `assent transfer`: money from one account to another, in two databases, in one call.
 *
 * The example schema: account(id bigint primary key, balance not null check (balance >= 0)).
 * Every transfer has a label, so that one whose answer was lost can be asked for. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/transaction.h"
#include "common/id.h"
#include "common/json.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { PARTICIPANT_SIZE = 64, LABEL_SIZE = 64, HINT_SIZE = 640, DAY_MS = 86400000 };

struct account {
  char participant[PARTICIPANT_SIZE];
  const char *id; /* digits */
};

static bool is_digits(const char *text) {
  size_t length = strspn(text, "0123456789");
  return length > 0 && length <= 18 && text[length] == '\0';
}

/* "bank_a:17" */
static bool account_parse(const char *text, struct account *out) {
  const char *colon = strrchr(text, ':');
  if (!colon || colon == text || (size_t)(colon - text) >= sizeof out->participant) return false;
  memcpy(out->participant, text, (size_t)(colon - text));
  out->participant[colon - text] = '\0';
  out->id = colon + 1;
  return is_digits(out->id);
}

/* Digits, with a fraction at most: more than nothing. It goes to the database as text, so that no
 * binary fraction comes between. */
static bool is_amount(const char *text) {
  size_t whole = strspn(text, "0123456789");
  const char *rest = text + whole;
  if (whole == 0 || whole > 18 || text[strspn(text, "0.")] == '\0') return false;
  if (*rest == '\0') return true;
  return *rest == '.' && is_digits(rest + 1);
}

static void write_statement(struct json_writer *w, const struct account *account, const char *sql,
                            const char *amount) {
  json_object_begin(w);
  json_key(w, "sql");
  json_write_string(w, sql);
  json_key(w, "params");
  json_array_begin(w);
  json_write_string(w, amount);
  json_write_string(w, account->id);
  json_array_end(w);
  json_key(w, "expect_rows");
  json_write_integer(w, 1);
  json_object_end(w);
}

static void begin_branch(struct json_writer *w, const char *participant) {
  json_object_begin(w);
  json_key(w, "participant");
  json_write_string(w, participant);
  json_key(w, "statements");
  json_array_begin(w);
}

static void end_branch(struct json_writer *w) {
  json_array_end(w);
  json_object_end(w);
}

static char *transfer_body(const struct account *from, const struct account *to, const char *amount,
                           const char *label, int64_t timeout_ms) {
  static const char take[] = "UPDATE account SET balance = balance - $1 WHERE id = $2";
  static const char give[] = "UPDATE account SET balance = balance + $1 WHERE id = $2";
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "commit");
  json_write_boolean(&w, true);
  json_key(&w, "label");
  json_write_string(&w, label);
  if (timeout_ms > 0) {
    json_key(&w, "timeout_ms");
    json_write_integer(&w, timeout_ms);
  }
  json_key(&w, "branches");
  json_array_begin(&w);
  begin_branch(&w, from->participant);
  write_statement(&w, from, take, amount);
  if (strcmp(from->participant, to->participant) != 0) { /* else: one branch has both */
    end_branch(&w);
    begin_branch(&w, to->participant);
  }
  write_statement(&w, to, give, amount);
  end_branch(&w);
  json_array_end(&w);
  json_object_end(&w);
  return json_writer_take(&w, NULL);
}

static bool check(const struct client *client, bool is_right, const char *what, const char *got) {
  if (!is_right)
    (void)fprintf(stderr, "%s: %s%s%s\n", client->command, what, got ? ", not " : "",
                  got ? got : "");
  return is_right;
}

static void ask_again_text(const struct client *client, const char *label, char out[HINT_SIZE]) {
  (void)snprintf(out, HINT_SIZE,
                 "assent tx list --label '%s' --url %s\n"
                 "(While it is not listed and its time is not up, it may still be under way; "
                 "later, not listed means it did not happen.)",
                 label, client->url);
}

static int send_transfer(const struct client *client, const char *body, const char *label) {
  char ask_again[HINT_SIZE];
  struct answer answer = {0};
  struct error err = {0};
  ask_again_text(client, label, ask_again);
  enum error_code code =
      client_call(client, "POST", "/v1/transactions", body, RUN_TIMEOUT_MS, &answer, &err);
  if (code != ERR_OK) return (int)client_failed(client, &err, ask_again);
  enum exit_code exit_code = transaction_answer(client, &answer, ask_again);
  answer_close(&answer);
  return (int)exit_code;
}

static const char about[] =
    "Moves money between two accounts of the example schema, in both databases or in none:\n"
    "account(id bigint primary key, balance numeric not null check (balance >= 0)).";

int command_transfer(int argc, char **argv) {
  struct client client = client_make("assent transfer");
  const char *from_text = NULL, *to_text = NULL, *amount = NULL, *label = NULL;
  int64_t timeout_ms = -1;
  const struct option options[] = {
      {"from", "P:ID", "participant and account that pays: bank_a:1", OPTION_TEXT, &from_text, 0, 0,
       NULL},
      {"to", "P:ID", "participant and account that gets it: bank_b:7", OPTION_TEXT, &to_text, 0, 0,
       NULL},
      {"amount", "N", "how much: 10, or 10.50", OPTION_TEXT, &amount, 0, 0, NULL},
      {"label", "L", "a name of your own (default: a random one)", OPTION_TEXT, &label, 0, 0, NULL},
      {"timeout", "30s", "aborts by then unless it is decided", OPTION_DURATION, &timeout_ms, 1,
       DAY_MS, NULL},
      CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command, "--from P:ID --to P:ID --amount N", about, options, COUNT(options), 0, 0};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  struct account from, to;
  if (!check(&client, from_text && to_text && amount, "--from, --to and --amount are needed",
             NULL) ||
      !check(&client, account_parse(from_text, &from), "--from: PARTICIPANT:ID", from_text) ||
      !check(&client, account_parse(to_text, &to), "--to: PARTICIPANT:ID", to_text) ||
      !check(&client, !label || is_utf8(label), "--label: UTF-8", NULL) ||
      !check(&client, is_amount(amount), "--amount: a number above 0", amount))
    return EXIT_USAGE;

  char made_label[LABEL_SIZE], run_id[RUN_ID_SIZE];
  run_id_make(run_id);
  (void)snprintf(made_label, sizeof made_label, "transfer-%s", run_id);
  if (!label) label = made_label;
  char *body = transfer_body(&from, &to, amount, label, timeout_ms);
  int exit_code = send_transfer(&client, body, label);
  free(body);
  return exit_code;
}
