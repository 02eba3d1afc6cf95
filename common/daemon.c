/* See daemon.h. */
#include "common/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/version.h"

void daemon_open_standard_files(void) {
  int fd;
  do
    fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) (void)close(fd);
}

int daemon_parse_options(int argc, char **argv, struct daemon_options *options) {
  static const struct option table[] = {{"config", required_argument, NULL, 'c'},
                                        {"check-config", no_argument, NULL, 'k'},
                                        {"port-file", required_argument, NULL, 'p'},
                                        {"version", no_argument, NULL, 'v'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};
  for (int option; (option = getopt_long(argc, argv, "", table, NULL)) != -1;) {
    switch (option) {
    case 'c': options->config_path = optarg; break;
    case 'k': options->check_config = true; break;
    case 'p': options->port_file = optarg; break;
    case 'v': (void)printf("%s %s\n", options->program, ASSENT_VERSION); return 0;
    case 'h': (void)fputs(options->help, stdout); return 0;
    default: (void)fprintf(stderr, "try %s --help\n", options->program); return 2;
    }
  }
  if (optind == argc) return -1;
  (void)fprintf(stderr, "%s: unexpected argument \"%s\"\ntry %s --help\n", options->program,
                argv[optind], options->program);
  return 2;
}

enum error_code daemon_write_port_file(const char *path, uint16_t port, struct error *err) {
  if (!path) return ERR_OK;
  char temporary[4096];
  if ((size_t)snprintf(temporary, sizeof temporary, "%s.new", path) >= sizeof temporary)
    return error_set(err, ERR_IO, "--port-file: the name is too long");
  FILE *file = fopen(temporary, "w");
  bool ok = file && fprintf(file, "%u\n", (unsigned)port) > 0;
  if (file && fclose(file) != 0) ok = false;
  if (ok && rename(temporary, path) == 0) return ERR_OK;
  int cause = errno;
  (void)unlink(temporary);
  return error_set(err, ERR_IO, "--port-file %s: %s", path, strerror(cause));
}
