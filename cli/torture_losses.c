/* See torture_losses.h.
 *
 * Invariant: after losses_close_round() the standbys have all that their primaries have, so that a
 * failover can only take what its own round has written.
 */
#include "cli/torture_losses.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/throwaway.h"
#include "cli/torture_listing.h"

/* What a check of one round works with. */
struct judging {
  struct torture *t;
  struct listed *listed;  /* each of the index, less the round's first */
  bool *was_there[BANKS]; /* NULL: not asked for yet */
  struct error failure;   /* a server that was replaced could not be read */
};

/* ---- servers that were replaced ---------------------------------------------------------------- */

bool losses_have_room(const struct torture *t, int bank) {
  return t->former_count[bank] < TORTURE_FORMERS_MAX;
}

void losses_keep_former(struct torture *t, int bank, struct throwaway_server *server) {
  t->formers[bank][t->former_count[bank]++] = server;
}

static void on_former_row(void *data, const char *label, int64_t amount) {
  struct judging *judging = ((void **)data)[0];
  bool *was_there = ((void **)data)[1];
  int64_t index = transfer_label_index(&judging->t->source, label) - judging->t->first;
  (void)amount;
  if (index >= 0 && index < load_begun(judging->t->load)) was_there[index] = true;
}

static enum error_code read_former(struct judging *judging, struct throwaway_server *server,
                                   bool *was_there, struct error *err) {
  char dsn[THROWAWAY_DSN_SIZE], first[TRANSFER_LABEL_SIZE];
  void *both[] = {judging, was_there};
  struct bank *bank = NULL;
  transfer_label(&judging->t->source, judging->t->first, first);
  enum error_code code = throwaway_server_start(server, err);
  if (code != ERR_OK) return code;
  throwaway_server_dsn(server, "bank", dsn);
  code = bank_open(&bank, dsn, torture_schema, err);
  if (code == ERR_OK) code = bank_each_ledger(bank, first, NULL, on_former_row, both, err);
  bank_close(bank);
  throwaway_server_kill(server);
  return code;
}

/* Starting a server takes a while: only where something is missing and nobody has said so. */
static bool was_there(struct judging *judging, int bank, unsigned index) {
  struct torture *t = judging->t;
  if (!judging->was_there[bank]) {
    judging->was_there[bank] = calloc(load_begun(t->load) + 1U, sizeof(bool));
    if (!judging->was_there[bank]) abort();
    for (unsigned i = 0; i < t->former_count[bank] && judging->failure.code == ERR_OK; i++)
      (void)!read_former(judging, t->formers[bank][i], judging->was_there[bank], &judging->failure);
  }
  return judging->was_there[bank][index - t->first];
}

/* ---- one transfer ------------------------------------------------------------------------------ */

static void count_lost(struct torture *t, const struct transfer_plan *plan,
                       enum loss_verdict verdict, const bool lost[BANKS]) {
  for (int i = 0; i < BANKS; i++) {
    int64_t amount;
    if (!lost[i] || !transfer_plan_row(plan, i, &amount)) continue;
    t->findings.money_lost += amount;
    if (verdict == LOSS_SURFACED)
      t->findings.hazards++;
    else
      t->findings.unseen++;
  }
}

static bool judge(void *data, unsigned index, const bool in[BANKS]) {
  struct judging *judging = data;
  struct torture *t = judging->t;
  struct transfer_plan plan = t->source.plan(t->source.seed, index);
  const struct listed *listed = &judging->listed[index - t->first];
  struct loss_case c = {.told = load_record(t->load, index)->told,
                        .listed = listed->outcome,
                        .is_listed = listed->is_listed,
                        .is_sole = plan.shape == TRANSFER_ONE};
  bool lost[BANKS];
  for (int i = 0; i < BANKS; i++) {
    int64_t amount;
    c.branches[i] = (struct loss_branch){.writes = transfer_plan_row(&plan, i, &amount),
                                         .is_there = in[i],
                                         .failed_over = t->former_count[i] > 0,
                                         .told = listed->branches[i]};
    if (!c.branches[i].writes && in[i]) return false;
    if (c.branches[i].writes && !in[i] && c.told != TOLD_ABORTED && c.branches[i].failed_over &&
        listed->branches[i] == BRANCH_TOLD_COMMITTED)
      c.branches[i].was_there = was_there(judging, i, index);
  }
  enum loss_verdict verdict = loss_judge(&c, lost);
  if (verdict == LOSS_WRONG) return false;
  count_lost(t, &plan, verdict, lost);
  t->verdicts[index - t->first] =
      (struct torture_verdict){c.is_listed ? c.listed : TOLD_ABORTED, {lost[0], lost[1]}};
  return true;
}

static enum told told_by_load(const void *data, unsigned index) {
  return load_record(data, index)->told;
}

enum error_code losses_check(struct torture *t, struct ledger_findings *ledger, struct error *err) {
  unsigned begun = load_begun(t->load);
  struct judging judging = {.t = t, .listed = calloc(begun + 1U, sizeof *judging.listed)};
  const struct ledger_claims claims = {.source = &t->source,
                                       .first = t->first,
                                       .count = begun,
                                       .told = told_by_load,
                                       .data = t->load,
                                       .judge = judge,
                                       .judge_data = &judging};
  enum error_code code = judging.listed ? ERR_OK : error_set(err, ERR_MEMORY, "out of memory");
  if (code == ERR_OK) code = listing_read(t, judging.listed, err);
  if (code == ERR_OK) code = ledger_check(t->banks, &claims, ledger, err);
  if (code == ERR_OK && judging.failure.code != ERR_OK)
    code = error_set(err, judging.failure.code, "%s", judging.failure.text);
  for (int i = 0; i < BANKS; i++)
    free(judging.was_there[i]);
  free(judging.listed);
  return code;
}

bool losses_judge_before(void *data, unsigned index, const bool in[BANKS]) {
  const struct torture *t = data;
  struct transfer_plan plan = t->source.plan(t->source.seed, index);
  enum told told = torture_told(t, index);
  bool is_decided = told == TOLD_COMMITTED || told == TOLD_MIXED;
  for (int i = 0; i < BANKS; i++) {
    int64_t amount;
    bool belongs = is_decided && transfer_plan_row(&plan, i, &amount) && !torture_lost(t, index, i);
    if (in[i] != belongs) return false;
  }
  return true;
}

/* ---- the round --------------------------------------------------------------------------------- */

static enum error_code look_for(struct torture *t, int bank, const char *label, bool *is_there,
                                struct error *err) {
  char sql[256];
  int64_t count = 0;
  if (transfer_label_index(&t->source, label) < 0)
    return error_set(err, ERR_INVALID, "no label of ours: %.60s", label);
  (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM %sledger WHERE label = '%s'",
                 torture_schema, label);
  enum error_code code = bank_integer(t->banks[bank], sql, &count, err);
  *is_there = count > 0;
  return code;
}

enum error_code losses_resolve(struct torture *t, struct error *err) {
  unsigned count;
  enum error_code code = listing_resolve(t, look_for, &count, err);
  t->findings.resolved += count;
  return code;
}

enum error_code losses_close_round(struct torture *t, struct error *err) {
  enum error_code code = ERR_OK;
  for (int i = 0; i < BANKS; i++) {
    while (t->former_count[i] > 0)
      throwaway_server_remove(t->formers[i][--t->former_count[i]]);
    if (code == ERR_OK && t->standbys[i]) code = throwaway_standby_catch_up(t->standbys[i], err);
  }
  return code;
}
