/* The names of message.h's enums, as they stand in JSON and in logs; names of servers. */
#include "common/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *const cause_names[] = {
    [CAUSE_NONE] = "none",
    [CAUSE_STATEMENT] = "statement",
    [CAUSE_EXPECTATION] = "expectation",
    [CAUSE_CONFLICT] = "conflict",
    [CAUSE_TIMEOUT] = "timeout",
    [CAUSE_UNREACHABLE] = "unreachable",
    [CAUSE_CLIENT] = "client",
    [CAUSE_RECOVERY] = "recovery",
    [CAUSE_OPERATOR] = "operator",
    [CAUSE_DEADLOCK] = "deadlock",
    [CAUSE_LIMIT] = "limit",
};

static const char *const vote_names[] = {
    [VOTE_UNKNOWN] = "unknown",     [VOTE_NO] = "no",       [VOTE_YES] = "yes",
    [VOTE_READ_ONLY] = "read_only", [VOTE_READY] = "ready",
};

static const char *const decision_names[] = {
    [DECIDE_ABORT] = "abort",
    [DECIDE_COMMIT] = "commit",
    [DECIDE_ONE_PHASE] = "one_phase",
};

static const char *const outcome_names[] = {
    [BRANCH_OUTCOME_RETRY] = "retry",
    [BRANCH_OUTCOME_COMMITTED] = "committed",
    [BRANCH_OUTCOME_ABORTED] = "aborted",
    [BRANCH_OUTCOME_UNVERIFIABLE] = "unverifiable",
};

enum { NOT_FOUND = -1 };

#define COUNT(names) (sizeof(names) / sizeof(names)[0])

static const char *name_at(const char *const *names, size_t count, int value) {
  assert(value >= 0 && (size_t)value < count);
  return names[value];
}

static int index_of(const char *const *names, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0) return (int)i;
  return NOT_FOUND;
}

const char *cause_kind_name(enum cause_kind kind) {
  return name_at(cause_names, COUNT(cause_names), (int)kind);
}

bool cause_kind_parse(const char *name, enum cause_kind *out) {
  int at = index_of(cause_names, COUNT(cause_names), name);
  if (at != NOT_FOUND) *out = (enum cause_kind)at;
  return at != NOT_FOUND;
}

const char *vote_name(enum vote vote) {
  return name_at(vote_names, COUNT(vote_names), (int)vote);
}

bool vote_parse(const char *name, enum vote *out) {
  int at = index_of(vote_names, COUNT(vote_names), name);
  if (at != NOT_FOUND) *out = (enum vote)at;
  return at != NOT_FOUND;
}

const char *decision_name(enum decision decision) {
  return name_at(decision_names, COUNT(decision_names), (int)decision);
}

bool decision_parse(const char *name, enum decision *out) {
  int at = index_of(decision_names, COUNT(decision_names), name);
  if (at != NOT_FOUND) *out = (enum decision)at;
  return at != NOT_FOUND;
}

const char *branch_outcome_name(enum branch_outcome outcome) {
  return name_at(outcome_names, COUNT(outcome_names), (int)outcome);
}

bool branch_outcome_parse(const char *name, enum branch_outcome *out) {
  int at = index_of(outcome_names, COUNT(outcome_names), name);
  if (at != NOT_FOUND) *out = (enum branch_outcome)at;
  return at != NOT_FOUND;
}

/* ---- servers --------------------------------------------------------------------------------- */

struct server_parts {
  size_t system_length; /* of the system identifier, with the / behind it */
  unsigned long timeline;
  const char *database;
};

static bool split_server(const char *server, struct server_parts *out) {
  const char *slash = strchr(server, '/');
  if (!slash) return false;
  char *end;
  out->system_length = (size_t)(slash - server) + 1;
  out->timeline = strtoul(slash + 1, &end, 10);
  out->database = end;
  return end != slash + 1 && *end == '/';
}

enum server_relation server_relation(const char *was, const char *is) {
  struct server_parts before, now;
  if (strcmp(was, is) == 0) return SERVER_SAME;
  if (!split_server(was, &before) || !split_server(is, &now)) return SERVER_UNRELATED;
  if (before.system_length != now.system_length || strncmp(was, is, now.system_length) != 0)
    return SERVER_STRANGER;
  if (now.timeline < before.timeline) return SERVER_PREDECESSOR;
  return strcmp(before.database, now.database) == 0 ? SERVER_SUCCESSOR : SERVER_UNRELATED;
}

/* ---- statements ------------------------------------------------------------------------------ */

static size_t text_size(const char *text) {
  return text ? strlen(text) + 1 : 0;
}

static char *put_text(char **at, const char *text) {
  if (!text) return NULL;
  size_t size = strlen(text) + 1;
  char *copy = *at;
  memcpy(copy, text, size);
  *at += size;
  return copy;
}

struct statement *statements_copy(const struct statement *statements, size_t count) {
  size_t params = 0, text = 0;
  for (size_t i = 0; i < count; i++) {
    params += statements[i].param_count;
    text += text_size(statements[i].sql);
    for (size_t k = 0; k < statements[i].param_count; k++)
      text += text_size(statements[i].params[k]);
  }
  struct statement *copy = malloc(count * sizeof *copy + params * sizeof(char *) + text + 1);
  if (!copy) return NULL;
  const char **param = (const char **)(copy + count);
  char *at = (char *)(param + params);
  for (size_t i = 0; i < count; i++) {
    copy[i] = statements[i];
    copy[i].sql = put_text(&at, statements[i].sql);
    copy[i].params = param;
    for (size_t k = 0; k < statements[i].param_count; k++)
      *param++ = put_text(&at, statements[i].params[k]);
  }
  return copy;
}
