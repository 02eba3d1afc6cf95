/* Tells the checks of every fence that an agent answers. The linker puts it in between
 * (--wrap=agent_fence). */
#ifndef ASSENT_TESTS_SIM_FENCES_H
#define ASSENT_TESTS_SIM_FENCES_H

/* A run has ended: nobody will answer what is left. */
void fences_forget(void);

#endif
