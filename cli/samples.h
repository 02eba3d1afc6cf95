/* Measured values, and what is said of them: the middle, the far end. */
#ifndef ASSENT_CLI_SAMPLES_H
#define ASSENT_CLI_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

struct samples {
  int64_t *values;
  size_t count, capacity;
};

void samples_free(struct samples *samples);
/* Aborts when memory runs out: a measurement has nothing to roll back. */
void samples_add(struct samples *samples, int64_t value);
/* The least value that at least so many percent of all are not above (nearest rank); 100: the
 * greatest; 0 when there are none. Sorts. */
int64_t samples_percentile(struct samples *samples, unsigned percent);

#endif
