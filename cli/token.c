/* `assent token create`: a token for somebody who calls the coordinator. Its hash goes into the
 * coordinator's file; the token itself is printed once and kept nowhere. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"
#include "common/tokens.h"

#define COUNT(array)   (sizeof(array) / sizeof(array)[0])
#define TOKENS_DEFAULT "/etc/assent/tokens"

static int failed(const struct error *err) {
  char text[sizeof err->text];
  text_for_terminal(err->text, text, sizeof text);
  (void)fprintf(stderr, "assent token create: %s\n", text);
  return EXIT_REFUSED;
}

static enum error_code append(const char *path, const char *line, struct error *err) {
  int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
  ssize_t length = (ssize_t)strlen(line);
  ssize_t written = write(fd, line, (size_t)length);
  bool kept = written == length && fsync(fd) == 0;
  if (!kept)
    error_set(err, ERR_IO, "%s: %s", path, written < 0 ? strerror(errno) : "not written whole");
  (void)close(fd);
  return kept ? ERR_OK : ERR_IO;
}

/* The file as it is must be one that the coordinator reads, and have none of this name. */
static enum error_code check_file(const char *path, const char *name, struct error *err) {
  struct tokens *tokens;
  if (access(path, F_OK) != 0 && errno == ENOENT) return ERR_OK;
  enum error_code code = tokens_load(&tokens, path, err);
  if (code != ERR_OK) return code;
  if (tokens_has_name(tokens, name))
    code = error_set(err, ERR_INVALID, "%s has a token named %s", path, name);
  tokens_free(tokens);
  return code;
}

static int create(int argc, char **argv) {
  const char *role = "client", *path = TOKENS_DEFAULT;
  const struct option options[] = {
      {"role", "ROLE", "client (its own transactions), operator (all of it) or metrics",
       OPTION_CHOICE, &role, 0, 0, "client|operator|metrics"},
      {"file", "FILE", "the coordinator's `tokens` (default " TOKENS_DEFAULT ")", OPTION_TEXT,
       &path, 0, 0, NULL}};
  const struct command_line line = {
      "assent token create",
      "NAME",
      "Makes a token, prints it, and adds its hash to the coordinator's file, which is made if it "
      "is\n"
      "missing. The token is shown this once. The coordinator knows it after a SIGHUP; to take a\n"
      "token back, delete its line and send SIGHUP again.",
      options,
      COUNT(options),
      1,
      1};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  struct error err = {0};
  if (!token_name_is_valid(argv[0])) {
    error_set(&err, ERR_INVALID, "a name is letters, digits, \"_\", \"-\" and \".\", at most %d",
              TOKEN_NAME_SIZE - 1);
    (void)failed(&err);
    return EXIT_USAGE;
  }
  char text[TOKEN_TEXT_SIZE], entry[TOKEN_LINE_SIZE];
  struct token token;
  token_make(argv[0], role_from_name(role), text, &token);
  token_line(&token, entry);
  if (check_file(path, argv[0], &err) != ERR_OK || append(path, entry, &err) != ERR_OK)
    return failed(&err);
  (void)printf("%s\n", text);
  return EXIT_DONE;
}

int command_token(int argc, char **argv) {
  static const char usage[] = "usage: assent token create NAME [--role ROLE] [--file FILE]\n\n"
                              "`assent token create --help` says more.\n";
  if (argc > 0 && strcmp(argv[0], "create") == 0) return create(argc - 1, argv + 1);
  bool help = argc > 0 && (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "help") == 0);
  (void)fputs(usage, help ? stdout : stderr);
  return help ? EXIT_DONE : EXIT_USAGE;
}
