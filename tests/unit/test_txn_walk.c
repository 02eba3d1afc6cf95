/* The coordinator's protocol core, exhaustively: breadth first over every state that one, two or
 * three branches (each internal or external) can reach, with every event that a world which answers
 * each request once may bring there, in every order: votes after the abort, lost answers, a log
 * that refuses or does not know, outcomes against the decision, rollback at any time.
 *
 * The world is a model of its own: it knows only what was sent, answered and made durable, and
 * judges each step of the core by that. A state is core and world together, packed into 64 bits, so
 * that two states are the same exactly when nothing can tell them apart.
 *
 * Limits: three branches; a branch is retried without end, so the walk ends because states repeat.
 */
#include "coordinator/txn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"

enum { BRANCHES_MAX = 3, TABLE_BITS = 17, TABLE_SIZE = 1 << TABLE_BITS, EVENTS_MAX = 64 };

/* What the world has seen of a branch. */
struct seen {
  bool sent;     /* it may exist at its agent */
  bool said_yes; /* yes, ready or read only: it has promised what commit needs */
  bool running;  /* a vote will come */
  bool deciding; /* an outcome will come */
  bool parked;   /* a retry will come */
  bool gone;     /* proven to have ended */
};

struct world {
  struct txn txn;
  struct seen seen[BRANCHES_MAX];
  bool logging;    /* the log's answer will come */
  bool log_asked;  /* the one decision was taken */
  bool delegation; /* and which it was */
  bool durable;    /* the record is in the log */
  bool abort_sent, commit_sent;
  bool against; /* some branch has ended against the decision */
  bool halted, ended;
};

/* ---- packing --------------------------------------------------------------------------------- */

static uint64_t put(uint64_t key, unsigned value, unsigned bits) {
  return key << bits | value;
}

static unsigned take(uint64_t *key, unsigned bits) {
  unsigned value = (unsigned)(*key & ((1U << bits) - 1));
  *key >>= bits;
  return value;
}

static uint64_t pack(const struct world *w) {
  uint64_t key = 1; /* never 0, which marks a free slot */
  for (unsigned i = 0; i < BRANCHES_MAX; i++) {
    const struct seen *s = &w->seen[i];
    bool exists = i < w->txn.branch_count;
    key = put(key, exists ? w->txn.branches[i].state : 0, 4);
    key = put(key, exists && w->txn.branches[i].external, 1);
    key = put(key, exists && w->txn.branches[i].sent, 1);
    key = put(put(put(key, s->sent, 1), s->said_yes, 1), s->running, 1);
    key = put(put(put(key, s->deciding, 1), s->parked, 1), s->gone, 1);
  }
  key = put(put(put(key, w->txn.state, 4), w->txn.mixed, 1), w->txn.branch_count, 2);
  key = put(put(put(put(key, w->logging, 1), w->log_asked, 1), w->delegation, 1), w->durable, 1);
  key = put(put(put(key, w->abort_sent, 1), w->commit_sent, 1), w->against, 1);
  return put(put(key, w->halted, 1), w->ended, 1);
}

static struct world unpack(uint64_t key) {
  struct world w = {.ended = take(&key, 1)};
  w.halted = take(&key, 1);
  w.against = take(&key, 1);
  w.commit_sent = take(&key, 1);
  w.abort_sent = take(&key, 1);
  w.durable = take(&key, 1);
  w.delegation = take(&key, 1);
  w.log_asked = take(&key, 1);
  w.logging = take(&key, 1);
  w.txn.branch_count = take(&key, 2);
  w.txn.mixed = take(&key, 1);
  w.txn.state = take(&key, 4);
  for (unsigned i = BRANCHES_MAX; i-- > 0;) {
    struct seen *s = &w.seen[i];
    s->gone = take(&key, 1);
    s->parked = take(&key, 1);
    s->deciding = take(&key, 1);
    s->running = take(&key, 1);
    s->said_yes = take(&key, 1);
    s->sent = take(&key, 1);
    w.txn.branches[i].sent = take(&key, 1);
    w.txn.branches[i].external = take(&key, 1);
    w.txn.branches[i].state = take(&key, 4);
  }
  return w;
}

/* ---- what may happen ------------------------------------------------------------------------- */

struct events {
  struct txn_event items[EVENTS_MAX];
  size_t count;
};

static void may(struct events *events, struct txn_event event) {
  if (events->count == EVENTS_MAX) abort();
  events->items[events->count++] = event;
}

static void may_of_client(const struct world *w, unsigned branches, struct events *events) {
  bool idle = w->txn.branch_count > 0;
  may(events, (struct txn_event){.kind = TXN_EV_ROLLBACK});
  if (w->txn.state != TXN_OPEN) return;
  for (unsigned external = 0; external < 2 && w->txn.branch_count < branches; external++)
    may(events, (struct txn_event){.kind = TXN_EV_ENLIST, .external = external});
  for (unsigned i = 0; i < w->txn.branch_count; i++) {
    idle = idle && !w->seen[i].running;
    if (!w->seen[i].running && !w->txn.branches[i].external)
      may(events, (struct txn_event){.kind = TXN_EV_STATEMENT, .branch = i + 1});
  }
  if (idle) may(events, (struct txn_event){.kind = TXN_EV_COMMIT});
}

static void may_of_branch(const struct seen *s, unsigned id, struct events *events) {
  for (enum vote vote = VOTE_UNKNOWN; s->running && vote <= VOTE_READY; vote++)
    for (unsigned xid = 0; xid < 2; xid++)
      may(events, (struct txn_event){.kind = TXN_EV_VOTE, .branch = id, .vote = vote, .xid = xid});
  for (enum branch_outcome outcome = BRANCH_OUTCOME_RETRY;
       s->deciding && outcome <= BRANCH_OUTCOME_UNVERIFIABLE; outcome++)
    may(events, (struct txn_event){.kind = TXN_EV_OUTCOME, .branch = id, .outcome = outcome});
  if (s->parked) may(events, (struct txn_event){.kind = TXN_EV_RETRY, .branch = id});
}

static void may_happen(const struct world *w, unsigned branches, struct events *events) {
  events->count = 0;
  if (!w->ended) may_of_client(w, branches, events);
  for (enum wal_result logged = WAL_UNKNOWN; w->logging && logged <= WAL_DURABLE; logged++)
    may(events, (struct txn_event){.kind = TXN_EV_LOGGED, .logged = logged});
  for (unsigned i = 0; i < w->txn.branch_count; i++)
    may_of_branch(&w->seen[i], i + 1, events);
}

/* ---- what must hold -------------------------------------------------------------------------- */

#define MUST(condition, rule)                                                                      \
  do                                                                                               \
    if (!(condition)) return rule;                                                                 \
  while (0)

static bool is_end(enum branch_outcome outcome) {
  return outcome == BRANCH_OUTCOME_COMMITTED || outcome == BRANCH_OUTCOME_ABORTED;
}

/* Against what is in the log, or, with nothing there, against presumed abort. A delegated branch
 * decides itself: nothing it says is against anything. */
static bool is_against(const struct world *w, const struct txn_event *event) {
  if (event->kind != TXN_EV_OUTCOME || !is_end(event->outcome) || w->delegation) return false;
  return (event->outcome == BRANCH_OUTCOME_COMMITTED) != w->durable;
}

/* The event, as the world knows it before the core sees it. */
static void world_before(struct world *w, const struct txn_event *event) {
  struct seen *s = event->branch ? &w->seen[event->branch - 1] : NULL;
  bool undecided = txn_is_undecided(&w->txn), preparing = w->txn.state == TXN_PREPARING;
  switch (event->kind) {
  case TXN_EV_ENLIST: w->seen[w->txn.branch_count].sent = event->external; return;
  case TXN_EV_VOTE:
    s->running = false;
    if (!undecided) return;
    if (event->vote == VOTE_NO || (preparing && event->vote == VOTE_READ_ONLY)) s->gone = true;
    s->said_yes =
        preparing && (event->vote == VOTE_READ_ONLY ||
                      (event->xid && (event->vote == VOTE_YES || event->vote == VOTE_READY)));
    return;
  case TXN_EV_LOGGED:
    w->logging = false;
    w->durable = event->logged == WAL_DURABLE;
    if (event->logged == WAL_REFUSED) w->delegation = false; /* proven absent */
    return;
  case TXN_EV_OUTCOME:
    s->deciding = false;
    if (is_end(event->outcome)) s->gone = true;
    if (is_against(w, event)) w->against = true;
    return;
  case TXN_EV_RETRY: s->parked = false; return;
  case TXN_EV_STATEMENT:
  case TXN_EV_COMMIT:
  case TXN_EV_ROLLBACK: return;
  }
}

static const char *judge_decide(struct world *w, unsigned id, enum decision decision) {
  struct seen *s = &w->seen[id - 1];
  MUST(!s->deciding && !s->parked, "one decision at a time is under way to a branch");
  MUST(!s->gone, "a branch that has ended is not told again");
  s->deciding = true;
  switch (decision) {
  case DECIDE_ABORT:
    MUST(!w->durable && !w->logging && !w->commit_sent, "no abort once a commit may be in the log");
    w->abort_sent = true;
    return NULL;
  case DECIDE_COMMIT:
  case DECIDE_ONE_PHASE: break;
  }
  MUST(w->durable, "no commit before its decision is durable");
  MUST(!w->abort_sent, "no commit after an abort");
  MUST((decision == DECIDE_ONE_PHASE) == w->delegation, "what is sent is what is in the log");
  w->commit_sent = true;
  return NULL;
}

static const char *judge_log(struct world *w, enum wal_kind kind) {
  MUST(!w->log_asked && !w->abort_sent, "at most one decision");
  for (unsigned i = 0; i < w->txn.branch_count; i++)
    MUST(w->seen[i].said_yes, "commit only with a yes of every branch");
  w->log_asked = w->logging = true;
  w->delegation = kind == WAL_KIND_DELEGATED;
  MUST(kind != WAL_KIND_ABORTED, "an abort is no decision");
  MUST(!w->delegation || (w->txn.branch_count == 1 && !w->seen[0].gone),
       "only a sole branch that wrote decides itself");
  return NULL;
}

static const char *judge_end(struct world *w) {
  MUST(!w->ended, "a transaction ends once");
  for (unsigned i = 0; i < w->txn.branch_count; i++)
    MUST(w->seen[i].gone || !w->seen[i].sent, "the end comes when every branch has ended");
  w->ended = true;
  return NULL;
}

static const char *judge_action(struct world *w, const struct txn_event *event,
                                const struct txn_action *action) {
  struct seen *s = action->branch ? &w->seen[action->branch - 1] : NULL;
  switch (action->kind) {
  case TXN_DO_RUN:
    MUST(!s->running && !w->abort_sent && !w->log_asked, "nothing runs after the votes");
    s->running = s->sent = true;
    return NULL;
  case TXN_DO_LOG: return judge_log(w, action->log_kind);
  case TXN_DO_DECIDE: return judge_decide(w, action->branch, action->decision);
  case TXN_DO_PARK:
    MUST(event->kind == TXN_EV_OUTCOME && event->branch == action->branch && !s->gone,
         "what is parked has not ended");
    s->parked = true;
    return NULL;
  case TXN_DO_CONFIRM:
    MUST(event->branch == action->branch && s->gone && action->outcome == event->outcome,
         "only what a branch has said is confirmed");
    return NULL;
  case TXN_DO_ALARM:
    MUST(event->branch == action->branch && action->outcome == event->outcome &&
             (is_against(w, event) || event->outcome == BRANCH_OUTCOME_UNVERIFIABLE),
         "an alarm has a reason");
    return NULL;
  case TXN_DO_END: return judge_end(w);
  case TXN_DO_HALT:
    MUST(event->kind == TXN_EV_LOGGED && event->logged == WAL_UNKNOWN, "halt only on a lost log");
    w->halted = true;
    return NULL;
  }
  return "an action";
}

static bool has_action(const struct txn_actions *actions, enum txn_action_kind kind,
                       unsigned branch) {
  for (size_t i = 0; i < actions->count; i++)
    if (actions->items[i].kind == kind && actions->items[i].branch == branch) return true;
  return false;
}

/* What the state says to readers is what the log and the branches say. */
static const char *judge_state(const struct world *w) {
  const struct txn *txn = &w->txn;
  const char *name = txn_state_name(txn->state);
  MUST(!w->durable || txn->state == TXN_DELEGATED || txn->state == TXN_COMMITTING || w->ended,
       "a durable decision is kept");
  MUST(txn->state != TXN_COMMITTING || (w->durable && !w->delegation), "committing is durable");
  MUST(txn->state != TXN_COMMITTED || w->durable, "committed is durable");
  MUST(txn->state != TXN_ABORTED || !w->durable || w->delegation, "no durable commit is aborted");
  MUST((txn->state == TXN_STUCK) == w->halted, "stuck is halted");
  MUST((strcmp(name, "committed") == 0 || strcmp(name, "aborted") == 0) == w->ended,
       "the final name is told at the end");
  MUST(txn->mixed == w->against, "mixed exactly after an outcome against the decision");
  for (unsigned i = 0; i < txn->branch_count; i++) {
    const struct seen *s = &w->seen[i];
    bool phase_two =
        txn->state == TXN_COMMITTING || txn->state == TXN_DELEGATED || txn->state == TXN_ABORTING;
    MUST(!phase_two || s->gone || !s->sent || s->deciding || s->parked,
         "in phase two every branch is asked until it has ended");
    MUST(txn->state != TXN_PREPARING || s->running || s->said_yes, "every missing vote will come");
  }
  MUST(txn->state != TXN_DECIDING || w->logging, "the log's answer will come");
  return NULL;
}

/* Steps the core and moves the world; NULL, or the rule that was broken. */
static const char *world_step(struct world *w, const struct txn_event *event) {
  struct txn_actions actions;
  bool was_halted = w->halted, was_ended = w->ended, was_undecided = txn_is_undecided(&w->txn);
  enum txn_state was = w->txn.state;
  world_before(w, event);
  txn_step(&w->txn, event, &actions);
  MUST(!(was_halted || was_ended) || (actions.count == 0 && w->txn.state == was),
       "stuck and ended transactions do nothing");
  for (size_t i = 0; i < actions.count; i++) {
    const char *broken = judge_action(w, event, &actions.items[i]);
    if (broken) return broken;
  }
  bool aborts = w->txn.state == TXN_ABORTING || w->txn.state == TXN_ABORTED;
  if (event->kind == TXN_EV_ROLLBACK)
    MUST(was_undecided ? aborts : actions.count == 0, "a rollback aborts what is undecided");
  if (event->kind == TXN_EV_VOTE && was_undecided)
    MUST(aborts || (event->vote != VOTE_NO && event->vote != VOTE_UNKNOWN),
         "without a yes the transaction aborts");
  if (event->kind == TXN_EV_OUTCOME) {
    MUST(has_action(&actions, TXN_DO_CONFIRM, event->branch) == is_end(event->outcome),
         "every end is confirmed");
    MUST(has_action(&actions, TXN_DO_ALARM, event->branch) ==
             (is_against(w, event) || event->outcome == BRANCH_OUTCOME_UNVERIFIABLE),
         "every hazard is alarmed");
  }
  return judge_state(w);
}

/* ---- the walk -------------------------------------------------------------------------------- */

struct node {
  uint64_t key;
  size_t parent;
  struct txn_event event;
};

struct walk {
  uint64_t *table; /* the keys found; open addressing */
  struct node *nodes;
  size_t count, steps;
  unsigned states, branch_states; /* seen, as bits */
};

static void walk_add(struct walk *walk, uint64_t key, size_t parent, struct txn_event event) {
  size_t at = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> (64 - TABLE_BITS));
  while (walk->table[at] != 0 && walk->table[at] != key)
    at = (at + 1) % TABLE_SIZE;
  if (walk->table[at] == key) return;
  CU_ASSERT_FATAL(walk->count < TABLE_SIZE * 3 / 4);
  struct world whole = unpack(key);
  CU_ASSERT_FATAL(pack(&whole) == key);
  walk->table[at] = key;
  walk->nodes[walk->count++] = (struct node){key, parent, event};
}

static void tell_event(const struct txn_event *event) {
  static const char *const names[] = {"enlist", "statement", "commit",  "rollback",
                                      "vote",   "logged",    "outcome", "retry"};
  static const char *const logged[] = {"unknown", "refused", "durable"};
  (void)fprintf(stderr, "    %s", names[event->kind]);
  if (event->branch) (void)fprintf(stderr, " %u", event->branch);
  if (event->external) (void)fprintf(stderr, " external");
  if (event->kind == TXN_EV_VOTE)
    (void)fprintf(stderr, " %d%s", (int)event->vote, event->xid ? " with xid" : "");
  if (event->kind == TXN_EV_LOGGED) (void)fprintf(stderr, " %s", logged[event->logged]);
  if (event->kind == TXN_EV_OUTCOME) (void)fprintf(stderr, " %d", (int)event->outcome);
  (void)fprintf(stderr, "\n");
}

static void tell_trace(const struct walk *walk, size_t at, const struct txn_event *last,
                       const char *rule) {
  size_t path[256], length = 0;
  (void)fprintf(stderr, "\n  broken: %s\n", rule);
  for (size_t i = at; walk->nodes[i].parent != i && length < 256; i = walk->nodes[i].parent)
    path[length++] = i;
  while (length > 0)
    tell_event(&walk->nodes[path[--length]].event);
  tell_event(last);
}

static void walk_from(struct walk *walk, size_t at, unsigned branches) {
  struct world before = unpack(walk->nodes[at].key);
  struct events events;
  walk->states |= 1U << before.txn.state;
  for (unsigned i = 0; i < before.txn.branch_count; i++)
    walk->branch_states |= 1U << before.txn.branches[i].state;
  may_happen(&before, branches, &events);
  for (size_t i = 0; i < events.count; i++) {
    struct world w = before;
    const char *broken = world_step(&w, &events.items[i]);
    walk->steps++;
    if (broken) {
      tell_trace(walk, at, &events.items[i], broken);
      CU_FAIL_FATAL(broken);
    }
    walk_add(walk, pack(&w), at, events.items[i]);
  }
}

static struct walk walk_new(void) {
  struct walk walk = {.table = calloc(TABLE_SIZE, sizeof *walk.table),
                      .nodes = calloc(TABLE_SIZE, sizeof *walk.nodes)};
  CU_ASSERT_FATAL(walk.table && walk.nodes);
  return walk;
}

static void walk_all(struct walk *walk, unsigned branches) {
  for (size_t at = 0; at < walk->count; at++)
    walk_from(walk, at, branches);
}

static void walk_free(struct walk *walk) {
  free(walk->nodes);
  free(walk->table);
}

/* Nothing was left out: every state of the core was met. */
static void walk_opened(unsigned branches, unsigned states, unsigned branch_states) {
  struct walk walk = walk_new();
  struct world start = {0};
  txn_init(&start.txn);
  walk_add(&walk, pack(&start), 0, (struct txn_event){0});
  walk_all(&walk, branches);
  CU_ASSERT_EQUAL(walk.states, states);
  CU_ASSERT_EQUAL(walk.branch_states, branch_states);
  walk_free(&walk);
}

enum {
  STATES_ALL = (1 << TXN_STATE_COUNT) - 1,
  /* A branch whose vote is missing is aborted in the same step: UNKNOWN is never at rest. */
  BRANCH_STATES_ALL = ((1 << TXN_BRANCH_STATE_COUNT) - 1) & ~(1 << TXN_BRANCH_UNKNOWN)
};

static void one_branch_keeps_every_rule_in_every_state(void) {
  walk_opened(1, STATES_ALL, BRANCH_STATES_ALL);
}

static void two_branches_keep_every_rule_in_every_state(void) {
  walk_opened(2, STATES_ALL, BRANCH_STATES_ALL);
}

static void three_branches_keep_every_rule_in_every_state(void) {
  walk_opened(3, STATES_ALL, BRANCH_STATES_ALL);
}

/* ---- recovered ------------------------------------------------------------------------------- */

/* The world as the record tells it, and the core's answer to it judged. */
static const char *world_recover(struct world *w, const struct wal_record *record) {
  struct txn_actions actions;
  bool waits = false;
  *w = (struct world){.log_asked = true, .durable = true, .commit_sent = true};
  w->delegation = record->kind == WAL_KIND_DELEGATED;
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *b = &record->branches[i];
    w->seen[i] = (struct seen){.sent = true, .said_yes = true};
    w->seen[i].gone = b->read_only || b->confirmed;
    w->seen[i].parked = !w->seen[i].gone;
    waits = waits || w->seen[i].parked;
    if (b->confirmed && b->outcome == BRANCH_OUTCOME_ABORTED && !w->delegation) w->against = true;
  }
  txn_recover(&w->txn, record, &actions);
  for (unsigned i = 0; i < record->branch_count; i++)
    MUST(has_action(&actions, TXN_DO_PARK, i + 1) == w->seen[i].parked,
         "exactly the branches without an outcome are parked");
  w->ended = has_action(&actions, TXN_DO_END, 0);
  MUST(w->ended == !waits, "a record ends when all its branches have ended");
  return judge_state(w);
}

static void recover_each(struct walk *walk, enum wal_kind kind, unsigned branches) {
  enum { SHAPES = 4 }; /* of a branch: waiting, committed, aborted, read only */
  unsigned records = 1;
  for (unsigned i = 0; i < branches; i++)
    records *= SHAPES;
  for (unsigned number = 0; number < records; number++) {
    struct wal_branch list[BRANCHES_MAX];
    unsigned left = number;
    for (unsigned i = 0; i < branches; i++, left /= SHAPES) {
      unsigned shape = left % SHAPES;
      list[i] = (struct wal_branch){.id = i + 1,
                                    .read_only = shape == 3,
                                    .confirmed = shape == 1 || shape == 2,
                                    .outcome = shape == 1   ? BRANCH_OUTCOME_COMMITTED
                                               : shape == 2 ? BRANCH_OUTCOME_ABORTED
                                                            : BRANCH_OUTCOME_RETRY};
    }
    if (kind == WAL_KIND_DELEGATED && list[0].read_only) continue; /* never written */
    struct wal_record record = {.kind = kind, .branches = list, .branch_count = branches};
    struct world w;
    const char *broken = world_recover(&w, &record);
    if (broken) (void)fprintf(stderr, "\n  broken: %s (record %u)\n", broken, number);
    CU_ASSERT_PTR_NULL_FATAL(broken);
    walk_add(walk, pack(&w), walk->count, (struct txn_event){0});
  }
}

static void every_recovered_record_keeps_every_rule(void) {
  struct walk walk = walk_new();
  recover_each(&walk, WAL_KIND_DELEGATED, 1);
  for (unsigned branches = 1; branches <= BRANCHES_MAX; branches++)
    recover_each(&walk, WAL_KIND_COMMIT, branches);
  walk_all(&walk, BRANCHES_MAX);
  CU_ASSERT_EQUAL(walk.states, 1U << TXN_COMMITTING | 1U << TXN_COMMITTED | 1U << TXN_DELEGATED |
                                   1U << TXN_ABORTED);
  walk_free(&walk);
}

SUITE(txn_walk, CASE(one_branch_keeps_every_rule_in_every_state),
      CASE(two_branches_keep_every_rule_in_every_state),
      CASE(three_branches_keep_every_rule_in_every_state),
      CASE(every_recovered_record_keeps_every_rule))
