/* What the parts of the bench of growth share. */
#ifndef ASSENT_BENCH_GROWTH_H
#define ASSENT_BENCH_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/figures.h"
#include "bench/load.h"
#include "bench/site.h"

enum { GROWTH_POINTS_MAX = 8, GROWTH_CLIENTS = 32 };

struct growth {
  struct site site;
  int64_t rounds, cell_ms, finished_max;
  bool is_quick, json;
  const char *svg, *only;
  const char *
      logs; /* a directory: filled logs are taken from there, or left there; NULL: made and removed */
  uint64_t seed; /* grows with every load: gids must never come twice */
};

/* Runs `load` against the coordinator in `hosting` for a turn of the bench. */
void growth_turn(struct growth *growth, enum hosting hosting, struct load *load,
                 struct figures *out);

/* One thing that grows: what is measured at each of its sizes, as medians. */
struct series {
  const char *name;  /* in JSON, and of the chart's file */
  const char *title; /* of the table and the chart */
  const char *x_title;
  unsigned points;
  char x[GROWTH_POINTS_MAX][24];
  struct figures round[GROWTH_POINTS_MAX][ROUNDS_MAX], median[GROWTH_POINTS_MAX];
};

/* Medians of the first `rounds`; then the table or the lines of JSON, and the chart. */
void series_tell(const struct growth *growth, struct series *series, unsigned rounds);

/* growth_memory.c: a coordinator alone, with 1,000 clients, with their transactions. */
struct memory_figures {
  double idle_mb, open_mb;             /* of a coordinator just begun */
  double idle_later_mb, open_later_mb; /* of one that has had its work */
};
void growth_memory(struct growth *growth, struct memory_figures *out);

/* growth_log.c: on logs with finished transactions. The largest, over the empty one. */
struct log_figures {
  uint64_t transactions; /* finished ones in the largest */
  double tps_ratio, cpu_ratio, start_ms;
};
void growth_log(struct growth *growth, struct log_figures *out);

#endif
