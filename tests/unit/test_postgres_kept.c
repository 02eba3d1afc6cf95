/* Which texts are kept on the server. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/postgres_kept.h"
#include "tests/lib/suite.h"

static struct seen_texts seen;
static struct kept_texts one, other;
static const char *name;

static void begin(void) {
  memset(&seen, 0, sizeof seen);
  memset(&one, 0, sizeof one);
  memset(&other, 0, sizeof other);
}

static void end(void) {
  kept_clear(&one);
  kept_clear(&other);
}

static enum kept_answer ask(struct kept_texts *kept, const char *sql) {
  return kept_look_up(kept, &seen, sql, &name);
}

static void text_is_kept_from_its_second_time_on(void) {
  begin();
  CU_ASSERT_EQUAL(ask(&one, "SELECT 1"), KEPT_NOT);
  CU_ASSERT_EQUAL(ask(&one, "SELECT 1"), KEPT_NEW);
  CU_ASSERT_EQUAL(ask(&one, "SELECT 1"), KEPT_THERE);
  CU_ASSERT_EQUAL(ask(&one, "SELECT 2"), KEPT_NOT);
  end();
}

static void text_that_another_session_has_seen_is_kept_at_once(void) {
  begin();
  CU_ASSERT_EQUAL(ask(&one, "SELECT 1"), KEPT_NOT);
  CU_ASSERT_EQUAL(ask(&other, "SELECT 1"), KEPT_NEW);
  CU_ASSERT_EQUAL(ask(&one, "SELECT 1"), KEPT_NEW);
  end();
}

static void name_is_never_used_twice(void) {
  char first[KEPT_NAME_SIZE];
  begin();
  (void)ask(&one, "SELECT 1");
  CU_ASSERT_EQUAL(ask(&one, "SELECT 1"), KEPT_NEW);
  (void)snprintf(first, sizeof first, "%s", name);
  kept_clear(&one);
  CU_ASSERT_EQUAL(ask(&one, "SELECT 1"), KEPT_NEW);
  CU_ASSERT_STRING_NOT_EQUAL(first, name);
  end();
}

static void table_takes_its_limit_and_no_more(void) {
  char sql[40];
  begin();
  for (int i = 0; i < KEPT_MAX; i++) {
    (void)snprintf(sql, sizeof sql, "SELECT %d", i);
    (void)ask(&other, sql);
    CU_ASSERT_FALSE(kept_is_full(&one));
    CU_ASSERT_EQUAL(ask(&one, sql), KEPT_NEW);
  }
  CU_ASSERT_TRUE(kept_is_full(&one));
  (void)ask(&other, "SELECT 'one more'");
  CU_ASSERT_EQUAL(ask(&one, "SELECT 'one more'"), KEPT_NOT);
  CU_ASSERT_EQUAL(ask(&one, "SELECT 3"), KEPT_THERE);
  kept_clear(&one);
  CU_ASSERT_EQUAL(ask(&one, "SELECT 'one more'"), KEPT_NEW);
  end();
}

static void text_of_the_longest_length_is_kept_and_a_longer_one_not(void) {
  char *sql = malloc(KEPT_TEXT_MAX + 2);
  CU_ASSERT_PTR_NOT_NULL_FATAL(sql);
  begin();
  memset(sql, 'a', KEPT_TEXT_MAX + 1);
  sql[KEPT_TEXT_MAX] = '\0';
  (void)ask(&one, sql);
  CU_ASSERT_EQUAL(ask(&one, sql), KEPT_NEW);
  sql[KEPT_TEXT_MAX] = 'a';
  sql[KEPT_TEXT_MAX + 1] = '\0';
  (void)ask(&one, sql);
  CU_ASSERT_EQUAL(ask(&one, sql), KEPT_NOT);
  end();
  free(sql);
}

SUITE(postgres_kept, CASE(text_is_kept_from_its_second_time_on),
      CASE(text_that_another_session_has_seen_is_kept_at_once), CASE(name_is_never_used_twice),
      CASE(table_takes_its_limit_and_no_more),
      CASE(text_of_the_longest_length_is_kept_and_a_longer_one_not))
