/* What a user's statement begins with, and which texts and values last. Pure; no more of SQL is
 * understood than that. */
#ifndef ASSENT_ADAPTERS_POSTGRES_SQL_H
#define ASSENT_ADAPTERS_POSTGRES_SQL_H

#include <stdbool.h>

/* NULL when a branch may run this statement; else what it begins with (static text): transaction
 * control, which is the coordinator's, or what a branch's session cannot do (COPY, LISTEN). The
 * extended protocol lets no second statement follow in the same text. */
const char *statement_refused(const char *sql);

/* Does it begin as SELECT, INSERT, UPDATE, DELETE, MERGE, VALUES, TABLE or WITH does? What functions and
 * triggers it calls is not known. */
bool statement_is_plain(const char *sql);
/* Would the server read the same in this text at another time, under other settings? A plain one that
 * writes, without a literal in quotes, whichever kind of quotes. */
bool statement_is_lasting(const char *sql);

/* How a value of a type is written that any other type takes for the same. */
enum value_form { VALUE_TEXT, VALUE_INTEGER, VALUE_NUMERIC };
/* False: none is known for this type. */
bool value_form_of(unsigned type_oid, enum value_form *form);
/* Is it written as the server itself would? Integers: "0", "-12". Numeric: these, and digits behind a
 * point, as "12.50". */
bool value_is_plain(enum value_form form, const char *text);

#endif
