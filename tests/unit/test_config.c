/* common/config.c and common/config_value.c */
#include "common/config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/suite.h"

enum { PARTICIPANTS_MAX = 2 };

struct participant_settings {
  char name[40];
  char *dsn;
  int64_t connections;
};

struct settings {
  char *listen, *data_dir, *token;
  int64_t timeout_ms, body_bytes, workers, any;
  bool verbose;
  int format;
  char *note;
  struct participant_settings participants[PARTICIPANTS_MAX];
  size_t participant_count;
};

#define AT(member)   offsetof(struct settings, member)
#define P_AT(member) offsetof(struct participant_settings, member)

static const struct config_key keys[] = {
    {"coordinator", "listen", CONFIG_LISTEN, AT(listen), "127.0.0.1:7410", 0, 0, NULL, false},
    {"coordinator", "data_dir", CONFIG_STRING, AT(data_dir), NULL, 0, 0, NULL, false},
    {"coordinator", "token", CONFIG_STRING, AT(token), NULL, 0, 0, NULL, true},
    {"coordinator", "timeout", CONFIG_DURATION, AT(timeout_ms), "30s", 100, 3600000, NULL, false},
    {"coordinator", "body", CONFIG_BYTES, AT(body_bytes), "1m", 1024, 1 << 30, NULL, false},
    {"coordinator", "workers", CONFIG_INTEGER, AT(workers), "4", 1, 64, NULL, false},
    {"coordinator", "any", CONFIG_INTEGER, AT(any), NULL, 0, 0, NULL, false},
    {"log", "verbose", CONFIG_BOOLEAN, AT(verbose), "no", 0, 0, NULL, false},
    {"log", "format", CONFIG_CHOICE, AT(format), "auto", 0, 0, "auto|text|json", false},
    {"log", "note", CONFIG_TEXT, AT(note), NULL, 0, 30, NULL, false},
    {"participant.*", "dsn", CONFIG_STRING, P_AT(dsn), NULL, 0, 0, NULL, true},
    {"participant.*", "connections", CONFIG_INTEGER, P_AT(connections), "8", 1, 100, NULL, false},
};
enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

static void *open_participant(void *data, const char *section, const char *name,
                              struct error *err) {
  struct settings *s = data;
  CU_ASSERT_STRING_EQUAL(section, "participant.*");
  if (s->participant_count == PARTICIPANTS_MAX) {
    error_set(err, ERR_CONFIG, "at most %d participants", PARTICIPANTS_MAX);
    return NULL;
  }
  struct participant_settings *p = &s->participants[s->participant_count++];
  (void)snprintf(p->name, sizeof p->name, "%s", name);
  return p;
}

static void release(struct settings *s) {
  config_release(keys, KEY_COUNT, "coordinator", s);
  config_release(keys, KEY_COUNT, "log", s);
  for (size_t i = 0; i < s->participant_count; i++)
    config_release(keys, KEY_COUNT, "participant.*", &s->participants[i]);
}

/* Reads `text` as a file "<path>"; in the error, the path becomes "F". */
static enum error_code read_text_n(const char *text, size_t length, struct settings *s,
                                   struct error *err) {
  char path[] = "/tmp/assent-test-XXXXXX";
  int fd = mkstemp(path);
  CU_ASSERT_FATAL(fd >= 0 && write(fd, text, length) == (ssize_t)length);
  (void)close(fd);
  *s = (struct settings){0};
  error_clear(err);
  enum error_code code = config_read(path, keys, KEY_COUNT, s, open_participant, err);
  (void)unlink(path);
  size_t path_length = sizeof path - 1;
  if (strncmp(err->text, path, path_length) == 0) {
    err->text[0] = 'F';
    memmove(err->text + 1, err->text + path_length, strlen(err->text + path_length) + 1);
  }
  return code;
}

static enum error_code read_text(const char *text, struct settings *s, struct error *err) {
  return read_text_n(text, strlen(text), s, err);
}

static void refuse(const char *text, const char *expected) {
  struct settings s;
  struct error err;
  CU_ASSERT_EQUAL(read_text(text, &s, &err), ERR_CONFIG);
  CU_ASSERT_STRING_EQUAL(err.text, expected);
  if (strcmp(err.text, expected) != 0) (void)printf("\n  got: %s\n", err.text);
  release(&s);
}

/* ---- good files ---- */

static void defaults_hold_without_a_file(void) {
  struct settings s = {0};
  struct error err = {.code = ERR_OK};
  CU_ASSERT_EQUAL(config_read(NULL, keys, KEY_COUNT, &s, open_participant, &err), ERR_OK);
  CU_ASSERT_STRING_EQUAL(s.listen, "127.0.0.1:7410");
  CU_ASSERT_PTR_NULL(s.data_dir);
  CU_ASSERT_EQUAL(s.timeout_ms, 30000);
  CU_ASSERT_EQUAL(s.body_bytes, 1 << 20);
  CU_ASSERT_EQUAL(s.workers, 4);
  CU_ASSERT_FALSE(s.verbose);
  CU_ASSERT_EQUAL(s.format, 0);
  release(&s);
}

static void file_sets_what_it_names(void) {
  struct settings s;
  struct error err;
  CU_ASSERT_EQUAL(read_text("\xEF\xBB\xBF; a comment\n# another\n\n[coordinator]\r\n"
                            "  listen=[::1]:0\r\n\tdata_dir =  /var/lib/my data \n"
                            "timeout = 2m\nbody = 64k\nworkers = 64\nany = -5\n"
                            "[log]\nverbose = on\nformat = json\n"
                            "[participant.bank_a]\ndsn = host=a\n"
                            "[participant.bank_b]\ndsn = host=b\nconnections = 3",
                            &s, &err),
                  ERR_OK);
  CU_ASSERT_STRING_EQUAL(s.listen, "[::1]:0");
  CU_ASSERT_STRING_EQUAL(s.data_dir, "/var/lib/my data");
  CU_ASSERT_EQUAL(s.timeout_ms, 120000);
  CU_ASSERT_EQUAL(s.body_bytes, 65536);
  CU_ASSERT_EQUAL(s.workers, 64);
  CU_ASSERT_EQUAL(s.any, -5);
  CU_ASSERT_TRUE(s.verbose);
  CU_ASSERT_EQUAL(s.format, 2);
  CU_ASSERT_EQUAL(s.participant_count, 2);
  CU_ASSERT_STRING_EQUAL(s.participants[0].name, "bank_a");
  CU_ASSERT_EQUAL(s.participants[0].connections, 8);
  CU_ASSERT_EQUAL(s.participants[1].connections, 3);
  release(&s);
}

static void value_with_signs_of_comments_is_whole(void) {
  struct settings s;
  struct error err;
  CU_ASSERT_EQUAL(read_text("[coordinator]\ntoken = a ;b #c = \"d\" :e[f]\n", &s, &err), ERR_OK);
  CU_ASSERT_STRING_EQUAL(s.token, "a ;b #c = \"d\" :e[f]");
  release(&s);
}

static void value_of_a_long_line_is_whole(void) {
  char text[6000] = "[coordinator]\ntoken = ";
  size_t head = strlen(text);
  memset(text + head, 'x', sizeof text - head - 1);
  text[sizeof text - 1] = '\0';
  struct settings s;
  struct error err;
  CU_ASSERT_EQUAL(read_text(text, &s, &err), ERR_OK);
  CU_ASSERT_EQUAL(strlen(s.token), strlen(text) - head);
  release(&s);
}

static void text_goes_on_in_lines_that_begin_with_a_blank(void) {
  static const struct {
    const char *text, *expected;
  } cases[] = {
      {"[log]\nnote = one\nverbose = yes\n", "one"},
      {"[log]\nnote = one\n two = 2\n\t ; three\nverbose = yes\n", "one\n two = 2\n\t ; three"},
      {"[log]\nnote =\n  one\n\n  two\r\n\n\nverbose = yes\n", "one\n\n  two"},
      {"[log]\nverbose = yes\nnote =\n  one", "one"},
      {"[log]\nverbose = yes\nnote = one\n  [two]\n[coordinator]\n", "one\n  [two]"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct settings s;
    struct error err;
    CU_ASSERT_EQUAL(read_text(cases[i].text, &s, &err), ERR_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(s.note);
    CU_ASSERT_STRING_EQUAL(s.note, cases[i].expected);
    CU_ASSERT_TRUE(s.verbose);
    release(&s);
  }
}

static void text_has_a_most_of_bytes(void) {
  struct settings s;
  struct error err;
  CU_ASSERT_EQUAL(read_text("[log]\nnote = 123456789\n 12345678\n 12345678\n", &s, &err), ERR_OK);
  release(&s);
  refuse("[log]\nnote = 123456789\n 12345678\n 123456789\n 1\n",
         "F:5: [log] note: the value has more than 30 bytes");
  refuse("[log]\n\nnote =\n  \nverbose = yes\n", "F:3: [log] note: expected a value, got nothing");
  refuse("[log]\nnote =", "F:2: [log] note: expected a value, got nothing");
  refuse("[log]\nnote = 1\n 2\nnote = 3\n", "F:4: [log] note: the key came before");
}

static void durations_and_sizes_have_units(void) {
  static const struct {
    const char *text;
    int64_t ms;
  } good[] = {{"100ms", 100}, {"1s", 1000}, {"5m", 300000}, {"1h", 3600000}};
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    char text[64];
    (void)snprintf(text, sizeof text, "[coordinator]\ntimeout = %s\n", good[i].text);
    struct settings s;
    struct error err;
    CU_ASSERT_EQUAL(read_text(text, &s, &err), ERR_OK);
    CU_ASSERT_EQUAL(s.timeout_ms, good[i].ms);
    release(&s);
  }
}

/* ---- mistakes ---- */

static void mistakes_are_named_with_their_place(void) {
  refuse("listen = x\n", "F:1: listen: stands before the first [section]");
  refuse("[coordinator]\nlisten\n", "F:2: [coordinator]: expected key = value");
  refuse("[coordinator]\n= 5\n", "F:2: [coordinator]: expected key = value");
  refuse("[coordinator]\nworkers =\n", "F:2: [coordinator] workers: expected a value, got nothing");
  refuse("[coordinator\n", "F:1: expected a section, as [name]");
  refuse("[]\n", "F:1: expected a section, as [name]");
  refuse("[log] ; here\n", "F:1: expected a section, as [name]");
}

static void unknown_names_come_with_the_nearest(void) {
  refuse("[coordinater]\n", "F:1: [coordinater]: unknown section; did you mean [coordinator]?");
  refuse("[zzz]\n", "F:1: [zzz]: unknown section");
  refuse("[participant]\n", "F:1: [participant]: unknown section; did you mean [participant.*]?");
  refuse("\n[coordinator]\nlissten = 1\n",
         "F:3: [coordinator] lissten: unknown key; did you mean listen?");
  refuse("[coordinator]\ndsn = 1\n", "F:2: [coordinator] dsn: unknown key");
  refuse("[coordinator]\nzzzzzz = 1\n", "F:2: [coordinator] zzzzzz: unknown key");
  refuse("[Log]\n", "F:1: [Log]: unknown section; did you mean [log]?");
}

static void repeated_names_are_refused(void) {
  refuse("[coordinator]\nworkers = 1\nworkers = 1\n",
         "F:3: [coordinator] workers: the key came before");
  refuse("[log]\n[coordinator]\n[log]\n", "F:3: [log]: the section came before");
  refuse("[participant.a]\n[participant.a]\n", "F:2: [participant.a]: the section came before");
}

static void names_of_users_have_an_alphabet(void) {
  static const char text[] =
      ": a name is a letter of a-z, then letters, digits and _, at most 32 in all";
  static const char *const wrong[] = {"participant.",
                                      "participant.A",
                                      "participant.1a",
                                      "participant.a b",
                                      "participant.a.b",
                                      "participant.a'",
                                      "participant.abcdefghijklmnopqrstuvwxyz0123456"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    char file[128];
    char expected[256];
    (void)snprintf(file, sizeof file, "[%s]\n", wrong[i]);
    (void)snprintf(expected, sizeof expected, "F:1: [%s]%s", wrong[i], text);
    refuse(file, expected);
  }
}

static void sections_beyond_the_callers_limit_are_refused(void) {
  refuse("[participant.a]\n[participant.b]\n[participant.c]\n",
         "F:3: [participant.c]: at most 2 participants");
}

static void values_out_of_shape_are_refused(void) {
  static const struct {
    const char *line, *expected;
  } cases[] = {
      {"workers = x", "workers: expected a whole number, got \"x\""},
      {"workers = 4.5", "workers: expected a whole number, got \"4.5\""},
      {"workers = 0x4", "workers: expected a whole number, got \"0x4\""},
      {"workers = 99999999999999999999", "workers: expected a whole number, got "
                                         "\"99999999999999999999\""},
      {"workers = 65", "workers: expected from 1 to 64, got \"65\""},
      {"workers = -1", "workers: expected from 1 to 64, got \"-1\""},
      {"timeout = 30", "timeout: expected a time with its unit, as 500ms, 30s, 5m, 24h or 7d, got "
                       "\"30\""},
      {"timeout = 5 m", "timeout: expected a time with its unit, as 500ms, 30s, 5m, 24h or 7d, "
                        "got \"5 m\""},
      {"timeout = 2h", "timeout: expected from 100ms to 1h, got \"2h\""},
      {"timeout = 0", "timeout: expected from 100ms to 1h, got \"0\""},
      {"timeout = 999999999999999999d", "timeout: expected a time with its unit, as 500ms, 30s, "
                                        "5m, 24h or 7d, got \"999999999999999999d\""},
      {"body = 1K", "body: expected a size in bytes, as 4096, 64k or 1m, got \"1K\""},
      {"body = 2g", "body: expected from 1k to 1g, got \"2g\""},
      {"listen = 7410", "listen: expected address:port, as 127.0.0.1:7410 or [::1]:7410, got "
                        "\"7410\""},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char file[160];
    char expected[256];
    (void)snprintf(file, sizeof file, "[coordinator]\n%s\n", cases[i].line);
    (void)snprintf(expected, sizeof expected, "F:2: [coordinator] %s", cases[i].expected);
    refuse(file, expected);
  }
  refuse("[log]\nverbose = maybe\n", "F:2: [log] verbose: expected yes or no, got \"maybe\"");
  refuse("[log]\nformat = tex\n", "F:2: [log] format: expected one of auto|text|json, got \"tex\"");
  refuse("[log]\nformat = text|json\n",
         "F:2: [log] format: expected one of auto|text|json, got \"text|json\"");
}

static void error_names_the_key_in_its_field(void) {
  struct settings s;
  struct error err;
  CU_ASSERT_EQUAL(read_text("[coordinator]\nworkers = x\n", &s, &err), ERR_CONFIG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.field, ":2: [coordinator] workers"));
  release(&s);
}

static void file_of_bytes_is_refused(void) {
  struct settings s;
  struct error err;
  CU_ASSERT_EQUAL(read_text_n("[log]\n\0\n", 8, &s, &err), ERR_CONFIG);
  CU_ASSERT_STRING_EQUAL(err.text, "F:2: [log]: a line is UTF-8 text of at most 8192 bytes");
  release(&s);
  CU_ASSERT_EQUAL(read_text("[log]\n\xFF\n", &s, &err), ERR_CONFIG);
  release(&s);
  char *text = malloc(10000);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  memset(text, 'x', 10000);
  CU_ASSERT_EQUAL(read_text_n(text, 10000, &s, &err), ERR_CONFIG);
  release(&s);
  free(text);
}

static void file_that_cannot_be_read_is_named(void) {
  struct settings s = {0};
  struct error err = {.code = ERR_OK};
  CU_ASSERT_EQUAL(config_read("/nonexistent/a.ini", keys, KEY_COUNT, &s, open_participant, &err),
                  ERR_CONFIG);
  CU_ASSERT_STRING_EQUAL(err.text, "/nonexistent/a.ini: No such file or directory");
  release(&s);
  error_clear(&err);
  s = (struct settings){0};
  CU_ASSERT_EQUAL(config_read("/tmp", keys, KEY_COUNT, &s, open_participant, &err), ERR_CONFIG);
  CU_ASSERT_STRING_EQUAL(err.text, "/tmp: cannot be read");
  release(&s);
}

/* ---- printing ---- */

static void print_shows_values_and_hides_secrets(void) {
  struct settings s;
  struct error err;
  CU_ASSERT_EQUAL(read_text("[coordinator]\ntoken = hush\ntimeout = 90s\nbody = 1536\n", &s, &err),
                  ERR_OK);
  char *text = NULL;
  size_t length = 0;
  FILE *out = open_memstream(&text, &length);
  CU_ASSERT_PTR_NOT_NULL_FATAL(out);
  config_print(out, keys, KEY_COUNT, "coordinator", "coordinator", &s);
  config_print(out, keys, KEY_COUNT, "log", "log", &s);
  (void)fclose(out);
  CU_ASSERT_STRING_EQUAL(text, "[coordinator]\nlisten = 127.0.0.1:7410\n; data_dir is not set\n"
                               "token = (hidden)\ntimeout = 90s\nbody = 1536\nworkers = 4\n"
                               "any = 0\n[log]\nverbose = no\nformat = auto\n; note is not set\n");
  free(text);
  release(&s);
}

/* ---- listen addresses ---- */

static void listen_addresses_are_split(void) {
  static const struct {
    const char *text, *host;
    uint16_t port;
  } good[] = {{"127.0.0.1:7410", "127.0.0.1", 7410},
              {"[::1]:1", "::1", 1},
              {"localhost:65535", "localhost", 65535},
              {"0.0.0.0:0", "0.0.0.0", 0}};
  static const char *const bad[] = {"",
                                    ":1",
                                    "127.0.0.1",
                                    "127.0.0.1:",
                                    "::1:1",
                                    "[::1]1",
                                    "[::1",
                                    "127.0.0.1:65536",
                                    "1.2.3:1",
                                    "host:1",
                                    "[1.2.3.4]:1",
                                    "127.0.0.1:-1",
                                    "127.0.0.1:1x",
                                    "127.0.0.1:000001"};
  char host[64];
  uint16_t port;
  for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
    CU_ASSERT_TRUE(config_split_listen(good[i].text, host, sizeof host, &port));
    CU_ASSERT_STRING_EQUAL(host, good[i].host);
    CU_ASSERT_EQUAL(port, good[i].port);
  }
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    CU_ASSERT_FALSE(config_split_listen(bad[i], host, sizeof host, &port));
  CU_ASSERT_FALSE(config_split_listen("127.0.0.1:1", host, 9, &port)); /* no room */
}

static void loopback_is_told_from_others(void) {
  static const char *const yes[] = {"127.0.0.1", "127.9.9.9", "::1",
                                    "localhost", "LOCALHOST", "::ffff:127.0.0.1"};
  static const char *const no[] = {
      "0.0.0.0",      "10.0.0.1",        "::", "fe80::1", "localhost.evil.com",
      "127.evil.com", "::ffff:10.0.0.1", ""};
  for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
    CU_ASSERT_TRUE(config_listen_is_loopback(yes[i]));
  for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
    CU_ASSERT_FALSE(config_listen_is_loopback(no[i]));
}

SUITE(config, CASE(defaults_hold_without_a_file), CASE(file_sets_what_it_names),
      CASE(value_with_signs_of_comments_is_whole), CASE(value_of_a_long_line_is_whole),
      CASE(text_goes_on_in_lines_that_begin_with_a_blank), CASE(text_has_a_most_of_bytes),
      CASE(durations_and_sizes_have_units), CASE(mistakes_are_named_with_their_place),
      CASE(unknown_names_come_with_the_nearest), CASE(repeated_names_are_refused),
      CASE(names_of_users_have_an_alphabet), CASE(sections_beyond_the_callers_limit_are_refused),
      CASE(values_out_of_shape_are_refused), CASE(error_names_the_key_in_its_field),
      CASE(file_of_bytes_is_refused), CASE(file_that_cannot_be_read_is_named),
      CASE(print_shows_values_and_hides_secrets), CASE(listen_addresses_are_split),
      CASE(loopback_is_told_from_others))
