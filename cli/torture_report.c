/* How a torture shows itself: live on stderr, the report on stdout. See torture.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "cli/torture.h"
#include "common/clock.h"
#include "common/json.h"

enum { CELL_SIZE = 32, SHOW_TERMINAL_US = 100000, SHOW_LINES_US = 5000000, BAR_WIDTH = 20 };

/* ---- live -------------------------------------------------------------------------------------- */

static int64_t percent_of(int64_t done, int64_t limit) {
  int64_t percent = limit > 0 ? done * 100 / limit : 0;
  return percent > 100 ? 100 : percent;
}

static int64_t greater(int64_t a, int64_t b) {
  return a > b ? a : b;
}

/* Of the limit that is nearest. */
static int64_t percent_done(const struct torture *t, int64_t elapsed_ms) {
  const struct torture_options *options = &t->options;
  int64_t percent = percent_of(elapsed_ms, options->seconds * 1000);
  percent = greater(percent, percent_of(t->findings.rounds, options->rounds));
  return greater(percent, percent_of(t->findings.kills, options->kills));
}

void torture_show(struct torture *t, bool is_now) {
  static const char full[] = "####################";
  uint64_t now_us = clock_monotonic_us();
  if (!is_now && now_us - t->shown_us < (t->is_terminal ? SHOW_TERMINAL_US : SHOW_LINES_US)) return;
  t->shown_us = now_us;
  int64_t elapsed_ms = (int64_t)(now_us - t->begin_us) / 1000;
  struct load_counts all = t->findings.load, counts = {0};
  if (t->load) counts = load_count(t->load);
  char hazards[CELL_SIZE] = "";
  if (t->options.asynchronous)
    (void)snprintf(hazards, sizeof hazards, "%u hazards; ", t->findings.hazards);
  if (t->is_terminal)
    (void)fprintf(stderr, "\r[%-*.*s] ", BAR_WIDTH,
                  (int)(percent_done(t, elapsed_ms) * BAR_WIDTH / 100), full);
  (void)fprintf(stderr,
                "%.1f s, round %u: %u transfers, %u committed, %u aborted, %u lost; %u kills; %s"
                "%" PRId64 " in doubt; last: %s%s",
                (double)elapsed_ms / 1000, t->findings.rounds + 1, all.finished + counts.finished,
                all.committed + counts.committed, all.aborted + counts.aborted,
                all.lost + counts.lost, t->findings.kills, hazards, watch_in_doubt(t->watch),
                t->last, t->is_terminal ? "\033[K" : "\n");
  (void)fflush(stderr);
}

void torture_show_end(const struct torture *t) {
  if (t->is_terminal) (void)fputs("\r\033[K", stderr);
}

/* ---- report ------------------------------------------------------------------------------------ */

static void milliseconds(struct samples *samples, unsigned percent, char out[CELL_SIZE]) {
  (void)snprintf(out, CELL_SIZE, "%.0f ms", (double)samples_percentile(samples, percent) / 1000);
}

static void report_faults(const struct torture *t) {
  static const struct column columns[] = {{"fault", COLUMN_TEXT}, {"times", COLUMN_NUMBER}};
  struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
  for (unsigned i = 0; i < t->choice_count; i++) {
    char times[CELL_SIZE];
    if (t->choices[i].weight == 0) continue;
    (void)snprintf(times, sizeof times, "%u", t->findings.faults[i]);
    table_add(table, (const char *const[]){t->choices[i].name, times});
  }
  (void)putchar('\n');
  table_print(table, stdout, false);
  table_free(table);
}

static void add_times(struct table *table, const char *what, struct samples *samples) {
  char count[CELL_SIZE], p50[CELL_SIZE], p99[CELL_SIZE], max[CELL_SIZE];
  (void)snprintf(count, sizeof count, "%zu", samples->count);
  milliseconds(samples, 50, p50);
  milliseconds(samples, 99, p99);
  milliseconds(samples, 100, max);
  table_add(table, (const char *const[]){what, count, p50, p99, max});
}

static void report_times(struct torture *t) {
  static const struct column columns[] = {{"time", COLUMN_TEXT},
                                          {"seen", COLUMN_NUMBER},
                                          {"p50", COLUMN_NUMBER},
                                          {"p99", COLUMN_NUMBER},
                                          {"max", COLUMN_NUMBER}};
  struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
  add_times(table, "to recover", &t->findings.recovery_us);
  add_times(table, "to settle", &t->findings.settle_us);
  (void)putchar('\n');
  table_print(table, stdout, false);
  table_free(table);
  (void)puts("\nto recover: from the restart of a process that was killed until no transaction\n"
             "prepared before it is left in any database, under load and further faults.\n"
             "to settle: from the last mend of a round until all of its transfers have an outcome\n"
             "and nothing is in doubt.");
}

static void verdict(const struct torture *t) {
  const struct torture_findings *findings = &t->findings;
  const char *word = findings->violations.count == 0 ? "ok" : "FAILED";
  const char *begin = colour_wanted(stdout) ? state_colour(word) : "";
  (void)printf("\nmoney       %" PRId64 " before, %" PRId64 " after\n", findings->money_before,
               findings->money_after);
  if (t->options.asynchronous) {
    (void)printf("hazards     %u branches lost by failovers, each told by the coordinator\n",
                 findings->hazards);
    (void)printf("unseen      %u branches lost that had committed: of these it cannot know\n",
                 findings->unseen);
    (void)printf(
        "resolved    %u branches unknown to it until the ledger was looked at; money lost: "
        "%" PRId64 "\n",
        findings->resolved, findings->money_lost);
  }
  (void)printf("checked     %u outcomes against both databases and the coordinator's list, %u "
               "asked for again later\n",
               findings->checked, findings->asked_again);
  (void)printf("bounds      %" PRId64 " kB of memory, %" PRId64 " descriptors, %" PRId64
               " kB of log at most\n",
               findings->memory_kb_max, findings->descriptors_max, findings->log_bytes_max / 1024);
  (void)printf("violations  %s%s%s  %u\n", begin, word, begin[0] ? colour_off : "",
               findings->violations.count);
  problems_print(&findings->violations);
}

void torture_report(struct torture *t) {
  const struct torture_findings *findings = &t->findings;
  const struct load_counts *load = &findings->load;
  double seconds = (double)findings->elapsed_us / 1e6;
  (void)printf("rounds      %6u   in %.1f s\n", findings->rounds, seconds);
  (void)printf("kills       %6u   %.0f a minute\n", findings->kills,
               seconds > 0 ? findings->kills * 60 / seconds : 0);
  (void)printf("transfers   %6u   by %" PRId64 " clients\n", load->finished, t->options.clients);
  (void)printf("committed   %6u   of these %u prepared by the clients themselves\n",
               load->committed, load->prepared);
  (void)printf("aborted     %6u   of these %u because their time was up\n", load->aborted,
               load->aborted_by_timeout);
  (void)printf("lost        %6u   answers, asked for by label: %u committed, %u aborted\n",
               load->lost, load->lost_committed, load->lost_aborted);
  (void)printf("sent again  %6u   times, where nothing had happened\n", load->resent);
  (void)printf("detours     %6u   requests by a bad network\n", load->detours);
  report_faults(t);
  report_times(t);
  verdict(t);
  (void)printf("\nseed %" PRId64 " (--seed %" PRId64 " makes the same plan again)\n",
               t->options.seed, t->options.seed);
}

/* ---- JSON -------------------------------------------------------------------------------------- */

static void write_number(struct json_writer *w, const char *name, int64_t value) {
  json_key(w, name);
  json_write_integer(w, value);
}

static void write_faults(struct json_writer *w, const struct torture *t) {
  json_key(w, "faults");
  json_object_begin(w);
  for (unsigned i = 0; i < t->choice_count; i++)
    if (t->choices[i].weight > 0) write_number(w, t->choices[i].name, t->findings.faults[i]);
  json_object_end(w);
}

static void write_times(struct json_writer *w, const char *name, struct samples *samples) {
  json_key(w, name);
  json_object_begin(w);
  write_number(w, "count", (int64_t)samples->count);
  write_number(w, "p50", samples_percentile(samples, 50));
  write_number(w, "p99", samples_percentile(samples, 99));
  write_number(w, "max", samples_percentile(samples, 100));
  json_object_end(w);
}

static void write_load(struct json_writer *w, const struct load_counts *load) {
  write_number(w, "transfers", load->finished);
  write_number(w, "committed", load->committed);
  write_number(w, "aborted", load->aborted);
  write_number(w, "mixed", load->mixed);
  write_number(w, "aborted_by_timeout", load->aborted_by_timeout);
  write_number(w, "lost", load->lost);
  write_number(w, "lost_committed", load->lost_committed);
  write_number(w, "lost_aborted", load->lost_aborted);
  write_number(w, "resent", load->resent);
  write_number(w, "detours", load->detours);
  write_number(w, "prepared_by_clients", load->prepared);
}

void torture_report_json(struct torture *t) {
  struct torture_findings *findings = &t->findings;
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "ok");
  json_write_boolean(&w, findings->violations.count == 0);
  write_number(&w, "seed", t->options.seed);
  write_number(&w, "clients", t->options.clients);
  json_key(&w, "agents");
  json_write_boolean(&w, t->options.agents);
  json_key(&w, "standbys");
  json_write_string(&w, !t->options.standbys      ? NULL
                        : t->options.asynchronous ? "asynchronous"
                                                  : "synchronous");
  write_number(&w, "elapsed_ms", findings->elapsed_us / 1000);
  write_number(&w, "rounds", findings->rounds);
  write_number(&w, "kills", findings->kills);
  write_faults(&w, t);
  write_load(&w, &findings->load);
  write_times(&w, "recovery_us", &findings->recovery_us);
  write_times(&w, "settle_us", &findings->settle_us);
  write_number(&w, "money_before", findings->money_before);
  write_number(&w, "money_after", findings->money_after);
  if (t->options.asynchronous) {
    write_number(&w, "hazards", findings->hazards);
    write_number(&w, "unseen", findings->unseen);
    write_number(&w, "resolved", findings->resolved);
    write_number(&w, "money_lost", findings->money_lost);
  }
  write_number(&w, "outcomes_checked", findings->checked);
  write_number(&w, "asked_again", findings->asked_again);
  write_number(&w, "memory_kb_max", findings->memory_kb_max);
  write_number(&w, "descriptors_max", findings->descriptors_max);
  write_number(&w, "log_bytes_max", findings->log_bytes_max);
  write_number(&w, "violations", findings->violations.count);
  json_key(&w, "problems");
  problems_write(&findings->violations, &w);
  json_object_end(&w);
  char *text = json_writer_take(&w, NULL);
  if (text) (void)puts(text);
  free(text);
}
