/* See aim.h.
 *
 * Limits: the last KEPT_MAX requests to each address, LETTERS_MAX messages of each; all of one life of
 * the coordinator, since what an older one has sent is refused whatever the state.
 */
#include "tests/sim/aim.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "participant-agent/internal.h"
#include "tests/sim/life.h"
#include "tests/sim/process.h"

enum { KEPT_MAX = 24, LETTERS_MAX = 4 };
enum { /* the weights are of the faults' own frequencies */
       CLOSED_WEIGHT = 200,
       CLOSED_MIN_US = 1000000,
       CLOSED_MAX_US = 10000000,
       STALL_WEIGHT = 16,
       STALL_ONE_WEIGHT = 80,
       STALL_READER_WEIGHT = 120,
       STALL_MIN_US = 1000,
       STALL_SHORT_MAX_US = 30000,
       STALL_LONG_MAX_US = 4000000
};

/* The columns of `worth`. A fence is about every branch of an older epoch. Where a message cannot come,
 * the column is a dot: see coverage.c. */
enum letter_kind {
  LETTER_KEEP_OPEN,
  LETTER_PREPARE,
  LETTER_READY,
  LETTER_ABORT,
  LETTER_COMMIT,
  LETTER_ONE_PHASE,
  LETTER_FENCE,
  LETTER_KINDS
};

/* What tells a message's kind in its JSON. */
static const char *const letter_words[LETTER_KINDS] = {"\"end\":\"keep_open\"",
                                                       "\"end\":\"prepare\"",
                                                       "\"end\":\"ready\"",
                                                       "\"decision\":\"abort\"",
                                                       "\"decision\":\"commit\"",
                                                       "\"decision\":\"one_phase\"",
                                                       ""};

/* How often, in powers of two of the fault's own frequency. */
static const char *const worth[BRANCH_STATE_COUNT] = {
    [BRANCH_NONE] = "555111.",           [BRANCH_RUNNING] = "1.3...3",
    [BRANCH_ACTIVE] = "1.....1",         [BRANCH_FLUSHING] = "6.3...6",
    [BRANCH_READY] = "6.3...4",          [BRANCH_PREPARING] = "42....3",
    [BRANCH_ENDING_SESSION] = "9795688", [BRANCH_LOOKING_UP] = "95.44.9",
    [BRANCH_PREPARED] = "53....3",       [BRANCH_COMMITTING] = "64..4.5",
    [BRANCH_COMMITTING_ONE] = "6.4..48", [BRANCH_ABORTING] = "2273.97",
    [BRANCH_VERIFYING] = "9898637",      [BRANCH_COMMITTED] = "534922.",
    [BRANCH_ABORTED] = "224184.",        [BRANCH_READ_ONLY] = "7675...",
};
/* The same, of a coordinator that is killed then and started again. */
static const char takeover_worth[BRANCH_STATE_COUNT] = {
    [BRANCH_NONE] = '.',           [BRANCH_RUNNING] = '4',        [BRANCH_ACTIVE] = '.',
    [BRANCH_FLUSHING] = '.',       [BRANCH_READY] = '.',          [BRANCH_PREPARING] = '.',
    [BRANCH_ENDING_SESSION] = '6', [BRANCH_LOOKING_UP] = '4',     [BRANCH_PREPARED] = '.',
    [BRANCH_COMMITTING] = '4',     [BRANCH_COMMITTING_ONE] = '5', [BRANCH_ABORTING] = '1',
    [BRANCH_VERIFYING] = '2',      [BRANCH_COMMITTED] = '.',      [BRANCH_ABORTED] = '.',
    [BRANCH_READ_ONLY] = '.',
};

struct letter {
  enum letter_kind kind;
  char gid[GID_SIZE];
};

struct kept {
  struct exchange *exchange; /* held; NULL: none */
  struct letter letters[LETTERS_MAX];
  unsigned count;
};

/* What was sent to one address. */
struct lane {
  char address[64];
  char from[PROCESS_NAME_SIZE]; /* and which of its lives */
  unsigned life;
  struct kept ring[KEPT_MAX], fences[DATABASES_MAX];
  unsigned next;
  struct lane *prev, *next_lane;
};

struct aim {
  struct sim *sim;
  struct network *network;
  struct aim_hands hands;
  struct lane *lanes;
};

struct aim *aim_new(struct sim *sim, struct network *network) {
  struct aim *aim = calloc(1, sizeof *aim);
  if (!aim) abort();
  aim->sim = sim;
  aim->network = network;
  return aim;
}

void aim_set_hands(struct aim *aim, const struct aim_hands *hands) {
  aim->hands = *hands;
}

/* ---- keeping ---------------------------------------------------------------------------------- */

static void drop(struct kept *kept) {
  if (kept->exchange) exchange_release(kept->exchange);
  kept->exchange = NULL;
  kept->count = 0;
}

static void drop_all(struct lane *lane) {
  for (unsigned i = 0; i < KEPT_MAX; i++)
    drop(&lane->ring[i]);
  for (unsigned i = 0; i < DATABASES_MAX; i++)
    drop(&lane->fences[i]);
}

void aim_free(struct aim *aim) {
  struct lane *lane, *next;
  DL_FOREACH_SAFE2(aim->lanes, lane, next, next_lane) {
    drop_all(lane);
    free(lane);
  }
  free(aim);
}

static struct lane *lane_to(struct aim *aim, const char *address) {
  struct lane *lane;
  DL_FOREACH2(aim->lanes, lane, next_lane) {
    if (strcmp(lane->address, address) == 0) return lane;
  }
  return NULL;
}

static struct lane *lane_make(struct aim *aim, const char *address) {
  struct lane *lane = calloc(1, sizeof *lane);
  if (!lane) abort();
  assert(strlen(address) < sizeof lane->address);
  memcpy(lane->address, address, strlen(address) + 1);
  DL_APPEND2(aim->lanes, lane, prev, next_lane);
  return lane;
}

static void keep(struct kept *kept, struct exchange *exchange) {
  drop(kept);
  kept->exchange = exchange;
  exchange_hold(exchange);
}

/* Reads the messages of a request, as far as they are of interest, in the form in which they are sent:
 * each begins with its gid, and says before anything of a client's how far it goes. */
static void read_letters(struct kept *kept, const char *body) {
  static const char gid_key[] = "\"gid\":\"";
  for (const char *at = body; kept->count < LETTERS_MAX && (at = strstr(at, gid_key)) != NULL;) {
    struct letter *letter = &kept->letters[kept->count];
    at += sizeof gid_key - 1;
    size_t length = strcspn(at, "\"");
    assert(length < sizeof letter->gid);
    memcpy(letter->gid, at, length);
    letter->gid[length] = '\0';
    const char *first = NULL;
    for (unsigned kind = 0; kind < LETTER_FENCE; kind++) {
      const char *word = strstr(at, letter_words[kind]);
      if (!word || (first && first < word)) continue;
      first = word;
      letter->kind = (enum letter_kind)kind;
    }
    assert(first);
    kept->count++;
  }
}

static bool ends_in(const char *text, const char *end) {
  size_t length = strlen(text), end_length = strlen(end);
  return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static void keep_fence(struct lane *lane, struct exchange *exchange) {
  const char *target = exchange_target(exchange);
  unsigned at = 0;
  while (at + 1 < DATABASES_MAX && lane->fences[at].exchange &&
         strcmp(exchange_target(lane->fences[at].exchange), target) != 0)
    at++;
  keep(&lane->fences[at], exchange);
}

void aim_keep(struct aim *aim, const char *address, const struct process *from,
              struct exchange *exchange) {
  const char *target = exchange_target(exchange);
  bool fence = ends_in(target, "/fence");
  if (!from || (!fence && !ends_in(target, "/messages"))) return;
  struct lane *lane = lane_to(aim, address);
  if (!lane) lane = lane_make(aim, address);
  if (lane->life != from->life || strcmp(lane->from, from->name) != 0) drop_all(lane);
  lane->life = from->life;
  memcpy(lane->from, from->name, sizeof lane->from);
  if (fence) {
    keep_fence(lane, exchange);
    return;
  }
  struct kept *kept = &lane->ring[lane->next++ % KEPT_MAX];
  keep(kept, exchange);
  read_letters(kept, exchange_body(exchange, NULL));
}

/* ---- aiming ----------------------------------------------------------------------------------- */

static unsigned weight_in(char digit) {
  return digit == '.' ? 0 : 1U << (unsigned)(digit - '0');
}

/* The newest of each kind that is about this branch. What is not known any more, an older one begins. */
static void find(const struct lane *lane, const struct entry *entry,
                 struct exchange *found[LETTER_KINDS]) {
  for (unsigned i = 0; i < KEPT_MAX; i++) {
    const struct kept *kept = &lane->ring[(lane->next + i) % KEPT_MAX];
    for (unsigned l = 0; l < kept->count; l++) {
      struct exchange **place = &found[kept->letters[l].kind];
      bool known = *place && entry->branch.state == BRANCH_NONE;
      if (!known && strcmp(kept->letters[l].gid, entry->gid) == 0) *place = kept->exchange;
    }
  }
  const struct fenced *fenced = fence_find(entry->agent, &entry->id.cluster);
  if (!fenced || fenced->epoch <= entry->id.epoch) return;
  for (unsigned i = 0; i < DATABASES_MAX; i++) {
    struct exchange *fence = lane->fences[i].exchange;
    if (fence && strstr(exchange_target(fence), entry->agent->participant))
      found[LETTER_FENCE] = fence;
  }
}

static void aim_at(struct aim *aim, const struct lane *lane, const struct entry *entry) {
  struct exchange *found[LETTER_KINDS] = {NULL};
  find(lane, entry, found);
  enum branch_state state = entry->branch.state;
  unsigned first = (unsigned)sim_random(aim->sim, LETTER_KINDS);
  for (unsigned i = 0; i < LETTER_KINDS; i++) {
    unsigned kind = (first + i) % LETTER_KINDS, weight = weight_in(worth[state][kind]);
    if (!found[kind] || weight == 0) continue;
    if (!sim_fault_often(aim->sim, SIM_REQUEST_AIMED, weight, branch_state_name(state))) continue;
    exchange_send_again(found[kind]);
    return;
  }
}

/* ---- other blows ------------------------------------------------------------------------------ */

/* A new life of the coordinator comes while the database is at it still. */
static void take_over(struct aim *aim, const struct entry *entry) {
  enum branch_state state = entry->branch.state;
  unsigned weight = weight_in(takeover_worth[state]);
  if (state == BRANCH_RUNNING && entry->branch.end != RUN_READY) return; /* to be met FLUSHING */
  if (!weight || !sim_fault_often(aim->sim, SIM_TAKEOVER, weight, branch_state_name(state))) return;
  aim->hands.take_over(aim->hands.data);
  aim->hands.stall(aim->hands.data, entry->agent->participant,
                   sim_between(aim->sim, STALL_MIN_US, STALL_SHORT_MAX_US));
}

/* Nobody tells the branch of its end; or the database takes longer over it than anybody waits. */
static void delay(struct aim *aim, const struct lane *lane, const struct entry *entry) {
  enum branch_state state = entry->branch.state;
  if (state == BRANCH_READY &&
      sim_fault_often(aim->sim, SIM_PARTITION_OUT, CLOSED_WEIGHT, lane->address))
    network_swallow(aim->network, lane->address,
                    sim_between(aim->sim, CLOSED_MIN_US, CLOSED_MAX_US));
  unsigned weight = 0;
  if (state == BRANCH_PREPARING || state == BRANCH_COMMITTING) weight = STALL_WEIGHT;
  if (state == BRANCH_COMMITTING_ONE)
    weight = entry->branch.decided ? STALL_ONE_WEIGHT : STALL_READER_WEIGHT;
  if (weight && sim_fault_often(aim->sim, SIM_DATABASE_STALLED, weight, entry->agent->participant))
    aim->hands.stall(aim->hands.data, entry->agent->participant,
                     sim_between(aim->sim, STALL_MIN_US, STALL_LONG_MAX_US));
}

static void strike(struct aim *aim, const struct lane *lane, const struct entry *entry) {
  aim_at(aim, lane, entry);
  take_over(aim, entry);
  delay(aim, lane, entry);
}

void aim_moved(const struct branch *branch) {
  const struct entry *entry =
      (const struct entry *)(const void *)((const char *)branch - offsetof(struct entry, branch));
  const struct process *process = process_current();
  if (!process || process->dead || sim_healed(process->sim)) return;
  struct aim *aim = network_aim(process->network);
  struct lane *lane;
  DL_FOREACH2(aim->lanes, lane, next_lane) {
    size_t length = strlen(process->name);
    if (strncmp(lane->address, process->name, length) == 0 && lane->address[length] == ':')
      strike(aim, lane, entry);
  }
}
