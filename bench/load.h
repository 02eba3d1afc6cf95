/* A load: so many clients, each of which makes one transfer after the other, through one of the programs
 * that are compared. A program runs on a thread of its own (and may start more); the conductor tells it
 * what phase it is. All programs make the same transfers on rows of the same choice: each client has
 * accounts of its own, so nobody waits for a lock, and nothing can deadlock.
 */
#ifndef ASSENT_BENCH_LOAD_H
#define ASSENT_BENCH_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/site.h"

enum phase {
  PHASE_WARM,    /* run, and do not count */
  PHASE_MEASURE, /* what ends now counts */
  PHASE_DRAIN    /* begin nothing new; return when all has ended */
};

/* What a client asks for over HTTP. */
enum way { WAY_APPLIED, WAY_DECIDED, WAY_STEPS };

struct latencies {
  uint32_t *us;
  size_t count, capacity;
};

struct load {
  const struct site *site;
  unsigned clients;
  unsigned connections; /* limit: to each database */
  uint16_t port;        /* over HTTP */
  enum way way;
  bool expect_rows;
  /* Over HTTP, and not in steps: */
  unsigned participants;  /* 0: the two banks; else bank_a to as many as these */
  unsigned statements;    /* of each branch, on rows of their own; 0: one */
  const char *payload;    /* a text that each statement stores; NULL: none. Needs no escapes */
  unsigned transfers_max; /* over HTTP: ends after so many; 0: when it is told to */
  uint64_t seed;
  atomic_int phase;
  atomic_bool is_ready; /* all are connected */
  atomic_uint_fast64_t committed;
  atomic_uint_fast64_t http_bytes; /* both ways, as the client sees them */
  atomic_int_fast64_t moved;       /* from bank 0 to bank 1 */
  struct latencies latencies;      /* complete when the program has returned */
};

/* Blocking libpq, a thread a client, one statement after the other, one database after the other. */
void byhand_run(struct load *load);
/* The least that two-phase commit costs in these databases: one thread, both databases at the same time,
 * a round trip to prepare and one to commit, nothing kept of the decision. */
void limit_run(struct load *load);
/* assentd's clients: one thread, one kept connection a client. */
void http_run(struct load *load);

struct transfer {
  int64_t account[BANKS]; /* the first of the client's that are changed in it */
  int64_t change[BANKS];
};

/* Each client has its own. */
struct picker {
  uint64_t state;
  unsigned client, clients;
};

void picker_init(struct picker *picker, const struct load *load, unsigned client);
void picker_next(struct picker *picker, struct transfer *out);

enum phase load_phase(struct load *load);
/* A transfer has been committed. */
void load_committed(struct load *load, struct latencies *latencies, const struct transfer *transfer,
                    uint64_t began_us);
void latencies_note(struct latencies *latencies, uint64_t us);
void latencies_move(struct latencies *to, struct latencies *from);
/* Sorts. Of nothing: 0. Units: milliseconds. */
double latencies_percentile_ms(struct latencies *latencies, double percent);

#endif
