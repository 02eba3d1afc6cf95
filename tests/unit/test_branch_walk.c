/* The participant's protocol core: an exhaustive walk over every state that can be reached with every event
 * that can come there. */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"
#include "tests/unit/branch_trace.h"

/* What a driver of the branch has under way, from the actions it was given. */
enum under_way {
  NOTHING,
  A_RUN,
  A_BARRIER,
  A_ROLLBACK,
  A_COMMIT,
  AN_END,
  A_LOOK_UP,
  A_FINISH,
  A_STATUS
};

struct node {
  struct branch branch;
  enum under_way under_way;
};

enum { NODES_MAX = 20000, EVENTS_MAX = 128, SEQUENCES = 3 };
static struct node nodes[NODES_MAX];
static size_t node_count;

static bool same_branch(const struct branch *a, const struct branch *b) {
  return a->state == b->state && a->resume == b->resume && a->stalled == b->stalled &&
         a->closed == b->closed && a->durable == b->durable && a->barrier == b->barrier &&
         a->next_sequence == b->next_sequence && a->end == b->end && a->vote_due == b->vote_due &&
         a->decided == b->decided && a->decision == b->decision && a->xid_told == b->xid_told &&
         a->lost == b->lost && a->finish_lost == b->finish_lost &&
         a->session_gone == b->session_gone;
}

static void visit(const struct node *node) {
  for (size_t i = 0; i < node_count; i++)
    if (nodes[i].under_way == node->under_way && same_branch(&nodes[i].branch, &node->branch))
      return;
  assert(node_count < NODES_MAX);
  nodes[node_count++] = *node;
}

static size_t requests(struct branch_event *out) {
  size_t n = 0;
  for (unsigned sequence = 0; sequence < SEQUENCES; sequence++)
    for (int end = RUN_KEEP_OPEN; end <= RUN_READY; end++)
      for (int statements = 0; statements < 2; statements++)
        out[n++] = EVENT(.kind = BRANCH_EV_RUN, .sequence = sequence, .end = (enum run_end)end,
                         .has_statements = statements);
  for (int decision = DECIDE_ABORT; decision <= DECIDE_ONE_PHASE; decision++) {
    out[n++] = DECIDE((enum decision)decision);
    out[n++] = DECIDE_XID((enum decision)decision);
    out[n++] = DECIDE_OTHER_XID((enum decision)decision);
  }
  out[n++] = ONLY(BRANCH_EV_EXPIRED);
  out[n++] = ONLY(BRANCH_EV_FENCED);
  out[n++] = ONLY(BRANCH_EV_LISTED);
  return n;
}

static size_t run_answers(const struct branch *b, struct branch_event *out) {
  size_t n = 0;
  out[n++] = RAN(RAN_FAILED);
  out[n++] = RAN(RAN_UNKNOWN);
  out[n++] = RAN_XID(RAN_UNKNOWN);
  out[n++] = RAN(RAN_UNWANTED);
  out[n++] = RAN_XID(RAN_UNWANTED);
  if (b->end == RUN_PREPARE) {
    out[n++] = RAN_XID(RAN_PREPARED);
  } else {
    out[n++] = RAN(RAN_OPEN);
    out[n++] = RAN_XID(RAN_OPEN);
  }
  if (b->end != RUN_KEEP_OPEN) out[n++] = RAN(RAN_READ_ONLY);
  return n;
}

/* The answers that what is under way can have. */
static size_t answers(const struct node *node, struct branch_event *out) {
  size_t n = 0;
  switch (node->under_way) {
  case NOTHING:
    if (node->branch.state == BRANCH_ACTIVE || node->branch.state == BRANCH_READY)
      out[n++] = ONLY(BRANCH_EV_LOST);
    break;
  case A_RUN: n = run_answers(&node->branch, out); break;
  case A_BARRIER:
    out[n++] = FLUSHED(true);
    out[n++] = FLUSHED(false);
    break;
  case A_ROLLBACK: out[n++] = ONLY(BRANCH_EV_ROLLED_BACK); break;
  case A_COMMIT:
    out[n++] = COMMITTED(BRANCH_OUTCOME_COMMITTED);
    out[n++] = COMMITTED(BRANCH_OUTCOME_ABORTED);
    out[n++] = COMMITTED(BRANCH_OUTCOME_RETRY);
    break;
  case AN_END:
    out[n++] = ENDED(true);
    out[n++] = ENDED(false);
    break;
  case A_LOOK_UP:
    out[n++] = LOOKED(LOOKED_LOST);
    out[n++] = LOOKED(LOOKED_ABSENT);
    out[n++] = LOOKED(LOOKED_PREPARED);
    out[n++] = LOOKED_OTHER;
    out[n++] = LOOKED(LOOKED_REFUSED);
    out[n++] = LOOKED_OTHERS_REFUSED;
    break;
  case A_FINISH:
    for (int i = FINISH_LOST; i <= FINISH_REFUSED; i++)
      out[n++] = FINISHED((enum session_finished)i);
    out[n++] = FINISH_UNANSWERED;
    break;
  case A_STATUS:
    for (int i = XACT_STATUS_LOST; i <= XACT_STATUS_FORGOTTEN; i++)
      out[n++] = STATUS((enum xact_status)i);
    break;
  }
  return n;
}

static enum under_way begun_by(enum branch_action_kind kind) {
  switch (kind) {
  case BRANCH_DO_RUN: return A_RUN;
  case BRANCH_DO_BARRIER: return A_BARRIER;
  case BRANCH_DO_ROLLBACK: return A_ROLLBACK;
  case BRANCH_DO_COMMIT: return A_COMMIT;
  case BRANCH_DO_END_SESSION: return AN_END;
  case BRANCH_DO_LOOK_UP: return A_LOOK_UP;
  case BRANCH_DO_COMMIT_PREPARED:
  case BRANCH_DO_ROLLBACK_PREPARED: return A_FINISH;
  case BRANCH_DO_ASK_STATUS: return A_STATUS;
  case BRANCH_DO_CANCEL:
  case BRANCH_DO_REPLY_VOTE:
  case BRANCH_DO_REPLY_OUTCOME:
  case BRANCH_DO_REFUSE_RUN:
  case BRANCH_DO_REFUSE_DECISION:
  case BRANCH_DO_JOIN:
  case BRANCH_DO_FORGET: return NOTHING;
  }
  return NOTHING;
}

static size_t count_of(const struct branch_actions *actions, enum branch_action_kind kind) {
  size_t n = 0;
  for (size_t i = 0; i < actions->count; i++)
    n += actions->items[i].kind == kind;
  return n;
}

static bool has_vote(const struct branch_actions *actions, enum vote vote) {
  for (size_t i = 0; i < actions->count; i++)
    if (actions->items[i].kind == BRANCH_DO_REPLY_VOTE && actions->items[i].vote == vote)
      return true;
  return false;
}

/* An outcome names the decision that waited, or the one that is answered at once. */
static bool outcomes_name_their_decision(const struct branch *was, const struct branch_event *event,
                                         const struct branch_actions *actions) {
  enum decision waited = was->decided ? was->decision : event->decision;
  for (size_t i = 0; i < actions->count; i++)
    if (actions->items[i].kind == BRANCH_DO_REPLY_OUTCOME &&
        (actions->items[i].decision != waited ||
         (!was->decided && event->kind != BRANCH_EV_DECIDE)))
      return false;
  return true;
}

static void explain(const struct node *before, const struct branch_event *event,
                    const struct branch_actions *actions, const struct branch *after) {
  (void)fprintf(stderr, "\n  %s, event %d (decision %d, sequence %u) -> %s:",
                branch_state_name(before->branch.state), event->kind, event->decision,
                event->sequence, branch_state_name(after->state));
  for (size_t i = 0; i < actions->count; i++)
    (void)fprintf(stderr, " %s", trace_action(&actions->items[i]));
  (void)fprintf(stderr, "\n");
}

/* Invariants 1 to 5 of branch.h on one step. */
static bool holds(const struct node *before, const struct branch_event *event,
                  const struct branch_actions *actions, const struct node *after, size_t begun) {
  const struct branch *was = &before->branch, *is = &after->branch;
  bool one_at_a_time = begun <= 1 && (begun == 0 || before->under_way == NOTHING);
  bool resting_owes_nothing = after->under_way != NOTHING || (!is->vote_due && !is->decided);
  bool same_xid_only =
      count_of(actions, BRANCH_DO_COMMIT_PREPARED) == 0 ||
      (event->same_xid &&
       ((event->kind == BRANCH_EV_DECIDE && was->state == BRANCH_PREPARED && !was->finish_lost) ||
        (event->kind == BRANCH_EV_LOOKED &&
         (event->looked == LOOKED_PREPARED || event->looked == LOOKED_REFUSED))));
  bool yes_is_prepared = !has_vote(actions, VOTE_YES) ||
                         (is->state == BRANCH_ACTIVE && is->end == RUN_KEEP_OPEN && !is->closed) ||
                         (is->state == BRANCH_PREPARED && is->durable && !is->closed);
  bool ready_is_flushed =
      !has_vote(actions, VOTE_READY) ||
      (is->state == BRANCH_READY && !is->closed && !is->session_gone &&
       (was->state == BRANCH_READY || (event->kind == BRANCH_EV_FLUSHED && event->ok)));
  bool refused_is_no_vote = event->kind != BRANCH_EV_LOOKED || event->looked != LOOKED_REFUSED ||
                            count_of(actions, BRANCH_DO_REPLY_VOTE) == 0 ||
                            has_vote(actions, VOTE_UNKNOWN);
  bool ended_takes_no_run =
      count_of(actions, BRANCH_DO_RUN) == 0 ||
      (!was->closed && (was->state == BRANCH_NONE || was->state == BRANCH_ACTIVE));
  /* Every request that comes is answered, joined, or what is begun for it leaves it waiting. */
  bool run_kept = event->kind != BRANCH_EV_RUN ||
                  count_of(actions, BRANCH_DO_REFUSE_RUN) + count_of(actions, BRANCH_DO_JOIN) +
                          count_of(actions, BRANCH_DO_REPLY_VOTE) + begun ==
                      1;
  bool decision_kept = event->kind != BRANCH_EV_DECIDE ||
                       count_of(actions, BRANCH_DO_CANCEL) +
                               count_of(actions, BRANCH_DO_REFUSE_DECISION) +
                               count_of(actions, BRANCH_DO_JOIN) +
                               count_of(actions, BRANCH_DO_REPLY_OUTCOME) + begun ==
                           1;
  bool answered =
      (!was->vote_due || is->vote_due || count_of(actions, BRANCH_DO_REPLY_VOTE) == 1) &&
      (!was->decided || is->decided || count_of(actions, BRANCH_DO_REPLY_OUTCOME) == 1);
  bool forgotten_is_none =
      count_of(actions, BRANCH_DO_FORGET) == 0 ||
      (is->state == BRANCH_NONE && actions->items[actions->count - 1].kind == BRANCH_DO_FORGET);
  return outcomes_name_their_decision(was, event, actions) && one_at_a_time &&
         resting_owes_nothing && same_xid_only && yes_is_prepared && ready_is_flushed &&
         refused_is_no_vote && ended_takes_no_run && run_kept && decision_kept && answered &&
         forgotten_is_none;
}

static bool take(const struct node *before, const struct branch_event *event, bool is_answer) {
  struct node after = *before;
  struct branch_actions actions;
  branch_step(&after.branch, event, &actions);
  struct node was = *before;
  if (is_answer) was.under_way = after.under_way = NOTHING;
  size_t begun = 0;
  for (size_t i = 0; i < actions.count; i++) {
    enum under_way begins = begun_by(actions.items[i].kind);
    if (begins == NOTHING) continue;
    begun++;
    after.under_way = begins;
  }
  visit(&after);
  if (holds(&was, event, &actions, &after, begun)) return true;
  explain(before, event, &actions, &after.branch);
  return false;
}

/* Walks everything once, whichever case comes first; returns how many steps broke an invariant. */
static size_t explore(void) {
  static size_t bad;
  if (node_count > 0) return bad;
  struct node start = {.under_way = NOTHING};
  branch_init(&start.branch);
  visit(&start);
  for (size_t i = 0; i < node_count; i++) {
    struct branch_event events[EVENTS_MAX];
    struct node node = nodes[i];
    size_t n = requests(events);
    for (size_t k = 0; k < n; k++)
      bad += !take(&node, &events[k], false);
    n = answers(&node, events);
    for (size_t k = 0; k < n; k++)
      bad += !take(&node, &events[k], true);
    struct branch_event lost = ONLY(BRANCH_EV_LOST); /* the barrier stays under way */
    if (node.under_way == A_BARRIER && !node.branch.session_gone) bad += !take(&node, &lost, false);
  }
  return bad;
}

static void every_event_in_every_reachable_state_keeps_the_invariants(void) {
  CU_ASSERT_EQUAL(explore(), 0);
  bool reached[BRANCH_STATE_COUNT] = {false};
  for (size_t i = 0; i < node_count; i++)
    reached[nodes[i].branch.state] = true;
  for (int state = 0; state < BRANCH_STATE_COUNT; state++)
    CU_ASSERT_TRUE(reached[state]);
}

static bool has_ended(const struct branch *b) {
  return b->state == BRANCH_NONE || b->state == BRANCH_COMMITTED || b->state == BRANCH_ABORTED ||
         b->state == BRANCH_READ_ONLY;
}

/* What a database in good health answers, and a coordinator that goes on asking. */
static struct branch_event good_event(const struct node *node) {
  switch (node->under_way) {
  case A_RUN: return RAN(RAN_FAILED);
  case A_BARRIER: return FLUSHED(true);
  case A_ROLLBACK: return ONLY(BRANCH_EV_ROLLED_BACK);
  case A_COMMIT: return COMMITTED(BRANCH_OUTCOME_COMMITTED);
  case AN_END: return ENDED(true);
  case A_LOOK_UP: return LOOKED(LOOKED_ABSENT);
  case A_FINISH: return FINISHED(FINISH_DONE);
  case A_STATUS: return STATUS(XACT_STATUS_COMMITTED);
  case NOTHING: break;
  }
  return DECIDE(node->branch.lost == AFTER_LOST_COMMIT ? DECIDE_ONE_PHASE : DECIDE_ABORT);
}

static void every_reachable_state_comes_to_an_end(void) {
  (void)explore();
  size_t stuck = 0;
  for (size_t i = 0; i < node_count; i++) {
    struct node node = nodes[i];
    for (int steps = 0; steps < 12 && !(node.under_way == NOTHING && has_ended(&node.branch));
         steps++) {
      struct branch_event event = good_event(&node);
      struct branch_actions actions;
      branch_step(&node.branch, &event, &actions);
      node.under_way = NOTHING;
      for (size_t k = 0; k < actions.count; k++)
        if (begun_by(actions.items[k].kind) != NOTHING)
          node.under_way = begun_by(actions.items[k].kind);
    }
    stuck += !(node.under_way == NOTHING && has_ended(&node.branch));
  }
  CU_ASSERT_EQUAL(stuck, 0);
}

/* Does the step abort the process? Tried in a child. */
static bool asserts(const struct branch *branch, const struct branch_event *event) {
  pid_t child = fork();
  CU_ASSERT_FATAL(child >= 0);
  if (child == 0) {
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    int null = open("/dev/null", O_WRONLY);
    if (null >= 0) (void)dup2(null, STDERR_FILENO);
    struct branch b = *branch;
    struct branch_actions actions;
    branch_step(&b, event, &actions);
    _exit(0);
  }
  int status = 0;
  CU_ASSERT_FATAL(waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status);
}

static void answers_to_what_was_not_asked_are_refused(void) {
  static const struct {
    struct branch_event event;
    unsigned states; /* where it is possible */
  } cases[] = {
      {{.kind = BRANCH_EV_RAN, .ran = RAN_FAILED}, 1U << BRANCH_RUNNING | 1U << BRANCH_PREPARING},
      {{.kind = BRANCH_EV_LOST}, 1U << BRANCH_ACTIVE | 1U << BRANCH_FLUSHING | 1U << BRANCH_READY},
      {{.kind = BRANCH_EV_FLUSHED, .ok = true}, 1U << BRANCH_FLUSHING},
      {{.kind = BRANCH_EV_ROLLED_BACK}, 1U << BRANCH_ABORTING},
      {{.kind = BRANCH_EV_COMMITTED, .outcome = BRANCH_OUTCOME_COMMITTED},
       1U << BRANCH_COMMITTING_ONE},
      {{.kind = BRANCH_EV_SESSION_ENDED, .ok = true}, 1U << BRANCH_ENDING_SESSION},
      {{.kind = BRANCH_EV_LOOKED, .looked = LOOKED_ABSENT}, 1U << BRANCH_LOOKING_UP},
      {{.kind = BRANCH_EV_FINISHED, .finished = FINISH_DONE},
       1U << BRANCH_COMMITTING | 1U << BRANCH_ABORTING},
      {{.kind = BRANCH_EV_STATUS, .status = XACT_STATUS_ABORTED}, 1U << BRANCH_VERIFYING},
  };
  bool tried[BRANCH_STATE_COUNT] = {false};
  (void)explore();
  for (size_t i = 0; i < node_count; i++) {
    const struct branch *b = &nodes[i].branch;
    if (tried[b->state] || b->stalled) continue;
    tried[b->state] = true;
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++)
      CU_ASSERT_EQUAL(asserts(b, &cases[k].event), !(cases[k].states & 1U << b->state));
  }
}

SUITE(branch_walk, CASE(every_event_in_every_reachable_state_keeps_the_invariants),
      CASE(every_reachable_state_comes_to_an_end), CASE(answers_to_what_was_not_asked_are_refused))
