/* The kinds of faults of a torture: how each is broken and mended. See torture.h.
 *
 * Invariants: what is down or paused is noted in struct torture, and only by its own break and
 * mend; a break that finds its target down already does nothing and says so. Only processes that we
 * have started are signalled: a daemon or a server by its unreaped pid, one of a server's children
 * by a pidfd taken before its parent was looked at.
 */
#include <assert.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cli/process.h"
#include "cli/throwaway.h"
#include "cli/throwaway_find.h"
#include "cli/torture_kinds.h"
#include "common/clock.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { SESSIONS_MAX = 64, CRASH_SEEN_MS_MAX = 5000 };

enum needs {
  NEEDS_NOTHING,
  NEEDS_AGENTS = 1,
  NEEDS_SERVERS = 2,
  NEEDS_HOPS = 4, /* any that a proxy can be put on */
  NEEDS_LIBRARY = 8,
  NEEDS_STANDBYS = 16
};

struct fault_kind {
  const char *name;
  unsigned weight, for_ms_min, for_ms_max;
  unsigned needs;
  bool is_kill;
  bool (*strike)(struct torture *t, const struct fault_event *event);
  enum error_code (*mend)(struct torture *t, const struct fault_event *event, struct error *err);
};

/* ---- daemons ----------------------------------------------------------------------------------- */

static enum stage_target agent_of(const struct fault_event *event) {
  return STAGE_AGENT_A + (enum stage_target)event->bank;
}

bool daemon_kill(struct torture *t, enum stage_target target) {
  if (t->is_down[target]) return false;
  t->is_down[target] = true;
  t->is_paused[target] = false;
  if (target == STAGE_COORDINATOR && t->load) load_set_up(t->load, false);
  stage_kill(t->stage, target);
  calls_forget(t, target);
  return true;
}

enum error_code daemon_start(struct torture *t, enum stage_target target, struct error *err) {
  assert(t->is_down[target]);
  if (!t->is_faulty[target]) watch_restart(t->watch);
  enum error_code code = stage_start(t->stage, target, err);
  if (code != ERR_OK) return code;
  t->is_down[target] = false;
  /* Clients come while it still recovers. */
  if (target == STAGE_COORDINATOR && t->load) load_set_up(t->load, true);
  return ERR_OK;
}

static bool pause_daemon(struct torture *t, enum stage_target target) {
  if (t->is_down[target] || t->is_paused[target]) return false;
  t->is_paused[target] = true;
  stage_signal(t->stage, target, SIGSTOP);
  return true;
}

/* When it has been killed meanwhile, nothing. */
static void resume_daemon(struct torture *t, enum stage_target target) {
  if (t->is_paused[target]) stage_signal(t->stage, target, SIGCONT);
  t->is_paused[target] = false;
}

static bool kill_coordinator(struct torture *t, const struct fault_event *event) {
  (void)event;
  return daemon_kill(t, STAGE_COORDINATOR);
}

static enum error_code start_coordinator(struct torture *t, const struct fault_event *event,
                                         struct error *err) {
  (void)event;
  return daemon_start(t, STAGE_COORDINATOR, err);
}

static bool kill_agent(struct torture *t, const struct fault_event *event) {
  return daemon_kill(t, agent_of(event));
}

static enum error_code start_agent(struct torture *t, const struct fault_event *event,
                                   struct error *err) {
  return daemon_start(t, agent_of(event), err);
}

static bool pause_coordinator(struct torture *t, const struct fault_event *event) {
  (void)event;
  return pause_daemon(t, STAGE_COORDINATOR);
}

static enum error_code resume_coordinator(struct torture *t, const struct fault_event *event,
                                          struct error *err) {
  (void)event;
  (void)err;
  resume_daemon(t, STAGE_COORDINATOR);
  return ERR_OK;
}

static bool pause_agent(struct torture *t, const struct fault_event *event) {
  return pause_daemon(t, agent_of(event));
}

static enum error_code resume_agent(struct torture *t, const struct fault_event *event,
                                    struct error *err) {
  (void)err;
  resume_daemon(t, agent_of(event));
  return ERR_OK;
}

/* ---- databases --------------------------------------------------------------------------------- */

static bool kill_database(struct torture *t, const struct fault_event *event) {
  if (t->is_database_down[event->bank]) return false;
  t->is_database_down[event->bank] = true;
  t->is_database_paused[event->bank] = false;
  throwaway_server_kill(stage_server(t->stage, event->bank));
  return true;
}

static enum error_code start_database(struct torture *t, const struct fault_event *event,
                                      struct error *err) {
  assert(t->is_database_down[event->bank]);
  watch_restart(t->watch);
  enum error_code code = throwaway_server_start(stage_server(t->stage, event->bank), err);
  if (code == ERR_OK) t->is_database_down[event->bank] = false;
  return code;
}

static bool pause_database(struct torture *t, const struct fault_event *event) {
  if (t->is_database_down[event->bank] || t->is_database_paused[event->bank]) return false;
  t->is_database_paused[event->bank] = true;
  throwaway_server_pause(stage_server(t->stage, event->bank));
  return true;
}

static enum error_code resume_database(struct torture *t, const struct fault_event *event,
                                       struct error *err) {
  (void)err;
  if (t->is_database_paused[event->bank])
    throwaway_server_resume(stage_server(t->stage, event->bank));
  t->is_database_paused[event->bank] = false;
  return ERR_OK;
}

static bool find_sessions(struct torture *t, int bank, unsigned max, int64_t *pids,
                          unsigned *count) {
  struct error err = {0};
  if (t->is_database_down[bank] || t->is_database_paused[bank]) return false;
  return bank_refresh(t->banks[bank], &err) == ERR_OK &&
         bank_sessions(t->banks[bank], pids, max, count, &err) == ERR_OK && *count > 0;
}

/* Signals those that are still children of the server. */
static bool signal_backends(struct torture *t, int bank, unsigned max, int signum) {
  pid_t server = throwaway_server_pid(stage_server(t->stage, bank));
  int64_t pids[SESSIONS_MAX];
  unsigned count, signalled = 0;
  assert(max <= SESSIONS_MAX);
  if (!find_sessions(t, bank, max, pids, &count)) return false;
  for (unsigned i = 0; i < count; i++) {
    int pidfd = pidfd_open((pid_t)pids[i], 0);
    if (pidfd < 0) continue;
    bool is_its = throwaway_process_of((pid_t)pids[i]).parent == server;
    if (is_its && pidfd_send_signal(pidfd, signum, NULL, 0) == 0) signalled++;
    (void)close(pidfd);
  }
  return signalled > 0;
}

/* One of its processes dies: the server ends all sessions and recovers by itself. */
static bool crash_backend(struct torture *t, const struct fault_event *event) {
  if (!signal_backends(t, event->bank, 1, SIGKILL)) return false;
  watch_restart(t->watch);
  return true;
}

/* As pg_terminate_backend() does. */
static bool end_sessions(struct torture *t, const struct fault_event *event) {
  return signal_backends(t, event->bank, 1 + (unsigned)(event->draw % SESSIONS_MAX), SIGTERM);
}

/* The server ends all sessions, and with them ours: then it has begun, and whoever comes next waits
 * for its recovery and is not cut off in the middle. */
static enum error_code crash_seen(struct torture *t, const struct fault_event *event,
                                  struct error *err) {
  uint64_t begin_us = clock_monotonic_us();
  struct error lost = {0};
  (void)err;
  while (!t->is_database_paused[event->bank] && /* by another fault: it would not answer */
         bank_exec(t->banks[event->bank], "SELECT 1", &lost) == ERR_OK &&
         (clock_monotonic_us() - begin_us) / 1000 < CRASH_SEEN_MS_MAX)
    process_pause_ms(1);
  return ERR_OK;
}

static enum error_code mend_nothing(struct torture *t, const struct fault_event *event,
                                    struct error *err) {
  (void)t;
  (void)event;
  (void)err;
  return ERR_OK;
}

/* ---- the table --------------------------------------------------------------------------------- */

static const struct fault_kind kinds[] = {
    {"kill-coordinator", 24, 0, 300, NEEDS_NOTHING, true, kill_coordinator, start_coordinator},
    {"kill-agent", 24, 0, 300, NEEDS_AGENTS, true, kill_agent, start_agent},
    {"kill-database", 8, 0, 300, NEEDS_SERVERS, true, kill_database, start_database},
    {"kill-backend", 4, 0, 0, NEEDS_SERVERS, true, crash_backend, crash_seen},
    {"pause-coordinator", 6, 20, 700, NEEDS_NOTHING, false, pause_coordinator, resume_coordinator},
    {"pause-agent", 6, 20, 700, NEEDS_AGENTS, false, pause_agent, resume_agent},
    {"pause-database", 6, 20, 700, NEEDS_SERVERS, false, pause_database, resume_database},
    {"sessions", 8, 0, 0, NEEDS_SERVERS, false, end_sessions, mend_nothing},
    {"failover", 4, 0, 200, NEEDS_STANDBYS, true, replica_fail_over, replica_promote},
    {"standby", 4, 50, 700, NEEDS_STANDBYS, false, replica_hold, replica_release},
    {"net-delay", 3, 100, 700, NEEDS_HOPS, false, net_delay, net_mend},
    {"net-cut", 5, 20, 700, NEEDS_HOPS, false, net_cut, net_mend},
    {"net-truncate", 5, 20, 700, NEEDS_HOPS, false, net_truncate, net_mend},
    {"net-hold", 5, 20, 1200, NEEDS_HOPS, false, net_hold, net_mend},
    {"net-refuse", 3, 20, 500, NEEDS_HOPS, false, net_refuse, net_mend},
    {"net-repeat", 5, 100, 700, NEEDS_AGENTS, false, net_repeat, net_mend_repeat},
    {"client-delay", 2, 100, 700, NEEDS_NOTHING, false, client_delay, client_mend},
    {"client-cut", 3, 50, 700, NEEDS_NOTHING, false, client_cut, client_mend},
    {"client-truncate", 3, 50, 700, NEEDS_NOTHING, false, client_truncate, client_mend},
    {"client-hold", 3, 20, 700, NEEDS_NOTHING, false, client_hold, client_mend},
    {"client-refuse", 2, 20, 300, NEEDS_NOTHING, false, client_refuse, client_mend},
    {"disk-full", 5, 20, 700, NEEDS_LIBRARY, false, disk_fill, disk_clear},
    {"disk-fail", 5, 50, 700, NEEDS_LIBRARY, true, disk_fail, disk_fail_mend},
    {"memory", 5, 50, 700, NEEDS_LIBRARY, true, memory_fail, daemon_fail_mend},
    {"descriptors", 4, 50, 700, NEEDS_LIBRARY, true, descriptors_fail, daemon_fail_mend},
};

const char torture_kinds_help[] =
    "  kill-coordinator   SIGKILL to assentd; started again within 0.3 s\n"
    "  kill-agent         the same to one of two agents (with --agents)\n"
    "  kill-database      SIGKILL to all processes of a PostgreSQL server\n"
    "  kill-backend       SIGKILL to one of its sessions: the server recovers by itself\n"
    "  pause-coordinator, pause-agent, pause-database   SIGSTOP, and SIGCONT after up to 0.7 s\n"
    "  sessions           some of a database's sessions are ended, as an operator would\n"
    "  failover           SIGKILL to a server; its synchronous standby is promoted (with "
    "--standbys)\n"
    "  standby            the standby receives nothing for a while, so that commits wait\n"
    "  net-delay, net-cut, net-truncate, net-hold, net-refuse   on the way to an agent or "
    "database:\n"
    "                     late, reset, cut off in the middle, lost one way or both, not reachable\n"
    "  net-repeat         requests to an agent arrive twice\n"
    "  client-delay, client-cut, client-truncate, client-hold, client-refuse   the same on the way "
    "from\n"
    "                     the clients to assentd\n"
    "  disk-full          the decision log can write nothing for a while\n"
    "  disk-fail          a write or a sync of the log fails, then or from then on\n"
    "  memory             an allocation fails in assentd or an agent\n"
    "  descriptors        no more files, sockets or connections can be had\n";

void torture_kinds(const struct torture_options *options, struct fault_choice *out, size_t *count) {
  unsigned has = (options->agents ? NEEDS_AGENTS | NEEDS_HOPS : 0) |
                 (options->config ? 0 : NEEDS_SERVERS | NEEDS_HOPS) |
                 (calls_possible() ? NEEDS_LIBRARY : 0) | (options->standbys ? NEEDS_STANDBYS : 0);
  static_assert(COUNT(kinds) <= FAULT_KINDS_MAX, "room for all kinds");
  *count = COUNT(kinds);
  for (size_t i = 0; i < COUNT(kinds); i++) {
    bool is_possible = (kinds[i].needs & ~has) == 0;
    out[i] = (struct fault_choice){kinds[i].name, is_possible ? kinds[i].weight : 0,
                                   kinds[i].for_ms_min, kinds[i].for_ms_max};
  }
}

bool torture_has_kinds(const struct torture *t, const char *begin) {
  for (size_t i = 0; i < t->choice_count; i++)
    if (t->choices[i].weight > 0 && strncmp(kinds[i].name, begin, strlen(begin)) == 0) return true;
  return false;
}

bool torture_needs_proxies(const struct torture *t) {
  return t->options.standbys || torture_has_kinds(t, "net-") || torture_has_kinds(t, "client-");
}

bool torture_break(struct torture *t, const struct fault_event *event) {
  const struct fault_kind *kind = &kinds[event->kind];
  if (!kind->strike(t, event)) return false;
  t->findings.faults[event->kind]++;
  if (kind->is_kill) t->findings.kills++;
  (void)snprintf(t->last, sizeof t->last, "%s", kind->name);
  return true;
}

enum error_code torture_mend(struct torture *t, const struct fault_event *event,
                             struct error *err) {
  return kinds[event->kind].mend(t, event, err);
}

enum error_code torture_watch_over(struct torture *t, struct error *err) {
  for (int i = 0; i < STAGE_TARGETS; i++) {
    enum stage_target target = (enum stage_target)i;
    int status;
    if (t->is_down[i] || !stage_has_ended(t->stage, target, &status)) continue;
    if (t->is_faulty[i] || (target == STAGE_COORDINATOR && t->is_disk_full)) continue;
    bool may_end = target == STAGE_COORDINATOR && t->was_disk_full;
    if (may_end) calls_judge_end(t, target);
    /* Another program on this machine has its port for the moment. */
    if (!may_end && !stage_last_said(t->stage, target, "address already in use")) {
      torture_violation(t, "%s has ended by itself", stage_target_name(target));
      stage_tell_dead(t->stage, stderr);
      continue;
    }
    (void)daemon_kill(t, target);
    enum error_code code = daemon_start(t, target, err);
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

void torture_resume_all(struct torture *t) {
  for (int i = 0; i < STAGE_TARGETS; i++)
    resume_daemon(t, (enum stage_target)i);
  for (int i = 0; i < BANKS; i++) {
    const struct fault_event event = {.bank = i};
    (void)resume_database(t, &event, NULL);
  }
}
