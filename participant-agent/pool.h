/* The sessions on which branches work: at most `connections_max`, opened when wanted, kept while
 * they are good, and those who wait for one.
 *
 * A session that is held is busy, while statements run on it, or rests, in a transaction that waits for
 * its next request. How many are given to new work at once is found by trying (admission.h): busy ones
 * count against that limit, resting ones do not, and who holds a session goes on at once, over the
 * limit, too: others may wait for what it has locked. Branches that stay open between requests may not
 * take the last quarter of all sessions: the others, which end by themselves, always get on.
 *
 * First come, first served, among those that stay open and among those that do not.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_POOL_H
#define ASSENT_PARTICIPANT_AGENT_POOL_H

#include "adapters/adapter.h"
#include "common/loop.h"
#include "participant-agent/sessions.h"

struct pool;
struct ticket;

struct pool_options {
  struct loop *loop;
  struct adapter *adapter;     /* borrowed */
  struct session_names *names; /* borrowed */
  unsigned connections_max, waiting_max;
  int64_t call_timeout_ms;
  session_stranger_fn stranger;
  void *stranger_data;
};

/* A pooled session. Read-only for its holder. */
struct work {
  struct session *session;
  struct session_identity identity;
  char name[SESSION_NAME_SIZE];
  struct pool *pool;
  struct ticket *holder; /* NULL: idle, or opening */
  bool open;
  bool busy;    /* held, and not at rest */
  bool retired; /* to be closed when it comes back */
  struct work *prev, *next;
};

/* `work` NULL: there is no connection to be had, and `cause` says why. Never called from inside
 * pool_acquire(). */
typedef void (*pool_got_fn)(void *data, struct work *work, const struct cause *cause);
/* The session broke while it was held and nothing was under way on it. It is gone already. */
typedef void (*pool_lost_fn)(void *data, const struct error *err);

/* A branch's claim to a session: waiting for one, or holding one. Embedded in what the user keeps.
 */
struct ticket {
  pool_got_fn got;
  pool_lost_fn lost;
  void *data;
  bool stays_open; /* its branch waits for requests in between */
  bool queued;
  uint64_t number; /* in the order of arrival */
  struct ticket *prev, *next;
};

enum pool_answer { POOL_FULL, POOL_QUEUED, POOL_GOT };

/* Opens nothing before pool_start(); who asks before, waits. */
struct pool *pool_new(const struct pool_options *options);
void pool_free(struct pool *pool);

/* `server` is the one to work with; sessions to another are closed. */
void pool_start(struct pool *pool, const char *server);
/* Idle sessions are closed, others when they come back. */
void pool_stop(struct pool *pool);

/* POOL_GOT: `*work` is the caller's until pool_release(). POOL_QUEUED: `got` will be called.
 * POOL_FULL: waiting_max are waiting already. */
enum pool_answer pool_acquire(struct pool *pool, struct ticket *ticket, struct work **work);
unsigned pool_waiting_max(const struct pool *pool);
/* Would a ticket find no place? */
bool pool_is_full(const struct pool *pool, bool stays_open);
/* Gives up a place in the queue; false: it had none. */
bool pool_withdraw(struct pool *pool, struct ticket *ticket);
/* The session stays held, and nothing runs on it, until it is resumed or released. */
void pool_rest(struct work *work);
void pool_resume(struct work *work);
/* `reusable`: idle, with no trace of this user. Else it is closed. */
void pool_release(struct work *work, bool reusable);

struct pool_numbers {
  unsigned open, waiting;
  unsigned busy, limit; /* sessions on which something runs; how many there may be for new work */
};
struct pool_numbers pool_numbers(const struct pool *pool);

#endif
