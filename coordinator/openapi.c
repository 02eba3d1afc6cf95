/* See openapi.h. The assembler puts the file in; the Makefile knows that this depends on it. */
#include "coordinator/openapi.h"

__asm__(".section .rodata\n"
        ".global openapi_begin\n"
        "openapi_begin:\n"
        ".incbin \"coordinator/openapi.json\"\n"
        ".global openapi_end\n"
        "openapi_end:\n"
        ".byte 0\n"
        ".previous\n");

extern const char openapi_begin[], openapi_end[];

const char *openapi_text(size_t *length) {
  *length = (size_t)(openapi_end - openapi_begin);
  return openapi_begin;
}
