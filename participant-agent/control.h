/* The agent's control session: one connection for the questions that are asked one at a time (look
 * up, status, list, end sessions, claim, probe), lent in turns.
 *
 * It is the first connection of an agent's life, and it takes over: sessions of former lives are
 * ended before anybody is lent it and before `ready`, so that no late PREPARE of theirs can land
 * after an answer of ours. When it reconnects to another server than before it tells
 * `server_changed` first and takes over there, too.
 *
 * It reconnects for as long as somebody waits for a turn, or for ever after control_keep_trying().
 */
#ifndef ASSENT_PARTICIPANT_AGENT_CONTROL_H
#define ASSENT_PARTICIPANT_AGENT_CONTROL_H

#include <stdbool.h>

#include "adapters/adapter.h"
#include "common/loop.h"
#include "participant-agent/sessions.h"

struct control;

struct control_events {
  /* Another server answers now: nothing may be opened until `ready`. */
  void (*server_changed)(void *data, const char *from, const char *to);
  /* After the first connection, and after a change of server. */
  void (*ready)(void *data, const struct session_identity *identity);
  void *data;
};

struct control_options {
  struct loop *loop;
  struct adapter *adapter;     /* borrowed */
  struct session_names *names; /* borrowed */
  const char *participant;     /* borrowed; for logs */
  int64_t call_timeout_ms;
  struct control_events events;
};

/* Starts connecting. */
struct control *control_new(const struct control_options *options);
/* Nobody who waits, or has a turn, hears of it again. */
void control_free(struct control *control);

/* `session` is lent until control_return(); NULL: there was none within the call's timeout, nothing
 * is to be returned, and control_error() says why. */
typedef void (*control_turn_fn)(void *data, struct session *session);

/* One user's place in the queue; embedded in what the user keeps. */
struct control_turn {
  control_turn_fn fn;
  void *data;
  uint64_t deadline_ms;
  bool queued;
  bool impatient; /* its user's: no session as soon as an attempt to connect has failed */
  struct control_turn *prev, *next;
};

/* fn may be called from inside, with a session, never without. Turns come in order. The queue has
 * no limit of its own: each branch and each request of the agent has at most one place in it. */
void control_borrow(struct control *control, struct control_turn *turn, control_turn_fn fn,
                    void *data);
/* To be called from the adapter's callback, once for each turn that came with a session. */
void control_return(struct control *control);
/* Gives up a place in the queue; false: the turn has come already. */
bool control_withdraw(struct control *control, struct control_turn *turn);

void control_keep_trying(struct control *control);
/* Tries once more to connect, if it has given up. */
void control_wake(struct control *control);
/* Connects again when it can be: is the server still the same? */
void control_recheck(struct control *control);

bool control_is_connected(const struct control *control);
/* Counts the connections; 0: none now. The same number at two times: the server has not crashed in
 * between. */
uint64_t control_connection(const struct control *control);
/* Of the last server that was taken over; NULL before the first, and while it changes. */
const struct session_identity *control_identity(const struct control *control);
const char *control_error(const struct control *control); /* why not connected; "" */

#endif
