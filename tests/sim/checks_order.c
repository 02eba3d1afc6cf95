/* Invariant 9, as far as writers go: transactions that change the same accounts do so in the same order in
 * all databases. A row's lock is held until the branch's commit, and no branch commits before all of its
 * transaction are prepared: so whoever has waited for another in one database cannot have come before it
 * in a second one. Where branches are lost, or ended by hand, nothing is promised.
 *
 * A transaction that changes an account comes after the one that changed it before. Whoever has nobody
 * before it is taken away, again and again: what is left goes round in a circle.
 */
#include "tests/sim/checks_internal.h"

#include <stdlib.h>
#include <string.h>

enum { ACCOUNTS_MAX = 8 };

struct pair {
  size_t before, after; /* places in `seen` */
};

struct order {
  const struct checks *checks;
  struct pair *pairs;
  size_t count, capacity;
  size_t last[ACCOUNTS_MAX]; /* who has changed the account, + 1 */
};

static void note_pair(struct order *order, size_t before, size_t after) {
  if (order->count == order->capacity) {
    order->capacity = order->capacity ? 2 * order->capacity : 32;
    order->pairs = realloc(order->pairs, order->capacity * sizeof *order->pairs);
    if (!order->pairs) abort();
  }
  order->pairs[order->count++] = (struct pair){before, after};
}

static void note_change(void *data, const char *text, unsigned account) {
  struct order *order = data;
  struct gid gid;
  if (!gid_parse(text, &gid) || account >= ACCOUNTS_MAX) return;
  const struct seen *seen = known_find(order->checks, gid.txid.text);
  if (!seen) return;
  size_t at = (size_t)(seen - order->checks->seen) + 1;
  size_t before = order->last[account];
  if (before && before != at) note_pair(order, before - 1, at - 1);
  order->last[account] = at;
}

/* Takes away the pairs of those who have nobody before them. True: there were some. */
static bool take_away(struct order *order, bool *follows, size_t seen_count) {
  memset(follows, 0, seen_count * sizeof *follows);
  for (size_t i = 0; i < order->count; i++)
    follows[order->pairs[i].after] = true;
  size_t kept = 0, count = order->count;
  for (size_t i = 0; i < count; i++)
    if (follows[order->pairs[i].before]) order->pairs[kept++] = order->pairs[i];
  order->count = kept;
  return kept < count;
}

void order_check(const struct checks *c) {
  struct order order = {.checks = c};
  for (size_t i = 0; i < c->count; i++)
    if (known_has_hazard(c, &c->seen[i])) return;
  if (checks_is_lossy(c) || c->count == 0) return;
  for (unsigned i = 0; i < c->database_count; i++) {
    memset(order.last, 0, sizeof order.last);
    sim_database_each_change(c->databases[i], note_change, &order);
  }
  bool *follows = calloc(c->count, sizeof *follows);
  if (!follows) abort();
  while (take_away(&order, follows, c->count))
    continue;
  if (order.count > 0)
    sim_violation(c->sim, 9, "%s has come before %s in one database, and after it in another",
                  c->seen[order.pairs[0].before].txid.text,
                  c->seen[order.pairs[0].after].txid.text);
  free(follows);
  free(order.pairs);
}
