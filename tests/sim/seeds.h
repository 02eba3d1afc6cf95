/* The file of known seeds: runs that have found something once, one a line.
 *
 *   12133 only=a,b errands=4  # what it found
 *
 * A seed means something only together with the code: when that changes much, an old one may pass by
 * what it once found. It costs little to keep.
 */
#ifndef ASSENT_TESTS_SIM_SEEDS_H
#define ASSENT_TESTS_SIM_SEEDS_H

#include "tests/sim/campaign.h"

/* False, with the line told on standard error: it cannot be read. */
bool seeds_read(const char *path, struct campaign *campaign);
/* "a,b": without these, or with these only. False: one of them is none; told. */
bool seeds_forbid(const char *names, struct sim_faults *faults);
bool seeds_allow_only(const char *names, struct sim_faults *faults);
/* Adds a line. */
bool seeds_keep(const char *path, const struct failure *failure);

#endif
