/* Runs and decisions on their way to one agent's database, several in one HTTP request.
 *
 * What is given to an outbox in one turn of the loop leaves together at the turn's end: a coordinator with
 * one transaction sends each message at once, one with many sends few requests, without any tuning. The
 * agent answers each message when it knows, in a line of its own of the same request's answer
 * (docs/agent-api.md), so that a branch which waits holds up nobody else's.
 *
 * What a message is does not change by travelling with others: it has an id and a timeout of its own, and
 * ends in one callback as message.h says. When the request ends, in whatever way, the messages of it
 * that have no line are lost: they may or may not have had an effect. A line counts only if it is whole,
 * has the id of a message of this request that still waits, and its gid.
 */
#ifndef ASSENT_COORDINATOR_OUTBOX_H
#define ASSENT_COORDINATOR_OUTBOX_H

#include "common/http_client.h"
#include "common/loop.h"
#include "common/message.h"

struct outbox;

/* `url`: ".../v1/databases/NAME". All is borrowed. */
struct outbox *outbox_new(struct loop *loop, struct http_client *client, const char *url);
/* No callback comes afterwards. */
void outbox_free(struct outbox *outbox);
/* The request is encoded before these return. */
void outbox_run(struct outbox *outbox, const struct run_request *request, int64_t timeout_ms,
                run_fn fn, void *data);
void outbox_decide(struct outbox *outbox, const struct decide_request *request, int64_t timeout_ms,
                   decide_fn fn, void *data);

#endif
