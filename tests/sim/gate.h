/* The adapter that an agent of a simulated life gets: the model database's, behind a gate.
 *
 * The gate shows the checks what is asked of the database. It shuts when the life is dead, so that
 * the vacuum opens nothing new.
 */
#ifndef ASSENT_TESTS_SIM_GATE_H
#define ASSENT_TESTS_SIM_GATE_H

#include "adapters/adapter.h"
#include "tests/sim/process.h"

/* Takes `inner` over. `database`: its number, for the checks. */
struct adapter *gate_new(struct process *process, struct adapter *inner, unsigned database);

#endif
