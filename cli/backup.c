/* `assent backup`: a copy of the decision log, made while the coordinator runs. Works on the log's
 * directory, on the coordinator's machine. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/commands.h"
#include "cli/options.h"
#include "cli/table.h"
#include "common/json.h"
#include "coordinator/settings.h"
#include "wal/backup.h"

#define COUNT(array)   (sizeof(array) / sizeof(array)[0])
#define CONFIG_DEFAULT "/etc/assent/assentd.ini"

static int failed(const char *command, const struct error *err, enum exit_code code) {
  char text[sizeof err->text];
  text_for_terminal(err->text, text, sizeof text);
  (void)fprintf(stderr, "%s: %s\n", command, text);
  return (int)code;
}

/* The log's directory, as told or as in the configuration. */
static enum error_code find_log(const char *config, const char *data_dir, char out[PATH_MAX],
                                struct error *err) {
  if (data_dir) return settings_log_path(data_dir, out, err);
  static struct settings settings;
  enum error_code code = settings_read(config, &settings, err);
  if (code == ERR_OK) code = settings_log_path(settings.data_dir, out, err);
  settings_release(&settings);
  return code;
}

static void print_json(const char *file, const struct log_backup *backup) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "file");
  json_write_string(&w, file);
  json_key(&w, "cluster");
  json_write_string(&w, backup->cluster.text);
  json_key(&w, "epoch");
  json_write_integer(&w, (int64_t)backup->epoch);
  json_key(&w, "commits");
  json_write_integer(&w, (int64_t)backup->commits);
  json_key(&w, "unfinished");
  json_write_integer(&w, (int64_t)backup->unfinished);
  json_object_end(&w);
  char *text = json_writer_take(&w, NULL);
  (void)printf("%s\n", text ? text : "");
  free(text);
}

int command_backup(int argc, char **argv) {
  const char *config = CONFIG_DEFAULT, *data_dir = NULL;
  bool json = false;
  const struct option options[] = {
      {"config", "FILE", "the coordinator's (default " CONFIG_DEFAULT ")", OPTION_TEXT, &config, 0,
       0, NULL},
      {"data-dir", "DIR", "the log's directory, instead of a configuration", OPTION_TEXT, &data_dir,
       0, 0, NULL},
      {"json", NULL, "print JSON", OPTION_FLAG, &json, 0, 0, NULL}};
  const struct command_line line = {
      "assent backup",
      "FILE",
      "Copies the decision log to FILE, which must not be there yet, while the coordinator runs.\n"
      "What was told before is in the copy. It is no log to go on with: decisions made after it\n"
      "are not in it. To use it, put it in the log's place and run `assent recover --log-lost`.",
      options,
      COUNT(options),
      1,
      1};
  enum parsed parsed = options_parse(&line, &argc, argv);
  if (parsed != PARSED_GO) return parsed == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
  char path[PATH_MAX];
  struct log_backup backup;
  struct error err = {0};
  if (find_log(config, data_dir, path, &err) != ERR_OK)
    return failed(line.command, &err, EXIT_USAGE);
  if (log_backup(path, argv[0], &backup, &err) != ERR_OK)
    return failed(line.command, &err, EXIT_REFUSED);
  if (json)
    print_json(argv[0], &backup);
  else
    (void)printf("%s: the log of cluster %s, epoch %" PRIu64 ", %" PRIu64 " commits, %" PRIu64
                 " transactions unfinished\n",
                 argv[0], backup.cluster.text, backup.epoch, backup.commits, backup.unfinished);
  return EXIT_DONE;
}
