/* SPDX-License-Identifier: Apache-2.0
 * src/generate/schema.h - JSON Schema (draft 2020-12, what can be decided while writing) and tool calls as grammars.
 *
 * What the grammar allows always satisfies the schema; in some places it is narrower, so that text stays predictable:
 *   - Properties come in the order of the schema; in tool calls sorted by the lower-cased key, as the models' chat
 *     template writes them.
 *   - An object with `properties` and without `additionalProperties` takes no other properties. Without both, any.
 *   - Where `type` is missing, keywords of one type restrict to that type.
 *   - White space: after "{", "[" and "," and before "}" and "]" at most one space or one newline with indentation,
 * after
 *     ":" at most one space; none with `compact` and in tool calls.
 *   - Characters of `pattern`, `format`, `enum`, `const` and keys have one spelling; other strings may use every
 * escape.
 *   - Integers have no fraction or exponent; numbers with bounds have no exponent and as many digits as a double tells
 *     apart.
 * A keyword that cannot be honoured is GEM_E_UNSUPPORTED: `not`, if/then/else, patternProperties, uniqueItems,
 * contains, dependent*, unevaluatedItems, oneOf whose branches may overlap, formats without a pattern here, unknown
 * keywords other than "x-..."; messages begin with the JSON pointer of the schema and name the keyword. */
#ifndef GEM_GENERATE_SCHEMA_H
#define GEM_GENERATE_SCHEMA_H

#include "generate/text.h"

#include <yyjson.h>

enum {
    GEM_SCHEMA_MAX_BYTES = 4 << 20,
    GEM_SCHEMA_MAX_TOGETHER = 64, /* schemas that one value must satisfy */
    GEM_SCHEMA_MAX_RULES = 20000,
    GEM_SCHEMA_MAX_ITEMS = 10000, /* of minItems and maxItems */
};

struct gem_schema_options {
    bool compact; /* no white space between the parts of a value */
};

/* Sets g->root. */
gem_status gem_schema_parse(struct gem_grammar *g, const struct gem_schema_options *options, const char *json,
                            size_t n);

/* Spelling of values in tool calls: the token that opens and closes strings. */
struct gem_schema_tool {
    int32_t quote;
};

/* A rule for values of the schema `v`, a part of a document that was parsed with gem_json_parse_raw, as a call spells
 * them (spec/tokenizer-and-chat.md 3.3). NULL: an object of any kind. `name` begins messages. */
uint32_t gem_schema_tool_value(struct gem_grammar *g, const struct gem_schema_tool *tool, const char *name,
                               yyjson_val *v);

/* A regular expression for a format, or NULL. Zero-terminated, static. */
const char *gem_schema_format(const char *name, size_t n);

#endif
