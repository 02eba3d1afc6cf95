/* See coverage.h. */
#include "tests/sim/coverage.h"

#include <assert.h>
#include <string.h>

#include "tests/sim/aim.h"

static const char *const txn_states[TXN_STATE_COUNT] = {
    [TXN_OPEN] = "open",           [TXN_PREPARING] = "preparing",   [TXN_DECIDING] = "deciding",
    [TXN_DELEGATED] = "delegated", [TXN_COMMITTING] = "committing", [TXN_COMMITTED] = "committed",
    [TXN_ABORTING] = "aborting",   [TXN_ABORTED] = "aborted",       [TXN_STUCK] = "stuck"};

/* An event's name, and its variants' in the order of their enum. */
struct kind {
  const char *name;
  unsigned first, count;
  const char *variants[6];
};

static const struct kind txn_kinds[] = {
    [TXN_EV_ENLIST] = {"enlist", 0, 2, {"internal", "external"}},
    [TXN_EV_STATEMENT] = {"statement", 2, 1, {""}},
    [TXN_EV_COMMIT] = {"commit", 3, 1, {""}},
    [TXN_EV_ROLLBACK] = {"rollback", 4, 1, {""}},
    [TXN_EV_VOTE] = {"vote", 5, 5, {"unknown", "no", "yes", "read-only", "ready"}},
    [TXN_EV_LOGGED] = {"logged", 10, 3, {"unknown", "refused", "durable"}},
    [TXN_EV_OUTCOME] = {"outcome", 13, 4, {"retry", "committed", "aborted", "unverifiable"}},
    [TXN_EV_RETRY] = {"retry", 17, 1, {""}},
};

static const struct kind branch_kinds[] = {
    [BRANCH_EV_RUN] = {"run", 0, 3, {"keep-open", "prepare", "ready"}},
    [BRANCH_EV_RAN] = {"ran",
                       3,
                       6,
                       {"unknown", "failed", "open", "prepared", "read-only", "unwanted"}},
    [BRANCH_EV_FLUSHED] = {"flushed", 9, 2, {"not", "ok"}},
    [BRANCH_EV_LOST] = {"lost", 11, 1, {""}},
    [BRANCH_EV_EXPIRED] = {"expired", 12, 1, {""}},
    [BRANCH_EV_FENCED] = {"fenced", 13, 1, {""}},
    [BRANCH_EV_DECIDE] = {"decide", 14, 3, {"abort", "commit", "one-phase"}},
    [BRANCH_EV_ROLLED_BACK] = {"rolled-back", 17, 1, {""}},
    [BRANCH_EV_COMMITTED] = {"committed", 18, 3, {"retry", "committed", "aborted"}},
    [BRANCH_EV_SESSION_ENDED] = {"session-ended", 21, 2, {"not", "ok"}},
    [BRANCH_EV_LOOKED] = {"looked", 23, 4, {"lost", "absent", "prepared", "refused"}},
    [BRANCH_EV_FINISHED] = {"finished", 27, 5, {"lost", "done", "not-found", "busy", "refused"}},
    [BRANCH_EV_STATUS] = {"status",
                          32,
                          5,
                          {"lost", "in-progress", "committed", "aborted", "forgotten"}},
    [BRANCH_EV_LISTED] = {"listed", 37, 1, {""}},
};

static struct coverage *counts;

void coverage_use(struct coverage *coverage) {
  counts = coverage;
}

static unsigned txn_variant(const struct txn_event *event) {
  unsigned first = txn_kinds[event->kind].first;
  switch (event->kind) {
  case TXN_EV_ENLIST: return first + event->external;
  case TXN_EV_VOTE: return first + (unsigned)event->vote;
  case TXN_EV_LOGGED: return first + (unsigned)event->logged;
  case TXN_EV_OUTCOME: return first + (unsigned)event->outcome;
  case TXN_EV_STATEMENT:
  case TXN_EV_COMMIT:
  case TXN_EV_ROLLBACK:
  case TXN_EV_RETRY: break;
  }
  return first;
}

static unsigned branch_variant(const struct branch_event *event) {
  unsigned first = branch_kinds[event->kind].first;
  switch (event->kind) {
  case BRANCH_EV_RUN: return first + (unsigned)event->end;
  case BRANCH_EV_RAN: return first + (unsigned)event->ran;
  case BRANCH_EV_FLUSHED:
  case BRANCH_EV_SESSION_ENDED: return first + event->ok;
  case BRANCH_EV_DECIDE: return first + (unsigned)event->decision;
  case BRANCH_EV_COMMITTED: return first + (unsigned)event->outcome;
  case BRANCH_EV_LOOKED: return first + (unsigned)event->looked;
  case BRANCH_EV_FINISHED: return first + (unsigned)event->finished;
  case BRANCH_EV_STATUS: return first + (unsigned)event->status;
  case BRANCH_EV_LOST:
  case BRANCH_EV_EXPIRED:
  case BRANCH_EV_FENCED:
  case BRANCH_EV_ROLLED_BACK:
  case BRANCH_EV_LISTED: break;
  }
  return first;
}

/* ---- in between ------------------------------------------------------------------------------- */

void real_txn_step(struct txn *txn, const struct txn_event *event,
                   struct txn_actions *actions) __asm__("__real_txn_step");
void counted_txn_step(struct txn *txn, const struct txn_event *event,
                      struct txn_actions *actions) __asm__("__wrap_txn_step");
void real_branch_step(struct branch *branch, const struct branch_event *event,
                      struct branch_actions *actions) __asm__("__real_branch_step");
void counted_branch_step(struct branch *branch, const struct branch_event *event,
                         struct branch_actions *actions) __asm__("__wrap_branch_step");

void counted_txn_step(struct txn *txn, const struct txn_event *event, struct txn_actions *actions) {
  if (counts) counts->txn[txn->state][txn_variant(event)]++;
  real_txn_step(txn, event, actions);
}

void counted_branch_step(struct branch *branch, const struct branch_event *event,
                         struct branch_actions *actions) {
  enum branch_state before = branch->state;
  if (counts) counts->branch[before][branch_variant(event)]++;
  real_branch_step(branch, event, actions);
  if (branch->state != before) aim_moved(branch);
}

void coverage_add(struct coverage *to, const struct coverage *from) {
  for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
    for (unsigned v = 0; v < TXN_VARIANTS; v++)
      to->txn[s][v] += from->txn[s][v];
  for (unsigned s = 0; s < BRANCH_STATE_COUNT; s++)
    for (unsigned v = 0; v < BRANCH_VARIANTS; v++)
      to->branch[s][v] += from->branch[s][v];
}

/* ---- names ------------------------------------------------------------------------------------ */

static void print_pair(FILE *out, const char *core, const char *state, const struct kind *kinds,
                       size_t kind_count, unsigned variant, uint64_t count) {
  size_t i = 0;
  while (i + 1 < kind_count && kinds[i + 1].first <= variant)
    i++;
  const char *name = kinds[i].variants[variant - kinds[i].first];
  (void)fprintf(out, "  %s %s %s%s%s %llu\n", core, state, kinds[i].name, *name ? " " : "", name,
                (unsigned long long)count);
}

enum {
  TXN_KINDS = sizeof txn_kinds / sizeof txn_kinds[0],
  BRANCH_KINDS = sizeof branch_kinds / sizeof branch_kinds[0]
};

void coverage_list(const struct coverage *c, FILE *out) {
  for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
    for (unsigned v = 0; v < TXN_VARIANTS; v++)
      if (c->txn[s][v])
        print_pair(out, "txn", txn_states[s], txn_kinds, TXN_KINDS, v, c->txn[s][v]);
  for (unsigned s = 0; s < BRANCH_STATE_COUNT; s++)
    for (unsigned v = 0; v < BRANCH_VARIANTS; v++)
      if (c->branch[s][v])
        print_pair(out, "branch", branch_state_name((enum branch_state)s), branch_kinds,
                   BRANCH_KINDS, v, c->branch[s][v]);
}

/* ---- what is demanded --------------------------------------------------------------------------
 *
 * '#' must come up in every campaign of COMPLETE_SEEDS. '.' cannot come up in a whole system, or the core
 * asserts that it does not (a campaign in which it does says so, and fails: then it belongs here):
 *   - a transaction is told to roll back only while it is undecided (transaction_rollback()), and has
 *     all its votes when it decides; a statement is answered with yes, no, or nothing; STUCK halts
 *   - a branch gets the database's answers only where it has asked; its time is watched, and its session
 *     heard of, only where it is open and nothing runs; LISTED is fed only at rest; an answer to
 *     statements without PREPARE is never unknown, nor a vote that they only read (the adapter says failed,
 *     or open, and is right); an xid in progress whose gid is absent would be somebody else's
 *   - a branch is told to prepare, or to be ready, never both: so a run of the one kind does not meet a
 *     state that is on the other's way (FLUSHING, READY and COMMITTING_ONE; PREPARING, LOOKING_UP,
 *     PREPARED and COMMITTING), nor does the decision that belongs to it. RUNNING, the last run has not
 *     been sent yet, or is this one
 *   - a commit is decided after the yes: not before the branch is prepared. One that may yet be
 *     committed is aborted by nobody: not by its transaction, not by a sweep, which leaves it alone, not by
 *     an older life, which is refused
 *   - of one that has ended, or of which nothing is known, a fence does not hear: it is not among the
 *     branches that are at work
 * The columns are those of txn_kinds and branch_kinds; blanks set the kinds apart.
 */

static const char *const txn_demanded[TXN_STATE_COUNT] = {
    [TXN_OPEN] = "## # # # ###.. ... .... .",       [TXN_PREPARING] = ".. . . # ##### ... .... .",
    [TXN_DECIDING] = ".. . . . ..... ### .... .",   [TXN_DELEGATED] = ".. . . . ..... ... #### #",
    [TXN_COMMITTING] = ".. . . . ..... ... #### #", [TXN_COMMITTED] = ".. . . . ..... ... .... .",
    [TXN_ABORTING] = ".. . . . ##### ... #### #",   [TXN_ABORTED] = ".. . . . ##### ... .... .",
    [TXN_STUCK] = ".. . . . ..... ... .... .",
};

static const char *const branch_demanded[BRANCH_STATE_COUNT] = {
    [BRANCH_NONE] = "### ...... .. . . . ### . ... .. .... ..... ..... #",
    [BRANCH_RUNNING] = "#.# .##... .. . . # #.. . ... .. .... ..... ..... .",
    [BRANCH_ACTIVE] = "### ...... .. # # # #.. . ... .. .... ..... ..... .",
    [BRANCH_FLUSHING] = "#.# ...... ## # . # #.. . ... .. .... ..... ..... .",
    [BRANCH_READY] = "#.# ...... .. # # # #.# . ... .. .... ..... ..... .",
    [BRANCH_PREPARING] = "##. ##.### .. . . # #.. . ... .. .... ..... ..... .",
    [BRANCH_ENDING_SESSION] = "### ...... .. . . # ### . ... ## .... ..... ..... .",
    [BRANCH_LOOKING_UP] = "##. ...... .. . . # ##. . ... .. #### ..... ..... .",
    [BRANCH_PREPARED] = "##. ...... .. . . # ##. . ... .. .... ..... ..... #",
    [BRANCH_COMMITTING] = "##. ...... .. . . # .#. . ... .. .... ##### ..... .",
    [BRANCH_COMMITTING_ONE] = "#.# ...... .. . . # #.# . ### .. .... ..... ..... .",
    [BRANCH_ABORTING] = "### ...... .. . . # #.# # ... .. .... ##### ..... .",
    [BRANCH_VERIFYING] = "### ...... .. . . # ### . ... .. .... ..... #.### .",
    [BRANCH_COMMITTED] = "### ...... .. . . . ### . ... .. .... ..... ..... #",
    [BRANCH_ABORTED] = "### ...... .. . . . ### . ... .. .... ..... ..... #",
    [BRANCH_READ_ONLY] = "### ...... .. . . . #.. . ... .. .... ..... ..... #",
};

static char demand_of(const char *row, unsigned variant) {
  for (; *row; row++)
    if (*row != ' ' && variant-- == 0) return *row;
  assert(false && "a column");
  return '.';
}

static void add_row(struct coverage_sum *sum, const char *row, const uint64_t *counted,
                    unsigned variants, const char *core, const char *state,
                    const struct kind *kinds, size_t kind_count, FILE *out) {
  for (unsigned v = 0; v < variants; v++) {
    char demand = demand_of(row, v);
    bool required = demand == '#', met = counted[v] > 0, impossible = demand == '.' && met;
    sum->required += required;
    sum->reached += required && met;
    sum->impossible += impossible;
    if (out && (impossible || (required && !met)))
      print_pair(out, core, state, kinds, kind_count, v, counted[v]);
  }
}

struct coverage_sum coverage_report(const struct coverage *c, FILE *out) {
  struct coverage_sum sum = {0};
  for (unsigned s = 0; s < TXN_STATE_COUNT; s++)
    add_row(&sum, txn_demanded[s], c->txn[s], TXN_VARIANTS, "txn", txn_states[s], txn_kinds,
            TXN_KINDS, out);
  for (unsigned s = 0; s < BRANCH_STATE_COUNT; s++)
    add_row(&sum, branch_demanded[s], c->branch[s], BRANCH_VARIANTS, "branch",
            branch_state_name((enum branch_state)s), branch_kinds, BRANCH_KINDS, out);
  return sum;
}
