/* `assent recover`: a new decision log in the place of one that is lost. What is found out, and how,
 * is in coordinator/rebuild.h; here it is shown, asked for, and done. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"
#include "common/json.h"
#include "common/log.h"
#include "coordinator/rebuild.h"

#define COUNT(array)   (sizeof(array) / sizeof(array)[0])
#define CONFIG_DEFAULT "/etc/assent/assentd.ini"

static enum exit_code failed(const char *command, const struct error *err, enum exit_code code) {
  char text[sizeof err->text];
  text_for_terminal(err->text, text, sizeof text);
  (void)fprintf(stderr, "%s: %s\n", command, text);
  return code;
}

/* ---- what is shown -------------------------------------------------------------------- */

static void print_remnants(const struct rebuild *r) {
  size_t count;
  const struct log_remnant *remnants = rebuild_remnants(r, &count);
  if (count == 0) (void)printf("Of the log nothing is left.\n");
  for (size_t i = 0; i < count; i++) {
    const struct log_remnant *remnant = &remnants[i];
    bool other = remnant->readable && strcmp(remnant->cluster.text, rebuild_cluster(r)->text) != 0;
    (void)printf("%s: ", remnant->path);
    if (!remnant->readable)
      (void)printf("cannot be read");
    else if (other)
      (void)printf("of another cluster, %s, left aside", remnant->cluster.text);
    else
      (void)printf("%" PRIu64 " records, epoch %" PRIu64, remnant->records, remnant->epoch);
    if (remnant->damaged > 0) (void)printf(", %" PRIu64 " damaged", remnant->damaged);
    (void)printf("%s%s\n", remnant->note[0] ? ". " : "", remnant->note);
  }
}

static void print_participants(const struct rebuild *r) {
  static const struct column columns[] = {{"participant", COLUMN_TEXT},
                                          {"prepared", COLUMN_NUMBER},
                                          {"epoch", COLUMN_NUMBER},
                                          {"error", COLUMN_TEXT}};
  struct table *table = table_new(columns, COUNT(columns));
  size_t count;
  const struct rebuild_participant *participants = rebuild_participants(r, &count);
  for (size_t i = 0; i < count; i++) {
    char prepared[24], epoch[24];
    (void)snprintf(prepared, sizeof prepared, "%zu", participants[i].prepared);
    (void)snprintf(epoch, sizeof epoch, "%" PRIu64, participants[i].life.epoch);
    const char *const cells[] = {participants[i].name, prepared, epoch, participants[i].error};
    table_add(table, cells);
  }
  table_print(table, stdout, colour_wanted(stdout));
  table_free(table);
}

static void print_transactions(const struct rebuild *r) {
  static const struct column columns[] = {{"transaction", COLUMN_TEXT},
                                          {"branches", COLUMN_TEXT},
                                          {"what will happen", COLUMN_TEXT},
                                          {"why", COLUMN_TEXT}};
  struct table *table = table_new(columns, COUNT(columns));
  size_t count, participant_count;
  const struct rebuild_participant *participants = rebuild_participants(r, &participant_count);
  const struct rebuild_transaction *transactions = rebuild_transactions(r, &count);
  for (size_t i = 0; i < count; i++) {
    char branches[PARTICIPANTS_MAX * 56] = "";
    for (size_t j = 0; j < participant_count; j++)
      (void)snprintf(branches + strlen(branches), sizeof branches - strlen(branches), "%s%s %s",
                     j > 0 ? ", " : "", participants[j].name,
                     rebuild_evidence_name(transactions[i].branches[j].evidence));
    const char *const cells[] = {transactions[i].id.text, branches,
                                 rebuild_outcome_name(transactions[i].outcome),
                                 transactions[i].why};
    table_add(table, cells);
  }
  table_print(table, stdout, colour_wanted(stdout));
  table_free(table);
}

struct counts {
  size_t commit, abort, unknown;
};

static struct counts count_outcomes(const struct rebuild *r) {
  struct counts counts = {0};
  size_t count;
  const struct rebuild_transaction *transactions = rebuild_transactions(r, &count);
  for (size_t i = 0; i < count; i++) {
    counts.commit += transactions[i].outcome == REBUILD_COMMIT;
    counts.abort += transactions[i].outcome == REBUILD_ABORT;
    counts.unknown += transactions[i].outcome == REBUILD_UNKNOWN;
  }
  return counts;
}

static void print_people(const struct rebuild *r) {
  const struct counts counts = count_outcomes(r);
  (void)printf("cluster %s\n", rebuild_cluster(r)->text);
  print_remnants(r);
  (void)printf("\n");
  print_participants(r);
  if (counts.commit + counts.abort + counts.unknown == 0) {
    (void)printf("\nNothing is in doubt.\n");
    return;
  }
  (void)printf("\n");
  print_transactions(r);
  if (counts.abort > 0)
    (void)printf("\nA client that asked with `wait` = `decided`, or that read the transaction when "
                 "it had just\n"
                 "been decided, may have been told that one to be aborted here has committed; one "
                 "that waited\n"
                 "for `applied`, the default, has not.\n");
}

static void write_branches(struct json_writer *w, const struct rebuild *r,
                           const struct rebuild_transaction *t) {
  size_t count;
  const struct rebuild_participant *participants = rebuild_participants(r, &count);
  json_key(w, "branches");
  json_array_begin(w);
  for (size_t i = 0; i < count; i++) {
    json_object_begin(w);
    json_key(w, "participant");
    json_write_string(w, participants[i].name);
    json_key(w, "evidence");
    json_write_string(w, rebuild_evidence_name(t->branches[i].evidence));
    json_key(w, "gid");
    json_write_string(w, t->branches[i].gid[0] ? t->branches[i].gid : NULL);
    json_object_end(w);
  }
  json_array_end(w);
}

static void write_transactions(struct json_writer *w, const struct rebuild *r) {
  size_t count;
  const struct rebuild_transaction *transactions = rebuild_transactions(r, &count);
  json_key(w, "transactions");
  json_array_begin(w);
  for (size_t i = 0; i < count; i++) {
    json_object_begin(w);
    json_key(w, "id");
    json_write_string(w, transactions[i].id.text);
    json_key(w, "outcome");
    json_write_string(w, rebuild_outcome_name(transactions[i].outcome));
    json_key(w, "why");
    json_write_string(w, transactions[i].why);
    write_branches(w, r, &transactions[i]);
    json_object_end(w);
  }
  json_array_end(w);
}

static void write_remnants(struct json_writer *w, const struct rebuild *r) {
  size_t count;
  const struct log_remnant *remnants = rebuild_remnants(r, &count);
  json_key(w, "files");
  json_array_begin(w);
  for (size_t i = 0; i < count; i++) {
    json_object_begin(w);
    json_key(w, "path");
    json_write_string(w, remnants[i].path);
    json_key(w, "readable");
    json_write_boolean(w, remnants[i].readable);
    json_key(w, "cluster");
    json_write_string(w, remnants[i].cluster.text);
    json_key(w, "records");
    json_write_integer(w, (int64_t)remnants[i].records);
    json_key(w, "damaged");
    json_write_integer(w, (int64_t)remnants[i].damaged);
    json_key(w, "note");
    json_write_string(w, remnants[i].note);
    json_object_end(w);
  }
  json_array_end(w);
}

static void print_json(const struct rebuild *r, bool done, const char *aside) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "cluster");
  json_write_string(&w, rebuild_cluster(r)->text);
  write_remnants(&w, r);
  write_transactions(&w, r);
  json_key(&w, "done");
  json_write_boolean(&w, done);
  json_key(&w, "aside");
  json_write_string(&w, aside[0] ? aside : NULL);
  json_object_end(&w);
  char *text = json_writer_take(&w, NULL);
  (void)printf("%s\n", text ? text : "");
  free(text);
}

/* ---- the command ---------------------------------------------------------------------------------- */

struct recover {
  const char *command, *config, *cluster, *commit, *abort, *reason;
  bool log_lost, yes, json;
};

/* "ID,ID" */
static enum error_code force_all(struct rebuild *r, const char *ids, bool commit,
                                 struct error *err) {
  enum error_code code = ERR_OK;
  for (const char *at = ids; at && *at && code == ERR_OK;) {
    size_t length = strcspn(at, ",");
    char text[TXID_SIZE] = "";
    struct txid id;
    if (length < sizeof text) memcpy(text, at, length);
    if (!txid_parse(text, &id))
      return error_set(err, ERR_INVALID, "\"%.60s\" is not a transaction id", at);
    code = rebuild_force(r, &id, commit, err);
    at += length + (at[length] == ',');
  }
  return code;
}

static enum exit_code say_what_next(const struct recover *c, const struct rebuild *r) {
  const struct counts counts = count_outcomes(r);
  if (counts.unknown > 0) {
    (void)fprintf(stderr,
                  "%zu transactions cannot be known. Nothing was changed, and what they hold "
                  "prepared stays so. Find out\nwhat became of each, then say it: --commit ID,ID "
                  "--abort ID,ID --reason TEXT (with --yes)\n",
                  counts.unknown);
    return EXIT_UNKNOWN;
  }
  if (!c->yes)
    (void)fprintf(stderr, "%zu will commit, %zu will abort. Nothing was changed: --yes does it.\n",
                  counts.commit, counts.abort);
  return EXIT_DONE;
}

static enum exit_code finish(const struct recover *c, struct rebuild *r) {
  char aside[PATH_MAX];
  struct error err = {0};
  if (rebuild_finish(r, c->reason ? c->reason : "assent recover --log-lost", aside, &err) != ERR_OK)
    return failed(c->command, &err, EXIT_NOT_TAKEN);
  if (c->json) {
    print_json(r, true, aside);
    return EXIT_DONE;
  }
  (void)printf(
      "\nA new log has been made%s%s. Start assentd: it finishes the transactions above.\n",
      aside[0] ? "; the former one is kept as " : "", aside);
  return EXIT_DONE;
}

static enum exit_code recover_with(const struct recover *c, struct rebuild *r) {
  struct error err = {0};
  if (rebuild_look(r, &err) != ERR_OK) return failed(c->command, &err, EXIT_NOT_TAKEN);
  if (force_all(r, c->commit, true, &err) != ERR_OK ||
      force_all(r, c->abort, false, &err) != ERR_OK)
    return failed(c->command, &err, EXIT_REFUSED);
  bool go = c->yes && count_outcomes(r).unknown == 0;
  if (!c->json)
    print_people(r);
  else if (!go)
    print_json(r, false, "");
  enum exit_code code = say_what_next(c, r);
  return go && code == EXIT_DONE ? finish(c, r) : code;
}

static enum exit_code recover(const struct recover *c) {
  static struct settings settings;
  struct cluster_id cluster;
  struct rebuild *r = NULL;
  struct error err = {0};
  enum exit_code code = EXIT_USAGE;
  if (c->cluster && !cluster_id_parse(c->cluster, &cluster))
    (void)error_set(&err, ERR_INVALID, "--cluster: \"%.40s\" is not a cluster id", c->cluster);
  else if ((c->commit || c->abort) && !c->reason)
    (void)error_set(&err, ERR_INVALID,
                    "--commit and --abort need a --reason: it goes into the log");
  else if (settings_read(c->config, &settings, &err) == ERR_OK &&
           rebuild_open(&r, &settings, c->cluster ? &cluster : NULL, &err) == ERR_OK)
    code = recover_with(c, r);
  if (err.code != ERR_OK)
    code = failed(c->command, &err, err.code == ERR_LOG ? EXIT_NOT_TAKEN : EXIT_USAGE);
  rebuild_free(r);
  settings_release(&settings);
  return code;
}

int command_recover(int argc, char **argv) {
  struct recover c = {.command = "assent recover", .config = CONFIG_DEFAULT};
  const struct option options[] = {
      {"log-lost", NULL, "the decision log is lost, damaged, or an old copy", OPTION_FLAG,
       &c.log_lost, 0, 0, NULL},
      {"config", "FILE", "the coordinator's (default " CONFIG_DEFAULT ")", OPTION_TEXT, &c.config,
       0, 0, NULL},
      {"yes", NULL, "do it; without this it is only shown", OPTION_FLAG, &c.yes, 0, 0, NULL},
      {"cluster", "ID", "whose log is lost, where participants know several", OPTION_TEXT,
       &c.cluster, 0, 0, NULL},
      {"commit", "ID,ID", "transactions that cannot be known: commit them", OPTION_TEXT, &c.commit,
       0, 0, NULL},
      {"abort", "ID,ID", "the same: abort them", OPTION_TEXT, &c.abort, 0, 0, NULL},
      {"reason", "TEXT", "why, for the new log's audit", OPTION_TEXT, &c.reason, 0, 0, NULL},
      {"json", NULL, "print JSON", OPTION_FLAG, &c.json, 0, 0, NULL}};
  const struct command_line line = {
      c.command,
      "--log-lost",
      "Makes a new decision log in the place of one that is lost, with the coordinator stopped:\n"
      "looks at what is left of it, asks every participant what is prepared there and what is\n"
      "known of the rest, and shows what will become of each transaction in doubt, and why. With\n"
      "--yes it fences the participants and writes the outcomes into a new log of the same\n"
      "cluster; the coordinator's next start carries them out. The former files are kept aside.\n"
      "What cannot be known is left alone until --commit or --abort says. docs/operations.md has\n"
      "the whole of it.",
      options,
      COUNT(options),
      0,
      0};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  if (!c.log_lost) {
    (void)fprintf(stderr,
                  "%s: say --log-lost: there is nothing else to recover by hand; what a "
                  "crash leaves, assentd finishes by itself\n",
                  c.command);
    return EXIT_USAGE;
  }
  log_setup("assent", LOG_ERROR, LOG_TEXT);
  return (int)recover(&c);
}
