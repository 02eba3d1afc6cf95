/* A bad network: see torture_kinds.h.
 *
 *   client --[client hop]--> assentd --[agent hop]--> assent-agent --[database hop]--> PostgreSQL
 *
 * Without agents there is no agent hop. (HOP_OURS is ours, and never bad.) The clients take the way by
 * the client hop only while it is bad: a proxy takes a connection also when assentd is down, and then
 * nobody can tell any more that the request never left. What does not happen there is a request that
 * arrives twice: without idempotency keys it is a second request.
 * Invariant: a hop has one fault at a time, and only while `is_hop_bad`.
 */
#include <stdio.h>

#include "cli/proxy.h"
#include "cli/throwaway.h"
#include "cli/torture_kinds.h"

static enum error_code open_database_hop(struct torture *t, int bank, struct error *err) {
  const struct throwaway_server *server = stage_server(t->stage, bank);
  struct proxy **proxy = &t->proxies[HOP_DATABASE][bank];
  char target[64], dsn[THROWAWAY_DSN_SIZE];
  (void)snprintf(target, sizeof target, "127.0.0.1:%d", throwaway_server_port(server));
  enum error_code code = proxy_start(proxy, target, t->source.seed + (unsigned)bank, err);
  if (code != ERR_OK) return code;
  /* Kerberos' library crashes where memory is missing (1.20), and is asked on TCP otherwise. */
  (void)snprintf(dsn, sizeof dsn,
                 "host=127.0.0.1 port=%u dbname=bank user=postgres gssencmode=disable",
                 proxy_port(*proxy));
  stage_route_database(t->stage, bank, dsn);
  return ERR_OK;
}

static enum error_code open_agent_hop(struct torture *t, int bank, struct error *err) {
  struct proxy **proxy = &t->proxies[HOP_AGENT][bank];
  char target[64];
  (void)snprintf(target, sizeof target, "127.0.0.1:%d",
                 (int)stage_port(t->stage, STAGE_AGENT_A + (enum stage_target)bank));
  enum error_code code = proxy_start(proxy, target, t->source.seed + BANKS + (unsigned)bank, err);
  if (code == ERR_OK) stage_route_agent(t->stage, bank, (uint16_t)proxy_port(*proxy));
  return code;
}

static enum error_code open_client_hop(struct torture *t, struct error *err) {
  struct proxy **proxy = &t->proxies[HOP_CLIENT][0];
  char target[64];
  (void)snprintf(target, sizeof target, "127.0.0.1:%d",
                 (int)stage_port(t->stage, STAGE_COORDINATOR));
  enum error_code code = proxy_start(proxy, target, t->source.seed + UINT64_C(2) * BANKS, err);
  if (code == ERR_OK)
    (void)snprintf(t->client_url, sizeof t->client_url, "http://127.0.0.1:%u", proxy_port(*proxy));
  return code;
}

enum error_code net_open(struct torture *t, struct error *err) {
  enum error_code code = open_client_hop(t, err);
  for (int bank = 0; code == ERR_OK && bank < BANKS; bank++) {
    if (stage_server(t->stage, bank)) code = open_database_hop(t, bank, err);
    if (code == ERR_OK && t->options.agents) code = open_agent_hop(t, bank, err);
  }
  return code;
}

void net_close(struct torture *t) {
  for (int hop = 0; hop < HOPS; hop++)
    for (int bank = 0; bank < BANKS; bank++)
      proxy_free(t->proxies[hop][bank]);
}

/* Either hop, where there are two. */
static enum hop hop_of(const struct torture *t, const struct fault_event *event) {
  enum hop hop = (event->draw & 1) ? HOP_AGENT : HOP_DATABASE;
  return t->proxies[hop][event->bank] ? hop : 1 - hop;
}

static bool set(struct torture *t, enum hop hop, int bank, const struct proxy_faults *faults) {
  if (t->is_hop_bad[hop][bank] || !t->proxies[hop][bank]) return false;
  t->is_hop_bad[hop][bank] = true;
  proxy_set(t->proxies[hop][bank], faults);
  return true;
}

/* From `low` to `high`, by bits of the draw that hop_of() does not look at. */
static unsigned between(const struct fault_event *event, unsigned low, unsigned high) {
  return low + (unsigned)((event->draw >> 8) % (high - low + 1));
}

static struct proxy_faults delay_of(const struct fault_event *event) {
  return (struct proxy_faults){.delay_ms_max = between(event, 2, 60)};
}

static struct proxy_faults cut_of(const struct fault_event *event) {
  return (struct proxy_faults){.cut_per_mille = between(event, 5, 200)};
}

static struct proxy_faults truncate_of(const struct fault_event *event) {
  return (struct proxy_faults){.truncate_per_mille = between(event, 5, 200)};
}

/* Lost one way, or both. */
static struct proxy_faults hold_of(const struct fault_event *event) {
  unsigned way = between(event, 1, 3);
  return (struct proxy_faults){.hold_to_target = (way & 1) != 0, .hold_to_client = (way & 2) != 0};
}

/* ---- agent and database hops ------------------------------------------------------------------- */

static bool strike(struct torture *t, const struct fault_event *event, struct proxy_faults faults) {
  return set(t, hop_of(t, event), event->bank, &faults);
}

bool net_delay(struct torture *t, const struct fault_event *event) {
  return strike(t, event, delay_of(event));
}

bool net_cut(struct torture *t, const struct fault_event *event) {
  return strike(t, event, cut_of(event));
}

bool net_truncate(struct torture *t, const struct fault_event *event) {
  return strike(t, event, truncate_of(event));
}

bool net_hold(struct torture *t, const struct fault_event *event) {
  return strike(t, event, hold_of(event));
}

bool net_refuse(struct torture *t, const struct fault_event *event) {
  if (!strike(t, event, (struct proxy_faults){.refuse = true})) return false;
  proxy_cut_all(t->proxies[hop_of(t, event)][event->bank]);
  return true;
}

/* Requests to an agent arrive twice, the second time later. */
bool net_repeat(struct torture *t, const struct fault_event *event) {
  const struct proxy_faults faults = {.repeat_per_mille = between(event, 100, 1000)};
  return set(t, HOP_AGENT, event->bank, &faults);
}

static enum error_code mend(struct torture *t, enum hop hop, int bank) {
  static const struct proxy_faults good;
  proxy_set(t->proxies[hop][bank], &good);
  t->is_hop_bad[hop][bank] = false;
  return ERR_OK;
}

enum error_code net_mend(struct torture *t, const struct fault_event *event, struct error *err) {
  (void)err;
  return mend(t, hop_of(t, event), event->bank);
}

enum error_code net_mend_repeat(struct torture *t, const struct fault_event *event,
                                struct error *err) {
  (void)err;
  return mend(t, HOP_AGENT, event->bank);
}

/* ---- the client hop ---------------------------------------------------------------------------- */

static bool detour(struct torture *t, struct proxy_faults faults) {
  if (!set(t, HOP_CLIENT, 0, &faults)) return false;
  load_detour(t->load, t->client_url);
  return true;
}

bool client_delay(struct torture *t, const struct fault_event *event) {
  return detour(t, delay_of(event));
}

bool client_cut(struct torture *t, const struct fault_event *event) {
  return detour(t, cut_of(event));
}

bool client_truncate(struct torture *t, const struct fault_event *event) {
  return detour(t, truncate_of(event));
}

bool client_hold(struct torture *t, const struct fault_event *event) {
  return detour(t, hold_of(event));
}

/* What is under way by this hop since an earlier fault is reset. */
bool client_refuse(struct torture *t, const struct fault_event *event) {
  (void)event;
  if (!detour(t, (struct proxy_faults){.refuse = true})) return false;
  proxy_cut_all(t->proxies[HOP_CLIENT][0]);
  return true;
}

enum error_code client_mend(struct torture *t, const struct fault_event *event, struct error *err) {
  (void)event;
  (void)err;
  load_detour(t->load, NULL);
  return mend(t, HOP_CLIENT, 0);
}
