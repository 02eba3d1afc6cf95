/* See sqlstate.h. Source: PostgreSQL's documentation, appendix A, "PostgreSQL Error Codes".
 *
 * Rows are tried from the top; a row is a whole code or the two characters of its class. The last
 * one fits everything: an error nobody has thought of is the statement's, and it was not done.
 *
 * After an ERROR the session goes on: who answers can be reached, and has let us in. What says otherwise is about
 * what a statement did: its parameters' number, another server, somebody's RAISE.
 */
#include "adapters/sqlstate.h"

#include <stddef.h>
#include <string.h>

struct row {
  const char *prefix;
  enum error_class class;
  enum cause_kind cause, after_error;
};

static const struct row rows[] = {
    {"01", CLASS_AMBIGUOUS, CAUSE_STATEMENT, CAUSE_STATEMENT},   /* a warning where none belongs */
    {"08", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE, CAUSE_STATEMENT}, /* connection exception */
    {"23", CLASS_CALLER, CAUSE_STATEMENT, CAUSE_STATEMENT},   /* integrity constraint violation */
    {"25P03", CLASS_RETRY, CAUSE_TIMEOUT, CAUSE_TIMEOUT},     /* idle in transaction for too long */
    {"25P04", CLASS_RETRY, CAUSE_TIMEOUT, CAUSE_TIMEOUT},     /* transaction timeout (17 on) */
    {"28", CLASS_CALLER, CAUSE_UNREACHABLE, CAUSE_STATEMENT}, /* login refused */
    {"3D000", CLASS_CALLER, CAUSE_UNREACHABLE, CAUSE_STATEMENT},    /* no such database */
    {"40001", CLASS_RETRY, CAUSE_CONFLICT, CAUSE_CONFLICT},         /* serialization failure */
    {"40003", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE, CAUSE_STATEMENT}, /* completion unknown */
    {"40P01", CLASS_RETRY, CAUSE_DEADLOCK, CAUSE_DEADLOCK},         /* deadlock detected */
    {"40", CLASS_RETRY, CAUSE_CONFLICT, CAUSE_CONFLICT},            /* transaction rollback */
    {"53", CLASS_RETRY, CAUSE_LIMIT, CAUSE_LIMIT},                  /* insufficient resources */
    {"54", CLASS_CALLER, CAUSE_LIMIT, CAUSE_LIMIT},                 /* program limit exceeded */
    {"55P03", CLASS_RETRY, CAUSE_CONFLICT, CAUSE_CONFLICT},         /* lock not available */
    {"55006", CLASS_RETRY, CAUSE_CONFLICT, CAUSE_CONFLICT},         /* object in use */
    {"55000", CLASS_RETRY, CAUSE_STATEMENT, CAUSE_STATEMENT},       /* a busy gid */
    {"57014", CLASS_AMBIGUOUS, CAUSE_TIMEOUT, CAUSE_TIMEOUT},       /* cancelled, by whomever */
    {"57", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE, CAUSE_STATEMENT},    /* shutdown, crash, dropped */
    {"58", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE, CAUSE_UNREACHABLE},  /* its system failed it */
    {"XX", CLASS_AMBIGUOUS, CAUSE_STATEMENT, CAUSE_STATEMENT}, /* internal error, corrupted data */
    {"", CLASS_CALLER, CAUSE_STATEMENT, CAUSE_STATEMENT},
};

static const struct row no_answer = {"", CLASS_AMBIGUOUS, CAUSE_UNREACHABLE, CAUSE_UNREACHABLE};

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

enum cause_kind sqlstate_cause(const char *sqlstate, bool goes_on) {
  const struct row *row = find(sqlstate);
  return goes_on ? row->after_error : row->cause;
}
