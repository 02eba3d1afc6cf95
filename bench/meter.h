/* What the processes of a site have used: CPU time by the scheduler's account, calls and bytes by the
 * counters (count.h), peak memory by the kernel.
 */
#ifndef ASSENT_BENCH_METER_H
#define ASSENT_BENCH_METER_H

#include <stdint.h>

#include "bench/site.h"

enum meter_group { METER_CLIENT, METER_COORDINATOR, METER_AGENTS, METER_SERVERS, METER_GROUPS };

struct meter {
  uint64_t at_us; /* monotonic */
  uint64_t cpu_us[METER_GROUPS];
  struct {
    uint64_t syncs, sent, received;
  } counts[COUNT_SLOTS];
};

/* `hosting`: whose daemons. The client is this process, with all that it does. */
void meter_read(const struct site *site, enum hosting hosting, struct meter *out);

uint64_t meter_resident_kb(struct process *process);

/* Begins anew with what they use now. */
void meter_reset_peaks(const struct site *site, enum hosting hosting);
/* The most since then, of coordinator and agents together. */
uint64_t meter_peak_kb(const struct site *site, enum hosting hosting);

#endif
