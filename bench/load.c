/* See load.h. */
#include "bench/load.h"

#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "common/clock.h"

/* ---- what is transferred ------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *state) { /* splitmix64 */
  uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

void picker_init(struct picker *picker, const struct load *load, unsigned client) {
  *picker = (struct picker){.state = load->seed * 1000003 + client,
                            .client = client,
                            .clients = load->clients};
}

void picker_next(struct picker *picker, struct transfer *out) {
  for (int bank = 0; bank < BANKS; bank++) {
    uint64_t own = ACCOUNTS / picker->clients;
    uint64_t which = next_random(&picker->state) % own;
    out->account[bank] = (int64_t)(1 + picker->client + which * picker->clients);
  }
  out->change[0] = next_random(&picker->state) & 1 ? 1 : -1;
  out->change[1] = -out->change[0];
}

/* ---- what came of it ----------------------------------------------------------------------------- */

enum phase load_phase(struct load *load) {
  return (enum phase)atomic_load_explicit(&load->phase, memory_order_acquire);
}

void latencies_note(struct latencies *latencies, uint64_t us) {
  if (latencies->count == latencies->capacity) {
    latencies->capacity = latencies->capacity ? 2 * latencies->capacity : 4096;
    latencies->us = realloc(latencies->us, latencies->capacity * sizeof *latencies->us);
    must(latencies->us, "memory", "not enough");
  }
  latencies->us[latencies->count++] = us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

void load_committed(struct load *load, struct latencies *latencies, const struct transfer *transfer,
                    uint64_t began_us) {
  (void)atomic_fetch_add(&load->committed, 1);
  (void)atomic_fetch_add(&load->moved, transfer->change[1]);
  if (load_phase(load) == PHASE_MEASURE) latencies_note(latencies, clock_monotonic_us() - began_us);
}

void latencies_move(struct latencies *to, struct latencies *from) {
  for (size_t i = 0; i < from->count; i++)
    latencies_note(to, from->us[i]);
  free(from->us);
  *from = (struct latencies){0};
}

static int compare(const void *a, const void *b) {
  uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
  return (left > right) - (left < right);
}

double latencies_percentile_ms(struct latencies *latencies, double percent) {
  if (latencies->count == 0) return 0;
  qsort(latencies->us, latencies->count, sizeof *latencies->us, compare);
  size_t index = (size_t)((double)latencies->count * percent / 100);
  if (index >= latencies->count) index = latencies->count - 1;
  return latencies->us[index] / 1e3;
}
