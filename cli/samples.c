/* See samples.h. */
#include "cli/samples.h"

#include <assert.h>
#include <stdlib.h>

enum { CAPACITY_FIRST = 64 };

void samples_free(struct samples *samples) {
  free(samples->values);
  *samples = (struct samples){0};
}

void samples_add(struct samples *samples, int64_t value) {
  if (samples->count == samples->capacity) {
    size_t capacity = samples->capacity ? 2 * samples->capacity : CAPACITY_FIRST;
    int64_t *values = reallocarray(samples->values, capacity, sizeof *values);
    if (!values) abort();
    samples->values = values;
    samples->capacity = capacity;
  }
  samples->values[samples->count++] = value;
}

static int by_value(const void *a, const void *b) {
  const int64_t *left = a, *right = b;
  return (*left > *right) - (*left < *right);
}

int64_t samples_percentile(struct samples *samples, unsigned percent) {
  assert(percent <= 100);
  if (samples->count == 0) return 0;
  qsort(samples->values, samples->count, sizeof *samples->values, by_value);
  size_t rank = (samples->count * percent + 99) / 100;
  return samples->values[rank > 0 ? rank - 1 : 0];
}
