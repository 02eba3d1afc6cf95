/* Rows that branches leave when they commit (outcome_table): old ones are removed, some at a time,
 * after listings, which the coordinator asks for in its own time. */
#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "participant-agent/internal.h"

static void on_forgotten(void *data, const struct error *err) {
  struct agent *agent = data;
  agent_enter(agent, false);
  agent->forgets = false;
  if (err)
    log_warn("rows_not_removed", "participant", "s", agent->participant, "error", "s", err->text,
             NULL);
  control_return(agent->control);
  agent_leave(agent);
}

/* Ids begin with their time: this is the least of a time. */
static void txid_floor(int64_t wall_us, char out[TXID_SIZE]) {
  uint64_t ms = wall_us > 0 ? (uint64_t)wall_us / 1000 : 0;
  (void)snprintf(out, TXID_SIZE, "%08" PRIx64 "-%04" PRIx64 "-7000-8000-000000000000",
                 (ms >> 16) & UINT32_MAX, ms & UINT16_MAX);
}

static void forget_turn(void *data, struct session *session) {
  struct agent *agent = data;
  char before[TXID_SIZE];
  if (!session) {
    agent->forgets = false;
    return;
  }
  txid_floor(clock_wall_us() - agent->rows_retention_ms * 1000, before);
  agent->adapter->ops->forget_rows(session, before, on_forgotten, agent);
}

void rows_forget(struct agent *agent) {
  if (agent->rows_retention_ms == 0 || agent->forgets) return;
  agent->forgets = true;
  control_borrow(agent->control, &agent->forgetting, forget_turn, agent);
}
