/* SPDX-License-Identifier: Apache-2.0
 * src/chat/schema.h - what a JSON Schema says about a value, as far as Gemma's declarations and calls can tell:
 * references followed, unions reduced to their types. */
#ifndef GEM_CHAT_SCHEMA_H
#define GEM_CHAT_SCHEMA_H

#include "base/json.h"

enum gem_chat_type {
    GEM_CHAT_STRING = 1,
    GEM_CHAT_NUMBER = 2,
    GEM_CHAT_INTEGER = 4,
    GEM_CHAT_BOOLEAN = 8,
    GEM_CHAT_NULL = 16,
    GEM_CHAT_ARRAY = 32,
    GEM_CHAT_OBJECT = 64
};

/* Zero is the schema that allows everything. */
struct gem_chat_schema {
    yyjson_val *description, *enums, *items, *first_items, *properties,
        *required; /* of their kinds, not empty; or NULL */
    yyjson_val *constant;
    unsigned types; /* gem_chat_type; 0: any */
    bool nullable;
};

/* root: where "#/..." references begin. GEM_E_FORMAT for a reference that leads nowhere, elsewhere or in a circle;
 * GEM_E_LIMIT for unions of unions without number. */
gem_status gem_chat_schema_read(struct gem_chat_schema *out, yyjson_val *root, yyjson_val *schema, gem_error *err);

/* Follows $ref as long as there is one. */
gem_status gem_chat_schema_follow(yyjson_val **schema, yyjson_val *root, gem_error *err);

/* "STRING", ... of one bit. */
const char *gem_chat_type_name(enum gem_chat_type type);

/* The parameters of a declared tool, in the OpenAI form or the flat one; NULL when it has none. */
yyjson_val *gem_chat_tool_function(yyjson_val *tool);

#endif
