/* Records of the decision log as they come from a damaged file. An input is a list of changes, four
 * bytes each: place (three bytes) and what is XORed there, made to a sound log of three records, each with
 * the key of its request.
 *
 * What must hold: the log is refused, or a record cannot be read, with a text; or what is read is
 * sound and, in what never changes in a record, as it was written. Never another decision.
 */
#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "wal/store.h"

enum { RECORDS = 3, BRANCHES = 2 };

static char directory[] = "/dev/shm/assent-fuzz-XXXXXX";
static char path[PATH_MAX];
static unsigned char *sound; /* the file's bytes */
static size_t sound_size;
static struct cluster_id cluster;
static struct txid ids[RECORDS];
static int64_t sums[RECORDS], key_sums[RECORDS];
static const char *const keys[RECORDS] = {"order 1", "order 2", "order 3"};

static void clean_up(void) {
  static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
  for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
    char name[PATH_MAX];
    (void)snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
    (void)unlink(name);
  }
}

static void clean_up_all(void) {
  clean_up();
  (void)rmdir(directory);
  free(sound);
}

static void put_sample(struct store *store, unsigned i) {
  char gids[BRANCHES][GID_SIZE];
  struct wal_branch branches[BRANCHES];
  ids[i] = txid_make(1700000000000000 + i);
  for (unsigned b = 0; b < BRANCHES; b++) {
    struct gid gid = {.cluster = cluster, .epoch = 1, .txid = ids[i], .branch = b + 1};
    gid_format(&gid, gids[b]);
    branches[b] = (struct wal_branch){.id = b + 1,
                                      .participant = b ? "bank_b" : "bank_a",
                                      .gid = gids[b],
                                      .xid = "1000",
                                      .server = "7000000000000000000/1/5"};
  }
  struct wal_record record = {.txid = ids[i],
                              .kind = i == 2 ? WAL_KIND_DELEGATED : WAL_KIND_COMMIT,
                              .outcome = i == 2 ? WAL_OUTCOME_NONE : WAL_OUTCOME_COMMITTED,
                              .label = "fuzz",
                              .created_at_us = 1700000000000000,
                              .decided_at_us = 1700000000000001,
                              .timeout_ms = 30000,
                              .branches = branches,
                              .branch_count = i == 2 ? 1 : BRANCHES};
  const struct wal_key key = {
      .name_space = "",
      .name = keys[i],
      .fingerprint = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
      .txid = ids[i],
      .at_us = 1700000000000002,
      .status = i == 1 ? 200 : 0,
      .body = i == 1 ? "{\"state\":\"committed\"}" : NULL,
      .results = i == 1 ? NULL : "[]\n[]\n"};
  record.key = &key;
  sums[i] = record_sum(&record);
  key_sums[i] = key_sum(&key);
  struct error err = {0};
  assert(store_put(store, &record, 0, &err) == STORE_OK);
}

static void make_sound_log(void) {
  assert(mkdtemp(directory));
  (void)snprintf(path, sizeof path, "%s/log", directory);
  (void)atexit(clean_up_all);
  struct store *store;
  struct error err = {0};
  assert(store_open(&store, path, &err) == ERR_OK);
  cluster = *store_cluster(store);
  for (unsigned i = 0; i < RECORDS; i++)
    put_sample(store, i);
  assert(store_commit(store, &err) == STORE_OK);
  assert(store_checkpoint(store, &err) == STORE_OK);
  store_close(store, true);
  FILE *file = fopen(path, "rb");
  assert(file && fseek(file, 0, SEEK_END) == 0);
  sound_size = (size_t)ftell(file);
  sound = malloc(sound_size);
  assert(sound && fseek(file, 0, SEEK_SET) == 0 && fread(sound, 1, sound_size, file) == sound_size);
  (void)fclose(file);
}

static void write_damaged(const uint8_t *data, size_t size) {
  unsigned char *bytes = malloc(sound_size);
  assert(bytes);
  memcpy(bytes, sound, sound_size);
  for (size_t i = 0; i + 4 <= size; i += 4) {
    size_t place = ((size_t)data[i] << 16 | (size_t)data[i + 1] << 8 | data[i + 2]) % sound_size;
    bytes[place] ^= data[i + 3];
  }
  clean_up();
  FILE *file = fopen(path, "wb");
  assert(file && fwrite(bytes, 1, sound_size, file) == sound_size && fclose(file) == 0);
  free(bytes);
}

/* Same id, then the same record. An id that nobody made is no decision of anybody's. */
static void check_record(const struct wal_record *record, const struct cluster_id *of) {
  assert(!record_fault(record, of));
  if (strcmp(of->text, cluster.text) != 0) return;
  for (unsigned i = 0; i < RECORDS; i++)
    if (strcmp(record->txid.text, ids[i].text) == 0) assert(record_sum(record) == sums[i]);
}

/* A key is known as it was written, or not believed; or it is gone with what led to it. */
static void read_key(struct store *store, unsigned i) {
  struct wal_key *key = NULL;
  struct error err = {0};
  if (store_find_key(store, "", keys[i], &key, &err) != STORE_OK)
    assert(err.text[0] && !key);
  else if (key)
    assert(key_sum(key) == key_sums[i]);
  free(key);
}

static enum error_code see(void *data, const struct wal_record *record, struct error *err) {
  (void)err;
  check_record(record, data);
  return ERR_OK;
}

static void read_all(struct store *store) {
  struct cluster_id of = *store_cluster(store);
  struct error err = {0};
  if (store_each_unfinished(store, see, &of, &err) != ERR_OK) assert(err.text[0]);
  for (unsigned i = 0; i < RECORDS; i++) {
    const struct wal_record *record = NULL;
    err = (struct error){0};
    if (store_find(store, &ids[i], &record, &err) != STORE_OK)
      assert(err.text[0]);
    else if (record)
      check_record(record, &of);
  }
  for (unsigned i = 0; i < RECORDS; i++)
    read_key(store, i);
  struct wal_filter filter = {.limit = 100};
  struct record_list list = {0};
  err = (struct error){0};
  struct txid rest;
  if (store_list(store, &filter, &list, &rest, &err) != STORE_OK) assert(err.text[0]);
  for (size_t i = 0; i < list.count; i++)
    check_record(&list.items[i], &of);
  record_list_clear(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (!sound) make_sound_log();
  write_damaged(data, size);
  struct store *store;
  struct error err = {0};
  if (store_open(&store, path, &err) == ERR_OK) {
    read_all(store);
    store_close(store, true);
  } else {
    assert(err.text[0]);
  }
  return 0;
}
