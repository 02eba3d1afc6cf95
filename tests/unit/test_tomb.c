/* participant-agent/tomb.c: what is buried comes out as it went in. */
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "participant-agent/internal.h"
#include "tests/lib/suite.h"

#define SERVER       "7391234567890123456/1/16384"
#define OTHER_SERVER "7391234567890123456/2/16384"

static struct agent *agent;

static void begin(void) {
  agent = must_allocate(sizeof *agent);
}

static void end(void) {
  entries_drop(agent);
  free(agent);
  agent = NULL;
}

/* As many as are wanted, of one cluster and epoch, that grow with `i`. */
static struct gid gid_of(unsigned i) {
  struct gid gid = {.cluster = {"0123456789az"}, .epoch = 7, .branch = 1 + i % 2};
  (void)snprintf(gid.txid.text, sizeof gid.txid.text, "01a1fc21-2de8-727e-ab64-%012x", i / 2);
  return gid;
}

static struct entry *make(const struct gid *gid) {
  char text[GID_SIZE];
  gid_format(gid, text);
  struct entry *entry = entry_make(agent, text, gid);
  entry->branch.state = BRANCH_COMMITTED;
  entry->branch.closed = entry->branch.xid_told = true;
  entry->branch.next_sequence = 1;
  entry->branch.end = RUN_PREPARE;
  entry->branch.decision = DECIDE_COMMIT;
  entry->since = ++agent->moment;
  copy_text(entry->server, sizeof entry->server, SERVER);
  copy_text(entry->told_server, sizeof entry->told_server, SERVER);
  (void)snprintf(entry->xid, sizeof entry->xid, "%llu", 4294967296ULL + agent->moment);
  memcpy(entry->told_xid, entry->xid, sizeof entry->xid);
  return entry;
}

static void bury(struct entry *entry) {
  if (!entry->entombed) DL_APPEND(agent->ended, entry);
  entry->entombed = true;
  entries_bury(agent);
  CU_ASSERT_PTR_NULL(agent->entries);
}

static struct entry *open_of(const struct gid *gid) {
  char text[GID_SIZE];
  gid_format(gid, text);
  return entry_find(agent, text);
}

static void assert_same_branch(const struct branch *is, const struct branch *was) {
  CU_ASSERT_EQUAL(is->next_sequence, was->next_sequence);
  CU_ASSERT_EQUAL(is->state, was->state);
  CU_ASSERT_EQUAL(is->resume, was->resume);
  CU_ASSERT_EQUAL(is->end, was->end);
  CU_ASSERT_EQUAL(is->decision, was->decision);
  CU_ASSERT_EQUAL(is->lost, was->lost);
  CU_ASSERT_EQUAL(is->stalled, was->stalled);
  CU_ASSERT_EQUAL(is->closed, was->closed);
  CU_ASSERT_EQUAL(is->durable, was->durable);
  CU_ASSERT_EQUAL(is->barrier, was->barrier);
  CU_ASSERT_EQUAL(is->vote_due, was->vote_due);
  CU_ASSERT_EQUAL(is->decided, was->decided);
  CU_ASSERT_EQUAL(is->xid_told, was->xid_told);
  CU_ASSERT_EQUAL(is->finish_lost, was->finish_lost);
  CU_ASSERT_EQUAL(is->session_gone, was->session_gone);
}

static void assert_same(const struct entry *is, const struct entry *was,
                        const struct cause *cause) {
  CU_ASSERT_PTR_NOT_NULL_FATAL(is);
  CU_ASSERT_STRING_EQUAL(is->gid, was->gid);
  CU_ASSERT_STRING_EQUAL(is->id.cluster.text, was->id.cluster.text);
  CU_ASSERT_EQUAL(is->id.epoch, was->id.epoch);
  CU_ASSERT_STRING_EQUAL(is->id.txid.text, was->id.txid.text);
  CU_ASSERT_EQUAL(is->id.branch, was->id.branch);
  assert_same_branch(&is->branch, &was->branch);
  CU_ASSERT_STRING_EQUAL(is->xid, was->xid);
  CU_ASSERT_STRING_EQUAL(is->server, was->server);
  CU_ASSERT_STRING_EQUAL(is->told_xid, was->told_xid);
  CU_ASSERT_STRING_EQUAL(is->told_server, was->told_server);
  CU_ASSERT_EQUAL(is->since, was->since);
  CU_ASSERT_EQUAL(is->hazard_told, was->hazard_told);
  CU_ASSERT_TRUE(is->entombed);
  CU_ASSERT_EQUAL_FATAL(is->cause != NULL, cause != NULL);
  if (!cause) return;
  CU_ASSERT_EQUAL(is->cause->kind, cause->kind);
  CU_ASSERT_EQUAL(is->cause->branch, cause->branch);
  CU_ASSERT_EQUAL(is->cause->statement, cause->statement);
  CU_ASSERT_STRING_EQUAL(is->cause->sqlstate, cause->sqlstate);
  CU_ASSERT_STRING_EQUAL(is->cause->text, cause->text);
  CU_ASSERT_PTR_EQUAL(is->cause->limit.name, cause->limit.name);
  CU_ASSERT_EQUAL(is->cause->limit.value, cause->limit.value);
}

/* Buried and opened, twice. */
static void assert_kept(struct entry *entry) {
  struct entry was = *entry;
  struct cause cause = {0};
  if (entry->cause) cause = *entry->cause;
  for (int i = 0; i < 2; i++) {
    bury(entry);
    entry = entry_find(agent, was.gid);
    assert_same(entry, &was, was.cause ? &cause : NULL);
  }
  bury(entry);
}

/* ---- one that is opened ------------------------------------------------------------------------ */

static void committed_branch_opens_as_it_was(void) {
  struct gid gid = gid_of(1);
  begin();
  CU_ASSERT_PTR_NULL(open_of(&gid));
  assert_kept(make(&gid));
  end();
}

static void every_bit_of_the_state_is_kept(void) {
  struct gid gid = gid_of(2);
  begin();
  struct entry *entry = make(&gid);
  entry->branch = (struct branch){.next_sequence = 2147483648U,
                                  .state = BRANCH_READ_ONLY,
                                  .resume = BRANCH_READ_ONLY,
                                  .end = RUN_READY,
                                  .decision = DECIDE_ONE_PHASE,
                                  .lost = AFTER_LOST_FINISH,
                                  .closed = true,
                                  .durable = true,
                                  .finish_lost = true};
  entry->hazard_told = true;
  entry->since = UINT64_MAX;
  assert_kept(entry);
  end();
}

static void texts_that_are_no_numbers_or_differ_are_kept(void) {
  static const struct {
    const char *xid, *server, *told_xid, *told_server;
  } cases[] = {
      {"", "", "", ""},
      {"", "", "770", SERVER},
      {"771", SERVER, "", ""},
      {"771", SERVER, "770", SERVER},
      {"771", SERVER, "771", OTHER_SERVER},
      {"771", SERVER, "771", ""},
      {"771", "", "771", SERVER},
      {"0", SERVER, "0", SERVER},
      {"0771", SERVER, "0771", SERVER},
      {"18446744073709551615", SERVER, "18446744073709551615", SERVER},
      {"18446744073709551616", SERVER, "18446744073709551616", SERVER},
  };
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct gid gid = gid_of(i);
    begin();
    struct entry *entry = make(&gid);
    copy_text(entry->xid, sizeof entry->xid, cases[i].xid);
    copy_text(entry->server, sizeof entry->server, cases[i].server);
    copy_text(entry->told_xid, sizeof entry->told_xid, cases[i].told_xid);
    copy_text(entry->told_server, sizeof entry->told_server, cases[i].told_server);
    assert_kept(entry);
    end();
  }
}

static void cause_is_kept(void) {
  struct gid gid = gid_of(65535);
  begin();
  struct entry *entry = make(&gid);
  struct cause cause = {.kind = CAUSE_LIMIT, .statement = -1, .sqlstate = "53400"};
  cause.limit.name = "result_rows";
  cause.limit.value = 10000;
  memset(cause.text, 'x', sizeof cause.text - 1);
  entry->branch.state = BRANCH_ABORTED;
  entry_note(entry, &cause);
  assert_kept(entry);
  end();
}

static void branches_that_differ_in_one_part_are_others(void) {
  struct gid gids[] = {gid_of(0), gid_of(0), gid_of(0), gid_of(0), gid_of(0)};
  gids[1].cluster.text[0] = 'b';
  gids[2].epoch = 8;
  gids[3].txid.text[TXID_SIZE - 2] = 'f';
  gids[4].branch = gids[0].branch + 16384; /* in the same bucket */
  begin();
  char xids[5][XID_SIZE];
  for (int i = 0; i < 5; i++) {
    CU_ASSERT_PTR_NULL(open_of(&gids[i]));
    struct entry *entry = make(&gids[i]);
    memcpy(xids[i], entry->xid, sizeof xids[i]);
    bury(entry);
  }
  for (int i = 0; i < 5; i++) {
    struct entry *entry = open_of(&gids[i]);
    CU_ASSERT_PTR_NOT_NULL_FATAL(entry);
    CU_ASSERT_STRING_EQUAL(entry->xid, xids[i]);
  }
  end();
}

/* ---- very many --------------------------------------------------------------------------------- */

/* Each of its own life, now and then: what was shared by those that are forgotten is used for others. */
static struct gid gid_of_life(unsigned i) {
  struct gid gid = gid_of(i);
  gid.epoch = 7 + i / 5000;
  return gid;
}

static void oldest_is_forgotten_for_one_more(void) {
  enum { MORE = 30000, BURIED = TOMBSTONES_MAX + MORE };
  begin();
  agent->fenced_count = 1;
  agent->fenced[0].cluster = gid_of(0).cluster;
  for (unsigned i = 0; i < TOMBSTONES_MAX; i++) {
    struct gid gid = gid_of_life(i);
    bury(make(&gid));
  }
  CU_ASSERT_STRING_EQUAL(agent->fenced[0].memory_after.text, "");

  struct gid first = gid_of_life(0), second = gid_of_life(1);
  bury(open_of(&first)); /* now it is the youngest */
  CU_ASSERT_STRING_EQUAL(agent->fenced[0].memory_after.text, "");
  struct gid next = gid_of_life(TOMBSTONES_MAX);
  bury(make(&next));
  CU_ASSERT_PTR_NULL(open_of(&second));
  CU_ASSERT_STRING_EQUAL(agent->fenced[0].memory_after.text, second.txid.text);
  struct entry *again = open_of(&first);
  CU_ASSERT_PTR_NOT_NULL_FATAL(again);
  bury(again);

  for (unsigned i = TOMBSTONES_MAX + 1; i < BURIED; i++) {
    struct gid gid = gid_of_life(i);
    bury(make(&gid));
  }
  unsigned found = 0;
  for (unsigned i = 0; i < BURIED; i++) {
    struct gid gid = gid_of_life(i);
    bool is_there = open_of(&gid) != NULL;
    CU_ASSERT_EQUAL(is_there, i >= MORE);
    found += is_there;
  }
  CU_ASSERT_EQUAL(found, TOMBSTONES_MAX);
  end();
}

/* ---- a transaction's --------------------------------------------------------------------------- */

struct found {
  unsigned count;
  enum branch_state states[4];
};

static void on_found(void *data, enum branch_state state) {
  struct found *found = data;
  CU_ASSERT_TRUE_FATAL(found->count < 4);
  found->states[found->count++] = state;
}

static void all_of_a_transaction_are_found(void) {
  begin();
  for (unsigned i = 0; i < 6; i++) {
    struct gid gid = gid_of(i);
    struct entry *entry = make(&gid);
    if (i % 2) entry->branch.state = BRANCH_READ_ONLY;
    bury(entry);
  }
  struct gid gid = gid_of(2), other = gid_of(2);
  other.cluster.text[0] = 'b';
  struct entry *entry = make(&other);
  bury(entry);
  struct found found = {0}, of_other = {0}, none = {0};
  struct txid unknown = gid_of(100).txid;
  entries_find(agent, &gid.cluster, &gid.txid, on_found, &found);
  entries_find(agent, &other.cluster, &other.txid, on_found, &of_other);
  entries_find(agent, &gid.cluster, &unknown, on_found, &none);
  CU_ASSERT_EQUAL_FATAL(found.count, 2);
  CU_ASSERT_EQUAL(found.states[0], BRANCH_COMMITTED);
  CU_ASSERT_EQUAL(found.states[1], BRANCH_READ_ONLY);
  CU_ASSERT_EQUAL(of_other.count, 1);
  CU_ASSERT_EQUAL(none.count, 0);
  end();
}

SUITE(tomb, CASE(committed_branch_opens_as_it_was), CASE(every_bit_of_the_state_is_kept),
      CASE(texts_that_are_no_numbers_or_differ_are_kept), CASE(cause_is_kept),
      CASE(branches_that_differ_in_one_part_are_others), CASE(oldest_is_forgotten_for_one_more),
      CASE(all_of_a_transaction_are_found))
