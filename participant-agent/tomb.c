/* Tombstones: what is kept of a branch that has ended, so that its end can be told and no late request
 * begins it again. At most TOMBSTONES_MAX, oldest out first. Opened, one is the entry that it was.
 *
 * An agent has twenty thousand of them most of the time: they are most of its memory. So they are records of
 * one array, of 56 bytes each, linked by their places in it, with the ids as numbers instead of text and
 * what is the same for nearly all (cluster, epoch, server) kept once. Only a branch that has failed, or whose
 * decision came with another xid than it voted, has texts of its own.
 *
 * Invariants
 *  1. Place 0 is nobody's. Every other place below `used` holds a tomb, in the list `order` (oldest first) and in
 *     the chain of its bucket, or is in the list of the free ones.
 *  2. A tomb's `shared` counts it; what counts none is free for another.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "participant-agent/internal.h"

enum { PLACES_MAX = TOMBSTONES_MAX + 1, FIRST_PLACES = 64, BUCKETS = 16384 };
static_assert(PLACES_MAX <= UINT16_MAX, "a place is 16 bits");

/* What the tombs of one life of a coordinator on one server have in common. */
struct shared {
  struct cluster_id cluster;
  uint64_t epoch;
  char server[SERVER_SIZE]; /* as voted */
  unsigned tombs;
};

/* Of the few of which more is to be kept: xid as voted, xid and server as told, and the cause's text. */
enum { TEXTS = 4 };
struct rest {
  struct cause_head {
    enum cause_kind kind; /* CAUSE_NONE: there is no cause */
    int branch, statement;
    char sqlstate[sizeof((struct cause *)NULL)->sqlstate];
    struct limit_met limit;
  } cause;
  char texts[]; /* TEXTS of them, in this order, each with its NUL */
};

struct tomb {
  struct binary_txid txid;
  uint64_t since;
  union {
    uint64_t xid;      /* as voted; 0: none */
    struct rest *rest; /* owned */
  };
  struct branch branch;
  uint16_t number; /* the branch's */
  uint16_t shared;
  uint16_t older, newer; /* in `order`; `newer` of a free place: the next free one */
  uint16_t next;         /* in the bucket */
  bool has_rest;
  bool told; /* without a rest: the decision came with the xid and server as voted */
  bool hazard_told;
};
static_assert(sizeof(struct tomb) == 56, "of which there are very many");

struct tombs {
  struct tomb *places;
  unsigned capacity, used;
  unsigned count;
  uint16_t free, oldest, newest; /* 0: none */
  struct shared *shared;
  unsigned shared_count;
  uint16_t buckets[BUCKETS];
};

/* ---- what tombs have in common ----------------------------------------------------------------- */

static bool is_shared(const struct shared *s, const struct gid *id, const char *server) {
  return s->tombs > 0 && s->epoch == id->epoch && strcmp(s->cluster.text, id->cluster.text) == 0 &&
         strcmp(s->server, server) == 0;
}

/* Counts one more. There are as many as coordinators have had lives among what is remembered: few. */
static uint16_t share(struct tombs *tombs, const struct gid *id, const char *server) {
  unsigned place = tombs->shared_count;
  for (unsigned i = tombs->shared_count; i-- > 0;) {
    if (is_shared(&tombs->shared[i], id, server)) {
      tombs->shared[i].tombs++;
      return (uint16_t)i;
    }
    if (tombs->shared[i].tombs == 0) place = i;
  }
  if (place == tombs->shared_count)
    tombs->shared = must_resize(tombs->shared, ++tombs->shared_count * sizeof *tombs->shared);
  struct shared *s = &tombs->shared[place];
  *s = (struct shared){.cluster = id->cluster, .epoch = id->epoch, .tombs = 1};
  copy_text(s->server, sizeof s->server, server);
  return (uint16_t)place;
}

/* ---- places ------------------------------------------------------------------------------------ */

static struct tombs *tombs_of(struct agent *agent) {
  if (!agent->tombs) agent->tombs = must_allocate(sizeof *agent->tombs);
  return agent->tombs;
}

static uint16_t *bucket_of(struct tombs *tombs, const struct binary_txid *txid, unsigned number) {
  unsigned hash;
  HASH_JEN(txid, sizeof *txid, hash);
  return &tombs->buckets[(hash + number) % BUCKETS];
}

static struct tomb *take_place(struct tombs *tombs) {
  uint16_t place = tombs->free;
  if (place) {
    tombs->free = tombs->places[place].newer;
    return &tombs->places[place];
  }
  if (tombs->used == tombs->capacity) {
    tombs->capacity = tombs->capacity ? tombs->capacity * 2 : FIRST_PLACES;
    if (tombs->capacity > PLACES_MAX) tombs->capacity = PLACES_MAX;
    if (tombs->used == 0) tombs->used = 1;
    tombs->places = must_resize(tombs->places, tombs->capacity * sizeof *tombs->places);
  }
  assert(tombs->used < tombs->capacity);
  return &tombs->places[tombs->used++];
}

static void link_in(struct tombs *tombs, struct tomb *tomb) {
  uint16_t place = (uint16_t)(tomb - tombs->places);
  uint16_t *bucket = bucket_of(tombs, &tomb->txid, tomb->number);
  tomb->next = *bucket;
  *bucket = place;
  tomb->older = tombs->newest;
  tomb->newer = 0;
  *(tombs->newest ? &tombs->places[tombs->newest].newer : &tombs->oldest) = place;
  tombs->newest = place;
  tombs->count++;
}

static void tomb_free(struct tombs *tombs, struct tomb *tomb) {
  uint16_t place = (uint16_t)(tomb - tombs->places);
  uint16_t *link = bucket_of(tombs, &tomb->txid, tomb->number);
  while (*link != place) {
    assert(*link); /* it is in there */
    link = &tombs->places[*link].next;
  }
  *link = tomb->next;
  *(tomb->older ? &tombs->places[tomb->older].newer : &tombs->oldest) = tomb->newer;
  *(tomb->newer ? &tombs->places[tomb->newer].older : &tombs->newest) = tomb->older;
  tombs->count--;
  tombs->shared[tomb->shared].tombs--;
  if (tomb->has_rest) free(tomb->rest);
  tomb->newer = tombs->free;
  tombs->free = place;
}

static void forget_oldest(struct agent *agent) {
  struct tombs *tombs = agent->tombs;
  struct tomb *tomb = &tombs->places[tombs->oldest];
  struct gid id = {.cluster = tombs->shared[tomb->shared].cluster,
                   .txid = txid_from_binary(&tomb->txid)};
  fence_forgot(agent, &id);
  tomb_free(tombs, tomb);
}

/* ---- burying ----------------------------------------------------------------------------------- */

/* False: as a number it would not come out again as it is. "" is 0. */
static bool xid_to_number(const char *xid, uint64_t *out) {
  enum { DIGITS_MAX = 19 }; /* of which any number fits */
  *out = 0;
  if (*xid == '0' || strnlen(xid, XID_SIZE) > DIGITS_MAX) return false;
  for (; *xid; xid++) {
    if (*xid < '0' || *xid > '9') return false;
    *out = *out * 10 + (uint64_t)(*xid - '0');
  }
  return true;
}

static void number_to_xid(uint64_t number, char out[XID_SIZE]) {
  out[0] = '\0';
  if (number) (void)snprintf(out, XID_SIZE, "%" PRIu64, number);
}

static bool is_told_as_voted(const struct entry *entry) {
  return strcmp(entry->told_xid, entry->xid) == 0 && strcmp(entry->told_server, entry->server) == 0;
}

static bool is_told_nothing(const struct entry *entry) {
  return !entry->told_xid[0] && !entry->told_server[0];
}

static struct rest *rest_of(const struct entry *entry) {
  const struct cause *cause = entry->cause;
  const char *const texts[TEXTS] = {entry->xid, entry->told_xid, entry->told_server,
                                    cause ? cause->text : ""};
  size_t size = sizeof(struct rest);
  for (int i = 0; i < TEXTS; i++)
    size += strlen(texts[i]) + 1;
  struct rest *rest = must_allocate(size);
  if (cause) {
    rest->cause = (struct cause_head){.kind = cause->kind,
                                      .branch = cause->branch,
                                      .statement = cause->statement,
                                      .limit = cause->limit};
    memcpy(rest->cause.sqlstate, cause->sqlstate, sizeof cause->sqlstate);
  }
  char *to = rest->texts;
  for (int i = 0; i < TEXTS; i++)
    to = stpcpy(to, texts[i]) + 1;
  return rest;
}

void tomb_make(const struct entry *entry) {
  struct agent *agent = entry->agent;
  struct tombs *tombs = tombs_of(agent);
  if (tombs->count == TOMBSTONES_MAX) forget_oldest(agent);
  struct tomb *tomb = take_place(tombs);
  uint64_t xid;
  bool told = is_told_as_voted(entry);
  bool is_plain =
      xid_to_number(entry->xid, &xid) && !entry->cause && (told || is_told_nothing(entry));
  *tomb = (struct tomb){.txid = txid_to_binary(&entry->id.txid),
                        .since = entry->since,
                        .branch = entry->branch,
                        .number = (uint16_t)entry->id.branch,
                        .shared = share(tombs, &entry->id, entry->server),
                        .has_rest = !is_plain,
                        .told = told,
                        .hazard_told = entry->hazard_told};
  if (is_plain)
    tomb->xid = xid;
  else
    tomb->rest = rest_of(entry);
  link_in(tombs, tomb);
}

/* ---- opening ----------------------------------------------------------------------------------- */

static struct tomb *find(struct tombs *tombs, const struct gid *id) {
  struct binary_txid txid = txid_to_binary(&id->txid);
  for (unsigned at = *bucket_of(tombs, &txid, id->branch); at; at = tombs->places[at].next) {
    struct tomb *tomb = &tombs->places[at];
    const struct shared *shared = &tombs->shared[tomb->shared];
    if (memcmp(&tomb->txid, &txid, sizeof txid) == 0 && tomb->number == id->branch &&
        shared->epoch == id->epoch && strcmp(shared->cluster.text, id->cluster.text) == 0)
      return tomb;
  }
  return NULL;
}

static void take_rest(struct entry *entry, const struct rest *rest) {
  char cause_text[CAUSE_TEXT_SIZE];
  char *const texts[TEXTS] = {entry->xid, entry->told_xid, entry->told_server, cause_text};
  static const size_t sizes[TEXTS] = {XID_SIZE, XID_SIZE, SERVER_SIZE, CAUSE_TEXT_SIZE};
  const char *from = rest->texts;
  for (int i = 0; i < TEXTS; i++, from += strlen(from) + 1)
    copy_text(texts[i], sizes[i], from);
  if (rest->cause.kind == CAUSE_NONE) return;
  entry->cause = must_allocate(sizeof *entry->cause);
  *entry->cause = (struct cause){.kind = rest->cause.kind,
                                 .branch = rest->cause.branch,
                                 .statement = rest->cause.statement,
                                 .limit = rest->cause.limit};
  memcpy(entry->cause->sqlstate, rest->cause.sqlstate, sizeof rest->cause.sqlstate);
  memcpy(entry->cause->text, cause_text, sizeof cause_text);
}

struct entry *tomb_open(struct agent *agent, const char *gid) {
  struct gid id;
  if (!agent->tombs || !gid_parse(gid, &id)) return NULL;
  struct tombs *tombs = agent->tombs;
  struct tomb *tomb = find(tombs, &id);
  if (!tomb) return NULL;
  struct entry *entry = entry_make(agent, gid, &id);
  copy_text(entry->server, sizeof entry->server, tombs->shared[tomb->shared].server);
  if (tomb->has_rest) {
    take_rest(entry, tomb->rest);
  } else {
    number_to_xid(tomb->xid, entry->xid);
    if (tomb->told) {
      memcpy(entry->told_xid, entry->xid, sizeof entry->xid);
      memcpy(entry->told_server, entry->server, sizeof entry->server);
    }
  }
  entry->branch = tomb->branch;
  entry->since = tomb->since;
  entry->hazard_told = tomb->hazard_told;
  tomb_free(tombs, tomb);
  return entry;
}

void tombs_find(const struct agent *agent, const struct cluster_id *cluster,
                const struct txid *txid, entry_found_fn fn, void *data) {
  const struct tombs *tombs = agent->tombs;
  struct binary_txid wanted = txid_to_binary(txid);
  for (unsigned at = tombs ? tombs->oldest : 0; at; at = tombs->places[at].newer) {
    const struct tomb *tomb = &tombs->places[at];
    if (memcmp(&tomb->txid, &wanted, sizeof wanted) == 0 &&
        strcmp(tombs->shared[tomb->shared].cluster.text, cluster->text) == 0)
      fn(data, tomb->branch.state);
  }
}

void tombs_drop(struct agent *agent) {
  struct tombs *tombs = agent->tombs;
  if (!tombs) return;
  for (unsigned at = tombs->oldest; at; at = tombs->places[at].newer)
    if (tombs->places[at].has_rest) free(tombs->places[at].rest);
  free(tombs->places);
  free(tombs->shared);
  free(tombs);
  agent->tombs = NULL;
}
