/* SPDX-License-Identifier: Apache-2.0
 * src/chat/values.h - JSON values in Gemma's notation (spec/tokenizer-and-chat.md 3.1 and 3.3): strings between quote
 * tokens and not escaped, bare keys in sorted order, numbers as Python prints them. */
#ifndef GEM_CHAT_VALUES_H
#define GEM_CHAT_VALUES_H

#include "base/json.h"
#include "chat/text.h"

/* The text of a string; of anything else, none. */
static inline const char *gem_chat_str(yyjson_val *v) { return yyjson_is_str(v) ? yyjson_get_str(v) : ""; }
static inline size_t gem_chat_len(yyjson_val *v) { return yyjson_is_str(v) ? yyjson_get_len(v) : 0; }

/* Quote, text, quote. */
void gem_chat_put_quoted(struct gem_chat_text *t, const char *s, size_t n);
/* Any value; quoted_keys: keys of objects are strings in quotes. Numbers must have been read raw. */
void gem_chat_put_value(struct gem_chat_text *t, yyjson_val *v, bool quoted_keys);
/* "{" pairs "}" with bare keys. */
void gem_chat_put_object(struct gem_chat_text *t, yyjson_val *object);

/* The pairs of an object sorted by the lower-cased key, equal ones in the order given. Free with gem_free. */
struct gem_chat_pair {
    yyjson_val *key, *value;
    size_t index;
};
gem_status gem_chat_sorted(struct gem_chat_pair **pairs, size_t *n, yyjson_val *object, gem_error *err);

/* Simple lower case of a code point. */
uint32_t gem_chat_lower(uint32_t cp);

/* A JSON number as Python's json and str() would print it: out [64]. False for a float beyond double's range.
 * Integers of more than 60 digits do not come here: print them as they are. */
bool gem_chat_python_float(const char *raw, size_t n, char *out);

#endif
