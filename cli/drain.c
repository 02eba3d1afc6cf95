/* `assent drain NAME`, `assent undrain NAME`: a participant takes no new branches, or does again. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void print_drained(const json_t *participant) {
  char name[256];
  int64_t live = member_integer(participant, "live_branches", 0);
  text_for_terminal(member_text(participant, "name", ""), name, sizeof name);
  if (!json_is_true(json_object_get(participant, "draining")))
    (void)printf("%s takes new branches.\n", name);
  else if (live > 0)
    (void)printf("%s takes no new branches; %" PRId64 " are under way there.\n", name, live);
  else
    (void)printf("%s takes no new branches, and none is under way there.\n", name);
}

static int post(struct client *client, const char *verb, const char *about, int argc, char **argv) {
  const struct option options[] = {CLIENT_OPTIONS(*client)};
  const struct command_line line = {client->command, "NAME", about, options, COUNT(options), 1, 1};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  char path[PATH_SIZE];
  if (!is_plain_name(argv[0])) {
    (void)fprintf(stderr, "%s: not a participant's name: %s\n", client->command, argv[0]);
    return EXIT_USAGE;
  }
  (void)snprintf(path, sizeof path, "/v1/participants/%s/%s", argv[0], verb);
  struct answer answer = {0};
  struct error err = {0};
  enum error_code code = client_call(client, "POST", path, "{}", READ_TIMEOUT_MS, &answer, &err);
  if (code != ERR_OK) return (int)client_failed(client, &err, "assent participants");
  enum exit_code exit_code = answer_exit(&answer);
  if (client->json) (void)printf("%s\n", answer.text);
  if (exit_code != EXIT_DONE)
    exit_code = client_refused(client, &answer, "assent participants");
  else if (!client->json)
    print_drained(answer.body);
  answer_close(&answer);
  return (int)exit_code;
}

int command_drain(int argc, char **argv) {
  struct client client = client_make("assent drain");
  return post(&client, "drain",
              "A participant takes no new branches: transactions that want one are refused (503).\n"
              "Those under way end as ever. It lasts until `assent undrain`, over restarts, too.",
              argc, argv);
}

int command_undrain(int argc, char **argv) {
  struct client client = client_make("assent undrain");
  return post(&client, "undrain", "A participant takes new branches again.", argc, argv);
}
