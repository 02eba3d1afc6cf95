/* `assent`, the command: finds the command and hands over. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "common/version.h"

static const char help[] =
    "usage: assent COMMAND ...\n\n"
    "One transaction over several databases: all commit, or none does.\n\n"
    "  tx            begin, exec, commit, rollback, show, timeline, list\n"
    "  transfer      move money between two accounts of the example schema\n"
    "  participants  the databases, and how they do\n"
    "  drain, undrain  a database takes no new branches, or does again\n"
    "  backup        a copy of the decision log, while the coordinator runs\n"
    "  recover       a new decision log, when the old one is lost\n"
    "  token         who may call the coordinator\n"
    "  demo          two databases, thousands of transfers, the coordinator killed in between\n"
    "  torture       the same while everything is broken at random, with all promises checked\n\n"
    "  --help, --version\n\n"
    "`assent COMMAND --help` says more. The coordinator is looked for at --url, $ASSENT_URL, or\n"
    "http://127.0.0.1:7410. NO_COLOR turns colours off.\n\n"
    "exit codes:\n"
    "  0  done; committed\n"
    "  1  aborted, or the request was refused\n"
    "  2  the command line is wrong; nothing was sent\n"
    "  3  the outcome is not known yet; the text says how to ask again\n"
    "  4  nothing happened: no coordinator there, or it takes no work now; may be repeated\n"
    "  5  mixed: a branch was forced by hand, the transaction is not atomic\n";

struct command {
  const char *name;
  int (*run)(int argc, char **argv);
};

static const struct command commands[] = {{"tx", command_tx},
                                          {"transfer", command_transfer},
                                          {"participants", command_participants},
                                          {"drain", command_drain},
                                          {"undrain", command_undrain},
                                          {"backup", command_backup},
                                          {"recover", command_recover},
                                          {"token", command_token},
                                          {"demo", command_demo},
                                          {"torture", command_torture}};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static int unknown_command(const char *name) {
  const char *names[COMMANDS + 1] = {NULL};
  for (size_t i = 0; i < COMMANDS; i++)
    names[i] = commands[i].name;
  const char *nearest = nearest_name(name, names);
  (void)fprintf(stderr, "assent: no command \"%s\"%s%s%s\n", name,
                nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
  (void)fprintf(stderr, "`assent --help` lists what there is.\n");
  return EXIT_USAGE;
}

static int run(int argc, char **argv) {
  if (argc < 2) {
    (void)fputs(help, stderr);
    return EXIT_USAGE;
  }
  if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
      strcmp(argv[1], "help") == 0) {
    (void)fputs(help, stdout);
    return EXIT_DONE;
  }
  if (strcmp(argv[1], "--version") == 0) {
    (void)printf("assent %s\n", ASSENT_VERSION);
    return EXIT_DONE;
  }
  for (size_t i = 0; i < COMMANDS; i++)
    if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 2, argv + 2);
  return unknown_command(argv[1]);
}

int main(int argc, char **argv) {
  (void)signal(SIGPIPE, SIG_IGN); /* a broken pipe to the coordinator is an answer that was lost */
  int code = run(argc, argv);
  /* Output that did not get out must not look like success. */
  if (fflush(stdout) != 0 && code == EXIT_DONE) code = EXIT_REFUSED;
  return code;
}
