/* What does a transaction over two databases cost? See docs/performance.md for figures, and for what they
 * mean.
 *
 * Transfers of two rows, one in each of two PostgreSQL servers, by:
 *
 *   byhand     two-phase commit as people write it: blocking, statement by statement (byhand.c)
 *   limit      the least it can cost in these servers (limit.c)
 *   embedded   assentd with its own agents, over HTTP: a call a transaction, that waits until all is
 *              applied, or (wait=decided) until it is decided; and in steps, with four calls
 *   agents     the same with two agent processes
 *
 * For each number of clients there are several rounds, and in each round all programs have their turn, in
 * another order each time: what the machine does besides touches all alike. Figures are medians of the
 * rounds, ratios are medians of each round's ratio. After each turn nothing may be left prepared, and
 * every transfer must be found in the accounts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/figures.h"
#include "bench/load.h"
#include "bench/measure.h"
#include "cli/options.h"

static const struct {
  void (*run)(struct load *load);
  enum hosting hosting;
  enum way way;
} programs[PROGRAMS] = {
    [BYHAND] = {byhand_run, HOSTING_NONE, WAY_APPLIED},
    [LIMIT] = {limit_run, HOSTING_NONE, WAY_APPLIED},
    [EMBEDDED] = {http_run, HOSTING_EMBEDDED, WAY_APPLIED},
    [EMBEDDED_DECIDED] = {http_run, HOSTING_EMBEDDED, WAY_DECIDED},
    [EMBEDDED_STEPS] = {http_run, HOSTING_EMBEDDED, WAY_STEPS},
    [AGENTS] = {http_run, HOSTING_AGENTS, WAY_APPLIED},
    [AGENTS_DECIDED] = {http_run, HOSTING_AGENTS, WAY_DECIDED},
    [AGENTS_STEPS] = {http_run, HOSTING_AGENTS, WAY_STEPS},
};

struct bench {
  struct site site;
  const char *clients, *only, *svg; /* as asked for */
  int64_t rounds, cell_ms, connections;
  bool is_quick, json, expect_rows, is_alone;
  unsigned counts[COUNTS_MAX], count_count;
  struct row rows[COUNTS_MAX];
  uint64_t seed; /* grows with every turn: gids must never come twice */
};

static struct bench bench;

static void tear_down(void) {
  site_close(&bench.site);
}

/* ---- a turn -------------------------------------------------------------------------------------- */

struct turn {
  enum program program;
  unsigned clients, connections;
  int64_t warm_ms, measure_ms;
};

static void take_turn(const struct turn *turn, struct figures *out) {
  enum hosting hosting = programs[turn->program].hosting;
  struct load load = {.site = &bench.site,
                      .clients = turn->clients,
                      .connections = turn->connections,
                      .port = bench.site.daemons[hosting].port,
                      .way = programs[turn->program].way,
                      .expect_rows = bench.expect_rows,
                      .seed = ++bench.seed};
  const struct measure measure = {.run = programs[turn->program].run,
                                  .hosting = hosting,
                                  .warm_ms = turn->warm_ms,
                                  .measure_ms = turn->measure_ms};
  measure_load(&bench.site, &load, &measure, out);
}

/* ---- rounds -------------------------------------------------------------------------------------- */

/* Tries, each for a short time. */
static unsigned find_connections(unsigned clients) {
  static const unsigned tried[] = {1, 2, 4, 6, 8, 12, 16, 24, 32, 64};
  unsigned best = 1;
  double most = 0;
  struct turn turn = {
      .program = LIMIT, .clients = clients, .warm_ms = 50, .measure_ms = bench.cell_ms / 6};
  for (size_t i = 0; i < sizeof tried / sizeof tried[0] && !bench_interrupted; i++) {
    struct figures figures;
    bool skipped = tried[i] > clients || (clients >= 8 && tried[i] < 4) ||
                   (bench.is_quick && tried[i] % 8 != 0 && clients >= 8);
    if (skipped) continue;
    turn.connections = tried[i];
    take_turn(&turn, &figures);
    if (figures.of[FIGURE_TPS] <= most) continue;
    most = figures.of[FIGURE_TPS];
    best = tried[i];
  }
  return best;
}

static void run_round(struct row *row) {
  unsigned round = row->rounds++;
  site_checkpoint(&bench.site);
  for (unsigned i = 0; i < PROGRAMS && !bench_interrupted; i++) {
    unsigned program = (i + 3 * round) % PROGRAMS;
    if (!row->is_run[program]) continue;
    struct turn turn = {.program = (enum program)program,
                        .clients = row->clients,
                        .connections = row->limit_connections,
                        .warm_ms = bench.cell_ms / 8,
                        .measure_ms = bench.cell_ms};
    take_turn(&turn, &row->round[program][round]);
  }
  row_compare(row);
}

static bool is_asked_for(enum program program) {
  if (bench.is_alone) return bench.only && strcmp(bench.only, program_name(program)) == 0;
  return !bench.only || strcmp(bench.only, program_name(program)) == 0 ||
         (strcmp(bench.only, "none") != 0 && program <= LIMIT);
}

static void run_row(struct row *row, unsigned clients) {
  row->clients = clients;
  for (int program = 0; program < PROGRAMS; program++)
    row->is_run[program] = is_asked_for((enum program)program);
  if (row->is_run[LIMIT]) row->limit_connections = find_connections(clients);
  for (int64_t i = 0; i < bench.rounds && !bench_interrupted; i++)
    run_round(row);
  if (bench_interrupted) return;
  row_medians(row);
  if (bench.json)
    row_print_json(row, stdout);
  else
    row_print_table(row, stdout);
}

/* ---- the command --------------------------------------------------------------------------------- */

static bool read_counts(void) {
  for (const char *at = bench.clients; *at;) {
    char *end;
    unsigned long count = strtoul(at, &end, 10);
    if (end == at || (*end && *end != ',') || count < 1 || count > CLIENTS_MAX ||
        bench.count_count == COUNTS_MAX) {
      (void)fprintf(stderr, "bench: --clients: up to %d numbers from 1 to %d, as 1,8,32\n",
                    COUNTS_MAX, CLIENTS_MAX);
      return false;
    }
    bench.counts[bench.count_count++] = (unsigned)count;
    at = *end ? end + 1 : end;
  }
  return bench.count_count > 0;
}

static enum parsed read_options(int argc, char **argv) {
  const struct option options[] = {
      {.name = "clients",
       .value = "N,N",
       .help = "how many at once (1,8,32,64,256)",
       .kind = OPTION_TEXT,
       .out = &bench.clients},
      {.name = "rounds",
       .value = "N",
       .help = "turns of each program (3)",
       .kind = OPTION_INTEGER,
       .out = &bench.rounds,
       .min = 1,
       .max = ROUNDS_MAX},
      {.name = "cell",
       .value = "TIME",
       .help = "how long a turn takes (3s)",
       .kind = OPTION_DURATION,
       .out = &bench.cell_ms,
       .min = 100,
       .max = 3600000},
      {.name = "connections",
       .value = "N",
       .help = "the daemons' setting, instead of its default",
       .kind = OPTION_INTEGER,
       .out = &bench.connections,
       .min = 1,
       .max = 128},
      {.name = "expect-rows",
       .help = "statements of Assent expect one row",
       .kind = OPTION_FLAG,
       .out = &bench.expect_rows},
      {.name = "only",
       .value = "PROGRAM",
       .help = "byhand, limit and this one",
       .kind = OPTION_TEXT,
       .out = &bench.only},
      {.name = "alone",
       .help = "with --only: without the other two, for a profiler",
       .kind = OPTION_FLAG,
       .out = &bench.is_alone},
      {.name = "quick",
       .help = "shorter turns, two rounds",
       .kind = OPTION_FLAG,
       .out = &bench.is_quick},
      {.name = "json",
       .help = "a line of JSON a program instead of tables",
       .kind = OPTION_FLAG,
       .out = &bench.json},
      {.name = "svg",
       .value = "DIRECTORY",
       .help = "draw charts into it",
       .kind = OPTION_TEXT,
       .out = &bench.svg},
  };
  const struct command_line line = {.command = "bench",
                                    .usage = "[OPTION...]",
                                    .about = "Measures transfers over two databases.",
                                    .options = options,
                                    .option_count = sizeof options / sizeof options[0]};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed;
  if (!bench.clients) bench.clients = "1,8,32,64,256";
  if (!bench.rounds) bench.rounds = bench.is_quick ? 2 : 3;
  if (!bench.cell_ms) bench.cell_ms = bench.is_quick ? 450 : 2800;
  return read_counts() ? PARSED_GO : PARSED_WRONG;
}

int main(int argc, char **argv) {
  enum parsed parsed = read_options(argc - 1, argv + 1);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? 0 : EXIT_USAGE;
  bench_catch_signals();
  must(atexit(tear_down) == 0, "atexit", strerror(errno));
  bench.site.connections_setting = (unsigned)bench.connections;
  site_open(&bench.site);
  site_start(&bench.site, HOSTING_EMBEDDED);
  site_start(&bench.site, HOSTING_AGENTS);
  for (unsigned i = 0; i < bench.count_count && !bench_interrupted; i++)
    run_row(&bench.rows[i], bench.counts[i]);
  site_stop(&bench.site, HOSTING_EMBEDDED);
  site_stop(&bench.site, HOSTING_AGENTS);
  if (bench_interrupted) {
    (void)fprintf(stderr, "bench: interrupted by signal %d\n", (int)bench_interrupted);
    return 128 + (int)bench_interrupted;
  }
  if (bench.svg) rows_draw(bench.rows, bench.count_count, bench.svg);
  rows_print_summary(bench.rows, bench.count_count, stdout);
  return fflush(stdout) == 0 ? 0 : 3;
}
