/* Who may start: before anything of a commit is sent, its transaction gets what all of its branches
 * need, in one go. Why it is done here and so: docs/design.md, "Admission".
 *
 *   slot   of max_prepared_transactions, for a branch that will be prepared; held until the branch has
 *          ended. A server's, whichever participants are databases of it
 *   place  at a participant, for a branch whose statements are still to run; held until it has voted. A
 *          few for each connection, so that the queue is here, where a transaction has cost nothing yet
 *
 * Invariants
 *  1. A transaction that waits is in the queue of one stock, which it lacked, and holds nothing; but for
 *     one in all, the collector, which keeps what it finds. Queues are in the order in which commits were
 *     asked for. So nobody waits for somebody who waits for him, and everybody's turn comes.
 *  2. Two queues a stock. Those of which branches have run already (they hold locks and connections, and
 *     are asked to prepare only) may take the last slots, the others may not: what holds slots may wait
 *     for a lock or a connection, but only of one that gets its slots without it.
 *  3. Whoever waits has state TXN_OPEN and has been asked to commit.
 *
 * Slots are shared with whoever else prepares on the server. How many those have is as the last health
 * call found it; where that is not true any more the database says no, and the branch votes no.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/internal.h"

enum { PLACES_A_CONNECTION = 4, RESERVE_SHARE = 8, PACE_MS = 1000, PACE_LATE_MS = 2 * PACE_MS };

/* ---- stocks ----------------------------------------------------------------------------------- */

static void system_of(const char *server, char out[SERVER_SIZE]) {
  size_t length = strcspn(server, "/");
  memcpy(out, server, length);
  out[length] = '\0';
}

/* NULL: the server is not known. */
static struct slots *slots_at(struct coordinator *c, const char *server) {
  char system[SERVER_SIZE];
  struct slots *slots;
  if (!server[0]) return NULL;
  system_of(server, system);
  DL_FOREACH(c->slots, slots)
  if (strcmp(slots->system, system) == 0) return slots;
  slots = calloc(1, sizeof *slots);
  if (!slots) abort();
  memcpy(slots->system, system, sizeof slots->system);
  slots->stock.limit = -1;
  DL_APPEND(c->slots, slots);
  return slots;
}

static int64_t greater(int64_t a, int64_t b) {
  return a > b ? a : b;
}

/* Kept back for those that have run. */
static int64_t reserve(int64_t limit) {
  return limit < 2 ? 0 : greater(1, limit / RESERVE_SHARE);
}

/* What may be held by the likes of this one, of so many. */
static int64_t share(const struct stock *stock, int64_t limit, bool ran) {
  return ran || !stock->reserves ? limit : limit - reserve(limit);
}

/* Who wants more than there can ever be is not held up: the database says no. */
static bool has_room(const struct stock *stock, unsigned wanted, bool ran) {
  if (stock->limit < 0 || wanted > share(stock, stock->most, ran)) return true;
  return stock->held + wanted <= share(stock, stock->limit, ran);
}

/* On a later turn: then nobody is amid a step of a transaction. */
struct review {
  struct coordinator *coordinator; /* NULL: freed meanwhile */
};

static void review(void *data);

static void review_later(struct coordinator *c, struct stock *stock) {
  if (!stock->queue[false] && !stock->queue[true]) return;
  stock->review = true;
  if (c->slots_review) return;
  c->slots_review = calloc(1, sizeof *c->slots_review);
  if (!c->slots_review) abort();
  c->slots_review->coordinator = c;
  loop_defer(c->loop, review, c->slots_review);
}

static void put_back(struct coordinator *c, struct stock **held) {
  if (!*held) return;
  (*held)->held--;
  review_later(c, *held);
  *held = NULL;
}

static void take(struct stock *stock, struct stock **held) {
  if (!stock) return;
  stock->held++;
  *held = stock;
}

/* ---- what a transaction wants ----------------------------------------------------------------- */

static bool will_be_prepared(const struct transaction *t, unsigned index) {
  return t->core.branch_count > 1 || t->core.branches[index].external;
}

/* NULL: none, or it holds it already. */
static struct stock *slot_wanted(const struct transaction *t, unsigned index) {
  const struct transaction_branch *branch = t->branches[index];
  bool wants = !branch->slot && will_be_prepared(t, index) && branch->member->slots;
  return wants ? &branch->member->slots->stock : NULL;
}

static struct stock *place_wanted(const struct transaction *t, unsigned index) {
  const struct transaction_branch *branch = t->branches[index];
  bool wants = !branch->place && !t->waiting.ran && !t->core.branches[index].external;
  return wants ? &branch->member->places : NULL;
}

/* The first stock in which it finds too little. */
static struct stock *lacking(const struct transaction *t, bool at_the_end) {
  struct stock *wanted[2 * TXN_BRANCHES_MAX], *lacks = NULL;
  unsigned count = 0;
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    if (!t->branches[i]->member->usable) continue; /* nothing will be sent there */
    if ((wanted[count] = slot_wanted(t, i))) wanted[count++]->wanted++;
    if ((wanted[count] = place_wanted(t, i))) wanted[count++]->wanted++;
  }
  for (unsigned i = 0; i < count; i++) {
    struct stock *stock = wanted[i];
    bool first = !at_the_end || !stock->queue[t->waiting.ran];
    if (!lacks && stock->wanted > 0 && !(first && has_room(stock, stock->wanted, t->waiting.ran)))
      lacks = stock;
    stock->wanted = 0;
  }
  return lacks;
}

/* `all`: there is enough; else what there is. */
static void take_wanted(struct transaction *t, bool all) {
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    struct transaction_branch *branch = t->branches[i];
    if (!branch->member->usable) continue;
    struct stock *slot = slot_wanted(t, i), *place = place_wanted(t, i);
    if (slot && (all || has_room(slot, 1, t->waiting.ran))) take(slot, &branch->slot);
    if (place && (all || has_room(place, 1, t->waiting.ran))) take(place, &branch->place);
  }
}

/* ---- the queue -------------------------------------------------------------------------------- */

static int in_order(const struct waiting *a, const struct waiting *b) {
  return a->number < b->number ? -1 : a->number > b->number;
}

static void join(struct transaction *t, struct stock *stock) {
  t->waiting.at = stock;
  stock->queued++;
  DL_INSERT_INORDER(stock->queue[t->waiting.ran], &t->waiting, in_order);
}

static void leave(struct transaction *t) {
  struct waiting *waiting = &t->waiting;
  struct stock *stock = waiting->at;
  DL_DELETE(stock->queue[waiting->ran], waiting);
  stock->queued--;
  waiting->at = NULL;
  review_later(t->coordinator, stock); /* the next may want less */
}

static void stop_waiting(struct transaction *t) {
  struct coordinator *c = t->coordinator;
  leave(t);
  c->slots_waiting--;
  if (c->collector == t) c->collector = NULL;
}

static void note_pace(struct coordinator *c) {
  struct pace *pace = &c->pace;
  uint64_t now = loop_now_ms(c->loop);
  if (now - pace->began_ms >= PACE_MS) {
    pace->before = now - pace->began_ms < PACE_LATE_MS ? pace->started : 0;
    pace->started = 0;
    pace->began_ms = now;
  }
  pace->started++;
}

static void start(struct transaction *t) {
  take_wanted(t, true);
  note_pace(t->coordinator);
  drive(t, &(struct txn_event){.kind = TXN_EV_COMMIT});
}

/* Room here, and none at `stock`: there it waits on. */
static void move_on(struct transaction *t, struct stock *stock) {
  struct coordinator *c = t->coordinator;
  if (!c->collector) c->collector = t;
  if (c->collector == t) take_wanted(t, false);
  leave(t);
  join(t, stock);
}

static void serve(struct stock *stock, bool ran) {
  while (stock->queue[ran]) {
    struct transaction *t = stock->queue[ran]->transaction;
    struct stock *lacks = lacking(t, false);
    if (lacks == stock) return;
    if (lacks) {
      move_on(t, lacks);
    } else {
      stop_waiting(t);
      start(t);
    }
  }
}

static void serve_stock(struct stock *stock) {
  if (!stock->review) return;
  stock->review = false;
  serve(stock, true);
  serve(stock, false);
}

static void review(void *data) {
  struct review *asked = data;
  struct coordinator *c = asked->coordinator;
  struct slots *slots;
  free(asked);
  if (!c) return;
  c->slots_review = NULL;
  DL_FOREACH(c->slots, slots) serve_stock(&slots->stock);
  for (struct member *member = c->members; member; member = member->hh.next)
    serve_stock(&member->places);
}

/* ---- asking ----------------------------------------------------------------------------------- */

/* Of what wants to start, by the last second's pace: half of its time may go by in the queue. */
static bool would_be_late(const struct coordinator *c, int64_t time_ms) {
  if (c->pace.before == 0 || loop_now_ms(c->loop) - c->pace.began_ms >= PACE_LATE_MS) return false;
  uint64_t wait_ms = c->slots_waiting * PACE_MS / c->pace.before;
  return wait_ms > (uint64_t)time_ms / 2;
}

static enum error_code check_may_wait(struct coordinator *c, int64_t time_ms, struct error *err) {
  bool full = c->slots_waiting >= (uint64_t)c->options.waiting_max;
  if (!full && !would_be_late(c, time_ms)) return ERR_OK;
  c->figures.refused[REFUSED_WAITING]++;
  (void)error_set(err, ERR_OVERLOADED,
                  "%llu transactions wait for a connection or a slot of max_prepared_transactions "
                  "already",
                  (unsigned long long)c->slots_waiting);
  if (full) (void)error_limit(err, "waiting", c->options.waiting_max);
  return ERR_OVERLOADED;
}

const char *slots_wait(const struct transaction *t, unsigned *branch) {
  const struct stock *stock = t->waiting.at;
  for (unsigned i = 0; stock && i < t->core.branch_count; i++) {
    const struct member *member = t->branches[i]->member;
    *branch = i + 1;
    if (stock == &member->places) return "connection";
    if (member->slots && stock == &member->slots->stock) return "slot";
  }
  return NULL;
}

static void observe_waiting(struct transaction *t) {
  unsigned branch = 0;
  const char *what = slots_wait(t, &branch);
  assert(what);
  observe(
      t, &(struct observed){.kind = STEP_WAITS, .branch = t->branches[branch - 1], .detail = what});
}

enum error_code slots_commit(struct transaction *t, struct error *err) {
  struct coordinator *c = t->coordinator;
  for (unsigned i = 0; i < t->core.branch_count; i++)
    t->waiting.ran = t->waiting.ran || t->core.branches[i].sent;
  struct stock *stock = lacking(t, true);
  if (stock && check_may_wait(c, transaction_remaining_ms(t), err) != ERR_OK) return err->code;
  observe(t, &(struct observed){.kind = STEP_COMMIT_ASKED});
  if (!stock) {
    start(t);
    return ERR_OK;
  }
  t->waiting.transaction = t;
  t->waiting.number = c->slots_asked++;
  c->slots_waiting++;
  join(t, stock);
  observe_waiting(t);
  return ERR_OK;
}

static bool is_scarce(const struct stock *stock) {
  return stock->queue[false] || !has_room(stock, 1, false);
}

enum error_code coordinator_check_room(struct coordinator *c, const char *const *participants,
                                       size_t count, int64_t timeout_ms, struct error *err) {
  bool scarce = false;
  for (size_t i = 0; i < count; i++) {
    const struct member *member = member_find(c, participants[i]);
    if (!member || !member->usable) continue;
    bool prepares = count > 1 && member->slots;
    scarce = scarce || is_scarce(&member->places) || (prepares && is_scarce(&member->slots->stock));
  }
  if (!scarce) return ERR_OK;
  return check_may_wait(c, timeout_ms ? timeout_ms : c->options.timeout_default_ms, err);
}

/* ---- what becomes of it ----------------------------------------------------------------------- */

static bool has_voted(enum txn_branch_state state) {
  return state != TXN_BRANCH_ACTIVE && state != TXN_BRANCH_RUNNING && state != TXN_BRANCH_PREPARING;
}

static bool has_ended(enum txn_branch_state state) {
  return state == TXN_BRANCH_COMMITTED || state == TXN_BRANCH_ABORTED ||
         state == TXN_BRANCH_READ_ONLY;
}

void slots_follow(struct transaction *t) {
  if (t->waiting.at && t->core.state != TXN_OPEN) stop_waiting(t);
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    struct transaction_branch *branch = t->branches[i];
    enum txn_branch_state state = t->core.branches[i].state;
    if (has_voted(state)) put_back(t->coordinator, &branch->place);
    if (has_ended(state)) put_back(t->coordinator, &branch->slot);
  }
}

void slots_forget(struct transaction *t) {
  if (t->waiting.at) stop_waiting(t);
  for (unsigned i = 0; i < TXN_BRANCHES_MAX && t->branches[i]; i++) {
    put_back(t->coordinator, &t->branches[i]->place);
    put_back(t->coordinator, &t->branches[i]->slot);
  }
}

void slots_hold(struct transaction_branch *branch, const char *server) {
  struct slots *slots = slots_at(branch->transaction->coordinator, server);
  if (slots && !branch->slot) take(&slots->stock, &branch->slot);
}

/* ---- what there is ---------------------------------------------------------------------------- */

/* Prepared branches of former lives and of lost requests, which recovery is at. */
static int64_t strays(const struct coordinator *c, const struct slots *slots) {
  int64_t count = 0;
  for (const struct member *member = c->members; member; member = member->hh.next)
    if (member->slots == slots) count += recovery_stray_count(member);
  return count;
}

static void reckon(struct coordinator *c, struct slots *slots) {
  struct stock *stock = &slots->stock;
  stock->reserves = true;
  stock->most = slots->max;
  /* Without any the database says no at once, and that is worth knowing. */
  stock->limit = slots->max > 0 ? greater(0, slots->max - slots->others - strays(c, slots)) : -1;
  review_later(c, stock);
}

/* Also when the member has gone: what waits for it need not. */
void slots_know(struct member *member) {
  struct coordinator *c = member->coordinator;
  const struct health_reply *health = &member->health;
  bool fresh = member->health_known && strcmp(health->server, member->fence.server) == 0;
  struct slots *before = member->slots;
  member->slots = slots_at(c, member->fence.server);
  if (before && before != member->slots) review_later(c, &before->stock);
  if (member->slots) {
    member->slots->max = fresh ? health->prepared_max : member->fence.prepared_max;
    if (fresh) member->slots->others = greater(0, health->prepared_others);
    reckon(c, member->slots);
  }
  member->places.limit = member->places.most = member->health_known && health->connections_max > 0
                                                   ? health->connections_max * PLACES_A_CONNECTION
                                                   : -1;
  review_later(c, &member->places);
}

/* Besides this one, no more of ours can be prepared there than hold a slot: the rest are others'. */
void slots_refused(const struct transaction_branch *branch) {
  struct slots *slots = branch->member->slots;
  if (!slots || branch->slot != &slots->stock) return;
  slots->others = greater(slots->others, slots->max - (slots->stock.held - 1));
  reckon(branch->member->coordinator, slots);
}

/* ---- life ------------------------------------------------------------------------------------- */

void slots_free(struct coordinator *c) {
  struct slots *slots, *next;
  assert(c->slots_waiting == 0);
  DL_FOREACH_SAFE(c->slots, slots, next) {
    assert(slots->stock.held == 0 && slots->stock.queued == 0);
    free(slots);
  }
  if (c->slots_review) c->slots_review->coordinator = NULL;
}
