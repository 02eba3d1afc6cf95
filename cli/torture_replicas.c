/* Failovers of databases with a standby: see torture_kinds.h.
 *
 * Everybody reaches a database through a proxy, which is turned to the promoted server: the daemons
 * by the hop that net_*() break, we by one of our own that is always good. A new standby is made at
 * once. A synchronous standby is promoted only when it was that all its life, and the daemons are told
 * so (synchronous_failover): what was voted or told must have survived, and a lost branch is a
 * violation. An asynchronous one may lack the last things, above all when it has been held for a
 * while: a lost branch is a hazard then (torture_losses.h).
 */
#include <assert.h>
#include <stdio.h>

#include "cli/process.h"
#include "cli/proxy.h"
#include "cli/throwaway.h"
#include "cli/torture_kinds.h"
#include "cli/torture_losses.h"
#include "common/clock.h"

enum { PATIENCE_MS = 30000, PAUSE_MS = 50, BEHIND_TRANSFERS_MAX = 40, BEHIND_MS_MAX = 500 };

static void target_of(const struct throwaway_server *server, char out[32]) {
  (void)snprintf(out, 32, "127.0.0.1:%d", throwaway_server_port(server));
}

/* Again while the primary recovers from the death of a backend. */
static enum error_code patiently(enum error_code (*fn)(struct torture *t, int bank,
                                                       struct error *err),
                                 struct torture *t, int bank, struct error *err) {
  uint64_t begin_us = clock_monotonic_us();
  for (;;) {
    struct error why = {0};
    if (fn(t, bank, &why) == ERR_OK) return ERR_OK;
    if ((clock_monotonic_us() - begin_us) / 1000 > PATIENCE_MS || torture_interrupted())
      return error_set(err, why.code, "%s", why.text);
    process_pause_ms(PAUSE_MS);
  }
}

static enum error_code make_one(struct torture *t, int bank, struct error *err) {
  const struct throwaway_standby_options options = {.synchronous = !t->options.asynchronous};
  char name[32];
  (void)snprintf(name, sizeof name, "standby_%c%u", 'a' + bank, ++t->standby_number);
  t->standbys[bank] = throwaway_standby(stage_throwaway(t->stage), stage_server(t->stage, bank),
                                        name, &options, err);
  return t->standbys[bank] ? ERR_OK : err->code;
}

static enum error_code make_standby(struct torture *t, int bank, struct error *err) {
  t->is_held[bank] = false;
  return patiently(make_one, t, bank, err);
}

enum error_code replicas_open(struct torture *t, struct error *err) {
  enum error_code code = ERR_OK;
  for (int bank = 0; code == ERR_OK && bank < BANKS; bank++) {
    char target[32];
    target_of(stage_server(t->stage, bank), target);
    code = proxy_start(&t->proxies[HOP_OURS][bank], target, 0, err);
    if (code != ERR_OK) break;
    (void)snprintf(t->dsn[bank], sizeof t->dsn[bank],
                   "host=127.0.0.1 port=%u dbname=bank user=postgres",
                   proxy_port(t->proxies[HOP_OURS][bank]));
    code = make_standby(t, bank, err);
  }
  return code;
}

/* ---- failover ---------------------------------------------------------------------------------- */

/* An asynchronous standby mostly has all but the last milliseconds: now it gets nothing while so many
 * transfers end, if they do. */
static bool fall_behind(struct torture *t, const struct fault_event *event) {
  struct error err = {0};
  unsigned transfers = (unsigned)((event->draw >> 8) % BEHIND_TRANSFERS_MAX);
  if (!t->is_held[event->bank] && throwaway_standby_hold(t->standbys[event->bank], &err) != ERR_OK)
    return false;
  t->is_held[event->bank] = true;
  (void)load_wait_finished(t->load, load_count(t->load).finished + transfers, BEHIND_MS_MAX);
  return true;
}

bool replica_fail_over(struct torture *t, const struct fault_event *event) {
  int bank = event->bank;
  if (t->is_database_down[bank] || !t->standbys[bank] || !losses_have_room(t, bank)) return false;
  if (t->options.asynchronous && !fall_behind(t, event)) return false;
  t->is_database_down[bank] = true;
  t->is_database_paused[bank] = false;
  throwaway_server_kill(stage_server(t->stage, bank));
  return true;
}

static void turn_to(struct torture *t, int bank, struct throwaway_server *server) {
  char target[32];
  target_of(server, target);
  stage_set_server(t->stage, bank, server);
  proxy_retarget(t->proxies[HOP_DATABASE][bank], target);
  proxy_retarget(t->proxies[HOP_OURS][bank], target);
}

enum error_code replica_promote(struct torture *t, const struct fault_event *event,
                                struct error *err) {
  int bank = event->bank;
  struct throwaway_server *former = stage_server(t->stage, bank), *standby = t->standbys[bank];
  assert(t->is_database_down[bank] && standby);
  watch_restart(t->watch);
  enum error_code code = throwaway_promote(standby, err);
  if (code != ERR_OK) return code;
  t->standbys[bank] = NULL;
  turn_to(t, bank, standby);
  t->is_database_down[bank] = false;
  if (t->options.asynchronous)
    losses_keep_former(t, bank, former);
  else
    throwaway_server_remove(former);
  return make_standby(t, bank, err);
}

/* ---- the standby is out of reach: commits wait ------------------------------------------------- */

bool replica_hold(struct torture *t, const struct fault_event *event) {
  struct throwaway_server *standby = t->standbys[event->bank];
  struct error err = {0};
  if (!standby || t->is_held[event->bank]) return false;
  t->is_held[event->bank] = throwaway_standby_hold(standby, &err) == ERR_OK;
  return t->is_held[event->bank];
}

static enum error_code release_one(struct torture *t, int bank, struct error *err) {
  return throwaway_standby_release(t->standbys[bank], err);
}

/* Nothing, when it has been promoted meanwhile. */
enum error_code replica_release(struct torture *t, const struct fault_event *event,
                                struct error *err) {
  if (!t->is_held[event->bank]) return ERR_OK;
  t->is_held[event->bank] = false;
  return patiently(release_one, t, event->bank, err);
}
