/* Measuring a load: it warms up, runs for its time, ends all that it began, and is checked. */
#ifndef ASSENT_BENCH_MEASURE_H
#define ASSENT_BENCH_MEASURE_H

#include <stdint.h>

#include "bench/figures.h"
#include "bench/load.h"

struct measure {
  void (*run)(struct load *load); /* on a thread of its own */
  enum hosting hosting;           /* whose daemons are looked at */
  int64_t warm_ms, measure_ms;
};

/* Ends the program when anything is left prepared, or money is not where the load has moved it. Fills in
 * all figures but the ratios. */
void measure_load(struct site *site, struct load *load, const struct measure *measure,
                  struct figures *out);

#endif
