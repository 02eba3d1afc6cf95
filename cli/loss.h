/* What a failover to an asynchronous standby may cost a transfer, and what it may not. Pure.
 *
 * The standby lacks the last of what the lost server did. A branch that was prepared there and not
 * committed when the decision fell must be surfaced: the coordinator was not told of its end, looks for
 * it on the new server, and has to say that it is gone. A branch that had committed there, and was
 * confirmed, is lost as any other transaction of that database: nobody asks for it again. Whatever is
 * there, was decided so.
 */
#ifndef ASSENT_CLI_LOSS_H
#define ASSENT_CLI_LOSS_H

#include <stdbool.h>

#include "cli/bank.h"
#include "cli/load.h"

/* What the coordinator says of a branch that writes. */
enum branch_told { BRANCH_TOLD_NOTHING, BRANCH_TOLD_COMMITTED, BRANCH_TOLD_ABORTED };

struct loss_branch {
  bool writes; /* all else counts only then */
  bool is_there;
  bool was_there;   /* on a server that a failover has replaced */
  bool failed_over; /* its database has, since the transfer began */
  enum branch_told told;
};

struct loss_case {
  enum told told;   /* to the client */
  enum told listed; /* by the coordinator, when all had ended */
  bool is_listed;
  bool is_sole; /* the only branch: there is none that it could differ from */
  struct loss_branch branches[BANKS];
};

enum loss_verdict {
  LOSS_WRONG,
  LOSS_NONE,
  LOSS_SURFACED, /* some are gone, and the coordinator says so of each that nobody can have confirmed */
  LOSS_UNSEEN /* some are gone that had committed, and the coordinator does not know it */
};

/* `lost`: the branches that are gone, where the verdict is that some are. */
enum loss_verdict loss_judge(const struct loss_case *c, bool lost[BANKS]);

#endif
