/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/json_out.h - JSON on standard output. */
#ifndef GEM_CLI_JSON_OUT_H
#define GEM_CLI_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <yyjson.h>

/* Adds a string that may not be UTF-8 (names of files and tensors): what is not becomes '?'. Copies it. */
bool gem_cli_json_add_text(yyjson_mut_doc *doc, yyjson_mut_val *object, const char *key, const char *text);
/* A string value of n bytes in the same way. NULL when memory ran out. */
yyjson_mut_val *gem_cli_json_text(yyjson_mut_doc *doc, const char *text, size_t n);
/* Where text [n] stops being UTF-8; n when it is all UTF-8. */
size_t gem_cli_utf8_error(const char *text, size_t n);
/* Writes the document and a newline, frees it, and returns 0 or an exit code. doc may be NULL, and ok false: memory
 * ran out while it was made. */
int gem_cli_json_print(yyjson_mut_doc *doc, bool ok, bool pretty);

#endif
