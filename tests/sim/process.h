/* One life of a simulated process, and what the code that runs in it takes for its surroundings:
 * clocks, the kernel's randomness, its log, crash points (ambient.c).
 *
 * Killing a life takes two steps. From the moment it is dead nothing that it does has any effect
 * outside: no message leaves it, nothing reaches a disk or a database, no event comes on its loop. So
 * code that is on the stack at that moment runs on in a vacuum, to the end of its turn. Then its memory
 * is given back by the ordinary functions, in the vacuum too.
 */
#ifndef ASSENT_TESTS_SIM_PROCESS_H
#define ASSENT_TESTS_SIM_PROCESS_H

#include "tests/sim/sim_run.h"

enum { PROCESS_NAME_SIZE = 24 };

struct process {
  struct sim *sim;
  char name[PROCESS_NAME_SIZE]; /* of the program, not of the life: "coordinator", "agent-1" */
  unsigned life;                /* from 1 */
  struct loop *loop;
  bool dead;
  bool rightful;           /* its log is the one that counts: no copy, no old backup */
  int64_t wall_offset_us;  /* of its machine's wall clock */
  struct network *network; /* borrowed, as are the next */
  struct checks *checks;
  struct disk *disk;       /* the decision log that it finds at its path; NULL: an agent */
  struct state_kept *kept; /* its state directory */
  struct wal *wal;         /* open; set by disk.c */
  enum sim_fault kill, pause;
  void *owner;
};

/* Whose turn it is; NULL: nobody's. */
struct process *process_current(void);
void process_set_current(struct process *process);

/* The run that this thread is in. Forgets what earlier runs have left in the process-wide state of
 * the code under test. */
void ambient_enter(struct sim *sim);
/* A new process knows no older transaction ids. */
void ambient_new_process(void);

#endif
