/* What an errand is, and how it is said to the coordinator. See client.c. */
#include <assert.h>

#include "tests/sim/client_internal.h"

enum { LOOKS_MAX = 3 };

bool errand_has(unsigned databases, unsigned database) {
  return (databases >> database & 1) != 0;
}

/* ---- what an errand is ------------------------------------------------------------------------ */

static void add_move(struct errand *errand, unsigned database, int64_t amount) {
  assert(errand->move_count < MOVES_MAX);
  unsigned accounts = errand->clients->options.accounts;
  errand->moves[errand->move_count++] =
      (struct move){.database = database,
                    .account = (unsigned)sim_between(errand->clients->options.sim, 1, accounts),
                    .amount = amount};
}

/* Money goes round: what one database loses the next one gets. */
static void choose_moves(struct errand *errand) {
  struct sim *sim = errand->clients->options.sim;
  unsigned databases = errand->clients->options.database_count;
  int64_t amount = (int64_t)sim_between(sim, 1, 50);
  unsigned writers[DATABASES_MAX], count = 0;
  for (unsigned i = 0; i < databases; i++)
    if (errand_has(errand->involved, i) && !errand_has(errand->reading, i)) writers[count++] = i;
  for (unsigned i = 0; i < databases; i++)
    if (errand_has(errand->reading, i)) add_move(errand, i, 0);
  if (count == 1) {
    add_move(errand, writers[0], -amount);
    add_move(errand, writers[0], amount);
  } else if (count > 1) {
    add_move(errand, writers[0], -amount * (int64_t)(count - 1));
    for (unsigned i = 1; i < count; i++)
      add_move(errand, writers[i], amount);
  }
}

/* Step by step, and nothing but branches that it prepares itself. */
static void choose_late(struct errand *errand) {
  errand->one_call = errand->statements_at_begin = false;
  errand->reading = 0;
  errand->external = errand->involved;
  errand->prepares_twice = true;
}

void errand_choose(struct errand *errand) {
  struct sim *sim = errand->clients->options.sim;
  const struct clients_options *options = &errand->clients->options;
  unsigned all = (1U << options->database_count) - 1;
  errand->involved = (unsigned)sim_between(sim, 1, all);
  if (sim_random(sim, 2) == 0) errand->involved = all;
  if (sim_random(sim, 5) == 0) errand->reading = errand->involved & (unsigned)sim_random(sim, 8);
  errand->one_call = sim_random(sim, 2) == 0;
  errand->wait_decided = sim_random(sim, 3) == 0;
  errand->statements_at_begin = sim_random(sim, 3) == 0;
  if (!errand->one_call && !errand->statements_at_begin && sim_random(sim, 2) == 0)
    errand->external = errand->involved & ~errand->reading & (unsigned)sim_between(sim, 1, 7);
  uint64_t end = sim_random(sim, 8);
  errand->ending = end == 0 ? END_NOTHING : end == 1 ? END_ROLLBACK : END_COMMIT;
  if (sim_random(sim, 12) == 0) {
    errand->failing = (unsigned)sim_between(sim, 1, options->database_count);
    errand->expects_wrong = sim_random(sim, 2) == 0;
  }
  errand->impatient = sim_random(sim, 3) == 0;
  errand->prepares_twice = sim_random(sim, 3) == 0;
  errand->changes_mind = sim_random(sim, 8) == 0;
  bool short_of_time = sim_random(sim, 6) == 0; /* about as long as all takes */
  errand->timeout_ms = short_of_time
                           ? (int64_t)sim_between(sim, 3, 40)
                           : (int64_t)sim_between(sim, 300, (uint64_t)options->timeout_max_ms);
  errand->looks = (unsigned)sim_random(sim, LOOKS_MAX + 1);
  errand->keyed = errand->number % 3 == 1; /* at no cost in chance: seeds stay what they are */
  if (errand->prepares_late) choose_late(errand);
  choose_moves(errand);
}

/* ---- requests' bodies ------------------------------------------------------------------------- */

bool errand_reads_too_much(const struct errand *errand) {
  return !errand->expects_wrong && errand->number % 2 == 0;
}

void errand_write_statement(struct json_writer *w, const struct errand *errand,
                            const struct move *move) {
  bool reads = errand_has(errand->reading, move->database);
  bool fails = errand->failing == move->database + 1;
  json_key(w, "sql");
  json_write_string(w, fails && errand_reads_too_much(errand) ? "SELECT generate_series"
                       : fails && !errand->expects_wrong      ? "SELECT 1/0"
                       : reads                                ? "SELECT balance"
                                                              : "UPDATE account");
  json_key(w, "params");
  json_array_begin(w);
  if (!fails || errand->expects_wrong) {
    json_write_integer(w, move->account);
    if (!reads) json_write_integer(w, move->amount);
  }
  json_array_end(w);
  /* At no cost in chance. Without, all goes out in one flush. */
  if (errand->number % 4 == 2 && !fails) return;
  if (fails && errand_reads_too_much(errand)) return;
  json_key(w, "expect_rows");
  json_write_integer(w, fails && errand->expects_wrong ? 7 : 1);
}

void errand_write_branches(struct json_writer *w, const struct errand *errand) {
  json_key(w, "branches");
  json_array_begin(w);
  for (unsigned i = 0; i < errand->clients->options.database_count; i++) {
    if (!errand_has(errand->involved, i)) continue;
    json_object_begin(w);
    json_key(w, "participant");
    json_write_string(w, database_name(i));
    json_key(w, "statements");
    json_array_begin(w);
    for (unsigned k = 0; k < errand->move_count; k++) {
      if (errand->moves[k].database != i) continue;
      json_object_begin(w);
      errand_write_statement(w, errand, &errand->moves[k]);
      json_object_end(w);
    }
    json_array_end(w);
    json_object_end(w);
  }
  json_array_end(w);
}
