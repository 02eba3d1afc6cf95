/* See embedded.h. The assembler puts the files in; the Makefile knows that this depends on them. */
#include "coordinator/embedded.h"

#define EMBED(name, path)                                                                          \
  __asm__(".section .rodata\n"                                                                     \
          ".global " #name "_begin\n" #name "_begin:\n"                                            \
          ".incbin \"" path "\"\n"                                                                 \
          ".global " #name "_end\n" #name "_end:\n"                                                \
          ".byte 0\n"                                                                              \
          ".previous\n");                                                                          \
  extern const char name##_begin[], name##_end[]

EMBED(openapi, "coordinator/openapi.json");
EMBED(console_page, "coordinator/console/index.html");
EMBED(console_style, "coordinator/console/console.css");
EMBED(console_script, "coordinator/console/console.js");

const char *embedded_text(enum embedded_file file, size_t *length) {
  static const struct {
    const char *begin, *end;
  } files[] = {
      [EMBEDDED_OPENAPI] = {openapi_begin, openapi_end},
      [EMBEDDED_CONSOLE] = {console_page_begin, console_page_end},
      [EMBEDDED_CONSOLE_STYLE] = {console_style_begin, console_style_end},
      [EMBEDDED_CONSOLE_SCRIPT] = {console_script_begin, console_script_end},
  };
  *length = (size_t)(files[file].end - files[file].begin);
  return files[file].begin;
}
