/* See limit.h. */
#include "common/limit.h"

#include <stddef.h>
#include <string.h>

const char *const limit_names[] = {
    "body",       "headers",     "json_depth",   "branches",      "statements",
    "parameters", "sql",         "timeout_max",  "transactions",  "token_transactions",
    "waiting",    "result_rows", "result_bytes", "event_readers", NULL};

const char *limit_name_find(const char *text) {
  for (const char *const *name = limit_names; *name; name++)
    if (strcmp(*name, text) == 0) return *name;
  return NULL;
}
