/* See sqlstate.h. Source: PostgreSQL's documentation, appendix A, "PostgreSQL Error Codes".
 *
 * Rows are tried from the top; a row is a whole code or the two characters of its class. The last
 * one fits everything: an error nobody has thought of is the statement's, and it was not done.
 */
#include "adapters/sqlstate.h"

#include <stddef.h>
#include <string.h>

struct row {
  const char *prefix;
  enum error_class class;
  enum cause_kind cause;
};

static const struct row rows[] = {
    {"01", CLASS_AMBIGUOUS, CAUSE_STATEMENT},      /* a warning where none belongs */
    {"08", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE},    /* connection exception */
    {"23", CLASS_CALLER, CAUSE_STATEMENT},         /* integrity constraint violation */
    {"25P03", CLASS_RETRY, CAUSE_TIMEOUT},         /* idle in transaction for too long */
    {"25P04", CLASS_RETRY, CAUSE_TIMEOUT},         /* transaction timeout (17 on) */
    {"28", CLASS_CALLER, CAUSE_UNREACHABLE},       /* login refused */
    {"3D000", CLASS_CALLER, CAUSE_UNREACHABLE},    /* no such database */
    {"40001", CLASS_RETRY, CAUSE_CONFLICT},        /* serialization failure */
    {"40003", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE}, /* statement completion unknown */
    {"40P01", CLASS_RETRY, CAUSE_DEADLOCK},        /* deadlock detected */
    {"40", CLASS_RETRY, CAUSE_CONFLICT},           /* transaction rollback */
    {"53", CLASS_RETRY, CAUSE_LIMIT},              /* insufficient resources */
    {"54", CLASS_CALLER, CAUSE_LIMIT},             /* program limit exceeded */
    {"55P03", CLASS_RETRY, CAUSE_CONFLICT},        /* lock not available */
    {"55006", CLASS_RETRY, CAUSE_CONFLICT},        /* object in use */
    {"55000", CLASS_RETRY, CAUSE_STATEMENT},       /* not in prerequisite state: a busy gid */
    {"57014", CLASS_AMBIGUOUS, CAUSE_TIMEOUT},     /* cancelled: statement_timeout, or somebody */
    {"57", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE},    /* shutdown, crash, database dropped */
    {"58", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE},    /* the server's system failed it */
    {"XX", CLASS_AMBIGUOUS, CAUSE_STATEMENT},      /* internal error, corrupted data */
    {"", CLASS_CALLER, CAUSE_STATEMENT},
};

static const struct row no_answer = {"", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE};

static const struct row *find(const char *sqlstate) {
  if (!sqlstate || !*sqlstate) return &no_answer;
  const struct row *row = rows;
  while (strncmp(sqlstate, row->prefix, strlen(row->prefix)) != 0)
    row++;
  return row;
}

enum error_class sqlstate_class(const char *sqlstate) {
  return find(sqlstate)->class;
}

enum cause_kind sqlstate_cause(const char *sqlstate) {
  return find(sqlstate)->cause;
}
