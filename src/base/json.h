/* SPDX-License-Identifier: Apache-2.0
 * src/base/json.h - reading untrusted JSON through yyjson, with errors that name file, key and offset. */
#ifndef GEM_BASE_JSON_H
#define GEM_BASE_JSON_H

#include "base/status.h"
#include <yyjson.h>

/* Parses strict JSON (RFC 8259, UTF-8 checked). *doc must be freed with yyjson_doc_free. Ceilings: n_bytes at
 * most `ceiling`, nesting at most 64. `name` is the file's name for messages. */
gem_status gem_json_parse(yyjson_doc **doc, const char *name, const void *json, size_t n_bytes, size_t ceiling,
                          gem_error *err);
/* The same, but numbers stay as they are spelled: yyjson_is_raw. */
gem_status gem_json_parse_raw(yyjson_doc **doc, const char *name, const void *json, size_t n_bytes, size_t ceiling,
                              gem_error *err);
/* gem_json_parse of a file that is read whole. */
gem_status gem_json_load(yyjson_doc **doc, const char *path, size_t ceiling, gem_error *err);

#endif
