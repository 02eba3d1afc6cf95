/* Between the files of throwaway.h:
 *
 *   throwaway.c          the owner; making and freeing servers
 *   throwaway_run.c      their processes: start, stop, kill, pause
 *   throwaway_standby.c  streaming replication
 *   throwaway_copy.c     the files of a base backup
 *   throwaway_sql.c      conveniences on libpq
 */
#ifndef ASSENT_CLI_THROWAWAY_INTERNAL_H
#define ASSENT_CLI_THROWAWAY_INTERNAL_H

#include <sys/un.h>

#include "cli/throwaway.h"
#include "cli/throwaway_find.h"

enum { THROWAWAY_SETTINGS_MAX = 32, THROWAWAY_START_SECONDS_MAX = 60, THROWAWAY_GROUPS_MAX = 64 };

struct throwaway_server {
  struct throwaway *owner;
  char name[32];
  char data[THROWAWAY_PATH_SIZE], log[THROWAWAY_PATH_SIZE];
  char *settings[THROWAWAY_SETTINGS_MAX]; /* "name=value" */
  size_t setting_count;
  int port;
  int reserved; /* what keeps the port ours; -1: none yet */
  pid_t pid;    /* 0: not running */
  bool paused;
  bool standby;                     /* until it is promoted */
  bool synchronous;                 /* its primary waits for it */
  struct throwaway_server *primary; /* of a standby; NULL once that is removed */
};

struct throwaway {
  char directory[sizeof((struct sockaddr_un *)0)->sun_path];
  char bin[THROWAWAY_PATH_SIZE];
  bool keep, keep_files;
  bool change_user; /* we are root */
  uid_t uid;
  gid_t gid;
  gid_t groups[THROWAWAY_GROUPS_MAX];
  int group_count;
  struct throwaway_server *servers[THROWAWAY_SERVERS_MAX];
  size_t server_count;
};

/* throwaway.c */
/* A place for a server that is still to be made, without settings. NULL on error. */
struct throwaway_server *throwaway_add(struct throwaway *t, const char *name, struct error *err);
enum error_code throwaway_add_setting(struct throwaway_server *server, const char *setting,
                                      struct error *err) __attribute__((warn_unused_result));
/* Starts one whose data was made; the first start finds the port. */
enum error_code throwaway_start_first(struct throwaway_server *server, struct error *err)
    __attribute__((warn_unused_result));

/* What a server that was killed leaves, and removes itself at its next start; unless the process id that
 * stands in its lock files is by then another process's of the same user: then it does not start. It has
 * ended, with all its processes. */
void throwaway_drop_leftovers(const struct throwaway_server *server);

/* throwaway_run.c */
/* A child in the server's name, its output in the server's log. -1 on error. */
pid_t throwaway_run(struct throwaway_server *server, char *const argv[], struct error *err);
/* Waits for our own child for at most `seconds`; true when it has ended and been reaped. */
bool throwaway_wait_child(pid_t pid, int64_t seconds, int *status);
/* ERR_UNAVAILABLE: "<what> of server <name>: <the end of its log>". */
enum error_code throwaway_failed(const struct throwaway_server *server, const char *what,
                                 struct error *err);
enum error_code throwaway_launch(struct throwaway_server *server, struct error *err)
    __attribute__((warn_unused_result));
/* Waits until the server answers. `*ended`: its process has ended instead. */
enum error_code throwaway_wait_answer(struct throwaway_server *server, bool *ended,
                                      struct error *err) __attribute__((warn_unused_result));
/* Ends it with a signal to its first process, or, when it does not heed that, kills it. */
void throwaway_stop_with(struct throwaway_server *server, int signum);
int64_t throwaway_now_ms(void);
/* Between two looks at a condition that has no descriptor to wait on. */
void throwaway_pause_between_looks(void);

/* throwaway_standby.c */
/* Its primary keeps no more WAL for it, nor waits for it. It has ended. */
void throwaway_standby_leave(struct throwaway_server *server);

/* throwaway_copy.c */
/* The files of a running server's data directory, as a base backup has them; what belongs to the
 * running process, and the WAL, are left out. `to` is made. Owner: the server's user. */
enum error_code throwaway_copy_data(const struct throwaway *t, const char *from, const char *to,
                                    struct error *err) __attribute__((warn_unused_result));

#endif
