/* Clients: applications that use the public API over the model network, one errand each, and remember
 * what they were told. An application may prepare a branch itself, on its own connection. */
#ifndef ASSENT_TESTS_SIM_CLIENT_H
#define ASSENT_TESTS_SIM_CLIENT_H

#include "tests/sim/life.h"

struct clients;

struct clients_options {
  struct sim *sim;
  struct network *network;
  struct checks *checks;
  struct sim_database **databases;
  unsigned database_count, accounts;
  const struct program *coordinator;
  unsigned errands;
  int64_t timeout_max_ms;
};
/* The errands start by themselves, in the run's first seconds. */
struct clients *clients_new(const struct clients_options *options);
void clients_free(struct clients *clients);
/* One more errand, at once and without a pause: it enlists branches, and prepares them at any time after. */
void clients_hurry(struct clients *clients);
/* Every errand has come to its end. */
bool clients_are_done(const struct clients *clients);
/* Reads every transaction that anybody has seen once more. */
void clients_read_all(struct clients *clients);

#endif
