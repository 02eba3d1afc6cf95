/* A model of state directories (participant-agent/state.h): what a machine keeps of epochs that a
 * database would not. */
#ifndef ASSENT_TESTS_SIM_KEPT_H
#define ASSENT_TESTS_SIM_KEPT_H

struct state_kept;

struct state_kept *kept_new(void);
void kept_free(struct state_kept *kept);

#endif
