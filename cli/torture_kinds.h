/* The kinds of faults that have files of their own: the network, and calls of a daemon that fail.
 * Each is broken by a strike (false: not possible now) and mended by what comes after it. */
#ifndef ASSENT_CLI_TORTURE_KINDS_H
#define ASSENT_CLI_TORTURE_KINDS_H

#include "cli/torture.h"

/* ---- torture_faults.c -------------------------------------------------------------------------- */

/* SIGKILL, with what goes with it. False: it is down already. */
bool daemon_kill(struct torture *t, enum stage_target target);
enum error_code daemon_start(struct torture *t, enum stage_target target, struct error *err)
    __attribute__((warn_unused_result));

/* ---- torture_net.c: proxies between the processes ---------------------------------------------- */

/* Between stage_new() and stage_run(): puts a proxy on each hop. */
enum error_code net_open(struct torture *t, struct error *err) __attribute__((warn_unused_result));
void net_close(struct torture *t);

bool net_delay(struct torture *t, const struct fault_event *event);
bool net_cut(struct torture *t, const struct fault_event *event);
bool net_truncate(struct torture *t, const struct fault_event *event);
bool net_hold(struct torture *t, const struct fault_event *event);
bool net_refuse(struct torture *t, const struct fault_event *event);
bool net_repeat(struct torture *t, const struct fault_event *event);
bool client_delay(struct torture *t, const struct fault_event *event);
bool client_cut(struct torture *t, const struct fault_event *event);
bool client_truncate(struct torture *t, const struct fault_event *event);
bool client_hold(struct torture *t, const struct fault_event *event);
bool client_refuse(struct torture *t, const struct fault_event *event);
enum error_code client_mend(struct torture *t, const struct fault_event *event, struct error *err)
    __attribute__((warn_unused_result));
enum error_code net_mend(struct torture *t, const struct fault_event *event, struct error *err)
    __attribute__((warn_unused_result));
enum error_code net_mend_repeat(struct torture *t, const struct fault_event *event,
                                struct error *err) __attribute__((warn_unused_result));

/* ---- torture_replicas.c: failovers ------------------------------------------------------------- */

/* After net_open(), before stage_run(): makes the standbys, and what we reach the databases by. */
enum error_code replicas_open(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));
bool replica_fail_over(struct torture *t, const struct fault_event *event);
enum error_code replica_promote(struct torture *t, const struct fault_event *event,
                                struct error *err) __attribute__((warn_unused_result));
bool replica_hold(struct torture *t, const struct fault_event *event);
enum error_code replica_release(struct torture *t, const struct fault_event *event,
                                struct error *err) __attribute__((warn_unused_result));

/* ---- torture_calls.c: lives in which calls fail, by a preloaded library ------------------------ */

/* Whether the library is there. */
bool calls_possible(void);
/* Between stage_new() and stage_run(). */
enum error_code calls_open(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));
/* The daemon's next life is a good one. */
void calls_forget(struct torture *t, enum stage_target target);

/* One that has ended must have said why it cannot go on and exited, or aborted where memory was
 * missing; else it is a violation. */
void calls_judge_end(struct torture *t, enum stage_target target);

bool disk_fill(struct torture *t, const struct fault_event *event);
enum error_code disk_clear(struct torture *t, const struct fault_event *event, struct error *err)
    __attribute__((warn_unused_result));
bool disk_fail(struct torture *t, const struct fault_event *event);
bool memory_fail(struct torture *t, const struct fault_event *event);
bool descriptors_fail(struct torture *t, const struct fault_event *event);
/* End such a life, and start a good one. */
enum error_code disk_fail_mend(struct torture *t, const struct fault_event *event,
                               struct error *err) __attribute__((warn_unused_result));
enum error_code daemon_fail_mend(struct torture *t, const struct fault_event *event,
                                 struct error *err) __attribute__((warn_unused_result));

#endif
