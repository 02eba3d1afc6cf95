/* Messages that come at the worst moment: one that was sent before, perhaps lost, comes (once more) just
 * as its branch has entered a state in which it is not expected.
 *
 * A message that is late or repeated by chance meets a state of a millisecond in one run of a hundred
 * thousand. Here a copy of what the coordinator has sent to an agent is kept, and the agent's branches
 * are watched: which states are worth which message is a table, the rarer the more.
 */
#ifndef ASSENT_TESTS_SIM_AIM_H
#define ASSENT_TESTS_SIM_AIM_H

#include "participant-agent/branch.h"
#include "tests/sim/network.h"

struct aim;

struct aim *aim_new(struct sim *sim, struct network *network);
void aim_free(struct aim *aim); /* before the exchanges that it keeps */

/* A request has left for that address, or was lost on its way there. Kept for a while if it is one that
 * may be aimed: see exchange_hold(). */
void aim_keep(struct aim *aim, const char *address, const struct process *from,
              struct exchange *exchange);

/* What the run's driver does when it is told, soon: the coordinator is killed and started again at once;
 * what is to end a branch in this database waits for so long. */
struct aim_hands {
  void (*take_over)(void *data);
  void (*stall)(void *data, const char *database, uint64_t us);
  void *data;
};
void aim_set_hands(struct aim *aim, const struct aim_hands *hands);

/* A branch of the current process has come to another state. */
void aim_moved(const struct branch *branch);

#endif
