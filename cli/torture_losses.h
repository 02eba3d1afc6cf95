/* Failovers to asynchronous standbys (--asynchronous): what is lost by them is no violation, when the
 * coordinator says so of each branch that it can know about (loss.h). What remains of each server that
 * was replaced is kept until the round is checked: it knows what had committed there. */
#ifndef ASSENT_CLI_TORTURE_LOSSES_H
#define ASSENT_CLI_TORTURE_LOSSES_H

#include "cli/ledger.h"
#include "cli/torture.h"

/* Whether another failover of this bank can be had in this round. */
bool losses_have_room(const struct torture *t, int bank);
/* Its database has failed over from this server, which was killed. Takes it. */
void losses_keep_former(struct torture *t, int bank, struct throwaway_server *server);

/* As an operator would: looks how the branches that the coordinator cannot verify have ended, and tells
 * it. */
enum error_code losses_resolve(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));

/* The round's transfers against the ledgers. What is found lost is remembered. */
enum error_code losses_check(struct torture *t, struct ledger_findings *ledger, struct error *err)
    __attribute__((warn_unused_result));
/* An end to the round: nothing that is there now can be lost any more, and what was kept is removed. */
enum error_code losses_close_round(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));
/* A transfer of an earlier round: whether the ledgers are as they were then. `data` is the torture. */
bool losses_judge_before(void *data, unsigned index, const bool in[BANKS]);

#endif
