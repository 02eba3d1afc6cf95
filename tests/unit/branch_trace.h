/* Stories of a branch as traces: an event, and what comes of it. */
#ifndef ASSENT_TESTS_UNIT_BRANCH_TRACE_H
#define ASSENT_TESTS_UNIT_BRANCH_TRACE_H

#include "participant-agent/branch.h"

/* What it is to do, in a word. */
const char *trace_action(const struct branch_action *action);
/* Feeds one event; the outcome must read as `expected`: "state: action action". */
void trace_step(struct branch *b, struct branch_event event, const char *expected, const char *file,
                int line);

#define STEP(event, expected) trace_step(&b, event, expected, __FILE__, __LINE__)
#define EVENT(...)            ((struct branch_event){__VA_ARGS__})
#define RUN(seq, how)                                                                              \
  EVENT(.kind = BRANCH_EV_RUN, .sequence = (seq), .end = (how), .has_statements = true)
#define ASK_VOTE(seq) EVENT(.kind = BRANCH_EV_RUN, .sequence = (seq), .end = RUN_PREPARE)
#define RAN(what)     EVENT(.kind = BRANCH_EV_RAN, .ran = (what))
#define RAN_XID(what) EVENT(.kind = BRANCH_EV_RAN, .ran = (what), .xid = true)
#define DECIDE(what)  EVENT(.kind = BRANCH_EV_DECIDE, .decision = (what), .same_xid = true)
#define DECIDE_XID(what)                                                                           \
  EVENT(.kind = BRANCH_EV_DECIDE, .decision = (what), .xid = true, .same_xid = true)
#define DECIDE_OTHER_XID(what) EVENT(.kind = BRANCH_EV_DECIDE, .decision = (what), .xid = true)
#define FLUSHED(done)          EVENT(.kind = BRANCH_EV_FLUSHED, .ok = (done))
#define ENDED(done)            EVENT(.kind = BRANCH_EV_SESSION_ENDED, .ok = (done))
#define LOOKED(what)           EVENT(.kind = BRANCH_EV_LOOKED, .looked = (what), .same_xid = true)
#define LOOKED_OTHER           EVENT(.kind = BRANCH_EV_LOOKED, .looked = LOOKED_PREPARED)
#define LOOKED_OTHERS_REFUSED  EVENT(.kind = BRANCH_EV_LOOKED, .looked = LOOKED_REFUSED)
#define FINISHED(what)         EVENT(.kind = BRANCH_EV_FINISHED, .finished = (what))
#define FINISH_UNANSWERED      EVENT(.kind = BRANCH_EV_FINISHED, .finished = FINISH_LOST, .sent = true)
#define STATUS(what)           EVENT(.kind = BRANCH_EV_STATUS, .status = (what))
#define COMMITTED(what)        EVENT(.kind = BRANCH_EV_COMMITTED, .outcome = (what))
#define ONLY(what)             EVENT(.kind = (what))

/* Branches that have come so far. */
struct branch trace_fresh(void);
struct branch trace_prepared(void);
struct branch trace_flushing(void);
struct branch trace_ready(void);

#endif
