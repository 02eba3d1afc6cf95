/* GET /v1/transactions/{id}/timeline: of a live transaction from its timeline, of one that has ended
 * lately from the history, of any other what its record in the log knows. One function writes the
 * object, whatever its source. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/audit.h"
#include "coordinator/history.h"
#include "coordinator/render.h"
#include "coordinator/routes_more.h"

struct view {
  const char *id, *state, *source;
  enum wal_outcome outcome;
  const struct cause *cause;
  const struct timeline *timeline;
  const char *(*participant)(const struct view *view, unsigned branch);
  const void *of; /* for `participant` */
  const struct transaction *live;
};

/* ---- steps ------------------------------------------------------------------------------------ */

static void write_number(struct json_writer *w, const char *key, uint64_t value, bool known) {
  json_key(w, key);
  if (known)
    json_write_integer(w, (int64_t)value);
  else
    json_write_null(w);
}

static void write_step(struct json_writer *w, const struct view *view, const struct step *step,
                       int64_t before_us) {
  int64_t after_us = step->at_us > before_us ? step->at_us - before_us : 0;
  json_object_begin(w);
  json_key(w, "at");
  json_write_time(w, step->at_us);
  json_key(w, "after_ms");
  json_write_integer(w, after_us / 1000);
  json_key(w, "step");
  json_write_string(w, step_kind_name((enum step_kind)step->kind));
  write_number(w, "branch", step->branch, step->branch > 0);
  json_key(w, "participant");
  json_write_string(w, step->branch ? view->participant(view, step->branch) : NULL);
  write_number(w, "attempt", step->attempt, step->attempt > 0);
  json_key(w, "detail");
  json_write_string(w, step->detail);
  json_key(w, "error");
  render_cause(w, timeline_error(view->timeline, step));
  json_object_end(w);
}

/* In the place of those that were dropped. */
static void write_gap(struct json_writer *w, const struct step *next, uint64_t dropped) {
  static const char *const none[] = {"branch", "participant", "attempt", "detail", "error"};
  json_object_begin(w);
  json_key(w, "at");
  json_write_time(w, next->at_us);
  write_number(w, "after_ms", 0, true);
  json_key(w, "step");
  json_write_string(w, "steps_dropped");
  for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
    write_number(w, none[i], 0, false);
  write_number(w, "count", dropped, true);
  json_object_end(w);
}

static void write_steps(struct json_writer *w, const struct view *view) {
  const struct timeline *timeline = view->timeline;
  int64_t before_us = timeline->count ? timeline_step(timeline, 0)->at_us : 0;
  json_array_begin(w);
  for (unsigned i = 0; i < timeline->count; i++) {
    const struct step *step = timeline_step(timeline, i);
    if (i == TIMELINE_HEAD && timeline->dropped) write_gap(w, step, timeline->dropped);
    write_step(w, view, step, before_us);
    before_us = step->at_us;
  }
  json_array_end(w);
}

/* ---- what a live one waits for ---------------------------------------------------------------- */

static const char *branch_waits_for(const struct transaction *t, unsigned index) {
  const struct transaction_branch *branch = t->branches[index];
  switch (t->core.branches[index].state) {
  case TXN_BRANCH_RUNNING: return "statements";
  case TXN_BRANCH_PREPARING: return "vote";
  case TXN_BRANCH_COMMITTING:
  case TXN_BRANCH_ABORTING:
    return branch->hazard ? "operator" : branch->parked ? "participant" : "answer";
  case TXN_BRANCH_READY: return t->core.state == TXN_DELEGATED ? "answer" : NULL;
  case TXN_BRANCH_ACTIVE:
  case TXN_BRANCH_PREPARED:
  case TXN_BRANCH_READ_ONLY:
  case TXN_BRANCH_UNKNOWN:
  case TXN_BRANCH_COMMITTED:
  case TXN_BRANCH_ABORTED:
  case TXN_BRANCH_STATE_COUNT: break;
  }
  return NULL;
}

/* The time of the latest step of a branch, or of all. */
static int64_t latest_us(const struct timeline *timeline, unsigned branch) {
  for (unsigned i = timeline->count; i > 0; i--) {
    const struct step *step = timeline_step(timeline, i - 1);
    if (branch == 0 || step->branch == branch) return step->at_us;
  }
  return 0;
}

static void write_text(struct json_writer *w, const char *key, const char *text) {
  json_key(w, key);
  json_write_string(w, text[0] ? text : NULL);
}

/* `transaction`: of this coordinator's, when it is one's branch. */
static void write_blocker(struct json_writer *w, const struct transaction *t,
                          const struct blocker *blocker, int64_t seen_at_us) {
  struct gid gid;
  bool ours =
      gid_parse(blocker->gid, &gid) && strcmp(gid.cluster.text, t->coordinator->cluster.text) == 0;
  json_object_begin(w);
  write_number(w, "pid", (uint64_t)blocker->pid, blocker->pid > 0);
  write_text(w, "application_name", blocker->application);
  write_text(w, "state", blocker->pid > 0 ? blocker->state : "prepared");
  write_text(w, "gid", blocker->gid);
  write_text(w, "transaction", ours ? gid.txid.text : "");
  json_key(w, "since");
  json_write_time(w, blocker->since_us);
  json_key(w, "seen_at");
  json_write_time(w, seen_at_us);
  json_object_end(w);
}

static void write_blockers(struct json_writer *w, const struct transaction *t,
                           const struct blocked *blocked) {
  json_key(w, "blocked_by");
  json_array_begin(w);
  for (size_t i = 0; blocked && i < blocked->count; i++)
    write_blocker(w, t, &blocked->blockers[i], blocked->seen_at_us);
  json_array_end(w);
}

static void write_wait(struct json_writer *w, const struct transaction *t, unsigned branch,
                       const char *what) {
  const struct transaction_branch *of = branch ? t->branches[branch - 1] : NULL;
  json_object_begin(w);
  json_key(w, "for");
  json_write_string(w, what);
  write_number(w, "branch", branch, branch > 0);
  json_key(w, "participant");
  json_write_string(w, of ? of->member->name : NULL);
  json_key(w, "since");
  json_write_time(w, latest_us(&t->timeline, branch));
  json_key(w, "error");
  render_cause(w, of ? &of->last_error : NULL);
  bool runs = strcmp(what, "statements") == 0 || strcmp(what, "vote") == 0;
  write_blockers(w, t, of && runs ? of->blocked : NULL);
  json_object_end(w);
}

static void write_waits(struct json_writer *w, const struct transaction *t) {
  bool any = false;
  json_array_begin(w);
  for (unsigned i = 0; t && i < t->core.branch_count; i++) {
    const char *what = branch_waits_for(t, i);
    if (what) write_wait(w, t, i + 1, what);
    any = any || what;
  }
  unsigned lacking = 0;
  const char *lacks = t ? slots_wait(t, &lacking) : NULL;
  if (lacks)
    write_wait(w, t, lacking, lacks);
  else if (t && t->core.state == TXN_DECIDING)
    write_wait(w, t, 0, "log");
  else if (t && t->core.state == TXN_OPEN && !any)
    write_wait(w, t, 0, "client");
  json_array_end(w);
}

/* ---- the object ------------------------------------------------------------------------------- */

static void respond_view(struct http_request *request, const struct view *view) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "id");
  json_write_string(&w, view->id);
  json_key(&w, "state");
  json_write_string(&w, view->state);
  json_key(&w, "outcome");
  json_write_string(&w, render_outcome_name(view->outcome));
  json_key(&w, "cause");
  render_cause(&w, view->cause);
  json_key(&w, "source");
  json_write_string(&w, view->source);
  json_key(&w, "dropped");
  json_write_integer(&w, (int64_t)view->timeline->dropped);
  json_key(&w, "waiting_for");
  write_waits(&w, view->live);
  json_key(&w, "steps");
  write_steps(&w, view);
  json_object_end(&w);
  size_t length;
  char *body = json_writer_take(&w, &length);
  http_respond_take(request, 200, "application/json", body, length, NULL, 0);
}

static const char *live_participant(const struct view *view, unsigned branch) {
  const struct transaction *t = view->of;
  return t->branches[branch - 1]->member->name;
}

static const char *past_participant(const struct view *view, unsigned branch) {
  const struct past *past = view->of;
  return branch <= past->branch_count ? past->members[branch - 1]->name : NULL;
}

static const char *record_participant(const struct view *view, unsigned branch) {
  const struct wal_record *record = view->of;
  return branch <= record->branch_count ? record->branches[branch - 1].participant : NULL;
}

/* ---- from the log ----------------------------------------------------------------------------- */

static void add_if_known(struct timeline *timeline, enum step_kind kind, int64_t at_us,
                         const char *detail, const struct cause *error) {
  struct step step = {.at_us = at_us, .detail = detail, .kind = (uint8_t)kind};
  if (error && error->branch > 0) step.branch = (uint8_t)error->branch;
  if (at_us > 0) timeline_add(timeline, &step, error);
}

/* Those up to a time, from `*next` on. */
static void add_lines(struct timeline *timeline, const struct wal_record *record, size_t *next,
                      int64_t until_us) {
  for (; *next < record->line_count && record->lines[*next].at_us <= until_us; ++*next) {
    struct step step;
    struct cause error;
    if (audit_step(&record->lines[*next], &step, &error)) timeline_add(timeline, &step, &error);
  }
}

static void respond_record(struct http_request *request, const struct wal_record *record) {
  struct timeline timeline = {0};
  size_t line = 0;
  const char *outcome = render_outcome_name(record->outcome);
  bool aborted = record->kind == WAL_KIND_ABORTED;
  add_if_known(&timeline, STEP_BEGUN, record->created_at_us, NULL, NULL);
  add_lines(&timeline, record, &line, record->decided_at_us - 1);
  if (aborted)
    add_if_known(&timeline, STEP_ROLLBACK, record->decided_at_us, NULL, &record->cause);
  else if (record->kind == WAL_KIND_COMMIT)
    add_if_known(&timeline, STEP_LOGGED, record->decided_at_us, "durable", NULL);
  else
    add_if_known(&timeline, STEP_OUTCOME, record->decided_at_us, outcome, &record->cause);
  add_lines(&timeline, record, &line, record->applied_at_us ? record->applied_at_us : INT64_MAX);
  add_if_known(&timeline, STEP_ENDED, record->applied_at_us, outcome, NULL);
  add_lines(&timeline, record, &line, INT64_MAX);
  respond_view(request, &(struct view){.id = record->txid.text,
                                       .state = render_record_state_name(record),
                                       .source = "log",
                                       .outcome = record->outcome,
                                       .cause = &record->cause,
                                       .timeline = &timeline,
                                       .participant = record_participant,
                                       .of = record});
  timeline_release(&timeline);
}

static void looked_up(void *data, const struct wal_record *record, const struct error *err) {
  struct http_request *request = data;
  struct error problem = {0};
  if (err) {
    (void)error_set(&problem, ERR_UNAVAILABLE, "the decision log cannot be read now");
    http_respond_error(request, &problem, NULL);
  } else if (!record || !record_is_for(record, http_only_of(request))) {
    respond_no_transaction(request);
  } else {
    respond_record(request, record);
  }
}

/* ---- the route -------------------------------------------------------------------------------- */

void get_timeline(struct http_request *request, void *data) {
  static const char *const no_query[] = {NULL};
  struct routes_context *context = data;
  struct error err = {0};
  struct txid id;
  enum error_code code = http_check_query(request, no_query, &err);
  if (code == ERR_OK && !txid_parse(http_capture(request, 0), &id))
    code =
        error_set(&err, ERR_BAD_ID, "\"%.80s\" is not a transaction id", http_capture(request, 0));
  if (code != ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  struct transaction *t = transaction_find(context->coordinator, &id);
  const struct past *past = t ? NULL : history_find(context->coordinator, &id);
  const char *only_of = http_only_of(request);
  if ((t && !transaction_is_for(t, only_of)) ||
      (past && only_of && strcmp(past->owner, only_of) != 0))
    respond_no_transaction(request);
  else if (t)
    respond_view(request, &(struct view){.id = t->id.text,
                                         .state = txn_state_name(t->core.state),
                                         .source = "memory",
                                         .outcome = transaction_outcome(t),
                                         .cause = &t->cause,
                                         .timeline = &t->timeline,
                                         .participant = live_participant,
                                         .of = t,
                                         .live = t});
  else if (past)
    respond_view(request, &(struct view){.id = past->id.text,
                                         .state = past->state,
                                         .source = "memory",
                                         .outcome = past->outcome,
                                         .cause = past->cause,
                                         .timeline = &past->timeline,
                                         .participant = past_participant,
                                         .of = past});
  else
    wal_look_up(coordinator_wal(context->coordinator), &id, looked_up, request);
}
