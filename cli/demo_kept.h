/* What `assent demo --keep` left running: written down in its directory, and ended from there. */
#ifndef ASSENT_CLI_DEMO_KEPT_H
#define ASSENT_CLI_DEMO_KEPT_H

#include <stddef.h>
#include <sys/types.h>

#include "common/error.h"

struct kept_process {
  const char *name;
  pid_t pid;
  int signum; /* that asks it to end */
};

/* Writes the list, in the order in which they are to be ended. */
enum error_code kept_write(const char *directory, const struct kept_process *processes,
                           size_t count, struct error *err) __attribute__((warn_unused_result));

/* Ends the processes of the list and removes the directory. Refused where there is no list. A
 * process whose pid has gone to another since (by its time of start) is not touched. */
enum error_code kept_stop(const char *directory, struct error *err)
    __attribute__((warn_unused_result));

/* Removes a directory with all that is in it; links are not followed. */
void kept_remove(const char *directory);

#endif
