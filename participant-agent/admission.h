/* How many branches run in one database at once: a number that is found by trying, pure.
 *
 * Too few leave the database idle while they wait for its disk; too many only switch between each
 * other. Where the best lies depends on cores, disk and statements, and nobody has to know it: while
 * more want to run than may, the limit in force goes through four windows of time,
 *
 *   base, above, base, below        (above and below by a quarter of the base, by 1 at least)
 *
 * and the branches that end in each are counted. Then the base goes up if above was clearly faster than
 * the two windows around it; else down if below was as fast, since fewer do as well; else it stays.
 * Comparing a window with its neighbours cancels what drifts, and how far the two windows at the base
 * lie apart says how much is noise. A window in which the limit held nobody up says nothing and is not
 * counted: without a queue nothing is tried and nothing changes.
 *
 * A limit can also be taken up by branches that do not end, waiting for a lock. When none has ended for
 * a while (ADMISSION_STALL_MS; the caller's timer) the base doubles.
 *
 * No clock, no allocation: the same calls give the same limits.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_ADMISSION_H
#define ASSENT_PARTICIPANT_AGENT_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

enum { ADMISSION_FLOOR = 2, ADMISSION_START = 16, ADMISSION_STALL_MS = 500 };

enum admission_phase {
  ADMISSION_BASE,
  ADMISSION_ABOVE,
  ADMISSION_BASE_AGAIN,
  ADMISSION_BELOW,
  ADMISSION_PHASES
};

struct admission {
  unsigned floor, ceiling;
  unsigned base;
  unsigned limit; /* in force: floor <= limit <= ceiling */
  enum admission_phase phase;
  unsigned settling;          /* ends to come that began under another limit */
  uint64_t began_us;          /* of the window */
  unsigned ended, unhindered; /* in the window; of them with nobody waiting */
  double rates[ADMISSION_PHASES];
};

/* Between the lesser of ADMISSION_FLOOR and `ceiling`, and `ceiling` (at least 1). */
void admission_init(struct admission *admission, unsigned ceiling);

/* A branch's run has ended. `hindered`: others wait that could run but for the limit. */
void admission_ended(struct admission *admission, uint64_t now_us, bool hindered);

/* Others wait for the limit, and no run has ended for ADMISSION_STALL_MS. */
void admission_stalled(struct admission *admission);

#endif
