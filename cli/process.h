/* Child processes with a log file, for command-line programs and tests.
 *
 * A child runs in a session of its own (Ctrl-C on our terminal does not reach it), reads /dev/null,
 * and writes both outputs to its log file. Unless told to keep it, the kernel kills it when the
 * thread that started it ends: start children from a thread that lives as long as they shall.
 * Nothing is ever found or signalled by name: only by a pid that has not been reaped.
 */
#ifndef ASSENT_CLI_PROCESS_H
#define ASSENT_CLI_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

struct process;

struct process_options {
  const char *const *argv;    /* argv[0] is the program's path; ends with NULL */
  const char *log_path;       /* appended to; NULL: /dev/null */
  const char *const *env_add; /* "NAME=value", ends with NULL; NULL: none */
  bool keep;                  /* do not die with us */
};

/* On return the program runs (its exec has succeeded). ERR_IO names the program and errno's text.
 * Owner: process_free(). */
enum error_code process_start(struct process **out, const struct process_options *options,
                              struct error *err) __attribute__((warn_unused_result));

/* Kills with SIGKILL and reaps when it still runs. NULL is allowed. */
void process_free(struct process *process);
/* Frees the struct and leaves the process alone: for children started with `keep`. */
void process_leave(struct process *process);

pid_t process_pid(const struct process *process);
const char *process_log_path(const struct process *process); /* borrowed; NULL when none */

/* False once it has ended; reaps it then. */
bool process_is_alive(struct process *process);
/* Does nothing when it has ended. */
void process_kill(struct process *process, int signum);
/* True when it ended within the time. `status` (may be NULL): as of waitpid(2). */
bool process_wait(struct process *process, uint64_t timeout_ms, int *status);
/* Asks with `signum`, and with SIGKILL when it has not ended within the time. Returns whether it
 * went by itself. */
bool process_stop(struct process *process, int signum, uint64_t timeout_ms);

/* "exit 1", "signal 9", "running". */
void process_describe(struct process *process, char *out, size_t size);
/* The last lines of the log file, at most `lines` and what fits; "" when there is none. */
void process_log_tail(const struct process *process, unsigned lines, char *out, size_t size);

/* Waits until the file holds a port and a newline. Ends early, with an error that has the end of
 * its log, when `process` (may be NULL) ends first. Remove an old file before the start. */
enum error_code wait_port_file(const char *path, struct process *process, uint64_t timeout_ms,
                               uint16_t *port, struct error *err)
    __attribute__((warn_unused_result));

/* The path of a program that lies beside this one ("assentd"): in the directory of /proc/self/exe,
 * or in $ASSENT_BUILD when that is set (tests). ERR_IO names what was looked for. */
enum error_code process_sibling(const char *name, char *out, size_t size, struct error *err)
    __attribute__((warn_unused_result));

/* A short pause between two looks at a condition that cannot be waited for. */
void process_pause_ms(unsigned ms);

#endif
