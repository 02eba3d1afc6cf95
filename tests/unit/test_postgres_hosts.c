/* Which of several hosts of a connection string is tried first. */
#include "adapters/postgres.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/suite.h"

/* "host=a,b port=1" as it would be asked for now. */
static const char *shown(struct hosts *hosts, unsigned *order) {
  static char text[256];
  const char *keywords[HOST_KEYWORDS + 1] = {NULL}, *values[HOST_KEYWORDS + 1] = {NULL};
  size_t length = 0;
  *order = hosts_keywords(hosts, keywords, values);
  text[0] = '\0';
  for (int i = 0; keywords[i]; i++)
    length += (size_t)snprintf(text + length, sizeof text - length, "%s%s=%s", i ? " " : "",
                               keywords[i], values[i]);
  return text;
}

static void hosts_after_a_failure_begin_with_the_next(void) {
  struct hosts *hosts = hosts_new("host=a,b,c port=1,2,3 dbname=x");
  unsigned order;
  CU_ASSERT_PTR_NOT_NULL_FATAL(hosts);
  CU_ASSERT_STRING_EQUAL(shown(hosts, &order), "host=a,b,c port=1,2,3");
  hosts_failed(hosts, order);
  CU_ASSERT_STRING_EQUAL(shown(hosts, &order), "host=b,c,a port=2,3,1");
  hosts_failed(hosts, order);
  CU_ASSERT_STRING_EQUAL(shown(hosts, &order), "host=c,a,b port=3,1,2");
  hosts_failed(hosts, order);
  CU_ASSERT_STRING_EQUAL(shown(hosts, &order), "host=a,b,c port=1,2,3");
  hosts_free(hosts);
}

/* Of many connections that fail at the same time all have found out the same. */
static void failures_of_one_order_count_once(void) {
  struct hosts *hosts = hosts_new("postgresql://u@a:1,b:2/x?target_session_attrs=read-write");
  unsigned order, later;
  CU_ASSERT_PTR_NOT_NULL_FATAL(hosts);
  CU_ASSERT_STRING_EQUAL(shown(hosts, &order), "host=a,b port=1,2");
  hosts_failed(hosts, order);
  hosts_failed(hosts, order);
  CU_ASSERT_STRING_EQUAL(shown(hosts, &later), "host=b,a port=2,1");
  hosts_free(hosts);
}

static void port_for_all_hosts_stays(void) {
  struct hosts *hosts = hosts_new("host=a,b hostaddr=10.0.0.1,10.0.0.2 port=7");
  unsigned order;
  CU_ASSERT_PTR_NOT_NULL_FATAL(hosts);
  hosts_failed(hosts, 0);
  CU_ASSERT_STRING_EQUAL(shown(hosts, &order), "host=b,a hostaddr=10.0.0.2,10.0.0.1");
  hosts_free(hosts);
}

static void strings_without_several_hosts_are_left_alone(void) {
  static const char *const dsns[] = {"dbname=x",
                                     "host=a",
                                     "host=/run/postgresql port=5433",
                                     "port=1,2",
                                     "host=a,b port=1,2,3",
                                     "host=a,b hostaddr=10.0.0.1",
                                     "service=x"};
  for (size_t i = 0; i < sizeof dsns / sizeof dsns[0]; i++)
    CU_ASSERT_PTR_NULL(hosts_new(dsns[i]));
}

SUITE(postgres_hosts, CASE(hosts_after_a_failure_begin_with_the_next),
      CASE(failures_of_one_order_count_once), CASE(port_for_all_hosts_stays),
      CASE(strings_without_several_hosts_are_left_alone))
