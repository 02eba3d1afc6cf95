/* `assent participants`: the databases, and how they do. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { CELL_SIZE = 64 };

static void duration_cell(const json_t *object, const char *name, char out[CELL_SIZE]) {
  int64_t ms = member_integer(object, name, -1);
  out[0] = '\0';
  if (ms >= 0) duration_format(ms, out, CELL_SIZE);
}

static void participant_add(struct table *table, const json_t *participant) {
  char latency[CELL_SIZE] = "", prepared[CELL_SIZE] = "", oldest[CELL_SIZE], pool[CELL_SIZE] = "";
  char repair[CELL_SIZE], owed[CELL_SIZE] = "";
  int64_t latency_us = member_integer(participant, "latency_us", -1);
  int64_t count = member_integer(participant, "prepared_count", -1);
  int64_t max = member_integer(participant, "prepared_limit", -1);
  int64_t undelivered = member_integer(participant, "undelivered_decisions", -1);
  int64_t connections = member_integer(participant, "connections", -1);
  if (latency_us >= 0) (void)snprintf(latency, CELL_SIZE, "%" PRId64 " us", latency_us);
  if (count >= 0) (void)snprintf(prepared, CELL_SIZE, "%" PRId64 "/%" PRId64, count, max);
  if (connections >= 0)
    (void)snprintf(pool, CELL_SIZE, "%" PRId64 "/%" PRId64, connections,
                   member_integer(participant, "connections_max", -1));
  duration_cell(participant, "oldest_prepared_ms", oldest);
  duration_cell(json_object_get(participant, "availability"), "mttr_ms", repair);
  if (undelivered >= 0) (void)snprintf(owed, CELL_SIZE, "%" PRId64, undelivered);
  const char *cells[] = {member_text(participant, "name", ""),
                         json_is_true(json_object_get(participant, "draining"))
                             ? "draining"
                             : member_text(participant, "state", "unknown"),
                         latency,
                         prepared,
                         oldest,
                         owed,
                         pool,
                         repair,
                         member_text(participant, "last_error", "")};
  table_add(table, cells);
}

static void participants_print(const json_t *participants) {
  static const struct column columns[] = {
      {"participant", COLUMN_TEXT},   {"state", COLUMN_STATE},
      {"latency", COLUMN_NUMBER},     {"prepared", COLUMN_NUMBER},
      {"oldest", COLUMN_NUMBER},      {"undelivered", COLUMN_NUMBER},
      {"connections", COLUMN_NUMBER}, {"mean repair", COLUMN_NUMBER},
      {"last error", COLUMN_TEXT}};
  struct table *table = table_new(columns, COUNT(columns));
  for (size_t i = 0; i < json_array_size(participants); i++)
    participant_add(table, json_array_get(participants, i));
  table_print(table, stdout, colour_wanted(stdout));
  table_free(table);
}

int command_participants(int argc, char **argv) {
  struct client client = client_make("assent participants");
  const struct option options[] = {CLIENT_OPTIONS(client)};
  const struct command_line line = {
      client.command,
      "",
      "Shows each database: whether it is reached, the round trip to it, prepared transactions of\n"
      "anybody on its server and how many it can hold, the oldest of them, decisions that have "
      "not\n"
      "reached it yet, connections in use and allowed, how long it was away on average.",
      options,
      COUNT(options),
      0,
      0};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  struct answer answer = {0};
  struct error err = {0};
  enum error_code code =
      client_call(&client, "GET", "/v1/participants", NULL, READ_TIMEOUT_MS, &answer, &err);
  if (code != ERR_OK) return (int)client_failed(&client, &err, "the same command");
  enum exit_code exit_code = answer_exit(&answer);
  if (client.json) (void)printf("%s\n", answer.text);
  if (exit_code != EXIT_DONE)
    exit_code = client_refused(&client, &answer, NULL);
  else if (!client.json)
    participants_print(json_object_get(answer.body, "participants"));
  answer_close(&answer);
  return (int)exit_code;
}
