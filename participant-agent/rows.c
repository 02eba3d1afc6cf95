/* Rows that branches leave when they commit (outcome_table): old ones are removed, some at a time,
 * after listings, which the coordinator asks for in its own time. */
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

static void forget_turn(void *data, struct session *session) {
  struct agent *agent = data;
  if (!session) {
    agent->forgets = false;
    return;
  }
  struct txid before = txid_least(clock_wall_us() - agent->rows_retention_ms * 1000);
  agent->adapter->ops->forget_rows(session, before.text, on_forgotten, agent);
}

void rows_forget(struct agent *agent) {
  if (agent->rows_retention_ms == 0 || agent->forgets) return;
  agent->forgets = true;
  control_borrow(agent->control, &agent->forgetting, forget_turn, agent);
}
