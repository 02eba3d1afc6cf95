/* Tombstones: what is kept of a branch that has ended, so that its end can be told and no late request
 * begins it again. At most TOMBSTONES_MAX, oldest out first.
 *
 * An entry has place for all that a branch under way needs; of twenty thousand that have ended it would
 * take most of an agent's memory. A tomb has the core's state, and the texts one behind the other: gid, xid and
 * server as voted, xid and server as told. Opened, it is the entry that it was.
 */
#include <assert.h>
#include <string.h>
#include <utlist.h>

#include "participant-agent/internal.h"

enum { TEXTS = 5 };

struct tomb {
  struct branch branch;
  struct cause *cause; /* owned */
  uint64_t since, listed;
  bool hazard_told;
  struct tomb *prev, *next;
  UT_hash_handle hh;
  char texts[]; /* TEXTS of them, each with its NUL; the first is the key */
};

/* In the order of a tomb's texts. Units: sizes[] in bytes. */
static void texts_of(struct entry *entry, char *out[TEXTS], size_t sizes[TEXTS]) {
  char *const texts[TEXTS] = {entry->gid, entry->xid, entry->server, entry->told_xid,
                              entry->told_server};
  static const size_t sizes_max[TEXTS] = {GID_SIZE, XID_SIZE, SERVER_SIZE, XID_SIZE, SERVER_SIZE};
  memcpy(out, texts, sizeof texts);
  memcpy(sizes, sizes_max, sizeof sizes_max);
}

static void tomb_free(struct agent *agent, struct tomb *tomb) {
  /* It is in the table. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
  HASH_DEL(agent->tombs, tomb);
  DL_DELETE(agent->oldest_tombs, tomb);
  free(tomb->cause);
  free(tomb);
}

static void forget_oldest(struct agent *agent) {
  struct tomb *tomb = agent->oldest_tombs;
  struct gid id;
  assert(tomb);
  bool is_gid = gid_parse(tomb->texts, &id);
  assert(is_gid);
  if (is_gid) fence_forgot(agent, &id);
  tomb_free(agent, tomb);
}

void tomb_make(struct entry *entry) {
  struct agent *agent = entry->agent;
  char *texts[TEXTS];
  size_t sizes[TEXTS], size = 0;
  texts_of(entry, texts, sizes);
  for (int i = 0; i < TEXTS; i++)
    size += strlen(texts[i]) + 1;
  struct tomb *tomb = must_allocate(sizeof *tomb + size);
  tomb->branch = entry->branch;
  tomb->cause = entry->cause;
  entry->cause = NULL;
  tomb->since = entry->since;
  tomb->listed = entry->listed;
  tomb->hazard_told = entry->hazard_told;
  char *to = tomb->texts;
  for (int i = 0; i < TEXTS; i++)
    to = (char *)memcpy(to, texts[i], strlen(texts[i]) + 1) + strlen(texts[i]) + 1;
  HASH_ADD_KEYPTR(hh, agent->tombs, tomb->texts, strlen(tomb->texts), tomb);
  DL_APPEND(agent->oldest_tombs, tomb);
  if (HASH_COUNT(agent->tombs) > TOMBSTONES_MAX) forget_oldest(agent);
}

struct entry *tomb_open(struct agent *agent, const char *gid) {
  struct tomb *tomb = NULL;
  struct gid id;
  HASH_FIND(hh, agent->tombs, gid, strlen(gid), tomb);
  if (!tomb || !gid_parse(gid, &id)) return NULL;
  struct entry *entry = entry_make(agent, gid, &id);
  char *texts[TEXTS];
  size_t sizes[TEXTS];
  texts_of(entry, texts, sizes);
  const char *from = tomb->texts;
  for (int i = 0; i < TEXTS; i++, from += strlen(from) + 1)
    copy_text(texts[i], sizes[i], from);
  entry->branch = tomb->branch;
  entry->cause = tomb->cause;
  tomb->cause = NULL;
  entry->since = tomb->since;
  entry->listed = tomb->listed;
  entry->hazard_told = tomb->hazard_told;
  entry->entombed = true;
  DL_APPEND(agent->ended, entry);
  tomb_free(agent, tomb);
  return entry;
}

void tombs_drop(struct agent *agent) {
  while (agent->oldest_tombs)
    tomb_free(agent, agent->oldest_tombs);
}

/* A gid's parts have their places: assent_<cluster>_<epoch>_<txid>_<branch>. */
static bool is_of(const struct tomb *tomb, const struct cluster_id *cluster,
                  const struct txid *txid) {
  const char *end = strrchr(tomb->texts, '_');
  assert(end && end - tomb->texts > TXID_SIZE);
  return memcmp(end - (TXID_SIZE - 1), txid->text, TXID_SIZE - 1) == 0 &&
         memcmp(tomb->texts + sizeof "assent_" - 1, cluster->text, CLUSTER_SIZE - 1) == 0;
}

void tombs_find(const struct agent *agent, const struct cluster_id *cluster,
                const struct txid *txid, entry_found_fn fn, void *data) {
  const struct tomb *tomb;
  DL_FOREACH(agent->oldest_tombs, tomb) {
    if (is_of(tomb, cluster, txid)) fn(data, tomb->branch.state);
  }
}
