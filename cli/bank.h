/* The two databases between which a demonstration or a torture moves money, looked at directly and
 * not through the coordinator: what is in them is what is checked against. */
#ifndef ASSENT_CLI_BANK_H
#define ASSENT_CLI_BANK_H

#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { BANKS = 2 };

struct bank; /* one connection */

/* `schema`: of its tables, with its dot ("other."), or ""; copied. Owner: bank_close(), on error
 * too. */
enum error_code bank_open(struct bank **out, const char *dsn, const char *schema, struct error *err)
    __attribute__((warn_unused_result));
/* Connects again, where the connection is lost. */
enum error_code bank_refresh(struct bank *bank, struct error *err)
    __attribute__((warn_unused_result));
void bank_close(struct bank *bank); /* NULL is allowed */

/* account and ledger: each transfer writes one row (label, amount; negative where it is taken). */
enum error_code bank_make_tables(struct bank *bank, struct error *err)
    __attribute__((warn_unused_result));

enum error_code bank_clock_us(struct bank *bank, int64_t *now_us, struct error *err)
    __attribute__((warn_unused_result));
enum error_code bank_money(struct bank *bank, int64_t *sum, struct error *err)
    __attribute__((warn_unused_result));
enum error_code bank_exec(struct bank *bank, const char *sql, struct error *err)
    __attribute__((warn_unused_result));
/* The first column of the only row. */
enum error_code bank_integer(struct bank *bank, const char *sql, int64_t *out, struct error *err)
    __attribute__((warn_unused_result));
/* Prepared transactions of Assent in this database that were prepared before then; INT64_MAX: all.
 */
enum error_code bank_prepared(struct bank *bank, int64_t before_us, int64_t *count,
                              struct error *err) __attribute__((warn_unused_result));

/* Whose prepared transactions and sessions are looked at: gids that begin with `gids` (by default
 * "assent_"), application names that begin with `sessions` ("assent:"). Copied. */
void bank_set_ours(struct bank *bank, const char *gids, const char *sessions);
void bank_copy_ours(struct bank *bank, const struct bank *from);
/* When the oldest of them was prepared (INT64_MAX: there is none), and how many there are. */
enum error_code bank_oldest_prepared(struct bank *bank, int64_t *oldest_us, int64_t *count,
                                     struct error *err) __attribute__((warn_unused_result));
/* Sessions of ours in a transaction, and locks of anybody on the bank's tables. */
enum error_code bank_busy(struct bank *bank, int64_t *in_transaction, int64_t *locks,
                          struct error *err) __attribute__((warn_unused_result));
/* The pids of sessions of ours, at random. Returns how many were filled in. */
enum error_code bank_sessions(struct bank *bank, int64_t *pids, unsigned max, unsigned *count,
                              struct error *err) __attribute__((warn_unused_result));

enum error_code bank_roll_back_prepared(struct bank *bank, struct error *err)
    __attribute__((warn_unused_result));

typedef void (*ledger_fn)(void *data, const char *label, int64_t amount);
/* Rows with labels from `first` to `last`; NULL: all. */
enum error_code bank_each_ledger(struct bank *bank, const char *first, const char *last,
                                 ledger_fn fn, void *data, struct error *err)
    __attribute__((warn_unused_result));

#endif
