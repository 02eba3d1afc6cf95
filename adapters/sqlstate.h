/* The one table of what a database's error means to us, by SQLSTATE.
 *
 * The class says what may be concluded from the error as the answer to a PREPARE TRANSACTION,
 * COMMIT PREPARED or COMMIT: CALLER     it was not done, and will not be done if it is asked again
 * unchanged RETRY      it was not done; asked again it may be AMBIGUOUS  the server broke off,
 * perhaps after the point of no return: look it up Of a statement inside a transaction every error
 * proves the same: it failed, and the transaction with it. Then only the cause counts, which is
 * what the user is told.
 */
#ifndef ASSENT_ADAPTERS_SQLSTATE_H
#define ASSENT_ADAPTERS_SQLSTATE_H

#include "common/error.h"
#include "common/message.h"

/* Shape: five characters; NULL and "" (no answer from a server) are AMBIGUOUS and UNREACHABLE. */
enum error_class sqlstate_class(const char *sqlstate);
/* `goes_on`: the session does, after an ERROR. */
enum cause_kind sqlstate_cause(const char *sqlstate, bool goes_on);

#endif
