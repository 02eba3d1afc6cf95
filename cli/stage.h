/* The stage of a demonstration or a torture: two databases, the coordinator, and, if asked for, two
 * agents, each a process of its own that can be killed and started again on the same port. The
 * databases are two throwaway PostgreSQL servers, or the user's own. */
#ifndef ASSENT_CLI_STAGE_H
#define ASSENT_CLI_STAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "common/error.h"

enum stage_target { STAGE_COORDINATOR, STAGE_AGENT_A, STAGE_AGENT_B, STAGE_TARGETS };

struct stage;
struct throwaway;
struct throwaway_server;

/* A database of the user's; all borrowed until stage_close(). */
struct stage_database {
  const char *name; /* as a participant */
  const char *keys; /* lines "key = value" that go into its section, with dsn or dsn_file */
  const char *dsn;
};

struct stage_options {
  bool agents;
  bool keep;                              /* the processes outlive us, if stage_leave() is called */
  const char *coordinator_keys;           /* more lines of [coordinator], borrowed; NULL: none */
  const char *database_keys;              /* and of throwaway servers' participants */
  const char *const *server_settings;     /* "name=value", of throwaway servers; ends with NULL */
  const struct stage_database *databases; /* two; NULL: throwaway servers */
};

/* Makes the databases, unless they are the user's, and chooses directories and ports; starts no
 * daemon. The calling thread must live as long as the stage (see process.h). On error too:
 * stage_close(). */
enum error_code stage_new(struct stage **out, const struct stage_options *options,
                          struct error *err) __attribute__((warn_unused_result));
/* Writes the daemons' configuration and starts them. On return all runs and the coordinator is
 * ready. */
enum error_code stage_run(struct stage *stage, struct error *err)
    __attribute__((warn_unused_result));
/* Both. */
enum error_code stage_open(struct stage **out, const struct stage_options *options,
                           struct error *err) __attribute__((warn_unused_result));
/* Asks the daemons to end (SIGTERM). ERR_IO when one does not, or not with exit code 0; that one is
 * then told by stage_tell_dead(). */
enum error_code stage_stop_daemons(struct stage *stage, struct error *err)
    __attribute__((warn_unused_result));
/* Ends all processes, by force where they still run; removes all files. NULL is allowed. */
void stage_close(struct stage *stage);
/* stage_close() will leave the files. */
void stage_keep_files(struct stage *stage);
/* Leaves all running, writes down what must be stopped (demo_kept.h), frees the struct. On
 * error nothing was done. Only with options.keep. */
enum error_code stage_leave(struct stage *stage, struct error *err)
    __attribute__((warn_unused_result));

const char *stage_url(const struct stage *stage);
const char *stage_directory(const struct stage *stage);
const char *stage_data_directory(const struct stage *stage, enum stage_target target);
const char *stage_log(const struct stage *stage, enum stage_target target);
const char *stage_dsn(const struct stage *stage, int bank);
const char *stage_bank_name(const struct stage *stage, int bank); /* as a participant */
const char *stage_target_name(enum stage_target target);          /* "assentd" */
bool stage_has(const struct stage *stage, enum stage_target target);
uint16_t stage_port(const struct stage *stage, enum stage_target target);
pid_t stage_pid(const struct stage *stage, enum stage_target target); /* 0: not running */
struct throwaway *stage_throwaway(const struct stage *stage);         /* NULL: the user's */
/* Another one has taken its place. */
void stage_set_server(struct stage *stage, int bank, struct throwaway_server *server);
struct throwaway_server *stage_server(const struct stage *stage, int bank); /* NULL: the user's */

/* Between stage_new() and stage_run(): the daemons reach the database, or the agent, there. */
void stage_route_database(struct stage *stage, int bank, const char *dsn);
void stage_route_agent(struct stage *stage, int bank, uint16_t port);
/* For its starts from now on: "NAME=value", borrowed, ends with NULL; NULL: none. */
void stage_set_environment(struct stage *stage, enum stage_target target,
                           const char *const *environment);

/* SIGKILL; on return it is gone. */
void stage_kill(struct stage *stage, enum stage_target target);
void stage_signal(struct stage *stage, enum stage_target target, int signum);
/* Starts it again; on return it runs, and is ready or not. */
enum error_code stage_start(struct stage *stage, enum stage_target target, struct error *err)
    __attribute__((warn_unused_result));
/* The coordinator says that its participants are reached; an agent, that it is there. */
bool stage_is_ready(struct stage *stage, enum stage_target target);
/* Waits until it says that it is ready. */
enum error_code stage_wait_ready(struct stage *stage, enum stage_target target, unsigned timeout_ms,
                                 struct error *err) __attribute__((warn_unused_result));

bool stage_is_alive(struct stage *stage, enum stage_target target);
/* False: it runs, or was never started or was killed by stage_kill(). `status`: of waitpid(2). */
bool stage_has_ended(struct stage *stage, enum stage_target target, int *status);
/* ERR_IO when a process that should run has ended. */
enum error_code stage_check_alive(struct stage *stage, struct error *err)
    __attribute__((warn_unused_result));
/* How each process that should run and does not has ended, with the end of its log. */
void stage_tell_dead(struct stage *stage, FILE *out);

#endif
