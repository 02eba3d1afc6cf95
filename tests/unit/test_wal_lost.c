/* A decision log that was deleted, cut, damaged, or exchanged for an older one. What must hold in all
 * of these: it is refused, or everything that was told is in it; never is anything missing unseen.
 * The campaigns go through every byte in turn, as far as their bounds allow. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"
#include "tests/lib/wal_fixture.h"

enum { TOLD = 12, HALF = 6, FLIPS_MAX = 800, FRAME = 24 + 4096, WAL_HEADER = 32 };

/* What a killed coordinator leaves: files, and what it had told. */
struct left {
  struct wal_fixture f;
  struct sample told[TOLD];
  unsigned char *log, *wal, *lock;
  size_t log_size, wal_size, lock_size;
  /* The same after HALF of it. */
  unsigned char *early_log, *early_wal;
  size_t early_log_size, early_wal_size;
};

static void decide_until(struct left *l, unsigned from, unsigned to) {
  for (unsigned i = from; i < to; i++)
    CU_ASSERT_EQUAL(fixture_decide(&l->f, &l->told[i].record), WAL_DURABLE);
}

/* The files are those of a running log: as kill -9 would leave them. */
static void leave(struct left *l) {
  *l = (struct left){0};
  fixture_begin(&l->f);
  fixture_reopen(&l->f); /* with a life before it in the log itself */
  for (unsigned i = 0; i < TOLD; i++)
    sample_commit(&l->f, &l->told[i]);
  decide_until(l, 0, HALF);
  l->early_log = fixture_read_file(&l->f, "", &l->early_log_size);
  l->early_wal = fixture_read_file(&l->f, "-wal", &l->early_wal_size);
  decide_until(l, HALF, TOLD);
  l->log = fixture_read_file(&l->f, "", &l->log_size);
  l->wal = fixture_read_file(&l->f, "-wal", &l->wal_size);
  l->lock = fixture_read_file(&l->f, ".lock", &l->lock_size);
  fixture_close(&l->f);
}

/* With all that was told in the log, and no -wal file. */
static void leave_closed(struct left *l) {
  leave(l);
  free(l->log);
  free(l->lock);
  l->log = fixture_read_file(&l->f, "", &l->log_size);
  l->lock = fixture_read_file(&l->f, ".lock", &l->lock_size);
}

static void clear(struct left *l) {
  free(l->log);
  free(l->wal);
  free(l->lock);
  free(l->early_log);
  free(l->early_wal);
  fixture_end(&l->f);
}

static void put(struct left *l, const char *suffix, const unsigned char *bytes, size_t size) {
  if (bytes)
    fixture_write_file(&l->f, suffix, bytes, size);
  else if (fixture_has_file(&l->f, suffix))
    fixture_remove_file(&l->f, suffix);
}

static void put_all(struct left *l) {
  put(l, "", l->log, l->log_size);
  put(l, "-wal", l->wal, l->wal_size);
  put(l, ".lock", l->lock, l->lock_size);
}

static unsigned count_told(struct left *l) {
  struct error err = {0};
  unsigned there = 0;
  if (fixture_unfinished(&l->f, &err) != ERR_OK) return TOLD; /* refused at the next step */
  for (size_t i = 0; i < l->f.records.count; i++)
    for (unsigned j = 0; j < TOLD; j++)
      there += record_sum(&l->f.records.items[i]) == record_sum(&l->told[j].record);
  return there;
}

enum verdict { REFUSED, WHOLE, LOST };

static enum verdict try_to_open(struct left *l) {
  if (fixture_open(&l->f) != ERR_OK) return REFUSED;
  unsigned there = count_told(l);
  fixture_close(&l->f);
  return there == TOLD ? WHOLE : LOST;
}

/* Refused with a reason and what to do. */
static void expect_refused(struct left *l, const char *reason) {
  CU_ASSERT_EQUAL(try_to_open(l), REFUSED);
  CU_ASSERT_PTR_NOT_NULL(strstr(l->f.open_error.text, reason));
  CU_ASSERT_PTR_NOT_NULL(strstr(l->f.open_error.text, "recover --log-lost"));
}

static void expect_never_lost(struct left *l, const char *what, size_t at, unsigned counts[3]) {
  enum verdict verdict = try_to_open(l);
  counts[verdict]++;
  if (verdict != LOST) return;
  (void)printf("\n%s %zu: decisions are missing and nothing was said\n", what, at);
  CU_FAIL("a silent loss");
}

/* ---- flips ---------------------------------------------------------------------------------- */

/* One bit of each byte, another one each time; over FLIPS_MAX bytes, of each nth. */
static void flip_through(struct left *l, const char *suffix, unsigned char *bytes, size_t size,
                         unsigned counts[3]) {
  size_t stride = size / FLIPS_MAX + 1;
  for (size_t at = 0; at < size; at += at < 128 ? 1 : stride) {
    unsigned char bit = (unsigned char)(1U << (at / stride % 8));
    put_all(l);
    bytes[at] ^= bit;
    put(l, suffix, bytes, size);
    bytes[at] ^= bit;
    expect_never_lost(l, "flip at", at, counts);
  }
}

static void bit_flip_anywhere_in_the_wal_file_is_refused_or_harmless(void) {
  unsigned counts[3] = {0};
  struct left l;
  leave(&l);
  flip_through(&l, "-wal", l.wal, l.wal_size, counts);
  CU_ASSERT_TRUE(counts[REFUSED] > FLIPS_MAX / 2);
  clear(&l);
}

static void bit_flip_anywhere_in_the_log_is_refused_or_harmless(void) {
  unsigned counts[3] = {0};
  struct left l;
  leave_closed(&l);
  free(l.wal);
  l.wal = NULL;
  flip_through(&l, "", l.log, l.log_size, counts);
  CU_ASSERT_TRUE(counts[REFUSED] > 100);
  CU_ASSERT_TRUE(counts[WHOLE] > 0); /* where a page is not used */
  clear(&l);
}

/* The mark may only lose its own word: nothing is refused for the sake of a damaged witness. */
static void bit_flip_in_the_lock_file_opens_with_all(void) {
  struct left l;
  leave(&l);
  for (size_t at = 0; at < l.lock_size * 8; at += 3) {
    put_all(&l);
    l.lock[at / 8] ^= (unsigned char)(1U << (at % 8));
    put(&l, ".lock", l.lock, l.lock_size);
    l.lock[at / 8] ^= (unsigned char)(1U << (at % 8));
    enum verdict verdict = try_to_open(&l);
    /* The cluster's name has no sum of its own: another log may have lived here. */
    bool in_cluster = at / 8 >= 14 && at / 8 < 14 + 8 + CLUSTER_SIZE;
    CU_ASSERT_TRUE(verdict == WHOLE || (verdict == REFUSED && in_cluster));
  }
  clear(&l);
}

/* ---- cuts ----------------------------------------------------------------------------------- */

static void wal_file_cut_at_any_frame_is_refused(void) {
  struct left l;
  leave(&l);
  static const int around[] = {-1, 0, 1};
  for (size_t at = WAL_HEADER; at <= l.wal_size; at += FRAME) {
    for (size_t i = 0; i < 3; i++) {
      size_t size = at + (size_t)around[i];
      if (size >= l.wal_size) continue;
      put_all(&l);
      put(&l, "-wal", l.wal, size);
      expect_refused(&l, "lacks the last");
    }
  }
  put_all(&l);
  CU_ASSERT_EQUAL(try_to_open(&l), WHOLE);
  clear(&l);
}

static void wal_file_removed_or_emptied_is_refused(void) {
  struct left l;
  leave(&l);
  put_all(&l);
  put(&l, "-wal", NULL, 0);
  expect_refused(&l, "lacks the last");
  put(&l, "-wal", l.wal, 0);
  expect_refused(&l, "lacks the last");
  expect_refused(&l, "lacks the last"); /* and again: a refusal changes nothing */
  clear(&l);
}

static void log_cut_at_any_page_is_refused(void) {
  struct left l;
  leave_closed(&l);
  for (size_t at = 0; at < l.log_size; at += 2048) {
    put(&l, "-wal", NULL, 0);
    put(&l, "", l.log, at);
    expect_refused(&l, l.f.path);
  }
  clear(&l);
}

/* A power cut may take the last marks with it: then an unfinished transaction at the end of the -wal
 * file is what it looks like. */
static void wal_file_cut_after_an_older_mark_opens_with_all_before(void) {
  struct left l;
  leave(&l);
  put_all(&l);
  fixture_remove_file(&l.f, ".lock");
  put(&l, "-wal", l.wal, l.wal_size - 1);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&l.f), ERR_OK);
  CU_ASSERT_EQUAL(count_told(&l), TOLD - 1);
  fixture_close(&l.f);
  clear(&l);
}

/* ---- gone, exchanged ------------------------------------------------------------------------ */

static void log_removed_with_its_wal_file_is_refused(void) {
  struct left l;
  leave(&l);
  put_all(&l);
  put(&l, "", NULL, 0);
  expect_refused(&l, "is gone");
  put(&l, "-wal", NULL, 0);
  expect_refused(&l, "lived here");
  CU_ASSERT_FALSE(fixture_has_file(&l.f, ""));
  clear(&l);
}

static void older_copy_of_the_same_life_is_refused(void) {
  struct left l;
  leave(&l);
  put(&l, "", l.early_log, l.early_log_size);
  put(&l, "-wal", l.early_wal, l.early_wal_size);
  put(&l, ".lock", l.lock, l.lock_size);
  expect_refused(&l, "lacks the last 6 of");
  clear(&l);
}

static void older_wal_file_is_refused(void) {
  struct left l;
  leave_closed(&l);
  put(&l, "-wal", l.early_wal, l.early_wal_size);
  CU_ASSERT_NOT_EQUAL(try_to_open(&l), LOST);
  clear(&l);
}

static void log_of_another_cluster_is_refused(void) {
  struct left l;
  struct wal_fixture other;
  size_t size;
  leave_closed(&l);
  fixture_begin(&other);
  fixture_close(&other);
  unsigned char *bytes = fixture_read_file(&other, "", &size);
  put(&l, "-wal", NULL, 0);
  put(&l, "", bytes, size);
  CU_ASSERT_EQUAL(try_to_open(&l), REFUSED);
  CU_ASSERT_PTR_NOT_NULL(strstr(l.f.open_error.text, "lived here"));
  free(bytes);
  fixture_end(&other);
  clear(&l);
}

/* ---- lives ---------------------------------------------------------------------------------- */

static void every_start_is_a_life_the_log_remembers(void) {
  struct wal_fixture f;
  char first[RUN_ID_SIZE];
  fixture_begin(&f);
  (void)strcpy(first, wal_run_id(f.wal));
  fixture_reopen(&f);
  CU_ASSERT_STRING_NOT_EQUAL(wal_run_id(f.wal), first);
  CU_ASSERT_TRUE(wal_had_life(f.wal, 1, first));
  CU_ASSERT_TRUE(wal_had_life(f.wal, 2, wal_run_id(f.wal)));
  CU_ASSERT_FALSE(wal_had_life(f.wal, 2, first));
  CU_ASSERT_FALSE(wal_had_life(f.wal, 3, first));
  fixture_end(&f);
}

/* Two copies of one log part at their next starts. */
static void copy_does_not_have_the_lives_of_the_other(void) {
  struct wal_fixture f;
  char run[RUN_ID_SIZE];
  size_t size;
  fixture_begin(&f);
  fixture_close(&f);
  unsigned char *copy = fixture_read_file(&f, "", &size);
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  (void)strcpy(run, wal_run_id(f.wal));
  fixture_close(&f);
  fixture_write_file(&f, "", copy, size);
  fixture_remove_file(&f, ".lock");
  CU_ASSERT_EQUAL_FATAL(fixture_open(&f), ERR_OK);
  CU_ASSERT_EQUAL(wal_epoch(f.wal), 2);
  CU_ASSERT_FALSE(wal_had_life(f.wal, 2, run));
  fixture_reopen(&f);
  CU_ASSERT_FALSE(wal_had_life(f.wal, 2, run));
  free(copy);
  fixture_end(&f);
}

SUITE(wal_lost, CASE(bit_flip_anywhere_in_the_wal_file_is_refused_or_harmless),
      CASE(bit_flip_anywhere_in_the_log_is_refused_or_harmless),
      CASE(bit_flip_in_the_lock_file_opens_with_all), CASE(wal_file_cut_at_any_frame_is_refused),
      CASE(wal_file_removed_or_emptied_is_refused), CASE(log_cut_at_any_page_is_refused),
      CASE(wal_file_cut_after_an_older_mark_opens_with_all_before),
      CASE(log_removed_with_its_wal_file_is_refused), CASE(older_copy_of_the_same_life_is_refused),
      CASE(older_wal_file_is_refused), CASE(log_of_another_cluster_is_refused),
      CASE(every_start_is_a_life_the_log_remembers),
      CASE(copy_does_not_have_the_lives_of_the_other))
