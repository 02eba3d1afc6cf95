/* JSON: our reader (common/json_parse.c) beside jansson's own.
 *
 * What must hold: what one reads the other reads, as the same value; but ours refuses more: what is nested
 * too deep, numbers that would be changed, and a NUL behind a number, which jansson (2.14) passes over. And a
 * text is said to be an array just when it is read as one.
 */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "tests/fuzz/fuzz.h"

static bool is_ours_alone(const struct error *err) {
  static const char *const reasons[] = {"nested more than", "significant digits",
                                        "out of a double's range"};
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
    if (strstr(err->text, reasons[i])) return true;
  return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = fuzz_text(data, size);
  struct error err = {.code = ERR_OK};
  json_t *ours = json_parse(text, size, &err);
  bool has_nul = strlen(text) < size;
  if (ours || !(has_nul || is_ours_alone(&err))) {
    json_t *theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    assert(!ours == !theirs);
    assert(!ours || json_equal(ours, theirs));
    json_decref(theirs);
  }
  assert(ours ? err.code == ERR_OK : err.code != ERR_OK && err.text[0]);
  if (ours && !has_nul) assert(json_is_array_text(text) == json_is_array(ours));
  json_decref(ours);
  free(text);
  return 0;
}
