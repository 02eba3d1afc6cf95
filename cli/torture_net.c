/* A bad network: see torture_kinds.h.
 *
 *   assentd --[agent hop]--> assent-agent --[database hop]--> PostgreSQL
 *
 * Without agents there is the database hop only. (HOP_OURS is ours, and never bad.) Clients reach assentd directly: without idempotency
 * keys a request that a network repeats is a second request.
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

enum error_code net_open(struct torture *t, struct error *err) {
  enum error_code code = ERR_OK;
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

bool net_delay(struct torture *t, const struct fault_event *event) {
  const struct proxy_faults faults = {.delay_ms_max = between(event, 2, 60)};
  return set(t, hop_of(t, event), event->bank, &faults);
}

bool net_cut(struct torture *t, const struct fault_event *event) {
  const struct proxy_faults faults = {.cut_per_mille = between(event, 5, 200)};
  return set(t, hop_of(t, event), event->bank, &faults);
}

bool net_truncate(struct torture *t, const struct fault_event *event) {
  const struct proxy_faults faults = {.truncate_per_mille = between(event, 5, 200)};
  return set(t, hop_of(t, event), event->bank, &faults);
}

bool net_hold(struct torture *t, const struct fault_event *event) {
  unsigned way = between(event, 1, 3);
  const struct proxy_faults faults = {.hold_to_target = (way & 1) != 0,
                                      .hold_to_client = (way & 2) != 0};
  return set(t, hop_of(t, event), event->bank, &faults);
}

bool net_refuse(struct torture *t, const struct fault_event *event) {
  const struct proxy_faults faults = {.refuse = true};
  enum hop hop = hop_of(t, event);
  if (!set(t, hop, event->bank, &faults)) return false;
  proxy_cut_all(t->proxies[hop][event->bank]);
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
