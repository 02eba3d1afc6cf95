/* How does the cost of a transaction grow? See docs/performance.md for figures, and for what they mean.
 *
 * Transfers by 32 clients, one call each, embedded, on two throwaway servers: over more databases, with
 * more statements a branch, with larger parameters, with more clients, and with more finished transactions
 * in the log. All sizes of a series have their turn in each round, in another order each time, and
 * figures are medians of the rounds. And how much memory assentd takes for a thousand transactions.
 *
 * CPU time a transaction is what to compare: it hardly depends on what the machine does besides.
 */
#include "bench/growth.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/chart.h"
#include "bench/measure.h"
#include "cli/options.h"
#include "cli/table.h"

enum {
  DATABASES_MAX = 16,
  PAYLOAD_MAX = 262144,
  CELL_SIZE = 24,
  IDLE_MB_MAX = 16,
  OPEN_MB_MAX = 64
};

static struct growth growth;
static char payload[PAYLOAD_MAX + 1];

static void tear_down(void) {
  site_close(&growth.site);
}

void growth_turn(struct growth *g, enum hosting hosting, struct load *load, struct figures *out) {
  load->site = &g->site;
  load->port = g->site.daemons[hosting].port;
  load->seed = ++g->seed;
  const struct measure measure = {
      .run = http_run, .hosting = hosting, .warm_ms = g->cell_ms / 4, .measure_ms = g->cell_ms};
  measure_load(&g->site, load, &measure, out);
}

/* ---- telling ------------------------------------------------------------------------------------- */

static const enum figure told[] = {FIGURE_TPS,
                                   FIGURE_P50_MS,
                                   FIGURE_P99_MS,
                                   FIGURE_CPU_CLIENT_US,
                                   FIGURE_CPU_COORDINATOR_US,
                                   FIGURE_CPU_SERVERS_US,
                                   FIGURE_SYNCS_LOG,
                                   FIGURE_SYNCS_SERVERS,
                                   FIGURE_BYTES_HTTP,
                                   FIGURE_BYTES_SERVERS,
                                   FIGURE_PEAK_MB};
enum { TOLD = sizeof told / sizeof told[0] };

static void print_table(const struct series *series) {
  struct column heads[TOLD + 1] = {{series->x_title, COLUMN_NUMBER}};
  for (int i = 0; i < TOLD; i++)
    heads[i + 1] = (struct column){figure_column(told[i])->title, COLUMN_NUMBER};
  struct table *table = table_new(heads, TOLD + 1);
  for (unsigned point = 0; point < series->points; point++) {
    char texts[TOLD][CELL_SIZE];
    const char *cells[TOLD + 1] = {series->x[point]};
    for (int i = 0; i < TOLD; i++) {
      (void)snprintf(texts[i], CELL_SIZE, "%.*f", figure_column(told[i])->decimals,
                     series->median[point].of[told[i]]);
      cells[i + 1] = texts[i];
    }
    table_add(table, cells);
  }
  printf("\n%s\n", series->title);
  table_print(table, stdout, false);
  table_free(table);
}

static void print_json(const struct series *series) {
  for (unsigned point = 0; point < series->points; point++) {
    printf("{\"series\": \"%s\", \"size\": \"%s\"", series->name, series->x[point]);
    for (int i = 0; i < TOLD; i++) {
      (void)fputs(", ", stdout);
      print_number(stdout, figure_column(told[i])->name, 3, series->median[point].of[told[i]]);
    }
    (void)puts("}");
  }
}

static void draw(const struct series *series, const char *directory) {
  static const struct {
    enum figure figure;
    const char *text;
  } parts[] = {{FIGURE_CPU_SERVERS_US, "PostgreSQL"},
               {FIGURE_CPU_COORDINATOR_US, "assentd"},
               {FIGURE_CPU_CLIENT_US, "client"}};
  enum { PARTS = sizeof parts / sizeof parts[0] };
  char file[64], title[120];
  (void)snprintf(file, sizeof file, "growth-%s.svg", series->name);
  (void)snprintf(title, sizeof title, "CPU us a transaction: %s", series->title);
  struct chart chart = {.file = file,
                        .title = title,
                        .x_title = series->x_title,
                        .points = series->points,
                        .count = PARTS};
  for (unsigned point = 0; point < series->points; point++) {
    chart.x[point] = series->x[point];
    for (int part = 0; part < PARTS; part++) {
      chart.series[part].name = parts[part].text;
      chart.series[part].values[point] = series->median[point].of[parts[part].figure];
    }
  }
  chart_draw_bars(&chart, directory);
}

void series_tell(const struct growth *g, struct series *series, unsigned rounds) {
  for (unsigned point = 0; point < series->points; point++) {
    for (int figure = 0; figure < FIGURES; figure++) {
      double values[ROUNDS_MAX];
      for (unsigned i = 0; i < rounds; i++)
        values[i] = series->round[point][i].of[figure];
      series->median[point].of[figure] = median(values, rounds);
    }
  }
  if (bench_interrupted) return;
  if (g->json)
    print_json(series);
  else
    print_table(series);
  if (g->svg) draw(series, g->svg);
  (void)fflush(stdout);
}

/* ---- series whose sizes are those of a load ------------------------------------------------------ */

enum { BY_PARTICIPANTS, BY_STATEMENTS, BY_PAYLOAD, BY_CLIENTS, LOADS };

static const struct {
  const char *name, *title, *x_title;
  unsigned sizes[GROWTH_POINTS_MAX], quick[GROWTH_POINTS_MAX]; /* end with 0 */
} loads[LOADS] = {
    [BY_PARTICIPANTS] = {"participants",
                         "a statement in each of so many databases",
                         "databases",
                         {2, 4, 8, 16},
                         {2, 4, 8, 16}},
    [BY_STATEMENTS] =
        {"statements", "so many statements a branch", "statements", {1, 2, 4, 8, 16}, {1, 4, 16}},
    [BY_PAYLOAD] = {"payload",
                    "statements that store a text of so many bytes",
                    "bytes",
                    {100, 1000, 10000, 100000},
                    {100, 10000}},
    [BY_CLIENTS] = {"clients",
                    "so many transactions in flight",
                    "clients",
                    {8, 32, 128, 512, 1000},
                    {8, 128, 1000}},
};

static void make_load(int by, unsigned size, struct load *load) {
  *load = (struct load){.clients = GROWTH_CLIENTS};
  switch (by) {
  case BY_PARTICIPANTS: load->participants = size; break;
  case BY_STATEMENTS: load->statements = size; break;
  case BY_PAYLOAD: load->payload = payload + PAYLOAD_MAX - size; break;
  default: load->clients = size; break;
  }
}

static bool is_asked_for(const char *name) {
  size_t length = strlen(name);
  if (bench_interrupted) return false;
  for (const char *at = growth.only; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
    if (strncmp(at, name, length) == 0 && (at[length] == '\0' || at[length] == ',')) return true;
  return !growth.only;
}

static bool are_loads_asked_for(void) {
  for (int by = 0; by < LOADS; by++)
    if (is_asked_for(loads[by].name)) return true;
  return false;
}

static void run_loads(int by) {
  static struct series series;
  const unsigned *sizes = growth.is_quick ? loads[by].quick : loads[by].sizes;
  if (!is_asked_for(loads[by].name)) return;
  series = (struct series){.name = loads[by].name,
                           .title = loads[by].title,
                           .x_title = loads[by].x_title};
  for (; series.points < GROWTH_POINTS_MAX && sizes[series.points]; series.points++)
    (void)snprintf(series.x[series.points], sizeof series.x[0], "%u", sizes[series.points]);
  for (unsigned round = 0; round < growth.rounds; round++) {
    site_checkpoint(&growth.site);
    for (unsigned i = 0; i < series.points && !bench_interrupted; i++) {
      unsigned point = (i + round) % series.points;
      struct load load;
      make_load(by, sizes[point], &load);
      growth_turn(&growth, HOSTING_EMBEDDED, &load, &series.round[point][round]);
    }
  }
  series_tell(&growth, &series, (unsigned)growth.rounds);
}

/* ---- what the loads need ------------------------------------------------------------------------- */

/* Nothing that could be compressed, and no escapes. */
static void make_payload(void) {
  uint64_t state = 1;
  for (size_t i = 0; i < PAYLOAD_MAX; i++) {
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    payload[i] = (char)('A' + (state >> 33) % 26 + (state >> 60) % 2 * ('a' - 'A'));
  }
}

/* Half of them in each of the servers; the first two are the site's banks. */
static void open_databases(char *participants, size_t size) {
  size_t length = 0;
  for (int bank = 0; bank < BANKS; bank++)
    bench_sql(growth.site.connections[bank], "ALTER TABLE account ADD note text;"
                                             "ALTER TABLE account ALTER note SET STORAGE EXTERNAL");
  for (int i = BANKS; i < DATABASES_MAX; i++) {
    char name[16], sql[300], dsn[THROWAWAY_DSN_SIZE];
    (void)snprintf(name, sizeof name, "bank_%c", 'a' + i);
    (void)snprintf(sql, sizeof sql, "CREATE DATABASE %s STRATEGY file_copy", name);
    bench_sql(growth.site.connections[i % BANKS], sql);
    throwaway_server_dsn(growth.site.servers[i % BANKS], name, dsn);
    PGconn *connection = bench_connect(dsn);
    (void)snprintf(sql, sizeof sql,
                   "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL)"
                   " WITH (fillfactor = 70);"
                   "INSERT INTO account SELECT n, %d FROM generate_series(1, %d) AS n",
                   BALANCE, ACCOUNTS);
    bench_sql(connection, sql);
    bench_sql(connection, "VACUUM ANALYZE account");
    PQfinish(connection);
    length += (size_t)snprintf(participants + length, size - length, "[participant.%s]\ndsn = %s\n",
                               name, dsn);
    must(length < size, "participants", "too many");
  }
}

/* ---- the command --------------------------------------------------------------------------------- */

static enum parsed read_options(int argc, char **argv) {
  const struct option options[] = {
      {.name = "only",
       .value = "SERIES,SERIES",
       .help = "of memory, participants, statements, payload, clients, log",
       .kind = OPTION_TEXT,
       .out = &growth.only},
      {.name = "rounds",
       .value = "N",
       .help = "turns of each size (3)",
       .kind = OPTION_INTEGER,
       .out = &growth.rounds,
       .min = 1,
       .max = ROUNDS_MAX},
      {.name = "cell",
       .value = "TIME",
       .help = "how long a turn takes (1200ms)",
       .kind = OPTION_DURATION,
       .out = &growth.cell_ms,
       .min = 100,
       .max = 60000},
      {.name = "quick",
       .help = "shorter turns, fewer sizes, no log above 100,000",
       .kind = OPTION_FLAG,
       .out = &growth.is_quick},
      {.name = "json",
       .help = "a line of JSON a size instead of tables",
       .kind = OPTION_FLAG,
       .out = &growth.json},
      {.name = "finished",
       .value = "N",
       .help = "transactions in the largest log (10000000)",
       .kind = OPTION_INTEGER,
       .out = &growth.finished_max,
       .min = 100000,
       .max = 10000000},
      {.name = "logs",
       .value = "DIRECTORY",
       .help = "where filled logs are, or are to be left for the next time",
       .kind = OPTION_TEXT,
       .out = &growth.logs},
      {.name = "svg",
       .value = "DIRECTORY",
       .help = "draw charts into it",
       .kind = OPTION_TEXT,
       .out = &growth.svg},
  };
  const struct command_line line = {.command = "bench-growth",
                                    .usage = "[OPTION...]",
                                    .about = "Measures how the cost of a transaction grows.",
                                    .options = options,
                                    .option_count = sizeof options / sizeof options[0]};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (!growth.rounds) growth.rounds = growth.is_quick ? 1 : 3;
  if (!growth.finished_max) growth.finished_max = growth.is_quick ? 100000 : 10000000;
  if (!growth.cell_ms) growth.cell_ms = growth.is_quick ? 500 : 1200;
  return parsed;
}

static void run_all_loads(void) {
  static char participants[8192];
  make_payload();
  open_databases(participants, sizeof participants);
  growth.site.participants = participants;
  site_start(&growth.site, HOSTING_EMBEDDED);
  for (int by = 0; by < LOADS; by++)
    run_loads(by);
  site_stop(&growth.site, HOSTING_EMBEDDED);
  growth.site.participants = NULL;
}

static void run_all(void) {
  struct memory_figures memory = {NAN, NAN, NAN, NAN};
  struct log_figures log = {0, NAN, NAN, NAN};
  (void)setvbuf(stdout, NULL, _IOLBF, 0);
  site_open(&growth.site);
  if (is_asked_for("memory")) growth_memory(&growth, &memory);
  if (are_loads_asked_for()) run_all_loads();
  if (is_asked_for("log")) growth_log(&growth, &log);
  if (bench_interrupted) return;
  printf("{");
  print_number(stdout, "idle_mb", 1, memory.idle_mb);
  printf(", ");
  print_number(stdout, "open_1000_mb", 1, memory.open_mb);
  printf(", ");
  print_number(stdout, "idle_later_mb", 1, memory.idle_later_mb);
  printf(", ");
  print_number(stdout, "open_1000_later_mb", 1, memory.open_later_mb);
  printf(", \"log_transactions\": %llu, ", (unsigned long long)log.transactions);
  print_number(stdout, "log_tps_over_empty", 3, log.tps_ratio);
  printf(", ");
  print_number(stdout, "log_cpu_over_empty", 3, log.cpu_ratio);
  printf(", ");
  print_number(stdout, "log_start_ms", 0, log.start_ms);
  printf("}\n");
}

int main(int argc, char **argv) {
  enum parsed parsed = read_options(argc - 1, argv + 1);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? 0 : EXIT_USAGE;
  bench_catch_signals();
  must(atexit(tear_down) == 0, "atexit", strerror(errno));
  run_all();
  if (bench_interrupted) {
    (void)fprintf(stderr, "bench-growth: interrupted by signal %d\n", (int)bench_interrupted);
    return 128 + (int)bench_interrupted;
  }
  return fflush(stdout) == 0 ? 0 : 3;
}
