/* What one server's name says about another's. */
#include "common/message.h"

#include "tests/lib/suite.h"

static void server_that_followed_is_told_from_others(void) {
  static const struct {
    const char *was, *is;
    enum server_relation relation;
  } cases[] = {
      {"71/1/5", "71/1/5", SERVER_SAME},
      {"71/1/5", "71/2/5", SERVER_SUCCESSOR},
      {"71/9/5", "71/10/5", SERVER_SUCCESSOR},
      {"71/2/5", "71/1/5", SERVER_PREDECESSOR},
      {"71/10/5", "71/9/6", SERVER_PREDECESSOR},
      {"71/1/5", "71/1/6", SERVER_UNRELATED}, /* another database of the same server */
      {"71/1/5", "71/2/6", SERVER_UNRELATED},
      {"71/1/5", "72/1/5", SERVER_STRANGER},
      {"71/1/5", "7/1/5", SERVER_STRANGER},
      {"71/1/5", "712/1/5", SERVER_STRANGER},
      {"", "71/1/5", SERVER_UNRELATED},
      {"71/1/5", "", SERVER_UNRELATED},
      {"71", "72", SERVER_UNRELATED},
      {"71/x/5", "71/2/5", SERVER_UNRELATED},
      {"71/1", "71/2", SERVER_UNRELATED},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    CU_ASSERT_EQUAL(server_relation(cases[i].was, cases[i].is), cases[i].relation);
}

SUITE(message, CASE(server_that_followed_is_told_from_others))
