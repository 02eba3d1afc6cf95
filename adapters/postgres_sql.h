/* What a user's statement begins with. Pure; no more of SQL is understood than that. */
#ifndef ASSENT_ADAPTERS_POSTGRES_SQL_H
#define ASSENT_ADAPTERS_POSTGRES_SQL_H

#include <stdbool.h>

/* NULL when a branch may run this statement; else what it begins with (static text): transaction
 * control, which is the coordinator's, or what a branch's session cannot do (COPY, LISTEN). The
 * extended protocol lets no second statement follow in the same text. */
const char *statement_refused(const char *sql);

/* Begins with a word of work or SET: of such a statement nothing outlives a branch that was prepared but
 * settings and advisory locks, unless a function in it does what its own text could not hide, as
 * PREPARE. Of any other one (DO, PREPARE, EXECUTE, DDL, what is not known) that is not said. */
bool statement_is_plain(const char *sql);

#endif
