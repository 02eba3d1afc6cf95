/* Looking around the machine for throwaway.c: the server's programs, and who is whose child. */
#ifndef ASSENT_CLI_THROWAWAY_FIND_H
#define ASSENT_CLI_THROWAWAY_FIND_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/error.h"

enum { THROWAWAY_PATH_SIZE = 256 };

/* The directory that has both `postgres` and `initdb`. The error's text says where it was looked
 * for and how to install it. */
enum error_code throwaway_find_programs(char out[THROWAWAY_PATH_SIZE], struct error *err)
    __attribute__((warn_unused_result));

struct throwaway_process {
  pid_t parent; /* -1: there is no such process */
  bool ended;   /* gone, or a zombie that holds nothing any more */
};
struct throwaway_process throwaway_process_of(pid_t pid);

#endif
