/* Lists: transactions (live ones and the log's, merged) and participants (with fresh health). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "coordinator/internal.h"
#include "coordinator/render.h"

/* ---- transactions ----------------------------------------------------------------------------- */

/* The live ones are rendered before the log is asked, so that one that ends in between is seen in one
 * of the two, or in both: then the log's, which is the later, counts. */
struct listed {
  struct txid id;
  char *json;
};

struct listing {
  struct coordinator *coordinator;
  unsigned limit;
  transactions_listed_fn fn;
  void *data;
  struct listed *live; /* newest first */
  size_t live_count;
};

static bool matches(const struct transaction *t, const struct list_filter *filter) {
  if (filter->before.text[0] && strcmp(t->id.text, filter->before.text) >= 0) return false;
  if (filter->state && strcmp(filter->state, txn_state_name(t->core.state)) != 0) return false;
  if (filter->label && (!t->label || strcmp(filter->label, t->label) != 0)) return false;
  if (!transaction_is_for(t, filter->owner)) return false;
  if (!filter->participant) return true;
  for (unsigned i = 0; i < t->core.branch_count; i++)
    if (strcmp(t->branches[i]->member->name, filter->participant) == 0) return true;
  return false;
}

static int newest_first(const void *a, const void *b) {
  const struct listed *x = a, *y = b;
  return strcmp(y->id.text, x->id.text);
}

static void collect_live(struct listing *listing, const struct list_filter *filter) {
  struct coordinator *c = listing->coordinator;
  listing->live = calloc(HASH_COUNT(c->transactions) + 1, sizeof *listing->live);
  if (!listing->live) abort();
  for (struct transaction *t = c->transactions; t; t = t->hh.next)
    if (matches(t, filter)) listing->live[listing->live_count++].id = t->id;
  qsort(listing->live, listing->live_count, sizeof *listing->live, newest_first);
  /* One more than asked for tells that there is a next page. */
  if (listing->live_count > listing->limit + 1) listing->live_count = listing->limit + 1;
  for (size_t i = 0; i < listing->live_count; i++) {
    struct json_writer w;
    json_writer_init(&w);
    render_transaction(&w, transaction_find(c, &listing->live[i].id), false);
    listing->live[i].json = json_writer_take(&w, NULL);
    if (!listing->live[i].json) abort();
  }
}

static void listing_free(struct listing *listing) {
  for (size_t i = 0; i < listing->live_count; i++)
    free(listing->live[i].json);
  free(listing->live);
  free(listing);
}

static void merge(void *data, const struct wal_record *records, size_t count,
                  const struct error *err) {
  struct listing *listing = data;
  if (err) {
    listing->fn(listing->data, NULL, 0, err);
    listing_free(listing);
    return;
  }
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "transactions");
  json_array_begin(&w);
  const struct txid *last = NULL;
  size_t written = 0, l = 0, r = 0;
  while (written < listing->limit && (l < listing->live_count || r < count)) {
    int order = l == listing->live_count ? -1
                : r == count             ? 1
                                         : strcmp(listing->live[l].id.text, records[r].txid.text);
    if (order > 0) {
      json_write_raw(&w, listing->live[l].json);
      last = &listing->live[l++].id;
    } else {
      render_record(&w, &records[r], NULL);
      last = &records[r++].txid;
      if (order == 0) l++;
    }
    written++;
  }
  json_array_end(&w);
  json_key(&w, "next_cursor");
  json_write_string(&w, last && (l < listing->live_count || r < count) ? last->text : NULL);
  json_object_end(&w);
  size_t length;
  char *json = json_writer_take(&w, &length);
  listing->fn(listing->data, json, length, NULL);
  listing_free(listing);
}

/* Ids tell the age: so what is too young is not even looked at. */
static struct list_filter old_enough(const struct list_filter *asked) {
  struct list_filter filter = *asked;
  if (asked->older_than_ms == 0) return filter;
  struct txid border = txid_least(clock_wall_us() - asked->older_than_ms * 1000);
  if (filter.before.text[0] == '\0' || strcmp(border.text, filter.before.text) < 0)
    filter.before = border;
  return filter;
}

void transactions_list(struct coordinator *c, const struct list_filter *asked,
                       transactions_listed_fn fn, void *data) {
  const struct list_filter narrowed = old_enough(asked), *filter = &narrowed;
  struct listing *listing = calloc(1, sizeof *listing);
  if (!listing) abort();
  *listing = (struct listing){.coordinator = c, .limit = filter->limit, .fn = fn, .data = data};
  collect_live(listing, filter);
  struct wal_filter in_log = {.before = filter->before,
                              .participant = filter->participant,
                              .label = filter->label,
                              .owner = filter->owner,
                              .applied_only = true, /* all others are live */
                              .limit = filter->limit + 1};
  if (filter->state && strcmp(filter->state, "committed") == 0)
    in_log.outcome = WAL_OUTCOME_COMMITTED;
  else if (filter->state && strcmp(filter->state, "aborted") == 0)
    in_log.outcome = WAL_OUTCOME_ABORTED;
  else if (filter->state) {
    merge(listing, NULL, 0, NULL); /* other states exist only live */
    return;
  }
  wal_list(c->wal, &in_log, merge, listing);
}

/* ---- participants ----------------------------------------------------------------------------- */

struct survey {
  struct coordinator *coordinator;
  char *name; /* NULL: all */
  unsigned waiting;
  participants_fn fn;
  void *data;
};

struct question {
  struct survey *survey;
  struct member *member;
};

static void write_mean(struct json_writer *w, const char *key, uint64_t total, uint64_t count) {
  json_key(w, key);
  if (count)
    json_write_integer(w, (int64_t)(total / count));
  else
    json_write_null(w);
}

static void write_known(struct json_writer *w, const char *key, bool known, int64_t value) {
  json_key(w, key);
  if (known && value >= 0)
    json_write_integer(w, value);
  else
    json_write_null(w);
}

static void write_availability(struct json_writer *w, const struct member *member) {
  uint64_t now = loop_now_ms(member->coordinator->loop);
  uint64_t lasted = member->tried ? now - member->changed_at_ms : 0;
  uint64_t up = member->up_ms + (member->up ? lasted : 0);
  uint64_t down = member->down_ms + (member->up ? 0 : lasted);
  json_key(w, "availability");
  json_object_begin(w);
  json_key(w, "up_ms");
  json_write_integer(w, (int64_t)up);
  json_key(w, "down_ms");
  json_write_integer(w, (int64_t)down);
  json_key(w, "ratio");
  json_write_real(w, up + down > 0 ? (double)up / (double)(up + down) : member->up);
  json_key(w, "failures");
  json_write_integer(w, (int64_t)member->failures);
  write_mean(w, "mtbf_ms", up, member->failures);
  write_mean(w, "mttr_ms", member->repaired_ms, member->repairs);
  json_object_end(w);
}

/* With standbys that commits do not wait for, a failover loses what was told as done. */
static void write_replication(struct json_writer *w, const struct health_reply *health,
                              bool known) {
  bool asynchronous = known && health->standbys > 0 && !health->synchronous;
  const char *mode = !known || health->standbys < 0 ? NULL
                     : health->synchronous          ? "synchronous"
                     : health->standbys > 0         ? "asynchronous"
                                                    : "none";
  json_key(w, "replication");
  json_object_begin(w);
  json_key(w, "mode");
  json_write_string(w, mode);
  write_known(w, "standbys", known, health->standbys);
  json_key(w, "warning");
  json_write_string(w, asynchronous
                           ? "commits do not wait for a standby: a failover may lose branches that "
                             "voted yes, or have committed"
                           : NULL);
  json_object_end(w);
}

/* Of transactions that have not ended. */
static size_t live_branches(const struct member *member) {
  size_t count = 0;
  for (const struct transaction *t = member->coordinator->transactions; t; t = t->hh.next)
    for (unsigned i = 0; i < t->core.branch_count; i++)
      count += t->branches[i]->member == member;
  return count;
}

static void write_member(struct json_writer *w, const struct member *member) {
  const struct health_reply *health = &member->health;
  const struct slots *slots = member->slots;
  bool known = member->health_known;
  size_t waiting = 0;
  const struct transaction_branch *branch;
  DL_FOREACH(member->parked, branch) waiting++;
  json_object_begin(w);
  json_key(w, "name");
  json_write_string(w, member->name);
  json_key(w, "kind");
  json_write_string(w, member->kind);
  json_key(w, "state");
  json_write_string(w, member_state_name(member));
  json_key(w, "server");
  json_write_string(w, member->fence.server[0] ? member->fence.server : NULL);
  json_key(w, "server_version");
  if (member->fence.server_version)
    json_write_integer(w, member->fence.server_version);
  else
    json_write_null(w);
  write_known(w, "latency_us", known, health->latency_us);
  write_known(w, "prepared_count", known, health->prepared_count);
  write_known(w, "prepared_limit", known, health->prepared_max);
  write_known(w, "slots", slots && slots->stock.limit >= 0, slots ? slots->stock.limit : 0);
  write_known(w, "slots_held", slots, slots ? slots->stock.held : 0);
  write_known(w, "oldest_prepared_ms", known, health->oldest_prepared_ms);
  write_known(w, "xmin_age", known, health->xmin_age);
  write_replication(w, health, known);
  write_known(w, "connections", known, health->connections);
  write_known(w, "connections_max", known, health->connections_max);
  write_known(w, "waiting", known, health->waiting);
  write_known(w, "running", known, health->running);
  write_known(w, "running_limit", known, health->running_max);
  json_key(w, "queued");
  json_write_integer(w, member->places.queued + (slots ? slots->stock.queued : 0));
  json_key(w, "draining");
  json_write_boolean(w, member->draining);
  json_key(w, "live_branches");
  json_write_integer(w, (int64_t)live_branches(member));
  json_key(w, "undelivered_decisions");
  json_write_integer(w, (int64_t)waiting);
  json_key(w, "last_error");
  json_write_string(w, member->last_error[0] ? member->last_error : NULL);
  write_availability(w, member);
  json_object_end(w);
}

static void survey_finish(struct survey *survey) {
  if (survey->waiting > 0) return;
  struct json_writer w;
  json_writer_init(&w);
  if (survey->name) {
    write_member(&w, member_find(survey->coordinator, survey->name));
  } else {
    json_object_begin(&w);
    json_key(&w, "participants");
    json_array_begin(&w);
    for (const struct member *m = survey->coordinator->members; m; m = m->hh.next)
      write_member(&w, m);
    json_array_end(&w);
    json_object_end(&w);
  }
  size_t length;
  char *json = json_writer_take(&w, &length);
  survey->fn(survey->data, json, length, NULL);
  free(survey->name);
  free(survey);
}

static void answered(void *data, const struct health_reply *reply, const struct error *err) {
  struct question *question = data;
  struct survey *survey = question->survey;
  observe_call(question->member, CALL_HEALTH, err);
  if (!err) {
    question->member->health = *reply;
    question->member->health_known = true;
    slots_know(question->member);
  }
  free(question);
  survey->waiting--;
  survey_finish(survey);
}

static void ask(struct survey *survey, struct member *member) {
  if (!member->usable) return; /* what is known of it must do */
  struct question *question = calloc(1, sizeof *question);
  if (!question) abort();
  *question = (struct question){survey, member};
  survey->waiting++;
  member->participant->ops->health(member->participant, answered, question);
}

void coordinator_participants(struct coordinator *c, const char *name, participants_fn fn,
                              void *data) {
  struct member *only = name ? member_find(c, name) : NULL;
  if (name && !only) {
    fn(data, NULL, 0, NULL);
    return;
  }
  struct survey *survey = calloc(1, sizeof *survey);
  if (!survey) abort();
  *survey = (struct survey){.coordinator = c, .fn = fn, .data = data};
  survey->name = name ? strdup(name) : NULL;
  if (name && !survey->name) abort(); /* it would tell of all */
  if (only)
    ask(survey, only);
  else
    for (struct member *m = c->members; m; m = m->hh.next)
      ask(survey, m);
  survey_finish(survey);
}
