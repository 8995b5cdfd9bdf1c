/* SPDX-License-Identifier: Apache-2.0 */
#include "chat/schema.h"

#include <string.h>

enum { MAX_REFERENCES = 32, MAX_DEPTH = 32, MAX_SCHEMAS = 4096 };

static const struct {
    const char *upper;
    enum gem_chat_type type;
} type_names[] = {{"STRING", GEM_CHAT_STRING},   {"NUMBER", GEM_CHAT_NUMBER}, {"INTEGER", GEM_CHAT_INTEGER},
                  {"BOOLEAN", GEM_CHAT_BOOLEAN}, {"NULL", GEM_CHAT_NULL},     {"ARRAY", GEM_CHAT_ARRAY},
                  {"OBJECT", GEM_CHAT_OBJECT}};

const char *gem_chat_type_name(enum gem_chat_type type)
{
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++)
        if (type_names[i].type == type) return type_names[i].upper;
    return "";
}

static bool same_letters(const char *upper, const char *s, size_t n)
{
    size_t i = 0;

    for (; i < n && upper[i]; i++)
        if (upper[i] != s[i] && upper[i] + 32 != s[i]) return false;
    return i == n && !upper[i];
}

static unsigned type_bit(yyjson_val *name)
{
    for (size_t i = 0; yyjson_is_str(name) && i < sizeof type_names / sizeof *type_names; i++)
        if (same_letters(type_names[i].upper, yyjson_get_str(name), yyjson_get_len(name))) return type_names[i].type;
    return 0;
}

static unsigned type_of_value(yyjson_val *v)
{
    switch (yyjson_get_type(v)) {
    case YYJSON_TYPE_STR: return GEM_CHAT_STRING;
    case YYJSON_TYPE_BOOL: return GEM_CHAT_BOOLEAN;
    case YYJSON_TYPE_NULL: return GEM_CHAT_NULL;
    case YYJSON_TYPE_ARR: return GEM_CHAT_ARRAY;
    case YYJSON_TYPE_OBJ: return GEM_CHAT_OBJECT;
    default: return GEM_CHAT_NUMBER;
    }
}

/* ---- references ------------------------------------------------------------------------------------------------- */

static gem_status follow_one(yyjson_val **schema, yyjson_val *root, yyjson_val *ref, gem_error *err)
{
    const char *path = yyjson_get_str(ref);
    const size_t n = yyjson_get_len(ref);

    *schema = NULL;
    if (path && n == 1 && path[0] == '#') *schema = root;
    if (path && n > 1 && path[0] == '#') *schema = yyjson_ptr_getn(root, path + 1, n - 1);
    if (yyjson_is_obj(*schema)) return GEM_OK;
    return gem_fail(err, GEM_E_FORMAT, 0, "$ref '%.*s' leads to no schema of the tool's parameters",
                    path && n < 80 ? (int)n : 0, path ? path : "");
}

gem_status gem_chat_schema_follow(yyjson_val **schema, yyjson_val *root, gem_error *err)
{
    for (int i = 0; i < MAX_REFERENCES; i++) {
        yyjson_val *ref = yyjson_obj_get(*schema, "$ref");
        gem_status st;

        if (!ref) return GEM_OK;
        if ((st = follow_one(schema, root, ref, err))) return st;
    }
    return gem_fail(err, GEM_E_FORMAT, 0, "$ref: more than %d references, one after the other", MAX_REFERENCES);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

struct reader {
    yyjson_val *root;
    int depth, n;
    gem_error *err;
};

static gem_status read_schema(struct reader *r, struct gem_chat_schema *out, yyjson_val *schema);

static void keep(yyjson_val **field, yyjson_val *v, bool fits)
{
    if (!*field && fits) *field = v;
}

static void read_fields(struct gem_chat_schema *out, yyjson_val *s)
{
    yyjson_val *description = yyjson_obj_get(s, "description"), *enums = yyjson_obj_get(s, "enum");
    yyjson_val *items = yyjson_obj_get(s, "items"), *properties = yyjson_obj_get(s, "properties");
    yyjson_val *first_items = yyjson_obj_get(s, "prefixItems");
    yyjson_val *required = yyjson_obj_get(s, "required");

    keep(&out->description, description, yyjson_is_str(description) && yyjson_get_len(description) > 0);
    keep(&out->enums, enums, yyjson_arr_size(enums) > 0);
    keep(&out->items, items, yyjson_is_obj(items) && yyjson_obj_size(items) > 0);
    keep(&out->first_items, first_items, yyjson_arr_size(first_items) > 0);
    keep(&out->properties, properties, yyjson_is_obj(properties));
    keep(&out->required, required, yyjson_arr_size(required) > 0);
    keep(&out->constant, yyjson_obj_get(s, "const"), yyjson_obj_get(s, "const") != NULL);
    out->nullable |= yyjson_is_true(yyjson_obj_get(s, "nullable"));
}

/* The types that a schema names itself, or that its other keywords imply. */
static unsigned own_types(const struct gem_chat_schema *out, yyjson_val *s)
{
    yyjson_val *type = yyjson_obj_get(s, "type"), *v;
    unsigned types = type_bit(type);
    size_t i, max;

    yyjson_arr_foreach(type, i, max, v) { types |= type_bit(v); }
    if (type) return types;
    if (out->constant) return type_of_value(out->constant);
    yyjson_arr_foreach(out->enums, i, max, v) { types |= type_of_value(v); }
    if (types) return types;
    if (yyjson_obj_get(s, "properties")) return GEM_CHAT_OBJECT;
    return yyjson_obj_get(s, "items") || yyjson_obj_get(s, "prefixItems") ? GEM_CHAT_ARRAY : 0;
}

/* anyOf and oneOf: the types of all; the details of the only one that is not null. */
static gem_status read_union(struct reader *r, struct gem_chat_schema *out, yyjson_val *list)
{
    struct gem_chat_schema details = {0};
    size_t i, max, n_details = 0;
    unsigned types = 0;
    bool any = false;
    yyjson_val *v;
    gem_status st;

    yyjson_arr_foreach(list, i, max, v)
    {
        struct gem_chat_schema one = {0};
        if ((st = read_schema(r, &one, v))) return st;
        types |= one.types;
        any |= one.types == 0;
        if (one.types == GEM_CHAT_NULL) continue;
        if (n_details++ == 0) details = one;
    }
    if (out->types == 0 && !any) out->types = types;
    if (n_details != 1) return GEM_OK;
    keep(&out->description, details.description, true);
    keep(&out->enums, details.enums, true);
    keep(&out->items, details.items, true);
    keep(&out->first_items, details.first_items, true);
    keep(&out->properties, details.properties, true);
    keep(&out->required, details.required, true);
    out->nullable |= details.nullable;
    return GEM_OK;
}

static gem_status read_schema(struct reader *r, struct gem_chat_schema *out, yyjson_val *schema)
{
    yyjson_val *all, *v;
    size_t i, max;
    gem_status st;

    if (!yyjson_is_obj(schema)) return GEM_OK; /* true: anything */
    if (++r->depth > MAX_DEPTH) return gem_fail(r->err, GEM_E_FORMAT, 0, "a schema that holds itself has no end");
    if (++r->n > MAX_SCHEMAS) return gem_fail(r->err, GEM_E_LIMIT, 0, "a schema of more than %d schemas", MAX_SCHEMAS);
    read_fields(out, schema); /* what stands beside a $ref goes first */
    if ((st = gem_chat_schema_follow(&schema, r->root, r->err))) return st;
    read_fields(out, schema);
    if (out->types == 0) out->types = own_types(out, schema);
    if ((st = read_union(r, out, yyjson_obj_get(schema, "anyOf")))) return st;
    if ((st = read_union(r, out, yyjson_obj_get(schema, "oneOf")))) return st;
    all = yyjson_obj_get(schema, "allOf");
    yyjson_arr_foreach(all, i, max, v)
    {
        if ((st = read_schema(r, out, v))) return st;
    }
    r->depth--;
    return GEM_OK;
}

gem_status gem_chat_schema_read(struct gem_chat_schema *out, yyjson_val *root, yyjson_val *schema, gem_error *err)
{
    struct reader r = {.root = root, .err = err};

    *out = (struct gem_chat_schema){0};
    return read_schema(&r, out, schema);
}

yyjson_val *gem_chat_tool_function(yyjson_val *tool)
{
    yyjson_val *function = yyjson_obj_get(tool, "function");

    return yyjson_is_obj(function) ? function : yyjson_obj_get(tool, "name") ? tool : NULL;
}
