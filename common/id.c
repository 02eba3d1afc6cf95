/* See id.h.
 *
 * A txid is a UUIDv7: 48 bits of milliseconds, then 74 random bits in two fields. Within a
 * millisecond, and while the wall clock stands behind the newest id, the 74 bits are a counter that
 * grows by a random step (RFC 9562, 6.2, method 2). Ids thus stay ahead of a clock that was set
 * back until it catches up.
 */
#include "common/id.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const uint64_t RAND_B_MASK = (UINT64_C(1) << 62) - 1;
static const uint64_t MS_MASK = (UINT64_C(1) << 48) - 1;

static bool is_decimal(char c) {
  return c >= '0' && c <= '9';
}

static bool is_hex(char c) {
  return is_decimal(c) || (c >= 'a' && c <= 'f');
}

/* ---- cluster and run --------------------------------------------------------------------------
 */

struct cluster_id cluster_id_make(void) {
  static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  struct cluster_id id;
  for (size_t i = 0; i < CLUSTER_SIZE - 1;) {
    unsigned char byte;
    id_random(&byte, 1);
    if (byte >= 252) continue; /* 7 * 36: past it the letters would not be equally likely */
    id.text[i++] = alphabet[byte % 36];
  }
  id.text[CLUSTER_SIZE - 1] = '\0';
  return id;
}

/* `text` holds CLUSTER_SIZE - 1 characters of the alphabet; what follows is not looked at. */
static bool cluster_take(const char *text, struct cluster_id *out) {
  for (size_t i = 0; i < CLUSTER_SIZE - 1; i++) {
    if (!is_decimal(text[i]) && !(text[i] >= 'a' && text[i] <= 'z')) return false;
    out->text[i] = text[i];
  }
  out->text[CLUSTER_SIZE - 1] = '\0';
  return true;
}

bool cluster_id_parse(const char *text, struct cluster_id *out) {
  struct cluster_id id;
  if (!cluster_take(text, &id) || text[CLUSTER_SIZE - 1] != '\0') return false;
  *out = id;
  return true;
}

void run_id_make(char out[RUN_ID_SIZE]) {
  uint64_t bits;
  id_random(&bits, sizeof bits);
  (void)snprintf(out, RUN_ID_SIZE, "%016" PRIx64, bits);
}

/* ---- transaction ------------------------------------------------------------------------------
 */

/* The lowest `digits` digits. */
static char *put_hex(char *to, uint64_t value, unsigned digits) {
  for (unsigned i = digits; i > 0; i--, value >>= 4)
    to[i - 1] = "0123456789abcdef"[value & 15];
  return to + digits;
}

/* Random bits for the next ids: asking the kernel for those of each would be a call a transaction. */
struct fresh_bits {
  uint64_t b;
  uint32_t step;
  uint16_t a;
};
enum { FRESH_MAX = 16 };
static struct fresh_bits fresh_bits[FRESH_MAX];
static unsigned fresh_left;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_ms, last_b;
static unsigned last_a;

void txid_forget(void) {
  (void)pthread_mutex_lock(&lock);
  last_ms = last_b = last_a = 0;
  fresh_left = 0;
  (void)pthread_mutex_unlock(&lock);
}

struct txid txid_least(int64_t wall_us) {
  struct txid txid;
  uint64_t ms = wall_us < 0 ? 0 : (uint64_t)(wall_us / 1000);
  if (ms > MS_MASK) ms = MS_MASK;
  (void)snprintf(txid.text, sizeof txid.text, "%08" PRIx64 "-%04" PRIx64 "-7000-8000-000000000000",
                 ms >> 16, ms & UINT16_MAX);
  return txid;
}

struct txid txid_make(int64_t wall_us) {
  uint64_t ms = wall_us < 0 ? 0 : (uint64_t)(wall_us / 1000) & MS_MASK;

  (void)pthread_mutex_lock(&lock);
  if (fresh_left == 0) {
    id_random(fresh_bits, sizeof fresh_bits);
    fresh_left = FRESH_MAX;
  }
  struct fresh_bits fresh = fresh_bits[--fresh_left];
  if (ms > last_ms) {
    last_ms = ms;
    last_a = fresh.a & 0x7FF; /* the top bit stays free: room for the counter to grow */
    last_b = fresh.b & RAND_B_MASK;
  } else {
    last_b += (uint64_t)fresh.step + 1;
    if (last_b > RAND_B_MASK) {
      last_b &= RAND_B_MASK;
      last_a++;
    }
    if (last_a > 0xFFF) {
      last_a = 0;
      last_ms++;
    }
  }
  uint64_t b = last_b;
  unsigned a = last_a;
  ms = last_ms;
  (void)pthread_mutex_unlock(&lock);

  struct txid id;
  char *to = put_hex(id.text, ms >> 16, 8);
  *to++ = '-';
  to = put_hex(to, ms, 4);
  *to++ = '-';
  to = put_hex(to, 0x7000U | a, 4); /* version 7 */
  *to++ = '-';
  to = put_hex(to, 0x8000U | b >> 48, 4); /* variant 10 */
  *to++ = '-';
  to = put_hex(to, b, 12);
  *to = '\0';
  return id;
}

/* Passes `digits` hexadecimal ones and the character behind them; NULL: these are others. */
static const char *hex_pass(const char *text, int digits, char behind) {
  for (; digits > 0; digits--)
    if (!is_hex(*text++)) return NULL;
  return behind == '\0' ? text : *text == behind ? text + 1 : NULL;
}

static bool is_variant(char c) {
  return c == '8' || c == '9' || c == 'a' || c == 'b';
}

/* `text` begins with a txid, xxxxxxxx-xxxx-7xxx-vxxx-xxxxxxxxxxxx; what follows it is not looked at. */
static bool txid_take(const char *text, struct txid *out) {
  const char *at = hex_pass(text, 8, '-');
  if (at) at = hex_pass(at, 4, '-');
  if (at) at = *at == '7' ? hex_pass(at + 1, 3, '-') : NULL;
  if (at) at = is_variant(*at) ? hex_pass(at + 1, 3, '-') : NULL;
  if (at) at = hex_pass(at, 12, '\0');
  if (!at) return false;
  memcpy(out->text, text, TXID_SIZE - 1);
  out->text[TXID_SIZE - 1] = '\0';
  return true;
}

bool txid_parse(const char *text, struct txid *out) {
  struct txid id;
  if (!txid_take(text, &id) || text[TXID_SIZE - 1] != '\0') return false;
  *out = id;
  return true;
}

static unsigned char hex_value(char digit) {
  return (unsigned char)(is_decimal(digit) ? digit - '0' : digit - 'a' + 10);
}

struct binary_txid txid_to_binary(const struct txid *txid) {
  struct binary_txid binary;
  const char *from = txid->text;
  for (size_t i = 0; i < sizeof binary.bytes; i++, from += 2) {
    if (*from == '-') from++;
    binary.bytes[i] = (unsigned char)(hex_value(from[0]) << 4 | hex_value(from[1]));
  }
  return binary;
}

struct txid txid_from_binary(const struct binary_txid *binary) {
  struct txid txid;
  char *to = txid.text;
  for (size_t i = 0; i < sizeof binary->bytes; i++) {
    if (i == 4 || i == 6 || i == 8 || i == 10) *to++ = '-';
    to = put_hex(to, binary->bytes[i], 2);
  }
  *to = '\0';
  return txid;
}

/* ---- branch -----------------------------------------------------------------------------------
 */

static const char PREFIX[] = "assent_";

static char *put_decimal(char *to, uint64_t number) {
  char digits[20];
  size_t at = sizeof digits;
  do
    digits[--at] = (char)('0' + number % 10);
  while ((number /= 10) > 0);
  memcpy(to, digits + at, sizeof digits - at);
  return to + sizeof digits - at;
}

void gid_format(const struct gid *gid, char out[GID_SIZE]) {
  assert(gid->branch >= 1 && gid->branch <= BRANCH_ID_MAX);
  char *to = stpcpy(stpcpy(out, PREFIX), gid->cluster.text);
  *to++ = '_';
  to = put_decimal(to, gid->epoch);
  *to++ = '_';
  to = stpcpy(to, gid->txid.text);
  *to++ = '_';
  to = put_decimal(to, gid->branch);
  *to = '\0';
  assert(to < out + GID_SIZE); /* the longest of each fits */
}

/* Reads digits without leading zeros, up to `max`; NULL when there is no such number. */
static const char *number_take(const char *text, uint64_t max, uint64_t *out) {
  if (!is_decimal(*text) || (text[0] == '0' && is_decimal(text[1]))) return NULL;
  uint64_t value = 0;
  for (; is_decimal(*text); text++) {
    uint64_t digit = (uint64_t)(*text - '0');
    if (value > (max - digit) / 10) return NULL;
    value = value * 10 + digit;
  }
  *out = value;
  return text;
}

/* Every _take stops at the first character that does not fit, and so never reads past the NUL. */
bool gid_parse(const char *text, struct gid *out) {
  struct gid gid;
  uint64_t branch;
  if (strncmp(text, PREFIX, sizeof PREFIX - 1) != 0) return false;
  text += sizeof PREFIX - 1;
  if (!cluster_take(text, &gid.cluster)) return false;
  text += CLUSTER_SIZE - 1;
  if (*text++ != '_') return false;
  text = number_take(text, UINT64_MAX, &gid.epoch);
  if (!text || *text++ != '_') return false;
  if (!txid_take(text, &gid.txid)) return false;
  text += TXID_SIZE - 1;
  if (*text++ != '_') return false;
  text = number_take(text, BRANCH_ID_MAX, &branch);
  if (!text || *text != '\0' || branch == 0) return false;
  gid.branch = (unsigned)branch;
  *out = gid;
  return true;
}
