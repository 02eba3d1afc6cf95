/* See figures.h. */
#include "bench/figures.h"

#include <math.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/chart.h"
#include "cli/table.h"

enum { CELL_SIZE = 24, SUMMARY_CLIENTS = 32 };

static const char *const names[PROGRAMS] = {
    [BYHAND] = "byhand",
    [LIMIT] = "limit",
    [EMBEDDED] = "embedded",
    [EMBEDDED_DECIDED] = "embedded, wait=decided",
    [EMBEDDED_STEPS] = "embedded, in steps",
    [AGENTS] = "agents",
    [AGENTS_DECIDED] = "agents, wait=decided",
    [AGENTS_STEPS] = "agents, in steps",
};

static const struct figure_column columns[FIGURES] = {
    [FIGURE_TPS] = {"tps", "per s", 0},
    [FIGURE_OVER_LIMIT] = {"over_limit", "/limit", 2},
    [FIGURE_OVER_BYHAND] = {"over_byhand", "/byhand", 2},
    [FIGURE_P50_MS] = {"p50_ms", "p50 ms", 2},
    [FIGURE_P99_MS] = {"p99_ms", "p99", 2},
    [FIGURE_P999_MS] = {"p999_ms", "p99.9", 2},
    [FIGURE_P50_OVER_LIMIT] = {"p50_over_limit", NULL, 2},
    [FIGURE_CPU_CLIENT_US] = {"cpu_client_us", "us: client", 0},
    [FIGURE_CPU_COORDINATOR_US] = {"cpu_coordinator_us", "assentd", 0},
    [FIGURE_CPU_AGENTS_US] = {"cpu_agents_us", "agents", 0},
    [FIGURE_CPU_SERVERS_US] = {"cpu_servers_us", "servers", 0},
    [FIGURE_SYNCS_LOG] = {"syncs_log", "syncs: log", 2},
    [FIGURE_SYNCS_SERVERS] = {"syncs_servers", "servers", 2},
    [FIGURE_BYTES_HTTP] = {"bytes_http", "bytes: http", 0},
    [FIGURE_BYTES_AGENTS] = {"bytes_agents", "agents", 0},
    [FIGURE_BYTES_SERVERS] = {"bytes_servers", "sql", 0},
    [FIGURE_PEAK_MB] = {"peak_mb", "peak MB", 1},
};

const struct figure_column *figure_column(enum figure figure) {
  return &columns[figure];
}

const char *program_name(enum program program) {
  return names[program];
}

/* ---- ratios, medians ----------------------------------------------------------------------------- */

static double ratio(const struct row *row, enum program program, enum program to,
                    enum figure figure) {
  unsigned last = row->rounds - 1;
  double below = row->round[to][last].of[figure];
  return row->is_run[to] && below > 0 ? row->round[program][last].of[figure] / below : NAN;
}

void row_compare(struct row *row) {
  for (int i = 0; i < PROGRAMS; i++) {
    enum program program = (enum program)i;
    struct figures *figures = &row->round[i][row->rounds - 1];
    figures->of[FIGURE_OVER_LIMIT] = ratio(row, program, LIMIT, FIGURE_TPS);
    figures->of[FIGURE_OVER_BYHAND] = ratio(row, program, BYHAND, FIGURE_TPS);
    figures->of[FIGURE_P50_OVER_LIMIT] = ratio(row, program, LIMIT, FIGURE_P50_MS);
  }
}

void row_medians(struct row *row) {
  for (int program = 0; program < PROGRAMS; program++) {
    for (int figure = 0; figure < FIGURES; figure++) {
      double values[ROUNDS_MAX];
      for (unsigned i = 0; i < row->rounds; i++)
        values[i] = row->round[program][i].of[figure];
      row->median[program].of[figure] = median(values, row->rounds);
    }
  }
}

/* ---- telling ------------------------------------------------------------------------------------- */

void row_print_table(const struct row *row, FILE *out) {
  struct column heads[FIGURES + 1] = {{"program", COLUMN_TEXT}};
  size_t count = 1;
  for (int figure = 0; figure < FIGURES; figure++)
    if (columns[figure].title)
      heads[count++] = (struct column){columns[figure].title, COLUMN_NUMBER};
  struct table *table = table_new(heads, count);
  for (int program = 0; program < PROGRAMS; program++) {
    char texts[FIGURES][CELL_SIZE];
    const char *cells[FIGURES + 1] = {names[program]};
    if (!row->is_run[program]) continue;
    size_t n = 1;
    for (int figure = 0; figure < FIGURES; figure++) {
      double value = row->median[program].of[figure];
      if (!columns[figure].title) continue;
      (void)snprintf(texts[figure], CELL_SIZE, isnan(value) || value == 0 ? "-" : "%.*f",
                     columns[figure].decimals, value);
      cells[n++] = texts[figure];
    }
    table_add(table, cells);
  }
  (void)fprintf(out, "\n%u client%s, the limit with %u connections a database\n", row->clients,
                row->clients == 1 ? "" : "s", row->limit_connections);
  table_print(table, out, false);
  table_free(table);
  (void)fflush(out);
}

void print_number(FILE *out, const char *name, int decimals, double value) {
  if (isnan(value))
    (void)fprintf(out, "\"%s\": null", name);
  else
    (void)fprintf(out, "\"%s\": %.*f", name, decimals, value);
}

void row_print_json(const struct row *row, FILE *out) {
  for (int program = 0; program < PROGRAMS; program++) {
    if (!row->is_run[program]) continue;
    (void)fprintf(out, "{\"program\": \"%s\", \"clients\": %u, \"rounds\": %u", names[program],
                  row->clients, row->rounds);
    if (program == LIMIT) (void)fprintf(out, ", \"connections\": %u", row->limit_connections);
    for (int figure = 0; figure < FIGURES; figure++) {
      (void)fputs(", ", out);
      print_number(out, columns[figure].name, 3, row->median[program].of[figure]);
    }
    (void)fputs("}\n", out);
  }
  (void)fflush(out);
}

static double find(const struct row *rows, unsigned count, unsigned clients, enum program program,
                   enum figure figure) {
  for (unsigned i = 0; i < count; i++)
    if (rows[i].clients == clients && rows[i].is_run[program])
      return rows[i].median[program].of[figure];
  return NAN;
}

void rows_print_summary(const struct row *rows, unsigned count, FILE *out) {
  static const struct {
    const char *name;
    unsigned clients;
    enum program program;
    enum figure figure;
  } lines[] = {
      {"embedded_over_limit", SUMMARY_CLIENTS, EMBEDDED, FIGURE_OVER_LIMIT},
      {"embedded_over_byhand", SUMMARY_CLIENTS, EMBEDDED, FIGURE_OVER_BYHAND},
      {"agents_over_limit", SUMMARY_CLIENTS, AGENTS, FIGURE_OVER_LIMIT},
      {"agents_over_byhand", SUMMARY_CLIENTS, AGENTS, FIGURE_OVER_BYHAND},
      {"p50_one_client_embedded_over_limit", 1, EMBEDDED, FIGURE_P50_OVER_LIMIT},
  };
  for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
    (void)fputs(i == 0 ? "{" : ", ", out);
    print_number(out, lines[i].name, 2,
                 find(rows, count, lines[i].clients, lines[i].program, lines[i].figure));
  }
  (void)fputs("}\n", out);
}

/* ---- charts -------------------------------------------------------------------------------------- */

static const enum program drawn[] = {LIMIT, EMBEDDED, AGENTS, BYHAND};
enum { DRAWN = sizeof drawn / sizeof drawn[0], CLIENTS_SIZE = 12 };

static void draw_over_clients(const struct row *rows, unsigned count, const char *directory,
                              struct chart *chart, enum figure figure) {
  char clients[COUNTS_MAX][CLIENTS_SIZE];
  chart->x_title = "clients";
  chart->points = count;
  chart->count = DRAWN;
  for (unsigned i = 0; i < count; i++) {
    (void)snprintf(clients[i], CLIENTS_SIZE, "%u", rows[i].clients);
    chart->x[i] = clients[i];
    for (int k = 0; k < DRAWN; k++) {
      chart->series[k].name = program_name(drawn[k]);
      chart->series[k].values[i] = rows[i].median[drawn[k]].of[figure];
    }
  }
  chart_draw_lines(chart, directory);
}

/* Where a transaction's CPU goes. */
static void draw_cpu(const struct row *row, const char *directory) {
  static const struct {
    enum figure figure;
    const char *text;
  } parts[] = {{FIGURE_CPU_SERVERS_US, "PostgreSQL"},
               {FIGURE_CPU_COORDINATOR_US, "assentd"},
               {FIGURE_CPU_AGENTS_US, "agents"},
               {FIGURE_CPU_CLIENT_US, "client"}};
  enum { PARTS = sizeof parts / sizeof parts[0] };
  char title[80];
  (void)snprintf(title, sizeof title, "CPU microseconds a transaction, %u clients", row->clients);
  struct chart chart = {.file = "cpu.svg", .title = title, .points = DRAWN, .count = PARTS};
  for (int k = 0; k < DRAWN; k++) {
    chart.x[k] = program_name(drawn[k]);
    for (int part = 0; part < PARTS; part++) {
      chart.series[part].name = parts[part].text;
      chart.series[part].values[k] = row->median[drawn[k]].of[parts[part].figure];
    }
  }
  chart_draw_bars(&chart, directory);
}

void rows_draw(const struct row *rows, unsigned count, const char *directory) {
  const struct row *typical = &rows[0];
  for (unsigned i = 0; i < count; i++)
    if (rows[i].clients <= 32) typical = &rows[i];
  struct chart throughput = {.file = "throughput.svg",
                             .title = "Transactions a second over two databases"};
  struct chart latency = {.file = "latency.svg", .title = "Median latency of a transaction, ms"};
  draw_over_clients(rows, count, directory, &throughput, FIGURE_TPS);
  draw_over_clients(rows, count, directory, &latency, FIGURE_P50_MS);
  draw_cpu(typical, directory);
}
