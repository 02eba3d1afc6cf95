/* COMMIT PREPARED and ROLLBACK PREPARED, pipelined on sessions of their own, so that a decision
 * never waits behind a client's work or behind a question.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_FINISHER_H
#define ASSENT_PARTICIPANT_AGENT_FINISHER_H

#include "adapters/adapter.h"
#include "common/loop.h"
#include "participant-agent/sessions.h"

struct finisher;

struct finisher_options {
  struct loop *loop;
  struct adapter *adapter;     /* borrowed */
  struct session_names *names; /* borrowed */
  int64_t call_timeout_ms;
  session_stranger_fn stranger;
  void *stranger_data;
};

/* Opens nothing before finisher_start(). */
struct finisher *finisher_new(const struct finisher_options *options);
void finisher_free(struct finisher *finisher);

/* `server` is the one to work with; sessions to another are closed. */
void finisher_start(struct finisher *finisher, const char *server);
/* What is under way goes on to its end on the sessions it is on. What is queued is FINISH_LOST,
 * from inside: what was prepared on one server must not be finished on another. */
void finisher_stop(struct finisher *finisher);

/* One gid to finish; embedded in what the user keeps. */
struct finish {
  const char *gid; /* borrowed until the callback */
  bool commit;
  session_finished_fn fn;
  void *data;
  uint64_t deadline_ms;
  struct finish_session *on;            /* NULL: queued */
  char session_name[SESSION_NAME_SIZE]; /* that it was sent on; "": not sent */
  struct finish *prev, *next;
};

/* Calls back once, on a later turn; FINISH_LOST, and not sent, when there was no session within the
 * call's timeout. The queue has no limit of its own: each branch has at most one place in it. */
void finisher_submit(struct finisher *finisher, struct finish *finish, const char *gid, bool commit,
                     session_finished_fn fn, void *data);

#endif
