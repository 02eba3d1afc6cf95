/* The demonstration's stage: two throwaway PostgreSQL servers, the coordinator, and, if asked for,
 * two agents, each a process of its own that can be killed and started again on the same port. */
#ifndef ASSENT_CLI_DEMO_STAGE_H
#define ASSENT_CLI_DEMO_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/demo_plan.h"
#include "common/error.h"

struct stage;

struct stage_options {
  bool agents;
  bool keep; /* the processes outlive us, if stage_leave() is called */
};

/* On return all runs and the coordinator is ready. The calling thread must live as long as the
 * stage (see process.h). On error too: stage_close(). */
enum error_code stage_open(struct stage **out, const struct stage_options *options,
                           struct error *err) __attribute__((warn_unused_result));
/* Asks the daemons to end (SIGTERM). ERR_IO when one does not, or not with exit code 0; that one is
 * then told by stage_tell_dead(). */
enum error_code stage_stop_daemons(struct stage *stage, struct error *err)
    __attribute__((warn_unused_result));
/* Ends all processes, by force where they still run; removes all files. NULL is allowed. */
void stage_close(struct stage *stage);
/* Leaves all running, writes down what must be stopped (demo_kept.h), frees the struct. On
 * error nothing was done. Only with options.keep. */
enum error_code stage_leave(struct stage *stage, struct error *err)
    __attribute__((warn_unused_result));

const char *stage_url(const struct stage *stage);
const char *stage_directory(const struct stage *stage);
const char *stage_dsn(const struct stage *stage, int bank);
const char *stage_target_name(enum demo_target target); /* "assentd" */

/* SIGKILL; on return it is gone. */
void stage_kill(struct stage *stage, enum demo_target target);
/* Starts it again; on return it runs, and is ready or not. */
enum error_code stage_start(struct stage *stage, enum demo_target target, struct error *err)
    __attribute__((warn_unused_result));
/* Waits until it says that it is ready. */
enum error_code stage_wait_ready(struct stage *stage, enum demo_target target, unsigned timeout_ms,
                                 struct error *err) __attribute__((warn_unused_result));

/* ERR_IO when a process that should run has ended. */
enum error_code stage_check_alive(struct stage *stage, struct error *err)
    __attribute__((warn_unused_result));
/* How each process that should run and does not has ended, with the end of its log. */
void stage_tell_dead(struct stage *stage, FILE *out);

#endif
