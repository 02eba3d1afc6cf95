/* How many transactions under way are one token's: so that a client that begins too many is told so, and the
 * others are not refused for it. By the token's name: a token that takes the place of another has its share.
 *
 * Invariant: `held` is the number of transactions in the table whose `share` it is; with none it is freed.
 */
#include "coordinator/internal.h"

#include <string.h>

struct share {
  char owner[OWNER_MAX + 1];
  int64_t held;
  UT_hash_handle hh;
};

static struct share *find(struct coordinator *c, const char *owner) {
  struct share *share;
  HASH_FIND_STR(c->shares, owner, share);
  return share;
}

enum error_code shares_check(struct coordinator *c, const char *owner, struct error *err) {
  int64_t max = c->options.token_transactions_max;
  const struct share *share = max > 0 && owner ? find(c, owner) : NULL;
  if (!share || share->held < max) return ERR_OK;
  c->figures.refused[REFUSED_TOKEN]++;
  (void)error_set(err, ERR_TOO_MANY,
                  "%lld transactions begun with this token are under way, as many as may be",
                  (long long)share->held);
  return error_limit(err, "token_transactions", max);
}

void shares_take(struct transaction *t, const char *owner) {
  struct coordinator *c = t->coordinator;
  (void)snprintf(t->owner, sizeof t->owner, "%s", owner ? owner : "");
  if (c->options.token_transactions_max == 0 || t->owner[0] == '\0') return;
  struct share *share = find(c, t->owner);
  if (!share) {
    share = calloc(1, sizeof *share);
    if (!share) abort(); /* as where a transaction is made */
    memcpy(share->owner, t->owner, sizeof share->owner);
    HASH_ADD_STR(c->shares, owner, share);
  }
  share->held++;
  t->share = share;
}

void shares_give_back(struct transaction *t) {
  struct share *share = t->share;
  if (!share || --share->held > 0) return;
  HASH_DEL(t->coordinator->shares, share);
  free(share);
}
