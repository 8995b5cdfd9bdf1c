/* SPDX-License-Identifier: Apache-2.0
 * src/generate/schema_parts.h - between the files of the schema compiler.
 *
 * A value is described by the schemas that it must satisfy together (a conjunction): $ref and allOf add to it, anyOf
 * and oneOf split it into one conjunction a branch. A conjunction becomes one rule of the grammar, remembered by its
 * set of schemas, so that recursive schemas end. */
#ifndef GEM_GENERATE_SCHEMA_PARTS_H
#define GEM_GENERATE_SCHEMA_PARTS_H

#include "generate/number.h"
#include "generate/schema.h"

enum {
    GEM_TYPE_NULL = 1,
    GEM_TYPE_BOOLEAN = 2,
    GEM_TYPE_INTEGER = 4,
    GEM_TYPE_NUMBER = 8, /* with a fraction; a schema's "number" is both */
    GEM_TYPE_STRING = 16,
    GEM_TYPE_ARRAY = 32,
    GEM_TYPE_OBJECT = 64,
    GEM_TYPE_ALL = 127,
};

/* A schema of a conjunction, and which of its unions were split already. */
struct gem_conjunct {
    yyjson_val *v;  /* an object */
    yyjson_val *by; /* the schema of the same value that refers to it, or NULL */
    bool any_done, one_done;
};

struct gem_conjunction {
    struct gem_conjunct c[GEM_SCHEMA_MAX_TOGETHER];
    size_t n;
    bool never; /* one of them is false */
};

/* What the schemas of a conjunction say together, unions left out. */
struct gem_facts {
    unsigned types;
    yyjson_val *values[2];    /* enum (an array) or const of the first conjunct that has one: [0] const, [1] enum */
    yyjson_val *least, *most; /* numbers as spelled */
    bool above, below;
    uint64_t multiple;
    uint64_t least_length, most_length, least_items, most_items; /* UINT64_MAX: no bound */
    uint64_t least_properties, most_properties;
    bool has_pattern;    /* or a format */
    bool has_items;      /* some keyword about lists */
    bool has_properties; /* some conjunct has */
    bool closed;         /* unevaluatedProperties: false */
    bool open;           /* some conjunct has additionalProperties that are not false */
};

struct gem_schema_memo {
    uint32_t first, n, rule; /* conjuncts in `seen` */
};

struct gem_schema {
    struct gem_grammar *g;
    struct gem_schema_options options;
    const struct gem_schema_tool *tool; /* spelling of tool calls; NULL: JSON */
    const char *name;                   /* begins messages */
    yyjson_val *root;
    struct gem_schema_memo *memos;
    uint32_t n_memos, cap_memos, n_built;
    struct gem_conjunct *seen;
    uint32_t n_seen, cap_seen;
    uint32_t space, colon_space; /* expressions */
    uint32_t string, any;        /* rules; 0: not yet (rule 0 is the root) */
    yyjson_val *blame;           /* the first schema that no value satisfies, and why */
    const char *blame_why;
};

/* "/properties/a" of a schema in its document; names it in messages. */
void gem_schema_pointer(const struct gem_schema *s, const yyjson_val *v, char *out, size_t cap);
void gem_schema_fail(struct gem_schema *s, gem_status code, const yyjson_val *v, const char *keyword, const char *why);
/* Remembers why a part cannot be satisfied. Returns GEM_NEVER. */
uint32_t gem_schema_never(struct gem_schema *s, yyjson_val *v, const char *why);

/* by: the conjunct that v is a branch of, or NULL. */
void gem_conjunction_add(struct gem_schema *s, struct gem_conjunction *k, yyjson_val *v, yyjson_val *by);
/* Fails on unknown and unsupported keywords. */
void gem_schema_gather(struct gem_schema *s, const struct gem_conjunction *k, struct gem_facts *f);
/* Surely no value satisfies both. */
bool gem_schema_disjoint(struct gem_schema *s, const struct gem_conjunction *a, const struct gem_conjunction *b,
                         unsigned depth);
/* The schemas for a property, or for items[i]. */
void gem_schema_property(struct gem_schema *s, const struct gem_conjunction *k, const char *name, size_t n,
                         struct gem_conjunction *out);
void gem_schema_additional(struct gem_schema *s, const struct gem_conjunction *k, struct gem_conjunction *out);
void gem_schema_item(struct gem_schema *s, const struct gem_conjunction *k, size_t i, struct gem_conjunction *out);

/* The rule of a conjunction, to be built later, as an expression. */
uint32_t gem_schema_value(struct gem_schema *s, struct gem_conjunction *k);
/* Builds all rules that were asked for. */
void gem_schema_build(struct gem_schema *s);

bool gem_json_equal(yyjson_val *a, yyjson_val *b);
unsigned gem_json_type(yyjson_val *v);
size_t gem_json_chars(yyjson_val *string); /* code points */
/* Whether a value may satisfy the conjunction; with `sure`, fails where that is not decided here.
 * from: the enum that it comes from, or NULL. */
bool gem_schema_value_fits(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f,
                           yyjson_val *v, yyjson_val *from, bool sure);

#endif
