/* Whom does a branch's statement wait for, in the database? The control session asks, since the branch's
 * own is busy waiting. What it finds is told of this very moment, and nothing depends on it.
 *
 * A session of this agent's is named by the branch it works for: the database knows its pid only.
 */
#include <string.h>
#include <utlist.h>

#include "participant-agent/internal.h"

struct inquiry {
  struct agent *agent;
  struct request *request;
  struct control_turn turn;
  char gid[GID_SIZE];
  int backend_pid;
  struct blocker blockers[BLOCKERS_MAX];
  struct inquiry *prev, *next;
};

/* The branch has this session, as far as is known here. */
static bool works_on(const struct entry *entry, int64_t backend_pid) {
  return entry && entry->work && entry->work->identity.backend_pid == backend_pid;
}

static void name_branch(const struct agent *agent, struct blocker *blocker) {
  const struct entry *entry, *next;
  if (blocker->pid == 0) return;
  HASH_ITER(hh, agent->entries, entry, next) {
    if (works_on(entry, blocker->pid)) copy_text(blocker->gid, sizeof blocker->gid, entry->gid);
  }
}

static void inquiry_free(struct inquiry *inquiry) {
  DL_DELETE(inquiry->agent->inquiries, inquiry);
  free(inquiry);
}

static void on_blockers(void *data, const struct blocker *blockers, size_t count,
                        const struct error *err) {
  struct inquiry *inquiry = data;
  struct agent *agent = inquiry->agent;
  agent_enter(agent, false);
  /* Else the session has another user by now, and so has the answer. */
  bool same = works_on(entry_find(agent, inquiry->gid), inquiry->backend_pid);
  if (!err && same) {
    for (size_t i = 0; i < count; i++) {
      inquiry->blockers[i] = blockers[i];
      name_branch(agent, &inquiry->blockers[i]);
    }
    inquiry->request->reply.blockers =
        (struct blockers_reply){.blockers = inquiry->blockers, .count = count};
  }
  request_answer(agent, inquiry->request, err);
  control_return(agent->control);
  agent_leave(agent); /* answers */
  inquiry_free(inquiry);
}

static void inquiry_turn(void *data, struct session *session) {
  struct inquiry *inquiry = data;
  struct agent *agent = inquiry->agent;
  if (session) {
    agent->adapter->ops->blockers(session, inquiry->backend_pid, on_blockers, inquiry);
    return;
  }
  struct error err = {0};
  agent_enter(agent, false);
  (void)error_set(&err, ERR_UNAVAILABLE, "%s", control_error(agent->control));
  request_answer(agent, inquiry->request, &err);
  inquiry_free(inquiry);
  agent_leave(agent);
}

void agent_blockers(struct agent *agent, const struct blockers_request *request, blockers_fn fn,
                    void *data) {
  agent_enter(agent, true);
  struct request *asked = request_new(REQUEST_BLOCKERS, data);
  asked->fn.blockers = fn;
  const struct entry *entry = entry_find(agent, request->gid);
  if (entry && entry->work && control_is_connected(agent->control)) {
    struct inquiry *inquiry = must_allocate(sizeof *inquiry);
    inquiry->agent = agent;
    inquiry->request = asked;
    inquiry->backend_pid = entry->work->identity.backend_pid;
    copy_text(inquiry->gid, sizeof inquiry->gid, request->gid);
    DL_APPEND(agent->inquiries, inquiry);
    control_borrow(agent->control, &inquiry->turn, inquiry_turn, inquiry);
  } else {
    request_answer(agent, asked, NULL);
  }
  agent_leave(agent);
}

void inquiries_drop(struct agent *agent) {
  struct inquiry *inquiry, *next;
  DL_FOREACH_SAFE(agent->inquiries, inquiry, next) {
    request_free(inquiry->request);
    inquiry_free(inquiry);
  }
}
