/* The agent of one database: see agent.h for what it is, internal.h for how its files share the
 * work. Here: requests come in, are checked against the fence, and become events of a branch;
 * answers go out.
 *
 * Invariants
 *  1. Each request is in one list (of an entry, a fence, a question, or the answers) until its
 *     callback, which comes once and never from inside the request's own call.
 *  2. A run is accepted only of the current epoch of its gid's cluster and for this incarnation; a
 *     decision or a list only from the current epoch.
 *
 * agent_free() must not be called from inside a callback of the agent's.
 */
#include "participant-agent/agent.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "participant-agent/internal.h"

/* ---- requests and answers ----------------------------------------------------------------------
 */

struct request *request_new(enum request_kind kind, void *data) {
  struct request *request = must_allocate(sizeof *request);
  request->kind = kind;
  request->data = data;
  return request;
}

void request_free(struct request *request) {
  free(request->err);
  free(request);
}

void request_answer(struct agent *agent, struct request *request, const struct error *err) {
  if (err && err->code != ERR_OK) {
    request->err = must_allocate(sizeof *err);
    *request->err = *err;
  }
  DL_APPEND(agent->answers, request);
}

/* Indexes of agent_result_names. */
static unsigned result_of(const struct error *err) {
  if (!err) return 0;
  switch (error_class_of(err->code)) {
  case CLASS_NONE: return 0;
  case CLASS_CALLER:
  case CLASS_FATAL: return 1;
  case CLASS_RETRY: return 2;
  case CLASS_AMBIGUOUS: return 3;
  }
  return 1;
}

static void count_answer(struct agent *agent, const struct request *r) {
  struct agent_figures *figures = &agent->figures;
  figures->calls[r->kind][result_of(r->err)]++;
  if (!r->err && r->kind == REQUEST_RUN) figures->votes[r->reply.run.vote]++;
  if (!r->err && r->kind == REQUEST_DECIDE) figures->outcomes[r->reply.decide.outcome]++;
}

static void call_back(const struct request *r) {
  const struct error *err = r->err;
  switch (r->kind) {
  case REQUEST_FENCE: r->fn.fence(r->data, err ? NULL : &r->reply.fence, err); break;
  case REQUEST_RUN: r->fn.run(r->data, err ? NULL : &r->reply.run, err); break;
  case REQUEST_DECIDE: r->fn.decide(r->data, err ? NULL : &r->reply.decide, err); break;
  case REQUEST_LIST: r->fn.list(r->data, err ? NULL : &r->reply.list, err); break;
  case REQUEST_SURVEY: r->fn.survey(r->data, err ? NULL : &r->reply.survey, err); break;
  case REQUEST_BLOCKERS: r->fn.blockers(r->data, err ? NULL : &r->reply.blockers, err); break;
  case REQUEST_HEALTH: r->fn.health(r->data, err ? NULL : &r->reply.health, err); break;
  }
}

/* What comes up meanwhile waits for its own turn. */
static void give_answers(struct agent *agent) {
  struct request *list = agent->answers, *request, *next;
  agent->answers = NULL;
  DL_FOREACH_SAFE(list, request, next) {
    count_answer(agent, request);
    call_back(request);
    request_free(request);
  }
}

static void on_later(void *data) {
  give_answers(data);
}

void agent_enter(struct agent *agent, bool in_request) {
  if (agent->depth++ == 0) agent->in_request = in_request;
}

void agent_leave(struct agent *agent) {
  assert(agent->depth > 0);
  if (agent->depth > 1) {
    agent->depth--;
    return;
  }
  if (agent->fencings) fence_review(agent);
  entries_bury(agent);
  agent->depth = 0;
  if (!agent->answers) return;
  if (agent->in_request)
    loop_timer_start(agent->later, 0);
  else
    give_answers(agent);
}

/* ---- the fence before every request ------------------------------------------------------------
 */

static enum error_code check_epoch(const struct agent *agent, const struct cluster_id *cluster,
                                   uint64_t epoch, struct error *err) {
  const struct fenced *fenced = fence_find(agent, cluster);
  if (!fenced)
    return error_set(err, ERR_FENCED, "fence this agent first: it has not seen cluster %s yet",
                     cluster->text);
  if (fenced->epoch == epoch) return ERR_OK;
  return error_set(err, ERR_FENCED,
                   "epoch %" PRIu64 " of cluster %s is not the current one, %" PRIu64, epoch,
                   cluster->text, fenced->epoch);
}

static enum error_code check_gid(const char *text, struct gid *out, struct error *err) {
  if (gid_parse(text, out)) return ERR_OK;
  (void)error_set(err, ERR_INVALID, "not a gid");
  return error_field(err, "/gid");
}

/* ---- run ---------------------------------------------------------------------------------------
 */

static enum error_code check_run(const struct agent *agent, const struct run_request *request,
                                 struct gid *gid, struct error *err) {
  enum error_code code = check_gid(request->gid, gid, err);
  if (!code) code = check_epoch(agent, &gid->cluster, request->epoch, err);
  if (code) return code;
  if (gid->epoch != request->epoch)
    return error_set(err, ERR_FENCED, "the gid is of epoch %" PRIu64 ", the request of %" PRIu64,
                     gid->epoch, request->epoch);
  if (strcmp(request->incarnation, agent->incarnation) != 0)
    return error_set(
        err, ERR_FENCED,
        "fence this agent first: it has restarted, or its database server has changed");
  return ERR_OK;
}

static const char *current_server(const struct agent *agent) {
  const struct session_identity *identity = control_identity(agent->control);
  return identity ? identity->server : "";
}

/* Is what we know of the branch about a server that has been replaced since? */
static bool is_of_another_server(const struct entry *entry) {
  const char *server = current_server(entry->agent);
  return server[0] && entry->server[0] && strcmp(server, entry->server) != 0;
}

static void take_run(struct entry *entry, const struct run_request *request) {
  struct branch_event event = {.kind = BRANCH_EV_RUN,
                               .sequence = request->sequence,
                               .end = request->end,
                               .has_statements = request->statement_count > 0};
  enum branch_state state = entry->branch.state;
  if (state == BRANCH_PREPARED && is_of_another_server(entry)) entry->branch.durable = false;
  if (state == BRANCH_NONE || state == BRANCH_ACTIVE) {
    int64_t timeout_ms = request->timeout_ms > 0 ? request->timeout_ms : 0;
    entry->deadline_ms = loop_now_ms(entry->agent->loop) + (uint64_t)timeout_ms;
    entry->statements = request->statements;
    entry->statement_count = request->statement_count;
  }
  entry_step(entry, &event);
}

/* Before anything is kept of a new branch: a refused one was never here. */
static enum error_code check_room(struct agent *agent, const struct run_request *request,
                                  struct error *err) {
  if (!pool_is_full(agent->pool, request->end == RUN_KEEP_OPEN)) return ERR_OK;
  (void)error_set(err, ERR_OVERLOADED, "too many branches wait for a connection to the database");
  return error_limit(err, "waiting", pool_waiting_max(agent->pool));
}

void agent_run(struct agent *agent, const struct run_request *request, run_fn fn, void *data) {
  agent_enter(agent, true);
  struct request *asked = request_new(REQUEST_RUN, data);
  asked->fn.run = fn;
  struct gid gid;
  struct error err = {0};
  struct entry *entry = NULL;
  enum error_code code = check_run(agent, request, &gid, &err);
  if (code == ERR_OK) entry = entry_find(agent, request->gid);
  if (code == ERR_OK && !entry && request->sequence == 0) code = check_room(agent, request, &err);
  if (code != ERR_OK) {
    request_answer(agent, asked, &err);
  } else {
    if (!entry) entry = entry_make(agent, request->gid, &gid);
    DL_APPEND(entry->runs, asked);
    spans_note_trace(entry, request->trace);
    take_run(entry, request);
  }
  agent_leave(agent);
}

/* ---- decide ------------------------------------------------------------------------------------
 */

static bool knows_of_another_server(const struct entry *entry) {
  enum branch_state state = entry->branch.state;
  return (state == BRANCH_PREPARED || state == BRANCH_COMMITTED || state == BRANCH_ABORTED) &&
         is_of_another_server(entry);
}

static void take_decision(struct entry *entry, const struct decide_request *request) {
  if (knows_of_another_server(entry)) entry_start_over(entry);
  bool told_now = request->xid[0] && !entry->told_xid[0];
  if (told_now) {
    copy_text(entry->told_xid, sizeof entry->told_xid, request->xid);
    copy_text(entry->told_server, sizeof entry->told_server, request->server);
  }
  struct branch_event event = {.kind = BRANCH_EV_DECIDE,
                               .decision = request->decision,
                               .xid = request->xid[0] != '\0',
                               .same_xid =
                                   !request->xid[0] || strcmp(request->xid, entry->xid) == 0};
  if (request->decision == DECIDE_ABORT && !entry->cause && !entry->entombed)
    entry_note_text(entry, CAUSE_CLIENT, "the coordinator has aborted the transaction");
  entry_step(entry, &event);
}

void agent_decide(struct agent *agent, const struct decide_request *request, decide_fn fn,
                  void *data) {
  agent_enter(agent, true);
  struct request *asked = request_new(REQUEST_DECIDE, data);
  asked->fn.decide = fn;
  struct gid gid;
  struct error err = {0};
  if (check_gid(request->gid, &gid, &err) ||
      check_epoch(agent, &gid.cluster, request->epoch, &err)) {
    request_answer(agent, asked, &err);
  } else {
    struct entry *entry = entry_find(agent, request->gid);
    if (!entry) entry = entry_make(agent, request->gid, &gid);
    DL_APPEND(entry->decisions, asked);
    spans_note_trace(entry, request->trace);
    take_decision(entry, request);
  }
  agent_leave(agent);
}

/* ---- list and health: a question each ----------------------------------------------------------
 */

struct asking {
  struct agent *agent;
  struct request *request;
  struct control_turn turn;
  struct cluster_id cluster;
  uint64_t moment; /* when the listing began */
  struct asking *prev, *next;
};

static struct asking *asking_new(struct agent *agent, struct request *request) {
  struct asking *asking = must_allocate(sizeof *asking);
  asking->agent = agent;
  asking->request = request;
  DL_APPEND(agent->askings, asking);
  return asking;
}

static void asking_answer(struct asking *asking, const struct error *err) {
  struct agent *agent = asking->agent;
  request_answer(agent, asking->request, err);
  DL_DELETE(agent->askings, asking);
  free(asking);
}

/* The database shows the gid prepared. What came to rest while the listing was made is newer. */
static void take_listed(struct asking *asking, const struct prepared_branch *found) {
  struct agent *agent = asking->agent;
  struct gid gid;
  if (!gid_parse(found->gid, &gid)) return;
  struct entry *entry = entry_find(agent, found->gid);
  if (!entry) entry = entry_make(agent, found->gid, &gid);
  enum branch_state state = entry->branch.state;
  bool at_rest = state == BRANCH_NONE || state == BRANCH_PREPARED || state == BRANCH_COMMITTED ||
                 state == BRANCH_ABORTED || state == BRANCH_READ_ONLY;
  entry->listed = asking->moment;
  if (!at_rest || entry->since >= asking->moment) return;
  if (strcmp(entry->xid, found->xid) != 0) entry->branch.durable = false;
  copy_text(entry->xid, sizeof entry->xid, found->xid);
  copy_text(entry->server, sizeof entry->server, current_server(agent));
  entry_step(entry, &(struct branch_event){.kind = BRANCH_EV_LISTED});
}

/* What was known by listings alone, and is listed no more, was finished by somebody else. */
static void forget_unlisted(const struct asking *asking) {
  struct entry *entry, *next;
  HASH_ITER(hh, asking->agent->entries, entry, next) {
    if (entry->branch.state == BRANCH_PREPARED && entry->branch.next_sequence == 0 &&
        entry->since < asking->moment && entry->listed < asking->moment &&
        strcmp(entry->id.cluster.text, asking->cluster.text) == 0)
      entry_free(entry);
  }
}

static void on_listed(void *data, const struct prepared_branch *branches, size_t count,
                      const struct error *err) {
  struct asking *asking = data;
  struct agent *agent = asking->agent;
  agent_enter(agent, false);
  struct list_reply *reply = &asking->request->reply.list;
  *reply = (struct list_reply){.branches = branches, .count = count};
  copy_text(reply->server, sizeof reply->server, current_server(agent));
  for (size_t i = 0; !err && i < count; i++)
    take_listed(asking, &branches[i]);
  if (!err) forget_unlisted(asking);
  struct error failed = {0};
  if (err)
    (void)error_set(&failed, ERR_UNAVAILABLE, "listing prepared transactions: %s", err->text);
  asking_answer(asking, &failed);
  control_return(agent->control);
  if (!err) rows_forget(agent);
  agent_leave(agent);
}

static void list_turn(void *data, struct session *session) {
  struct asking *asking = data;
  struct agent *agent = asking->agent;
  if (session) {
    asking->moment = ++agent->moment;
    agent->adapter->ops->list(session, &asking->cluster, on_listed, asking);
    return;
  }
  agent_enter(agent, false);
  struct error err = {0};
  (void)error_set(&err, ERR_UNAVAILABLE, "%s", control_error(agent->control));
  asking_answer(asking, &err);
  agent_leave(agent);
}

void agent_list(struct agent *agent, const struct list_request *request, list_fn fn, void *data) {
  agent_enter(agent, true);
  struct request *asked = request_new(REQUEST_LIST, data);
  asked->fn.list = fn;
  struct error err = {0};
  if (check_epoch(agent, &request->cluster, request->epoch, &err)) {
    request_answer(agent, asked, &err);
  } else {
    struct asking *asking = asking_new(agent, asked);
    asking->cluster = request->cluster;
    control_borrow(agent->control, &asking->turn, list_turn, asking);
  }
  agent_leave(agent);
}

static void take_probe(struct health_reply *reply, const struct session_probe *probe) {
  reply->prepared_count = probe->prepared_count;
  reply->prepared_others = probe->prepared_others;
  reply->oldest_prepared_ms = probe->oldest_prepared_ms;
  reply->xmin_age = probe->xmin_age;
  reply->standbys = probe->standbys;
  reply->synchronous = probe->synchronous;
}

static void describe(const struct agent *agent, struct health_reply *reply) {
  struct pool_numbers pool = pool_numbers(agent->pool);
  *reply = (struct health_reply){.connected = control_is_connected(agent->control),
                                 .latency_us = agent->latency_us,
                                 .prepared_count = -1,
                                 .prepared_others = -1,
                                 .oldest_prepared_ms = -1,
                                 .xmin_age = -1,
                                 .standbys = -1,
                                 .connections = pool.open,
                                 .connections_max = agent->connections_max,
                                 .waiting = pool.waiting,
                                 .running = pool.busy,
                                 .running_max = pool.limit};
  const struct session_identity *identity = control_identity(agent->control);
  if (identity) {
    memcpy(reply->server, identity->server, sizeof reply->server);
    reply->server_version = identity->server_version;
    reply->prepared_max = identity->prepared_max;
  }
  copy_text(reply->last_error, sizeof reply->last_error, control_error(agent->control));
}

void agent_describe(const struct agent *agent, struct health_reply *out) {
  describe(agent, out);
  if (agent->probe_known) take_probe(out, &agent->probed);
}

static void on_probed(void *data, const struct session_probe *probe, const struct error *err) {
  struct asking *asking = data;
  struct agent *agent = asking->agent;
  struct health_reply *reply = &asking->request->reply.health;
  agent_enter(agent, false);
  if (!err) agent->latency_us = probe->latency_us;
  describe(agent, reply);
  if (err) {
    reply->connected = false;
    copy_text(reply->last_error, sizeof reply->last_error, err->text);
  } else {
    take_probe(reply, probe);
    agent->probed = *probe;
    agent->probe_known = true;
  }
  asking_answer(asking, NULL);
  control_return(agent->control);
  agent_leave(agent);
}

/* How the gids of the coordinator begin that works with this agent; with several, those of all: which one
 * asks is not known here. */
static void write_own_prefix(const struct agent *agent, char out[GID_SIZE]) {
  const char *cluster = agent->fenced_count == 1 ? agent->fenced[0].cluster.text : "";
  (void)snprintf(out, GID_SIZE, "assent_%s%s", cluster, *cluster ? "_" : "");
}

static void probe_turn(void *data, struct session *session) {
  struct asking *asking = data;
  struct agent *agent = asking->agent;
  if (session) {
    char ours[GID_SIZE];
    write_own_prefix(agent, ours);
    agent->adapter->ops->probe(session, ours, on_probed, asking);
    return;
  }
  agent_enter(agent, false);
  describe(agent, &asking->request->reply.health);
  asking_answer(asking, NULL);
  agent_leave(agent);
}

/* Answered at once when the database is known to be away: that is what is asked. */
void agent_health(struct agent *agent, health_fn fn, void *data) {
  agent_enter(agent, true);
  struct request *asked = request_new(REQUEST_HEALTH, data);
  asked->fn.health = fn;
  if (control_is_connected(agent->control)) {
    struct asking *asking = asking_new(agent, asked);
    control_borrow(agent->control, &asking->turn, probe_turn, asking);
  } else {
    control_wake(agent->control);
    describe(agent, &asked->reply.health);
    request_answer(agent, asked, NULL);
  }
  agent_leave(agent);
}

/* ---- the server, and another one ---------------------------------------------------------------
 */

static void on_ready(void *data, const struct session_identity *identity) {
  struct agent *agent = data;
  agent_enter(agent, false);
  agent->first_xid = identity->next_xid;
  pool_start(agent->pool, identity->server);
  finisher_start(agent->finisher, identity->server);
  agent_leave(agent);
}

/* As good as a restart: nothing that was fenced or open on the former server holds for this one. */
static void on_server_changed(void *data, const char *from, const char *to) {
  struct agent *agent = data;
  agent_enter(agent, false);
  log_error("participant_server_changed", "participant", "s", agent->participant, "from", "s", from,
            "to", "s", to, NULL);
  run_id_make(agent->incarnation);
  agent->fenced_count = 0;
  agent->server_changed = true;
  pool_stop(agent->pool);
  finisher_stop(agent->finisher);
  struct entry *entry, *next;
  HASH_ITER(hh, agent->entries, entry, next) {
    if (entry->entombed) continue;
    if (entry->work || entry->ticket.queued)
      entry_note_text(entry, CAUSE_UNREACHABLE, "the database server was replaced by another");
    entry_step(entry, &(struct branch_event){.kind = BRANCH_EV_FENCED});
  }
  agent_leave(agent);
}

static void on_stranger(void *data, const struct session_identity *identity) {
  struct agent *agent = data;
  log_warn("participant_other_server", "participant", "s", agent->participant, "expected", "s",
           current_server(agent), "got", "s", identity->server, NULL);
  control_recheck(agent->control);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static void start_sessions(struct agent *agent, const struct agent_options *options) {
  agent->pool = pool_new(&(struct pool_options){.loop = agent->loop,
                                                .adapter = agent->adapter,
                                                .names = &agent->names,
                                                .connections_max = options->connections_max,
                                                .waiting_max = options->waiting_max,
                                                .call_timeout_ms = options->call_timeout_ms,
                                                .stranger = on_stranger,
                                                .stranger_data = agent});
  agent->finisher =
      finisher_new(&(struct finisher_options){.loop = agent->loop,
                                              .adapter = agent->adapter,
                                              .names = &agent->names,
                                              .call_timeout_ms = options->call_timeout_ms,
                                              .stranger = on_stranger,
                                              .stranger_data = agent});
  struct control_events events = {.server_changed = on_server_changed,
                                  .ready = on_ready,
                                  .data = agent};
  agent->control =
      control_new(&(struct control_options){.loop = agent->loop,
                                            .adapter = agent->adapter,
                                            .names = &agent->names,
                                            .participant = agent->participant,
                                            .call_timeout_ms = options->call_timeout_ms,
                                            .events = events});
}

struct agent *agent_new(struct loop *loop, struct adapter *adapter,
                        const struct agent_options *options) {
  assert(options->connections_max > 0 && options->call_timeout_ms > 0);
  struct agent *agent = must_allocate(sizeof *agent);
  agent->loop = loop;
  agent->adapter = adapter;
  agent->participant = must_copy(options->participant);
  agent->state_dir = must_copy(options->state_dir);
  agent->call_timeout_ms = options->call_timeout_ms;
  agent->connections_max = options->connections_max;
  agent->synchronous_failover = options->synchronous_failover;
  agent->result_rows_max = options->result_rows_max;
  agent->result_bytes_max = options->result_bytes_max;
  agent->latency_us = -1;
  agent->rows_retention_ms = options->rows_retention_ms;
  agent->tracer = options->tracer;
  if (agent->rows_retention_ms > 0) adapter->ops->leave_rows(adapter);
  run_id_make(agent->incarnation);
  session_names_init(&agent->names, options->agent_id, agent->incarnation);
  agent->later = loop_timer_new(loop, on_later, agent);
  start_sessions(agent, options);
  return agent;
}

void agent_free(struct agent *agent) {
  if (!agent) return;
  assert(agent->depth == 0);
  fences_drop(agent);
  surveys_drop(agent);
  inquiries_drop(agent);
  cancellings_drop(agent);
  entries_drop(agent);
  struct asking *asking, *next_asking;
  DL_FOREACH_SAFE(agent->askings, asking, next_asking) {
    request_free(asking->request);
    free(asking);
  }
  struct request *request, *next;
  DL_FOREACH_SAFE(agent->answers, request, next)
  request_free(request);
  control_free(agent->control);
  finisher_free(agent->finisher);
  pool_free(agent->pool);
  agent->adapter->ops->free(agent->adapter);
  loop_timer_free(agent->later);
  free(agent->participant);
  free(agent->state_dir);
  free(agent);
}

const char *const agent_call_names[AGENT_CALLS] = {
    [REQUEST_FENCE] = "fence",  [REQUEST_RUN] = "run",       [REQUEST_DECIDE] = "decide",
    [REQUEST_LIST] = "list",    [REQUEST_SURVEY] = "survey", [REQUEST_BLOCKERS] = "blockers",
    [REQUEST_HEALTH] = "health"};
const char *const agent_result_names[AGENT_RESULTS] = {"ok", "refused", "unavailable", "lost"};

const struct agent_figures *agent_figures(const struct agent *agent) {
  return &agent->figures;
}
