/* What is measured of one program with so many clients, and how it is told: a table, JSON lines, charts.
 */
#ifndef ASSENT_BENCH_FIGURES_H
#define ASSENT_BENCH_FIGURES_H

#include <stdbool.h>
#include <stdio.h>

enum program {
  BYHAND,
  LIMIT,
  EMBEDDED,
  EMBEDDED_DECIDED,
  EMBEDDED_STEPS,
  AGENTS,
  AGENTS_DECIDED,
  AGENTS_STEPS,
  PROGRAMS
};

enum figure {
  FIGURE_TPS,
  FIGURE_OVER_LIMIT, /* transactions a second, over those of the same round */
  FIGURE_OVER_BYHAND,
  FIGURE_P50_MS,
  FIGURE_P99_MS,
  FIGURE_P999_MS,
  FIGURE_P50_OVER_LIMIT,
  /* Of a transaction: */
  FIGURE_CPU_CLIENT_US,
  FIGURE_CPU_COORDINATOR_US,
  FIGURE_CPU_AGENTS_US,
  FIGURE_CPU_SERVERS_US,
  FIGURE_SYNCS_LOG,
  FIGURE_SYNCS_SERVERS,
  FIGURE_BYTES_HTTP,
  FIGURE_BYTES_AGENTS,
  FIGURE_BYTES_SERVERS,
  /* Of the daemons: */
  FIGURE_PEAK_MB,
  FIGURES
};

enum { ROUNDS_MAX = 15, COUNTS_MAX = 16 };

struct figures {
  double of[FIGURES];
};

/* All programs with so many clients. */
struct row {
  unsigned clients;
  unsigned limit_connections; /* that were best */
  unsigned rounds;
  bool is_run[PROGRAMS];
  struct figures round[PROGRAMS][ROUNDS_MAX];
  struct figures median[PROGRAMS];
};

const char *program_name(enum program program);

struct figure_column {
  const char *name;  /* in JSON */
  const char *title; /* in a table; NULL: not there */
  int decimals;
};
const struct figure_column *figure_column(enum figure figure);
/* A member of an object; NaN, which JSON has not, is null. */
void print_number(FILE *out, const char *name, int decimals, double value);

/* Fills the ratios in, of the last round. */
void row_compare(struct row *row);
void row_medians(struct row *row);

void row_print_table(const struct row *row, FILE *out);
/* One line a program, the medians. */
void row_print_json(const struct row *row, FILE *out);
/* The last line of a run: how Assent does with 32 clients, and alone. */
void rows_print_summary(const struct row *rows, unsigned count, FILE *out);

/* throughput.svg, latency.svg and cpu.svg, into a directory that exists. */
void rows_draw(const struct row *rows, unsigned count, const char *directory);

#endif
