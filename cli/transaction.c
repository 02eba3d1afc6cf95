/* See transaction.h. Fields that are missing show as empty: an older or newer coordinator must not
 * break the reader. */
#include "cli/transaction.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/table.h"
#include "common/clock.h"

enum { CELL_SIZE = 512, LINE_SIZE = 1024 };

enum exit_code transaction_exit(const json_t *transaction) {
  const char *outcome = member_text(transaction, "outcome", "");
  if (strcmp(outcome, "committed") == 0) return EXIT_DONE;
  if (strcmp(outcome, "aborted") == 0) return EXIT_REFUSED;
  if (strcmp(outcome, "mixed") == 0) return EXIT_MIXED;
  return EXIT_UNKNOWN;
}

/* ---- parts ----------------------------------------------------------------------------------- */

void cause_text(const json_t *cause, char *out, size_t size) {
  int64_t branch = member_integer(cause, "branch", 0);
  int64_t statement = member_integer(cause, "statement", -1);
  const char *sqlstate = member_text(cause, "sqlstate", "");
  char place[64] = "";
  if (branch > 0 && statement >= 0)
    (void)snprintf(place, sizeof place, " (branch %" PRId64 ", statement %" PRId64 ")", branch,
                   statement);
  else if (branch > 0)
    (void)snprintf(place, sizeof place, " (branch %" PRId64 ")", branch);
  (void)snprintf(out, size, "%s%s%s%s: %s", member_text(cause, "kind", "unknown"), place,
                 sqlstate[0] ? " " : "", sqlstate, member_text(cause, "message", ""));
}

void transaction_summary(const json_t *transaction, char *out, size_t size) {
  const json_t *cause = json_object_get(transaction, "cause");
  char why[LINE_SIZE] = "", text[2 * LINE_SIZE];
  if (json_is_object(cause)) cause_text(cause, why, sizeof why);
  (void)snprintf(text, sizeof text, "%s%s%s", member_text(transaction, "state", "unknown"),
                 why[0] ? ": " : "", why);
  text_for_terminal(text, out, size);
}

static void value_text(const json_t *value, char *out, size_t size) {
  if (json_is_string(value)) {
    (void)snprintf(out, size, "%s", json_string_value(value));
  } else if (json_is_null(value) || !value) {
    out[0] = '\0';
  } else {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    (void)snprintf(out, size, "%s", text ? text : "");
    free(text);
  }
}

static void age_text(const char *created_at, char *out, size_t size) {
  struct tm when = {0};
  out[0] = '\0';
  const char *fraction = strptime(created_at, "%Y-%m-%dT%H:%M:%S", &when);
  if (!fraction) return;
  int64_t created_ms = (int64_t)timegm(&when) * 1000 + (int64_t)(strtod(fraction, NULL) * 1000);
  int64_t age_ms = clock_wall_us() / 1000 - created_ms;
  duration_format(age_ms > 0 ? age_ms : 0, out, size);
}

/* ---- results --------------------------------------------------------------------------------- */

static void rows_print(const json_t *names, const json_t *rows, FILE *out) {
  struct column columns[TABLE_COLUMNS_MAX] = {{0}};
  char cells[TABLE_COLUMNS_MAX][CELL_SIZE];
  const char *cell_list[TABLE_COLUMNS_MAX];
  size_t width = json_array_size(names);
  if (width > TABLE_COLUMNS_MAX) width = TABLE_COLUMNS_MAX;
  for (size_t i = 0; i < width; i++) {
    const json_t *value = json_array_get(json_array_get(rows, 0), i);
    const char *title = json_string_value(json_array_get(names, i));
    columns[i] =
        (struct column){title ? title : "", json_is_number(value) ? COLUMN_NUMBER : COLUMN_TEXT};
  }
  struct table *table = table_new(columns, width);
  for (size_t r = 0; r < json_array_size(rows); r++) {
    for (size_t i = 0; i < width; i++) {
      value_text(json_array_get(json_array_get(rows, r), i), cells[i], CELL_SIZE);
      cell_list[i] = cells[i];
    }
    table_add(table, cell_list);
  }
  table_print(table, out, false);
  table_free(table);
}

void results_print(const json_t *results, FILE *out) {
  for (size_t i = 0; i < json_array_size(results); i++) {
    const json_t *result = json_array_get(results, i);
    const json_t *columns = json_object_get(result, "columns");
    int64_t affected = member_integer(result, "rows_affected", 0);
    if (json_array_size(columns) > 0) rows_print(columns, json_object_get(result, "rows"), out);
    (void)fprintf(out, "%" PRId64 " row%s\n", affected, affected == 1 ? "" : "s");
  }
}

/* ---- one transaction ------------------------------------------------------------------------- */

static void head_line(FILE *out, const char *name, const char *text, bool colour) {
  char shown[LINE_SIZE];
  if (!text || !text[0]) return;
  const char *begin = colour ? state_colour(text) : "";
  text_for_terminal(text, shown, sizeof shown);
  (void)fprintf(out, "%-12s %s%s%s\n", name, begin, shown, begin[0] ? colour_off : "");
}

static void branch_add(struct table *table, const json_t *branch) {
  char id[24], attempts[24];
  (void)snprintf(id, sizeof id, "%" PRId64, member_integer(branch, "id", 0));
  (void)snprintf(attempts, sizeof attempts, "%" PRId64, member_integer(branch, "attempts", 0));
  const char *cells[] = {
      id,       member_text(branch, "participant", ""), member_text(branch, "state", ""),
      attempts, member_text(branch, "xid", ""),         member_text(branch, "gid", "")};
  table_add(table, cells);
}

/* Of branches where something went wrong; they are long, and would make the table too wide. */
static void last_error_print(const json_t *branch, FILE *out) {
  char why[LINE_SIZE], text[LINE_SIZE], name[CELL_SIZE];
  const json_t *last_error = json_object_get(branch, "last_error");
  if (!json_is_object(last_error)) return;
  cause_text(last_error, why, sizeof why);
  text_for_terminal(why, text, sizeof text);
  text_for_terminal(member_text(branch, "participant", ""), name, sizeof name);
  (void)fprintf(out, "last error at %s: %s\n", name, text);
}

static void branches_print(const json_t *branches, FILE *out, bool colour) {
  static const struct column columns[] = {{"branch", COLUMN_NUMBER}, {"participant", COLUMN_TEXT},
                                          {"state", COLUMN_STATE},   {"attempts", COLUMN_NUMBER},
                                          {"xid", COLUMN_NUMBER},    {"gid", COLUMN_TEXT}};
  if (json_array_size(branches) == 0) return;
  struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
  for (size_t i = 0; i < json_array_size(branches); i++)
    branch_add(table, json_array_get(branches, i));
  (void)fputc('\n', out);
  table_print(table, out, colour);
  table_free(table);
  for (size_t i = 0; i < json_array_size(branches); i++)
    last_error_print(json_array_get(branches, i), out);
}

void transaction_print(const json_t *transaction, FILE *out, bool colour) {
  const json_t *branches = json_object_get(transaction, "branches");
  const json_t *cause = json_object_get(transaction, "cause");
  char why[LINE_SIZE] = "";
  if (json_is_object(cause)) cause_text(cause, why, sizeof why);
  head_line(out, "transaction", member_text(transaction, "id", ""), false);
  head_line(out, "state", member_text(transaction, "state", ""), colour);
  head_line(out, "outcome", member_text(transaction, "outcome", "not decided"), colour);
  head_line(out, "label", member_text(transaction, "label", ""), false);
  head_line(out, "created", member_text(transaction, "created_at", ""), false);
  head_line(out, "decided", member_text(transaction, "decided_at", ""), false);
  head_line(out, "applied", member_text(transaction, "applied_at", ""), false);
  head_line(out, "cause", why, false);
  branches_print(branches, out, colour);
  for (size_t i = 0; i < json_array_size(branches); i++) {
    const json_t *branch = json_array_get(branches, i);
    const json_t *results = json_object_get(branch, "results");
    if (json_array_size(results) == 0) continue;
    char name[CELL_SIZE];
    text_for_terminal(member_text(branch, "participant", ""), name, sizeof name);
    (void)fprintf(out, "\nresults of %s:\n", name);
    results_print(results, out);
  }
}

/* ---- many ------------------------------------------------------------------------------------ */

static void participants_text(const json_t *branches, char *out, size_t size) {
  size_t used = 0;
  out[0] = '\0';
  for (size_t i = 0; i < json_array_size(branches) && used + 1 < size; i++) {
    const char *name = member_text(json_array_get(branches, i), "participant", "");
    int wrote = snprintf(out + used, size - used, "%s%s", i > 0 ? " " : "", name);
    if (wrote < 0) break;
    used += (size_t)wrote;
  }
}

void transaction_list_print(const json_t *transactions, FILE *out, bool colour) {
  static const struct column columns[] = {{"transaction", COLUMN_TEXT},  {"state", COLUMN_STATE},
                                          {"age", COLUMN_NUMBER},        {"label", COLUMN_TEXT},
                                          {"participants", COLUMN_TEXT}, {"cause", COLUMN_TEXT}};
  struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
  for (size_t i = 0; i < json_array_size(transactions); i++) {
    const json_t *one = json_array_get(transactions, i);
    const json_t *cause = json_object_get(one, "cause");
    char age[32], participants[256], why[LINE_SIZE] = "";
    const char *outcome = member_text(one, "outcome", "");
    const char *state = strcmp(outcome, "mixed") == 0 ? outcome : member_text(one, "state", "");
    age_text(member_text(one, "created_at", ""), age, sizeof age);
    participants_text(json_object_get(one, "branches"), participants, sizeof participants);
    if (json_is_object(cause)) cause_text(cause, why, sizeof why);
    const char *cells[] = {member_text(one, "id", ""),    state,        age,
                           member_text(one, "label", ""), participants, why};
    table_add(table, cells);
  }
  table_print(table, out, colour);
  table_free(table);
}

enum exit_code transaction_answer(const struct client *client, const struct answer *answer,
                                  const char *ask_again) {
  const json_t *transaction = answer_transaction(answer);
  if (client->json) (void)printf("%s\n", answer->text);
  /* A refusal that settles nothing (busy, say) is about the request, not the transaction. */
  if (!transaction || (answer->status >= 400 && transaction_exit(transaction) == EXIT_UNKNOWN))
    return client_refused(client, answer, ask_again);
  if (!client->json) transaction_print(transaction, stdout, colour_wanted(stdout));
  enum exit_code code = transaction_exit(transaction);
  if (code == EXIT_UNKNOWN) say_how_to_ask(ask_again);
  if (code == EXIT_MIXED)
    (void)fprintf(stderr, "A branch was forced by hand or by its database: not atomic.\n");
  return code;
}
