/* See measure.h. */
#include "bench/measure.h"

#include <pthread.h>
#include <stdlib.h>

#include "bench/bench.h"
#include "bench/meter.h"
#include "common/clock.h"

enum { PAUSE_MS = 5, READY_US_MAX = 60 * 1000000 };

struct thread {
  struct load *load;
  void (*run)(struct load *load);
};

static void *run_load(void *data) {
  struct thread *thread = data;
  thread->run(thread->load);
  return NULL;
}

static void pause_for(int64_t ms) {
  uint64_t end_us = clock_monotonic_us() + (uint64_t)ms * 1000;
  while (!bench_interrupted && clock_monotonic_us() < end_us)
    process_pause_ms(PAUSE_MS);
}

static void wait_ready(struct load *load) {
  for (uint64_t start_us = clock_monotonic_us(); !atomic_load(&load->is_ready);) {
    must(clock_monotonic_us() - start_us < READY_US_MAX, "connecting", "takes longer than 1 min");
    process_pause_ms(1);
  }
}

struct reading {
  struct meter meter;
  uint64_t committed, http_bytes;
};

static void read_all(struct load *load, enum hosting hosting, struct reading *out) {
  out->committed = atomic_load(&load->committed);
  out->http_bytes = atomic_load(&load->http_bytes);
  meter_read(load->site, hosting, &out->meter);
}

static double each(uint64_t before, uint64_t after, double count) {
  return count > 0 ? (double)(after - before) / count : 0;
}

static uint64_t bytes_of(const struct meter *meter, enum count_slot slot) {
  return meter->counts[slot].sent + meter->counts[slot].received;
}

static void judge(struct load *load, const struct reading *before, const struct reading *after,
                  struct figures *out) {
  const struct meter *b = &before->meter, *a = &after->meter;
  double n = (double)(after->committed - before->committed);
  double *of = out->of;
  of[FIGURE_TPS] = n * 1e6 / (double)(a->at_us - b->at_us);
  of[FIGURE_P50_MS] = latencies_percentile_ms(&load->latencies, 50);
  of[FIGURE_P99_MS] = latencies_percentile_ms(&load->latencies, 99);
  of[FIGURE_P999_MS] = latencies_percentile_ms(&load->latencies, 99.9);
  for (int group = 0; group < METER_GROUPS; group++)
    of[FIGURE_CPU_CLIENT_US + group] = each(b->cpu_us[group], a->cpu_us[group], n);
  of[FIGURE_SYNCS_LOG] =
      each(b->counts[COUNT_COORDINATOR].syncs, a->counts[COUNT_COORDINATOR].syncs, n);
  of[FIGURE_SYNCS_SERVERS] =
      each(b->counts[COUNT_SERVERS].syncs, a->counts[COUNT_SERVERS].syncs, n);
  of[FIGURE_BYTES_HTTP] = each(before->http_bytes, after->http_bytes, n);
  of[FIGURE_BYTES_SERVERS] = each(bytes_of(b, COUNT_SERVERS), bytes_of(a, COUNT_SERVERS), n);
  /* An agent's other bytes are those to and from its server. */
  double agents = each(bytes_of(b, COUNT_AGENTS), bytes_of(a, COUNT_AGENTS), n);
  of[FIGURE_BYTES_AGENTS] = of[FIGURE_CPU_AGENTS_US] > 0 ? agents - of[FIGURE_BYTES_SERVERS] : 0;
}

void measure_load(struct site *site, struct load *load, const struct measure *measure,
                  struct figures *out) {
  struct thread thread = {load, measure->run};
  pthread_t id;
  struct reading before, after;
  *out = (struct figures){0};
  meter_reset_peaks(site, measure->hosting);
  must(pthread_create(&id, NULL, run_load, &thread) == 0, "threads", "cannot be made");
  wait_ready(load);
  pause_for(measure->warm_ms);
  atomic_store(&load->phase, PHASE_MEASURE);
  read_all(load, measure->hosting, &before);
  pause_for(measure->measure_ms);
  read_all(load, measure->hosting, &after);
  atomic_store(&load->phase, PHASE_DRAIN);
  (void)pthread_join(id, NULL);
  judge(load, &before, &after, out);
  out->of[FIGURE_PEAK_MB] = (double)meter_peak_kb(site, measure->hosting) / 1024;
  free(load->latencies.us);
  load->latencies = (struct latencies){0};
  site_check(site, atomic_load(&load->moved));
}
