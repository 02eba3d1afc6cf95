/* Names of things that must never be mistaken for another's: clusters, transactions, branches.
 *
 *   gid = assent_<cluster>_<epoch>_<txid>_<branch>
 *         6 + 1 + 12 + 1 + <=20 + 1 + 36 + 1 + <=5 = at most 83 bytes; PostgreSQL allows 199.
 *
 * All parts come from [0-9a-z-], so a gid needs no quoting anywhere; gid_parse() accepts nothing
 * else, and only the one spelling that gid_format() writes (no leading zeros, lower case).
 */
#ifndef ASSENT_COMMON_ID_H
#define ASSENT_COMMON_ID_H

#include <stdbool.h>
#include <stdint.h>

enum { TXID_SIZE = 37, CLUSTER_SIZE = 13, GID_SIZE = 96, RUN_ID_SIZE = 17, BRANCH_ID_MAX = 65535 };

/* UUIDv7 (RFC 9562) in its canonical text form, NUL-terminated: text order is order of age. */
struct txid {
  char text[TXID_SIZE];
};

/* Twelve characters of [0-9a-z], made once with a decision log; names that log for ever. */
struct cluster_id {
  char text[CLUSTER_SIZE];
};

struct gid {
  struct cluster_id cluster;
  uint64_t epoch;
  struct txid txid;
  unsigned branch; /* from 1 */
};

/* Random bytes from the kernel; aborts when it has none. */
void id_random(void *out, unsigned long size);

struct cluster_id cluster_id_make(void);
bool cluster_id_parse(const char *text, struct cluster_id *out);

/* Sixteen hexadecimal characters naming one life of a process. */
void run_id_make(char out[RUN_ID_SIZE]);

/* Strictly increasing within a process, also when the wall clock stands still or steps back. */
struct txid txid_make(int64_t wall_us);
/* Forgets the newest id, as a new process does: for the simulator, whose processes share one. */
void txid_forget(void);
/* Ids begin with their time, in milliseconds: the least that one of this time can be. */
struct txid txid_least(int64_t wall_us);
bool txid_parse(const char *text, struct txid *out);

/* The same in 16 bytes, for what keeps very many. The text must be a txid's. */
struct binary_txid {
  unsigned char bytes[16];
};
struct binary_txid txid_to_binary(const struct txid *txid);
struct txid txid_from_binary(const struct binary_txid *binary);

void gid_format(const struct gid *gid, char out[GID_SIZE]);
bool gid_parse(const char *text, struct gid *out);

#endif
