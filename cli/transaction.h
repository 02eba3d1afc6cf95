/* A transaction, as the coordinator tells it, for people. */
#ifndef ASSENT_CLI_TRANSACTION_H
#define ASSENT_CLI_TRANSACTION_H

#include <jansson.h>
#include <stdio.h>

#include "cli/client.h"

/* DONE when committed, REFUSED when aborted, MIXED, UNKNOWN while there is no outcome. */
enum exit_code transaction_exit(const json_t *transaction);

/* "aborted: statement 0 of branch 1, 23514: ...": the state, and the cause where there is one. */
void transaction_summary(const json_t *transaction, char *out, size_t size);

/* "statement (branch 1, statement 0) 23514: ..."; as it came, control characters and all. */
void cause_text(const json_t *cause, char *out, size_t size);

/* All of it: head, branches, results where the answer has them. */
void transaction_print(const json_t *transaction, FILE *out, bool colour);
/* One line each. */
void transaction_list_print(const json_t *transactions, FILE *out, bool colour);
/* What statements gave back: rows as a table, else the number of rows. */
void results_print(const json_t *results, FILE *out);

/* Of an answer about a transaction that should end now (commit, transfer): prints it, in the form
 * asked for, and says which exit code it comes to. `what` (a path's id or a label) goes into the
 * hint how to ask again. */
enum exit_code transaction_answer(const struct client *client, const struct answer *answer,
                                  const char *ask_again);

#endif
