/* common/id.c */
#include "common/id.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "tests/lib/suite.h"

#define CLUSTER "0123456789az"
#define TXID    "01a1fc21-2de8-727e-ab64-6544289d91dd"
#define GID     "assent_" CLUSTER "_7_" TXID "_1"

/* ---- txid ---- */

static void txid_made_reads_back(void) {
  struct txid made = txid_make(INT64_C(1795230245123456));
  struct txid read;
  CU_ASSERT_TRUE(txid_parse(made.text, &read));
  CU_ASSERT_STRING_EQUAL(read.text, made.text);
}

static void txid_begins_with_its_time(void) {
  /* Later than the ids of the other cases, so that the clock is what counts. */
  int64_t wall_us = clock_wall_us() + INT64_C(3600000000);
  struct txid made = txid_make(wall_us);
  char time[16];
  (void)snprintf(time, sizeof time, "%012" PRIx64, (uint64_t)wall_us / 1000);
  CU_ASSERT_EQUAL(strncmp(made.text, time, 8), 0);
  CU_ASSERT_EQUAL(strncmp(made.text + 9, time + 8, 4), 0);
}

/* 1e5 ids while the clock runs, stands still, and steps back by an hour. */
static void txid_rises_whatever_the_clock_does(void) {
  static const int64_t hour_us = INT64_C(3600000000);
  int64_t wall_us = clock_wall_us();
  struct txid last = txid_make(wall_us);
  for (int i = 0; i < 100000; i++) {
    if (i < 40000)
      wall_us += 7;
    else if (i == 70000)
      wall_us -= hour_us;
    struct txid next = txid_make(wall_us);
    CU_ASSERT_FATAL(strcmp(last.text, next.text) < 0);
    last = next;
  }
  struct txid read;
  CU_ASSERT_TRUE(txid_parse(last.text, &read));
}

static void txid_least_is_between_those_before_and_those_from_then_on(void) {
  int64_t wall_us = (clock_wall_us() / 1000 + 7200000) * 1000; /* later than all others here */
  struct txid before = txid_make(wall_us - 1), least = txid_least(wall_us), read;
  struct txid after = txid_make(wall_us);
  CU_ASSERT_TRUE(strcmp(before.text, least.text) < 0);
  CU_ASSERT_TRUE(strcmp(least.text, after.text) < 0);
  CU_ASSERT_TRUE(txid_parse(least.text, &read));
}

static void txid_of_odd_times_is_well_formed(void) {
  static const int64_t times[] = {INT64_MIN, -1, 0};
  for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
    struct txid made = txid_make(times[i]);
    struct txid read;
    CU_ASSERT_TRUE(txid_parse(made.text, &read));
  }
}

static void txid_in_binary_reads_back(void) {
  struct txid txid;
  CU_ASSERT_TRUE(txid_parse(TXID, &txid));
  struct binary_txid binary = txid_to_binary(&txid);
  static const unsigned char bytes[] = {0x01, 0xa1, 0xfc, 0x21, 0x2d, 0xe8, 0x72, 0x7e,
                                        0xab, 0x64, 0x65, 0x44, 0x28, 0x9d, 0x91, 0xdd};
  CU_ASSERT_EQUAL(memcmp(binary.bytes, bytes, sizeof bytes), 0);
  CU_ASSERT_STRING_EQUAL(txid_from_binary(&binary).text, TXID);
}

static void txid_misspelt_is_refused(void) {
  static const char *const wrong[] = {
      "",
      "01a1fc21-2de8-727e-ab64-6544289d91d",   /* short */
      "01a1fc21-2de8-727e-ab64-6544289d91ddd", /* long */
      "01A1FC21-2de8-727e-ab64-6544289d91dd",  /* capitals */
      "01a1fc21-2de8-427e-ab64-6544289d91dd",  /* version 4 */
      "01a1fc21-2de8-727e-cb64-6544289d91dd",  /* variant */
      "01a1fc212-de8-727e-ab64-6544289d91dd",  /* hyphen */
      "01a1fc21-2de8-727e-ab64-6544289d91dg",
      " 01a1fc21-2de8-727e-ab64-6544289d91dd",
      "01a1fc21-2de8-727e-ab64-6544289d91d'",
      "01a1fc21-2de8-727e-ab64-6544289d91dd\n",
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct txid out = {"untouched"};
    CU_ASSERT_FALSE(txid_parse(wrong[i], &out));
    CU_ASSERT_STRING_EQUAL(out.text, "untouched");
  }
}

/* ---- cluster, run ---- */

static void cluster_made_reads_back(void) {
  for (int i = 0; i < 100; i++) {
    struct cluster_id made = cluster_id_make();
    struct cluster_id read;
    CU_ASSERT_EQUAL(strlen(made.text), 12);
    CU_ASSERT_TRUE(cluster_id_parse(made.text, &read));
  }
}

static void cluster_misspelt_is_refused(void) {
  static const char *const wrong[] = {"",
                                      "0123456789a",
                                      "0123456789abc",
                                      "0123456789aZ",
                                      "012345_789ab",
                                      "0123456789a ",
                                      "0123456789a\xC3"};
  struct cluster_id out;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CU_ASSERT_FALSE(cluster_id_parse(wrong[i], &out));
}

static void run_ids_are_sixteen_digits_and_differ(void) {
  char a[RUN_ID_SIZE];
  char b[RUN_ID_SIZE];
  run_id_make(a);
  run_id_make(b);
  CU_ASSERT_EQUAL(strspn(a, "0123456789abcdef"), 16);
  CU_ASSERT_EQUAL(strlen(a), 16);
  CU_ASSERT_STRING_NOT_EQUAL(a, b);
}

/* ---- gid ---- */

static void gid_formatted_reads_back(void) {
  static const uint64_t epochs[] = {0, 1, 9, 10, UINT64_MAX};
  static const unsigned branches[] = {1, 10, BRANCH_ID_MAX};
  for (size_t i = 0; i < 5; i++)
    for (size_t j = 0; j < 3; j++) {
      struct gid gid = {{CLUSTER}, epochs[i], {TXID}, branches[j]};
      char text[GID_SIZE];
      gid_format(&gid, text);
      struct gid read;
      CU_ASSERT_TRUE_FATAL(gid_parse(text, &read));
      CU_ASSERT_STRING_EQUAL(read.cluster.text, CLUSTER);
      CU_ASSERT_STRING_EQUAL(read.txid.text, TXID);
      CU_ASSERT_EQUAL(read.epoch, epochs[i]);
      CU_ASSERT_EQUAL(read.branch, branches[j]);
    }
}

static void gid_longest_fits_postgresql(void) {
  struct gid gid = {{CLUSTER}, UINT64_MAX, {TXID}, BRANCH_ID_MAX};
  char text[GID_SIZE];
  gid_format(&gid, text);
  CU_ASSERT_EQUAL(strlen(text), 83);
}

static void gid_misspelt_is_refused(void) {
  static const char *const wrong[] = {
      "",
      "assent_",
      "Assent_" CLUSTER "_7_" TXID "_1",
      "assent-" CLUSTER "_7_" TXID "_1",
      " " GID,
      GID " ",
      GID "\n",
      GID "'",
      GID "x",
      GID "_1",
      "assent_0123456789AZ_7_" TXID "_1",
      "assent_0123456789a_7_" TXID "_1",
      "assent_0123456789azz_7_" TXID "_1",
      "assent__7_" TXID "_1",
      "assent_" CLUSTER "_07_" TXID "_1",
      "assent_" CLUSTER "_00_" TXID "_1",
      "assent_" CLUSTER "_+7_" TXID "_1",
      "assent_" CLUSTER "_-7_" TXID "_1",
      "assent_" CLUSTER "_ 7_" TXID "_1",
      "assent_" CLUSTER "_0x7_" TXID "_1",
      "assent_" CLUSTER "__" TXID "_1",
      "assent_" CLUSTER "_18446744073709551616_" TXID "_1", /* 2^64 */
      "assent_" CLUSTER "_99999999999999999999999_" TXID "_1",
      "assent_" CLUSTER "_7_01A1FC21-2de8-727e-ab64-6544289d91dd_1",
      "assent_" CLUSTER "_7_01a1fc21-2de8-427e-ab64-6544289d91dd_1",
      "assent_" CLUSTER "_7_01a1fc212de8727eab646544289d91dd_1",
      "assent_" CLUSTER "_7_01a1fc21",
      "assent_" CLUSTER "_7_" TXID,
      "assent_" CLUSTER "_7_" TXID "_",
      "assent_" CLUSTER "_7_" TXID "_0",
      "assent_" CLUSTER "_7_" TXID "_01",
      "assent_" CLUSTER "_7_" TXID "_65536",
      "assent_" CLUSTER "_7_" TXID "_-1",
      "assent_" CLUSTER "_7_" TXID "-1",
      "assent_" CLUSTER "_7_" TXID "_1_1",
      "assent_" CLUSTER "_7_" TXID "_1; DROP TABLE account",
      "assent_" CLUSTER "_7_" TXID "_\xD9\xA1", /* a digit, but of another script */
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct gid out;
    CU_ASSERT_FALSE(gid_parse(wrong[i], &out));
  }
  struct gid out;
  CU_ASSERT_TRUE(gid_parse(GID, &out));
}

/* Whatever one byte is changed to: refused, or another gid with its own spelling. */
static void gid_accepted_has_one_spelling(void) {
  for (size_t i = 0; i < sizeof GID - 1; i++)
    for (int c = 1; c < 256; c++) {
      char text[] = GID;
      text[i] = (char)c;
      struct gid gid;
      if (!gid_parse(text, &gid)) continue;
      char again[GID_SIZE];
      gid_format(&gid, again);
      CU_ASSERT_STRING_EQUAL_FATAL(again, text);
    }
}

SUITE(id, CASE(txid_made_reads_back), CASE(txid_rises_whatever_the_clock_does),
      CASE(txid_begins_with_its_time),
      CASE(txid_least_is_between_those_before_and_those_from_then_on),
      CASE(txid_of_odd_times_is_well_formed), CASE(txid_in_binary_reads_back),
      CASE(txid_misspelt_is_refused), CASE(cluster_made_reads_back),
      CASE(cluster_misspelt_is_refused), CASE(run_ids_are_sixteen_digits_and_differ),
      CASE(gid_formatted_reads_back), CASE(gid_longest_fits_postgresql),
      CASE(gid_misspelt_is_refused), CASE(gid_accepted_has_one_spelling))
