/* What this agent knows of coordinators and their branches, for who has lost the decision log: the
 * database's answer (adapter.h), and what the agent remembers itself. See message.h.
 *
 * Each branch the agent has had since its fence is in the table until it is freed; what is freed, a
 * tombstone over the limit among others, moves the border of what it remembers (fence_forgot()).
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "participant-agent/internal.h"
#include "participant-agent/state.h"

struct surveying {
  struct agent *agent;
  struct request *request;
  struct control_turn turn;
  struct cluster_id cluster;
  struct txid *txids; /* owned, as the two below */
  size_t txid_count;
  struct survey_life *lives;
  size_t life_count;
  struct survey_outcome *outcomes;
  size_t outcome_count;
  struct surveying *prev, *next;
};

static void surveying_free(struct surveying *s) {
  DL_DELETE(s->agent->surveyings, s);
  free(s->txids);
  free(s->lives);
  free(s->outcomes);
  free(s);
}

/* ---- lives -------------------------------------------------------------------------------------
 */

/* The latest life of a cluster counts, wherever it is known from. */
static void note_life(struct surveying *s, const struct survey_life *life) {
  if (s->cluster.text[0] && strcmp(s->cluster.text, life->cluster.text) != 0) return;
  for (size_t i = 0; i < s->life_count; i++) {
    struct survey_life *known = &s->lives[i];
    if (strcmp(known->cluster.text, life->cluster.text) != 0) continue;
    if (known->epoch >= life->epoch) return;
    known->epoch = life->epoch;
    memcpy(known->run_id, life->run_id, sizeof known->run_id);
    return;
  }
  s->lives[s->life_count++] = *life;
}

static enum error_code note_lives(struct surveying *s, const struct session_survey *found,
                                  struct error *err) {
  struct agent *agent = s->agent;
  s->lives = must_allocate((found->life_count + agent->fenced_count + 1) * sizeof *s->lives);
  for (size_t i = 0; i < found->life_count; i++)
    note_life(s, &found->lives[i]);
  for (size_t i = 0; i < agent->fenced_count; i++) {
    const struct fenced *fenced = &agent->fenced[i];
    struct survey_life life = {.cluster = fenced->cluster, .epoch = fenced->epoch};
    memcpy(life.run_id, fenced->run_id, sizeof life.run_id);
    note_life(s, &life);
  }
  if (!agent->state_dir || !s->cluster.text[0]) return ERR_OK;
  struct survey_life life = {.cluster = s->cluster};
  enum error_code code = state_epoch_read(agent->state_dir, agent->participant, &s->cluster,
                                          &life.epoch, life.run_id, err);
  if (code == ERR_OK && life.epoch > 0) note_life(s, &life);
  return code;
}

/* ---- outcomes ----------------------------------------------------------------------------------
 */

/* A row says that a branch has committed, and outweighs what is remembered. */
static void note_outcome(struct surveying *s, const struct txid *txid,
                         enum branch_outcome outcome) {
  for (size_t i = 0; i < s->outcome_count; i++) {
    if (strcmp(s->outcomes[i].txid.text, txid->text) != 0) continue;
    if (outcome == BRANCH_OUTCOME_COMMITTED) s->outcomes[i].outcome = outcome;
    return;
  }
  s->outcomes[s->outcome_count++] = (struct survey_outcome){*txid, outcome};
}

static enum branch_outcome remembered(enum branch_state state) {
  if (state == BRANCH_COMMITTED) return BRANCH_OUTCOME_COMMITTED;
  if (state == BRANCH_ABORTED || state == BRANCH_READ_ONLY) return BRANCH_OUTCOME_ABORTED;
  return BRANCH_OUTCOME_UNVERIFIABLE;
}

struct remembering {
  struct surveying *survey;
  const struct txid *txid;
};

static void note_remembered(void *data, enum branch_state state) {
  const struct remembering *of = data;
  note_outcome(of->survey, of->txid, remembered(state));
}

static void note_outcomes(struct surveying *s, const struct session_survey *found) {
  s->outcomes = must_allocate((s->txid_count + 1) * sizeof *s->outcomes);
  for (size_t i = 0; i < found->committed_count; i++)
    note_outcome(s, &found->committed[i], BRANCH_OUTCOME_COMMITTED);
  for (size_t i = 0; i < s->txid_count; i++) {
    struct remembering of = {s, &s->txids[i]};
    entries_find(s->agent, &s->cluster, of.txid, note_remembered, &of);
  }
}

/* ---- the answer --------------------------------------------------------------------------------
 */

static void fill_reply(struct surveying *s, const struct session_survey *found) {
  const struct session_identity *identity = control_identity(s->agent->control);
  const struct fenced *fenced = fence_find(s->agent, &s->cluster);
  struct survey_reply *reply = &s->request->reply.survey;
  *reply = (struct survey_reply){.lives = s->lives,
                                 .life_count = s->life_count,
                                 .branches = found->branches,
                                 .branch_count = found->branch_count,
                                 .outcomes = s->outcomes,
                                 .outcome_count = s->outcome_count};
  if (identity) copy_text(reply->server, sizeof reply->server, identity->server);
  if (!fenced) return;
  reply->memory_from_epoch = fenced->memory_from_epoch;
  reply->memory_after_txid = fenced->memory_after;
}

static void on_surveyed(void *data, const struct session_survey *survey, const struct error *err) {
  struct surveying *s = data;
  struct agent *agent = s->agent;
  struct error failed = {0};
  agent_enter(agent, false);
  if (err) {
    (void)error_set(&failed, ERR_UNAVAILABLE, "asking what is known: %s", err->text);
  } else if (note_lives(s, survey, &failed) == ERR_OK) {
    note_outcomes(s, survey);
    fill_reply(s, survey);
  } else {
    failed.code = ERR_UNAVAILABLE;
  }
  request_answer(agent, s->request, &failed);
  control_return(agent->control);
  agent_leave(agent); /* answers */
  surveying_free(s);
}

static void survey_turn(void *data, struct session *session) {
  struct surveying *s = data;
  struct agent *agent = s->agent;
  if (session) {
    const struct survey_request request = {.cluster = s->cluster,
                                           .txids = s->txids,
                                           .txid_count = s->txid_count};
    agent->adapter->ops->survey(session, &request, on_surveyed, s);
    return;
  }
  struct error err = {0};
  agent_enter(agent, false);
  (void)error_set(&err, ERR_UNAVAILABLE, "%s", control_error(agent->control));
  request_answer(agent, s->request, &err);
  surveying_free(s);
  agent_leave(agent);
}

void agent_survey(struct agent *agent, const struct survey_request *request, survey_fn fn,
                  void *data) {
  agent_enter(agent, true);
  struct surveying *s = must_allocate(sizeof *s);
  s->agent = agent;
  s->request = request_new(REQUEST_SURVEY, data);
  s->request->fn.survey = fn;
  s->cluster = request->cluster;
  s->txid_count = request->txid_count;
  s->txids = must_allocate((request->txid_count + 1) * sizeof *s->txids);
  if (request->txid_count > 0)
    memcpy(s->txids, request->txids, request->txid_count * sizeof *s->txids);
  DL_APPEND(agent->surveyings, s);
  control_borrow(agent->control, &s->turn, survey_turn, s);
  agent_leave(agent);
}

void surveys_drop(struct agent *agent) {
  struct surveying *s, *next;
  DL_FOREACH_SAFE(agent->surveyings, s, next) {
    request_free(s->request);
    surveying_free(s);
  }
}
