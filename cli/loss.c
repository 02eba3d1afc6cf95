/* See loss.h. */
#include "cli/loss.h"

static enum loss_verdict judge_aborted(const struct loss_case *c) {
  for (int i = 0; i < BANKS; i++)
    if (c->branches[i].writes && c->branches[i].is_there) return LOSS_WRONG;
  return !c->is_listed || c->listed == TOLD_ABORTED ? LOSS_NONE : LOSS_WRONG;
}

/* Of one that was decided committed. */
static enum loss_verdict judge_branch(const struct loss_branch *branch) {
  if (branch->is_there) return branch->told == BRANCH_TOLD_COMMITTED ? LOSS_NONE : LOSS_WRONG;
  if (!branch->failed_over) return LOSS_WRONG;
  if (branch->told == BRANCH_TOLD_ABORTED) return LOSS_SURFACED;
  return branch->told == BRANCH_TOLD_COMMITTED && branch->was_there ? LOSS_UNSEEN : LOSS_WRONG;
}

/* One that is surfaced counts for the whole, if another is unseen: somebody has been told. */
static enum loss_verdict judge_branches(const struct loss_case *c, bool lost[BANKS]) {
  enum loss_verdict all = LOSS_NONE;
  for (int i = 0; i < BANKS; i++) {
    if (!c->branches[i].writes) continue;
    enum loss_verdict one = judge_branch(&c->branches[i]);
    if (one == LOSS_WRONG) return LOSS_WRONG;
    lost[i] = one != LOSS_NONE;
    if (one == LOSS_SURFACED || all == LOSS_NONE) all = one;
  }
  return all;
}

enum loss_verdict loss_judge(const struct loss_case *c, bool lost[BANKS]) {
  for (int i = 0; i < BANKS; i++)
    lost[i] = false;
  if (c->told == TOLD_ABORTED) return judge_aborted(c);
  if (c->told == TOLD_NOTHING || !c->is_listed) return LOSS_WRONG;
  enum loss_verdict verdict = judge_branches(c, lost);
  switch (c->listed) {
  case TOLD_COMMITTED:
    return c->told == TOLD_COMMITTED && verdict != LOSS_SURFACED ? verdict : LOSS_WRONG;
  case TOLD_MIXED: return verdict == LOSS_SURFACED && !c->is_sole ? verdict : LOSS_WRONG;
  /* How a sole branch has ended is the outcome: when its loss is found out, that is told. */
  case TOLD_ABORTED:
    return c->told == TOLD_COMMITTED && verdict == LOSS_SURFACED && c->is_sole ? verdict
                                                                               : LOSS_WRONG;
  case TOLD_NOTHING: break;
  }
  return LOSS_WRONG;
}
