/* Counters of a program's system calls, kept in a file that its processes share (count.c). */
#ifndef ASSENT_BENCH_COUNT_H
#define ASSENT_BENCH_COUNT_H

#include <stdatomic.h>
#include <stdint.h>

/* One slot for each group of processes. */
enum count_slot { COUNT_SERVERS, COUNT_COORDINATOR, COUNT_AGENTS, COUNT_SLOTS };

struct count {
  atomic_uint_fast64_t syncs;    /* fsync() and fdatasync() */
  atomic_uint_fast64_t sent;     /* bytes by send() and its kin */
  atomic_uint_fast64_t received; /* bytes by recv() and its kin */
};

struct count_file {
  struct count slots[COUNT_SLOTS];
};

/* NUMBER:PATH, the slot and the file. */
#define COUNT_VARIABLE "ASSENT_BENCH_COUNT"

#endif
