/* The ground a simulated run stands on: one virtual time, one queue of events, one source of chance.
 *
 * A run is a function of its seed (and of which faults are allowed): the same seed gives the same
 * trace, byte for byte. So nothing in a run may ask the real clock, the kernel's randomness, or the
 * order of addresses in memory.
 *
 * Simulated processes (a life of the coordinator, a life of an agent) each have a `struct loop`
 * (common/loop.h, implemented in sim_loop.c on this queue). A loop can be held (SIGSTOP): what is due
 * on it waits until it is let go. Databases, the disk and the network belong to no process: their
 * events are on the queue itself.
 */
#ifndef ASSENT_TESTS_SIM_SIM_H
#define ASSENT_TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/loop.h"

/* What may go wrong: X(name as in reports, about how often, in 1/10000 of the occasions). One enum
 * for all models, so that a run can be replayed with some of them switched off (minimising), and so
 * that the report can say which ones never happened. */
#define SIM_FAULTS(X)                                                                              \
  /* processes */                                                                                  \
  X(COORDINATOR_KILL, "coordinator-kill", 50)                                                      \
  X(COORDINATOR_PAUSE, "coordinator-pause", 12)                                                    \
  X(AGENT_KILL, "agent-kill", 40)                                                                  \
  X(AGENT_PAUSE, "agent-pause", 12)                                                                \
  X(CLOCK_JUMP, "clock-jump", 5)                                                                   \
  X(SECOND_COORDINATOR, "second-coordinator", 10)                                                  \
  X(TAKEOVER, "takeover", 40)                                                                      \
  /* the network between client, coordinator and agents */                                         \
  X(REQUEST_LOST, "request-lost", 60)                                                              \
  X(REQUEST_LATE, "request-late", 60)                                                              \
  X(REQUEST_REPEATED, "request-repeated", 60)                                                      \
  X(REQUEST_AIMED, "request-aimed", 30)                                                            \
  X(REPLY_LATE, "reply-late", 60)                                                                  \
  X(REPLY_LOST, "reply-lost", 60)                                                                  \
  X(REPLY_CUT, "reply-cut", 20)                                                                    \
  X(REPLY_SWAPPED, "reply-swapped", 20)                                                            \
  X(PARTITION_OUT, "partition-out", 10)                                                            \
  X(PARTITION_IN, "partition-in", 15)                                                              \
  /* the log's disk */                                                                             \
  X(DISK_EIO_LOST, "disk-eio-lost", 40)                                                            \
  X(DISK_EIO_WRITTEN, "disk-eio-written", 40)                                                      \
  X(DISK_FULL, "disk-full", 50)                                                                    \
  X(DISK_SLOW, "disk-slow", 50)                                                                    \
  X(DISK_LAZY_LOST, "disk-lazy-lost", 5000)                                                        \
  X(LOG_BACKUP_RESTORED, "log-backup-restored", 2000)                                              \
  /* databases */                                                                                  \
  X(DATABASE_KILL, "database-kill", 8)                                                             \
  X(DATABASE_XID_REUSED, "database-xid-reused", 2000)                                              \
  X(DATABASE_STALLED, "database-stalled", 30)                                                      \
  X(DATABASE_SLOW, "database-slow", 60)                                                            \
  X(SESSION_CUT_BEFORE, "session-cut-before", 40)                                                  \
  X(SESSION_CUT_AFTER, "session-cut-after", 40)                                                    \
  X(SESSION_END_LATE, "session-end-late", 40)                                                      \
  X(BACKEND_LINGERS, "backend-lingers", 3000)                                                      \
  X(PLAN_STALE, "plan-stale", 100)                                                                 \
  X(STATEMENT_FAILS, "statement-fails", 200)                                                       \
  X(PREPARE_TAG_ROLLBACK, "prepare-tag-rollback", 60)                                              \
  X(REPLICA_WAIT, "replica-wait", 40)                                                              \
  X(WARNING, "warning", 30)                                                                        \
  X(SLOTS_USED_UP, "slots-used-up", 40)                                                            \
  X(GID_BUSY, "gid-busy", 45)                                                                      \
  X(RIGHTS_LOST, "rights-lost", 30)                                                                \
  X(STATUS_FORGOTTEN, "status-forgotten", 500)                                                     \
  X(STANDBY_REACHED, "standby-reached", 10)                                                        \
  X(FAILOVER_SYNC, "failover-sync", 3)                                                             \
  X(FAILOVER_ASYNC, "failover-async", 3)                                                           \
  X(CLAIM_REFUSED, "claim-refused", 100)                                                           \
  X(FOREIGN_GID, "foreign-gid", 100)                                                               \
  X(HAND_ROLLBACK, "hand-rollback", 5)                                                             \
  X(HAND_COMMIT, "hand-commit", 5)                                                                 \
  /* clients */                                                                                    \
  X(ENLIST_AIMED, "enlist-aimed", 500)

#define SIM_FAULT_NAME_(name, text, often) SIM_##name,
enum sim_fault { SIM_FAULTS(SIM_FAULT_NAME_) SIM_FAULT_COUNT };
/* The first so many are in some runs and not in others; those after them are in all. A new one goes to the
 * end: so every other seed goes on choosing what it has chosen. */
enum { SIM_FAULTS_CHOSEN = SIM_ENLIST_AIMED };
const char *sim_fault_name(enum sim_fault fault);

struct sim;
struct sim_event;
typedef void (*sim_fn)(void *data);

/* ---- time ------------------------------------------------------------------------------------- */

/* Virtual, monotonic, the same for everybody. Units: microseconds. */
uint64_t sim_now_us(const struct sim *sim);

/* Calls fn(data) once, delay_us from now; events of the same moment come in the order in which they
 * were made. `loop` NULL: at that time, whatever processes do; else on a later turn of that loop, so
 * when it is not held. The event is gone when fn is called. */
struct sim_event *sim_after(struct sim *sim, struct loop *loop, uint64_t delay_us, sim_fn fn,
                            void *data);
void sim_cancel(struct sim_event *event); /* NULL is allowed */

/* ---- chance ----------------------------------------------------------------------------------- */

uint64_t sim_random(struct sim *sim, uint64_t below);                     /* 0 .. below-1 */
uint64_t sim_between(struct sim *sim, uint64_t lowest, uint64_t highest); /* both may come */

/* Does this fault happen at this occasion? Draws by its frequency (scaled by the run's own temper,
 * which the seed chooses; faults come to an end for good when the run heals), counts it, and traces
 * it with `where`. Never true for a fault that is switched off. The draw comes from a stream of the
 * fault's own, so that switching one off does not change the others. */
bool sim_fault(struct sim *sim, enum sim_fault fault, const char *where);
/* The run has healed: no fault happens any more; everything must come to its end. */
bool sim_healed(const struct sim *sim);

/* ---- what is seen ------------------------------------------------------------------------------ */

/* One line of the trace, with the virtual time before it. Cheap when nobody reads. */
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* An invariant (by its number in docs/reliability.md) does not hold. The run ends after this event,
 * as a failed one. */
void sim_violation(struct sim *sim, unsigned invariant, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
