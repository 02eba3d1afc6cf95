/* How the demonstration shows itself: progress on stderr, the report on stdout. See demo.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/demo.h"
#include "cli/table.h"
#include "common/json.h"

enum { BAR_WIDTH = 30, CELL_SIZE = 32 };

/* ---- progress -------------------------------------------------------------------------------- */

struct progress progress_begin(void) {
  const char *term = getenv("TERM");
  return (struct progress){.is_terminal =
                               isatty(STDERR_FILENO) == 1 && term && strcmp(term, "dumb") != 0};
}

void progress_show(struct progress *progress, const struct load_counts *counts, unsigned transfers,
                   unsigned killed, unsigned kills) {
  static const char full[] = "##############################";
  unsigned tenths = transfers ? counts->finished * 10 / transfers : 10;
  int done = transfers ? (int)((uint64_t)counts->finished * BAR_WIDTH / transfers) : BAR_WIDTH;
  if (!progress->is_terminal && tenths == progress->shown_tenths) return;
  progress->shown_tenths = tenths;
  if (progress->is_terminal) (void)fprintf(stderr, "\r[%-*.*s] ", BAR_WIDTH, done, full);
  (void)fprintf(stderr, "%u/%u transfers, %u committed, %u aborted, %u lost, %u/%u kills%s",
                counts->finished, transfers, counts->committed, counts->aborted, counts->lost,
                killed, kills, progress->is_terminal ? "\033[K" : "\n");
  (void)fflush(stderr);
}

void progress_end(struct progress *progress) {
  if (progress->is_terminal) (void)fputs("\r\033[K", stderr);
}

/* ---- report ---------------------------------------------------------------------------------- */

static void milliseconds(int64_t us, char out[CELL_SIZE]) {
  (void)snprintf(out, CELL_SIZE, "%" PRId64 " ms", (us + 500) / 1000);
}

static void report_kills(const struct demo_findings *findings) {
  static const struct column columns[] = {
      {"kill -9", COLUMN_TEXT},       {"after", COLUMN_NUMBER},
      {"in flight", COLUMN_NUMBER},   {"left prepared", COLUMN_NUMBER},
      {"ready again", COLUMN_NUMBER}, {"all settled", COLUMN_NUMBER}};
  if (findings->recovery_count == 0) return;
  struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
  for (unsigned i = 0; i < findings->recovery_count; i++) {
    const struct demo_recovery *one = &findings->recoveries[i];
    char after[CELL_SIZE], in_flight[CELL_SIZE], left[CELL_SIZE], ready[CELL_SIZE],
        settled[CELL_SIZE];
    (void)snprintf(after, sizeof after, "%u", one->finished);
    (void)snprintf(in_flight, sizeof in_flight, "%u", one->in_flight);
    (void)snprintf(left, sizeof left, "%" PRId64, one->left_prepared);
    milliseconds(one->ready_us, ready);
    milliseconds(one->settled_us, settled);
    const char *cells[] = {stage_target_name(one->target), after, in_flight, left, ready, settled};
    table_add(table, cells);
  }
  (void)putchar('\n');
  table_print(table, stdout, false);
  table_free(table);
  (void)puts(
      "\nready again: from the start of the new process until its /readyz (an agent's /healthz)\n"
      "answers 200.\n"
      "all settled: from the same start until no transaction prepared before it is left.");
}

static void verdict(const char *what, const char *text, bool is_ok) {
  const char *word = is_ok ? "ok" : "FAILED";
  const char *begin = colour_wanted(stdout) ? state_colour(word) : "";
  (void)printf("%-14s  %s%-6s%s  %s\n", what, begin, word, begin[0] ? colour_off : "", text);
}

static void report_verdicts(const struct demo_findings *findings) {
  char text[160];
  (void)putchar('\n');
  (void)snprintf(text, sizeof text, "%" PRId64 " before, %" PRId64 " after", findings->money_before,
                 findings->money_after);
  verdict("money", text, findings->money_before == findings->money_after);
  (void)snprintf(text, sizeof text, "%" PRId64 " and %" PRId64 " transactions left prepared",
                 findings->in_doubt[0], findings->in_doubt[1]);
  verdict("in doubt", text, findings->in_doubt[0] + findings->in_doubt[1] == 0);
  (void)snprintf(text, sizeof text, "%u told outcomes against both databases, %u wrong",
                 findings->ledger_checked, findings->ledger_wrong);
  verdict("outcomes", text, findings->ledger_wrong == 0);
  (void)snprintf(text, sizeof text, "%u outcomes asked for once more, %u told otherwise",
                 findings->asked_again, findings->told_otherwise);
  verdict("asked again", text, findings->told_otherwise == 0);
}

void demo_report(const struct demo_options *options, const struct demo_findings *findings) {
  const struct load_counts *load = &findings->load;
  double seconds = (double)findings->elapsed_us / 1e6;
  (void)printf("transfers   %6u   by %" PRId64 " clients in %.1f s, %.0f a second\n",
               load->finished, options->clients, seconds,
               seconds > 0 ? load->finished / seconds : 0);
  (void)printf("committed   %6u\n", load->committed);
  (void)printf("aborted     %6u   of these %u because their time was up\n", load->aborted,
               load->aborted_by_timeout);
  (void)printf("lost        %6u   answers, asked for by label: %u committed, %u aborted\n",
               load->lost, load->lost_committed, load->lost_aborted);
  (void)printf("sent again  %6u   times, where nothing had happened\n", load->resent);
  report_kills(findings);
  report_verdicts(findings);
  problems_print(&findings->problems);
  (void)printf("\nseed %" PRId64 " (--seed %" PRId64 " makes the same choices again)\n",
               options->seed, options->seed);
}

void demo_report_kept(const char *url, const char *directory, const char *const dsn[BANKS]) {
  (void)printf(
      "\nAll is left running. Next:\n\n"
      "  export ASSENT_URL=%s\n"
      "  assent participants\n"
      "  assent transfer --from bank_a:1 --to bank_b:7 --amount 10\n"
      "  assent tx list --limit 5\n\n"
      "  curl -s %s/v1/transactions -H 'Content-Type: application/json' -d '\n"
      "    {\"commit\": true, \"branches\": [\n"
      "      {\"participant\": \"bank_a\", \"statements\": [{\"sql\":\n"
      "        \"UPDATE account SET balance = balance - $1 WHERE id = $2\", \"params\": [10, "
      "1]}]},\n"
      "      {\"participant\": \"bank_b\", \"statements\": [{\"sql\":\n"
      "        \"UPDATE account SET balance = balance + $1 WHERE id = $2\", \"params\": [10, "
      "7]}]}]}'\n\n"
      "  psql \"%s\" -c 'SELECT * FROM account WHERE id = 1'\n"
      "  psql \"%s\" -c 'SELECT * FROM account WHERE id = 7'\n\n"
      "To end and remove it:\n\n  assent demo --stop %s\n",
      url, url, dsn[0], dsn[1], directory);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void write_number(struct json_writer *w, const char *name, int64_t value) {
  json_key(w, name);
  json_write_integer(w, value);
}

static void write_recoveries(struct json_writer *w, const struct demo_findings *findings) {
  json_key(w, "kills");
  json_array_begin(w);
  for (unsigned i = 0; i < findings->recovery_count; i++) {
    const struct demo_recovery *one = &findings->recoveries[i];
    json_object_begin(w);
    json_key(w, "process");
    json_write_string(w, stage_target_name(one->target));
    write_number(w, "after_transfers", one->finished);
    write_number(w, "in_flight", one->in_flight);
    write_number(w, "left_prepared", one->left_prepared);
    write_number(w, "ready_us", one->ready_us);
    write_number(w, "settled_us", one->settled_us);
    json_object_end(w);
  }
  json_array_end(w);
}

static void write_counts(struct json_writer *w, const struct load_counts *load) {
  write_number(w, "transfers", load->finished);
  write_number(w, "committed", load->committed);
  write_number(w, "aborted", load->aborted);
  write_number(w, "aborted_by_timeout", load->aborted_by_timeout);
  write_number(w, "lost", load->lost);
  write_number(w, "lost_committed", load->lost_committed);
  write_number(w, "lost_aborted", load->lost_aborted);
  write_number(w, "resent", load->resent);
}

void demo_report_json(const struct demo_options *options, const struct demo_findings *findings) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "ok");
  json_write_boolean(&w, findings->problems.count == 0);
  write_number(&w, "seed", options->seed);
  write_number(&w, "clients", options->clients);
  json_key(&w, "agents");
  json_write_boolean(&w, options->agents);
  write_counts(&w, &findings->load);
  write_number(&w, "elapsed_ms", findings->elapsed_us / 1000);
  write_recoveries(&w, findings);
  write_number(&w, "money_before", findings->money_before);
  write_number(&w, "money_after", findings->money_after);
  write_number(&w, "in_doubt", findings->in_doubt[0] + findings->in_doubt[1]);
  write_number(&w, "outcomes_checked", findings->ledger_checked);
  write_number(&w, "outcomes_wrong", findings->ledger_wrong);
  write_number(&w, "asked_again", findings->asked_again);
  write_number(&w, "told_otherwise", findings->told_otherwise);
  json_key(&w, "problems");
  problems_write(&findings->problems, &w);
  json_object_end(&w);
  char *text = json_writer_take(&w, NULL);
  if (text) (void)puts(text);
  free(text);
}
