/* `assent tx timeline ID`: a transaction's steps as a table, so that one sees where it stood still. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"
#include "cli/transaction.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { CELL_SIZE = 512, LINE_SIZE = 1024, TIME_WIDTH = 15 /* "03:04:05.123456" */ };

/* The time of day: the date is in the head. */
static void time_cell(const char *at, char *out, size_t size) {
  const char *of_day = strchr(at, 'T');
  (void)snprintf(out, size, "%.*s", TIME_WIDTH, of_day ? of_day + 1 : at);
}

static void number_cell(const json_t *step, const char *name, char *out, size_t size) {
  int64_t number = member_integer(step, name, -1);
  out[0] = '\0';
  if (number >= 0) (void)snprintf(out, size, "%" PRId64, number);
}

static void step_add(struct table *table, const json_t *step) {
  char at[CELL_SIZE], after[32], attempt[32], error[LINE_SIZE] = "";
  const json_t *cause = json_object_get(step, "error");
  const char *detail = member_text(step, "detail", "");
  char count[64];
  time_cell(member_text(step, "at", ""), at, sizeof at);
  number_cell(step, "after_ms", after, sizeof after);
  number_cell(step, "attempt", attempt, sizeof attempt);
  if (json_is_object(cause)) cause_text(cause, error, sizeof error);
  if (json_is_integer(json_object_get(step, "count"))) {
    number_cell(step, "count", count, sizeof count);
    detail = count;
  }
  const char *cells[] = {
      at,      after, member_text(step, "step", ""), detail, member_text(step, "participant", ""),
      attempt, error};
  table_add(table, cells);
}

static const char *what_is_awaited(const char *what) {
  static const char *const said[][2] = {
      {"client", "its client"},       {"statements", "the statements"},
      {"vote", "the vote"},           {"log", "the log"},
      {"answer", "the answer"},       {"operator", "an operator"},
      {"participant", "a connection"}};
  for (size_t i = 0; i < COUNT(said); i++)
    if (strcmp(what, said[i][0]) == 0) return said[i][1];
  return what;
}

/* "  blocked by session 4711 (psql, idle in transaction) since ..." */
static void blocker_print(const json_t *blocker) {
  char line[3 * LINE_SIZE], text[3 * LINE_SIZE], who[LINE_SIZE];
  const char *gid = member_text(blocker, "gid", "");
  const json_t *pid = json_object_get(blocker, "pid");
  if (json_is_integer(pid))
    (void)snprintf(who, sizeof who, "session %lld (%s, %s)%s%s", (long long)json_integer_value(pid),
                   member_text(blocker, "application_name", "no application_name"),
                   member_text(blocker, "state", "state not known"), gid[0] ? " of " : "", gid);
  else
    (void)snprintf(who, sizeof who, "the prepared transaction '%s'", gid);
  (void)snprintf(line, sizeof line, "  blocked by %s since %s", who,
                 member_text(blocker, "since", "?"));
  text_for_terminal(line, text, sizeof text);
  (void)printf("%s\n", text);
}

static void wait_print(const json_t *wait) {
  char why[LINE_SIZE] = "", line[3 * LINE_SIZE], text[3 * LINE_SIZE];
  const json_t *cause = json_object_get(wait, "error");
  const char *participant = member_text(wait, "participant", "");
  if (json_is_object(cause)) cause_text(cause, why, sizeof why);
  (void)snprintf(line, sizeof line, "waits for %s%s%s since %s%s%s",
                 what_is_awaited(member_text(wait, "for", "")), participant[0] ? " at " : "",
                 participant, member_text(wait, "since", ""), why[0] ? ": " : "", why);
  text_for_terminal(line, text, sizeof text);
  (void)printf("%s\n", text);
  const json_t *blockers = json_object_get(wait, "blocked_by");
  for (size_t i = 0; i < json_array_size(blockers); i++)
    blocker_print(json_array_get(blockers, i));
}

static void timeline_print(const json_t *timeline) {
  static const struct column columns[] = {{"time", COLUMN_TEXT},        {"ms", COLUMN_NUMBER},
                                          {"step", COLUMN_TEXT},        {"detail", COLUMN_STATE},
                                          {"participant", COLUMN_TEXT}, {"attempt", COLUMN_NUMBER},
                                          {"error", COLUMN_TEXT}};
  const json_t *steps = json_object_get(timeline, "steps");
  const json_t *waits = json_object_get(timeline, "waiting_for");
  char summary[LINE_SIZE];
  transaction_summary(timeline, summary, sizeof summary);
  (void)printf("transaction  %s\nstate        %s\n", member_text(timeline, "id", ""), summary);
  (void)printf("begun        %s\n\n", member_text(json_array_get(steps, 0), "at", ""));
  struct table *table = table_new(columns, COUNT(columns));
  for (size_t i = 0; i < json_array_size(steps); i++)
    step_add(table, json_array_get(steps, i));
  table_print(table, stdout, colour_wanted(stdout));
  table_free(table);
  if (json_array_size(waits) > 0) (void)printf("\n");
  for (size_t i = 0; i < json_array_size(waits); i++)
    wait_print(json_array_get(waits, i));
  if (strcmp(member_text(timeline, "source", ""), "log") == 0)
    (void)printf(
        "\nOnly its record in the log is left: the steps between are not known any more.\n");
}

int tx_timeline(int argc, char **argv) {
  struct client client = client_make("assent tx timeline");
  const struct option options[] = {CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command,
      "ID",
      "Shows a transaction's steps: when each was, how long after the one before (ms), at which\n"
      "participant, and what went wrong; and what it waits for now.",
      options,
      COUNT(options),
      1,
      1};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  char path[PATH_SIZE];
  if (!is_plain_name(argv[0])) {
    (void)fprintf(stderr, "%s: not a transaction id: %s\n", client.command, argv[0]);
    return EXIT_USAGE;
  }
  (void)snprintf(path, sizeof path, "/v1/transactions/%s/timeline", argv[0]);
  struct answer answer = {0};
  struct error err = {0};
  enum error_code code = client_call(&client, "GET", path, NULL, READ_TIMEOUT_MS, &answer, &err);
  if (code != ERR_OK) return (int)client_failed(&client, &err, "the same command");
  enum exit_code exit_code = answer_exit(&answer);
  if (client.json) (void)printf("%s\n", answer.text);
  if (exit_code != EXIT_DONE)
    exit_code = client_refused(&client, &answer, NULL);
  else if (!client.json)
    timeline_print(answer.body);
  answer_close(&answer);
  return (int)exit_code;
}
