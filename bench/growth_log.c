/* Does a log with millions of finished transactions cost anything? See growth.h.
 *
 * The log is filled (fill.h) with transactions of the last six days, as one has them that keeps them for
 * seven. Then two coordinators are there, one with an empty log and one with this one, and have their turns
 * with the same load. After that lists are asked for, while nobody else asks anything; and the turns come
 * once more, with a retention of five days: all that is older is removed meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/fill.h"
#include "bench/growth.h"
#include "bench/meter.h"
#include "cli/table.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "common/id.h"

enum {
  DAY_MS = 86400000,
  HOUR_MS = 3600000,
  OLDEST_MS = 6 * DAY_MS,
  RETENTION_DAYS = 5,
  TEXT_SIZE = 24,
  PATH_SIZE = 500,
  ROUNDS = 5,
  LIST_MS_MAX = 120000
};

struct size {
  uint64_t count;
  const char *name;
};
static const struct size sizes[] = {
    {100000, "100,000"}, {1000000, "1,000,000"}, {10000000, "10,000,000"}, {0, NULL}};

/* Turns on a log beside those on the empty one. */
struct pair {
  struct figures empty[ROUNDS_MAX], full[ROUNDS_MAX];
  unsigned rounds;
};

static double ratio(const struct pair *pair, enum figure figure) {
  double ratios[ROUNDS_MAX];
  for (unsigned i = 0; i < pair->rounds; i++)
    ratios[i] = pair->full[i].of[figure] / pair->empty[i].of[figure];
  return median(ratios, pair->rounds);
}

static void take_turns(struct growth *growth, struct pair *pair) {
  pair->rounds = growth->is_quick ? 3 : ROUNDS;
  for (unsigned i = 0; i < pair->rounds && !bench_interrupted; i++) {
    struct load load = {.clients = GROWTH_CLIENTS}, same = load;
    bool full_first = i % 2;
    site_checkpoint(&growth->site);
    if (full_first) growth_turn(growth, HOSTING_OTHER, &same, &pair->full[i]);
    growth_turn(growth, HOSTING_EMBEDDED, &load, &pair->empty[i]);
    if (!full_first) growth_turn(growth, HOSTING_OTHER, &same, &pair->full[i]);
  }
}

/* Returns how long it took until it was ready. */
static double start_on(struct growth *growth, const char *directory, const char *settings) {
  growth->site.data_dir = directory;
  growth->site.settings = settings;
  uint64_t began_us = clock_monotonic_us();
  site_start(&growth->site, HOSTING_OTHER);
  growth->site.data_dir = growth->site.settings = NULL;
  return (double)(clock_monotonic_us() - began_us) / 1e3;
}

/* ---- lists --------------------------------------------------------------------------------------- */

static double time_get(uint16_t port, const char *what, char **body) {
  char url[300];
  int status = 0;
  size_t length;
  struct error err = {0};
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/transactions%s", (unsigned)port, what);
  uint64_t began_us = clock_monotonic_us();
  must_go(http_call("GET", url, NULL, LIST_MS_MAX, &status, body, &length, &err), &err, url);
  must(status == 200, url, *body);
  return (double)(clock_monotonic_us() - began_us) / 1e3;
}

static void note_list(const struct growth *growth, struct table *table, const char *what) {
  uint16_t port = growth->site.daemons[HOSTING_OTHER].port;
  char *body, text[TEXT_SIZE];
  double ms = time_get(port, what, &body);
  free(body);
  (void)snprintf(text, sizeof text, "%.1f", ms);
  table_add(table, (const char *const[]){what, text});
  if (growth->json) printf("{\"list\": \"%s\", \"ms\": %.1f}\n", what, ms);
}

/* The path of one that was there before. */
static void find_old(uint16_t port, char path[TXID_SIZE + 1]) {
  static const char key[] = "\"id\":\"";
  char *body;
  (void)time_get(port, "?label=order-1", &body);
  const char *at = strstr(body, key);
  must(at != NULL, "a transaction of old", body);
  (void)snprintf(path, TXID_SIZE + 1, "/%s", at + sizeof key - 1);
  free(body);
}

static void ask_lists(const struct growth *growth) {
  static const char *const lists[] = {"?limit=100",
                                      "?state=aborted&limit=100",
                                      "?participant=bank_a&limit=100",
                                      "?label=order-99",
                                      "?older_than_ms=259200000&limit=100",
                                      "?state=aborted&participant=bank_b&limit=100",
                                      "?state=aborted&older_than_ms=259200000&limit=100",
                                      "?participant=bank_b&older_than_ms=259200000&limit=100",
                                      "?label=order-99&older_than_ms=259200000",
                                      "?participant=bank_a&state=aborted&older_than_ms=604800000"};
  static const struct column columns[] = {{"GET /v1/transactions", COLUMN_TEXT},
                                          {"ms", COLUMN_NUMBER}};
  char old[TXID_SIZE + 1];
  struct table *table = table_new(columns, 2);
  find_old(growth->site.daemons[HOSTING_OTHER].port, old);
  note_list(growth, table, old);
  for (size_t i = 0; i < sizeof lists / sizeof lists[0] && !bench_interrupted; i++)
    note_list(growth, table, lists[i]);
  if (!growth->json) {
    (void)putchar('\n');
    table_print(table, stdout, false);
  }
  table_free(table);
}

/* ---- removal ------------------------------------------------------------------------------------- */

static void watch_removal(struct growth *growth, const char *directory, const char *path) {
  struct pair pair = {0};
  char settings[64];
  int64_t border_ms = (int64_t)RETENTION_DAYS * DAY_MS;
  (void)snprintf(settings, sizeof settings, "retention = %dd\n", RETENTION_DAYS);
  uint64_t before = fill_count_older(path, border_ms);
  (void)start_on(growth, directory, settings);
  uint64_t began_us = clock_monotonic_us();
  take_turns(growth, &pair);
  double seconds = (double)(clock_monotonic_us() - began_us) / 1e6, committed = 0;
  for (unsigned i = 0; i < pair.rounds; i++)
    committed += pair.full[i].of[FIGURE_TPS] / pair.rounds;
  site_stop(&growth->site, HOSTING_OTHER);
  if (bench_interrupted) return;
  double removed = (double)before - (double)fill_count_older(path, border_ms);
  double tps = ratio(&pair, FIGURE_TPS), cpu = ratio(&pair, FIGURE_CPU_COORDINATOR_US);
  if (growth->json)
    printf(
        "{\"removed_per_second\": %.0f, \"committed_per_second\": %.0f, \"tps_over_empty\": %.3f, "
        "\"cpu_over_empty\": %.3f}\n",
        removed / seconds, committed, tps, cpu);
  else
    printf(
        "\nwith a retention of %d days: %.0f removed a second, while in its turns %.0f a second "
        "were "
        "committed:\n%.3f of those with the empty log, with %.3f of assentd's CPU a transaction\n",
        RETENTION_DAYS, removed / seconds, committed, tps, cpu);
}

/* ---- the run ------------------------------------------------------------------------------------- */

/* In a process of its own: a process makes no id that is older than its last, and the ids of each log are to
 * begin six days ago. */
static void fill_apart(const char *path, uint64_t count) {
  int status = 0;
  (void)fflush(NULL);
  pid_t child = fork();
  must(child >= 0, "fork", strerror(errno));
  if (child == 0) {
    fill_log(path, count, OLDEST_MS, HOUR_MS);
    _exit(0);
  }
  must(waitpid(child, &status, 0) == child && status == 0, path, "could not be filled");
}

static bool is_measured(const struct growth *growth, const struct size *size) {
  return size->name && size->count <= (uint64_t)growth->finished_max;
}

static void run_size(struct growth *growth, const struct size *size, struct series *series,
                     struct table *table, struct log_figures *out) {
  char directory[PATH_SIZE], path[PATH_SIZE + 20], texts[5][TEXT_SIZE];
  struct pair pair = {0};
  (void)snprintf(directory, sizeof directory, "%s/log_%llu",
                 growth->logs ? growth->logs : growth->site.directory,
                 (unsigned long long)size->count);
  (void)snprintf(path, sizeof path, "%s/decisions.db", directory);
  must(mkdir(directory, 0700) == 0 || errno == EEXIST, directory, strerror(errno));
  struct stat status;
  if (stat(path, &status) != 0) fill_apart(path, size->count);
  if (bench_interrupted) {
    (void)unlink(path); /* not whole */
    return;
  }
  double mb = (double)fill_put_out(path) / 1e6;
  double start_ms = start_on(growth, directory, NULL);
  struct process *coordinator = growth->site.daemons[HOSTING_OTHER].coordinator;
  double resident_mb = (double)meter_resident_kb(coordinator) / 1024;
  take_turns(growth, &pair);
  *out = (struct log_figures){.transactions = size->count,
                              .tps_ratio = ratio(&pair, FIGURE_TPS),
                              .cpu_ratio = ratio(&pair, FIGURE_CPU_COORDINATOR_US),
                              .start_ms = start_ms};
  const double values[] = {mb, start_ms, resident_mb, out->tps_ratio, out->cpu_ratio};
  static const int decimals[] = {0, 0, 1, 3, 3};
  for (int i = 0; i < 5; i++)
    (void)snprintf(texts[i], TEXT_SIZE, "%.*f", decimals[i], values[i]);
  table_add(table,
            (const char *const[]){size->name, texts[0], texts[1], texts[2], texts[3], texts[4]});
  if (growth->json)
    printf("{\"log\": %llu, \"mb\": %s, \"start_ms\": %s, \"resident_mb\": %s, \"tps_over_empty\": "
           "%s, "
           "\"cpu_over_empty\": %s}\n",
           (unsigned long long)size->count, texts[0], texts[1], texts[2], texts[3], texts[4]);
  if (series->points == 0) {
    (void)snprintf(series->x[0], sizeof series->x[0], "0");
    memcpy(series->round[series->points++], pair.empty, sizeof pair.empty);
  }
  (void)snprintf(series->x[series->points], sizeof series->x[0], "%s", size->name);
  memcpy(series->round[series->points++], pair.full, sizeof pair.full);
  bool is_last = !is_measured(growth, size + 1);
  if (is_last) ask_lists(growth);
  site_stop(&growth->site, HOSTING_OTHER);
  if (is_last && !bench_interrupted) watch_removal(growth, directory, path);
  if (!growth->logs) (void)unlink(path);
}

void growth_log(struct growth *growth, struct log_figures *out) {
  static struct series series = {.name = "log",
                                 .title = "so many finished transactions in the log",
                                 .x_title = "finished"};
  static const struct column columns[] = {
      {"finished", COLUMN_NUMBER},      {"MB", COLUMN_NUMBER},
      {"start ms", COLUMN_NUMBER},      {"resident MB", COLUMN_NUMBER},
      {"per s, /empty", COLUMN_NUMBER}, {"us assentd, /empty", COLUMN_NUMBER}};
  struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
  site_start(&growth->site, HOSTING_EMBEDDED);
  for (const struct size *size = sizes; is_measured(growth, size) && !bench_interrupted; size++)
    run_size(growth, size, &series, table, out);
  site_stop(&growth->site, HOSTING_EMBEDDED);
  series_tell(growth, &series, growth->is_quick ? 3 : ROUNDS);
  if (!growth->json) {
    (void)putchar('\n');
    table_print(table, stdout, false);
  }
  table_free(table);
}
