/* SPDX-License-Identifier: Apache-2.0 */
#include "chat/declare.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "chat/schema.h"
#include "chat/values.h"

enum { MAX_DECLARATIONS = 4 << 20, MAX_NESTING = 64 };

struct declarer {
    struct gem_chat_text *t;
    yyjson_val *root; /* of references: the tool's parameters */
    bool reference;
    size_t begin;                  /* of all declarations in the text */
    yyjson_val *path[MAX_NESTING]; /* properties being written, outermost first: a schema may hold itself */
    size_t depth;
};

static void put_properties(struct declarer *d, yyjson_val *properties, bool skip_keywords);

/* ---- small things ----------------------------------------------------------------------------------------------- */

static void put_upper(struct gem_chat_text *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char c = (char)(s[i] >= 'a' && s[i] <= 'z' ? s[i] - 32 : s[i]);
        gem_chat_put(t, &c, 1);
    }
}

static void put_type_name(struct gem_chat_text *t, const char *s, size_t n)
{
    gem_chat_put_control(t, GEM_CHAT_QUOTE);
    put_upper(t, s, n);
    gem_chat_put_control(t, GEM_CHAT_QUOTE);
}

static void put_list(struct gem_chat_text *t, const char *name, yyjson_val *list, bool upper)
{
    size_t i, max;
    yyjson_val *v;

    gem_chat_puts(t, name);
    gem_chat_puts(t, ":[");
    yyjson_arr_foreach(list, i, max, v)
    {
        if (i > 0) gem_chat_puts(t, ",");
        if (upper && yyjson_is_str(v))
            put_type_name(t, gem_chat_str(v), gem_chat_len(v));
        else
            gem_chat_put_value(t, v, true);
    }
    gem_chat_puts(t, "]");
}

static void comma(struct gem_chat_text *t, bool *first)
{
    if (!*first) gem_chat_puts(t, ",");
    *first = false;
}

static bool is_type(yyjson_val *type, const char *upper)
{
    const char *s = yyjson_get_str(type);
    size_t i = 0;

    for (; s && i < gem_chat_len(type) && upper[i]; i++)
        if (s[i] != upper[i] && s[i] != upper[i] + 32) return false;
    return s && i == gem_chat_len(type) && !upper[i];
}

/* ---- types ------------------------------------------------------------------------------------------------------ */

/* What Python makes of `value['type'] | upper`. */
static void put_reference_type(struct gem_chat_text *t, yyjson_val *type)
{
    size_t i, max;
    yyjson_val *v;

    gem_chat_puts(t, "type:");
    gem_chat_put_control(t, GEM_CHAT_QUOTE);
    if (yyjson_is_str(type)) put_upper(t, gem_chat_str(type), gem_chat_len(type));
    if (yyjson_is_null(type)) gem_chat_puts(t, "NONE");
    if (yyjson_is_arr(type)) gem_chat_puts(t, "[");
    yyjson_arr_foreach(type, i, max, v)
    {
        gem_chat_puts(t, i > 0 ? ", '" : "'");
        put_upper(t, gem_chat_str(v), gem_chat_len(v));
        gem_chat_puts(t, "'");
    }
    if (yyjson_is_arr(type)) gem_chat_puts(t, "]");
    gem_chat_put_control(t, GEM_CHAT_QUOTE);
}

/* One type, or a list of them as inside items. With none known, the schema's own word for it. */
static void put_types(struct gem_chat_text *t, unsigned types, yyjson_val *word)
{
    const bool several = (types & (types - 1)) != 0;
    bool first = true;

    gem_chat_puts(t, several ? "type:[" : "type:");
    for (unsigned bit = 1; bit <= GEM_CHAT_OBJECT; bit <<= 1) {
        const char *name = gem_chat_type_name((enum gem_chat_type)bit);
        if (!(types & bit)) continue;
        comma(t, &first);
        put_type_name(t, name, strlen(name));
    }
    if (several) gem_chat_puts(t, "]");
    if (types == 0) put_type_name(t, gem_chat_str(word), gem_chat_len(word));
}

/* ---- fields of a property --------------------------------------------------------------------------------------- */

static void put_items(struct declarer *d, yyjson_val *items)
{
    struct gem_chat_text *t = d->t;
    struct gem_chat_pair *pairs = NULL;
    size_t n = 0;
    bool first = true;

    gem_chat_puts(t, "items:{");
    if (!t->status && !d->reference) t->status = gem_chat_schema_follow(&items, d->root, t->err);
    if (!t->status) t->status = gem_chat_sorted(&pairs, &n, items, t->err);
    for (size_t i = 0; i < n && !t->status; i++) {
        yyjson_val *v = pairs[i].value;

        if (yyjson_is_null(v)) continue;
        comma(t, &first);
        if (yyjson_equals_str(pairs[i].key, "properties")) {
            gem_chat_puts(t, "properties:{");
            if (yyjson_is_obj(v)) put_properties(d, v, false);
            gem_chat_puts(t, "}");
        } else if (yyjson_equals_str(pairs[i].key, "required") && yyjson_is_arr(v)) {
            put_list(t, "required", v, false);
        } else if (yyjson_equals_str(pairs[i].key, "type") && yyjson_is_arr(v)) {
            put_list(t, "type", v, true);
        } else if (yyjson_equals_str(pairs[i].key, "type") && yyjson_is_str(v)) {
            gem_chat_puts(t, "type:");
            put_type_name(t, gem_chat_str(v), gem_chat_len(v));
        } else {
            gem_chat_put(t, gem_chat_str(pairs[i].key), gem_chat_len(pairs[i].key));
            gem_chat_puts(t, ":");
            gem_chat_put_value(t, v, true);
        }
    }
    gem_chat_puts(t, "}");
    gem_free(pairs);
}

/* Description, enum, items, nullable, properties, required: those that s has, for the one type it is of. */
static bool put_details(struct declarer *d, const struct gem_chat_schema *s, unsigned type, yyjson_val *leaks)
{
    struct gem_chat_text *t = d->t;
    bool first = true;

    if (s->description) {
        comma(t, &first);
        gem_chat_puts(t, "description:");
        gem_chat_put_quoted(t, gem_chat_str(s->description), gem_chat_len(s->description));
    }
    if (type == GEM_CHAT_STRING && s->enums) {
        comma(t, &first);
        put_list(t, "enum", s->enums, false);
    } else if (type == GEM_CHAT_STRING && yyjson_is_str(s->constant)) {
        comma(t, &first);
        gem_chat_puts(t, "enum:[");
        gem_chat_put_value(t, s->constant, true);
        gem_chat_puts(t, "]");
    }
    if (type == GEM_CHAT_ARRAY && s->items) {
        comma(t, &first);
        put_items(d, s->items);
    }
    if (s->nullable) {
        comma(t, &first);
        gem_chat_puts(t, "nullable:true");
    }
    if (type == GEM_CHAT_OBJECT) {
        comma(t, &first);
        gem_chat_puts(t, "properties:{");
        if (s->properties || leaks) put_properties(d, s->properties ? s->properties : leaks, !s->properties);
        gem_chat_puts(t, "}");
    }
    if (type == GEM_CHAT_OBJECT && s->required) {
        comma(t, &first);
        put_list(t, "required", s->required, false);
    }
    return first;
}

/* The template looks at a property's own keywords only. Of an object without properties it takes the keywords it does
 * not know for properties. */
static void put_reference_fields(struct declarer *d, yyjson_val *s)
{
    static const struct {
        const char *name;
        unsigned type;
    } kinds[] = {{"STRING", GEM_CHAT_STRING}, {"ARRAY", GEM_CHAT_ARRAY}, {"OBJECT", GEM_CHAT_OBJECT}};
    yyjson_val *type = yyjson_obj_get(s, "type"), *items = yyjson_obj_get(s, "items");
    yyjson_val *description = yyjson_obj_get(s, "description"), *properties = yyjson_obj_get(s, "properties");
    struct gem_chat_schema own = {
        .description = gem_chat_len(description) > 0 ? description : NULL,
        .enums = yyjson_arr_size(yyjson_obj_get(s, "enum")) > 0 ? yyjson_obj_get(s, "enum") : NULL,
        .items = yyjson_is_obj(items) && yyjson_obj_size(items) > 0 ? items : NULL,
        .properties = yyjson_is_obj(properties) ? properties : NULL,
        .required = yyjson_arr_size(yyjson_obj_get(s, "required")) > 0 ? yyjson_obj_get(s, "required") : NULL,
        .nullable = yyjson_is_true(yyjson_obj_get(s, "nullable")),
    };
    unsigned kind = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (is_type(type, kinds[i].name)) kind = kinds[i].type;
    if (!put_details(d, &own, kind, s)) gem_chat_puts(d->t, ",");
    put_reference_type(d->t, type);
}

static void put_fields(struct declarer *d, yyjson_val *schema)
{
    struct gem_chat_schema s;
    unsigned types;

    if (d->reference) {
        put_reference_fields(d, schema);
        return;
    }
    if (d->t->status || (d->t->status = gem_chat_schema_read(&s, d->root, schema, d->t->err))) return;
    types = s.types;
    if ((types & GEM_CHAT_NULL) && (types & (types - 1))) { /* null or one other type */
        const unsigned rest = types & ~(unsigned)GEM_CHAT_NULL;
        if ((rest & (rest - 1)) == 0) {
            s.nullable = true;
            types = rest;
        }
    }
    if (!put_details(d, &s, types, NULL)) gem_chat_puts(d->t, ",");
    put_types(d->t, types, yyjson_obj_get(schema, "type"));
}

/* ---- properties ------------------------------------------------------------------------------------------------- */

static bool is_keyword(yyjson_val *key)
{
    static const char *const keywords[] = {"description", "type", "properties", "required", "nullable"};

    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (yyjson_equals_str(key, keywords[i])) return true;
    return false;
}

static bool is_on_path(const struct declarer *d, yyjson_val *properties)
{
    for (size_t i = 0; i < d->depth; i++)
        if (d->path[i] == properties) return true;
    return false;
}

static void put_properties(struct declarer *d, yyjson_val *properties, bool skip_keywords)
{
    struct gem_chat_text *t = d->t;
    struct gem_chat_pair *pairs = NULL;
    size_t n = 0;
    bool first = true;

    if (is_on_path(d, properties)) return; /* the notation has no way to say "again" */
    if (!t->status && (d->depth == MAX_NESTING || t->n - d->begin > MAX_DECLARATIONS))
        t->status =
            gem_fail(t->err, GEM_E_LIMIT, 0, "tools: declarations of more than %d bytes or nested deeper than %d",
                     MAX_DECLARATIONS, MAX_NESTING);
    if (t->status || (t->status = gem_chat_sorted(&pairs, &n, properties, t->err))) return;
    d->path[d->depth++] = properties;
    for (size_t i = 0; i < n && !t->status; i++) {
        if (skip_keywords && is_keyword(pairs[i].key)) continue;
        comma(t, &first);
        gem_chat_put(t, gem_chat_str(pairs[i].key), gem_chat_len(pairs[i].key));
        gem_chat_puts(t, ":{");
        put_fields(d, pairs[i].value);
        gem_chat_puts(t, "}");
    }
    d->depth--;
    gem_free(pairs);
}

/* ---- tools ------------------------------------------------------------------------------------------------------ */

static void put_parameters(struct declarer *d, yyjson_val *parameters)
{
    struct gem_chat_text *t = d->t;
    yyjson_val *properties, *required, *type;

    d->root = parameters;
    if (!d->reference && (t->status = gem_chat_schema_follow(&parameters, d->root, t->err))) return;
    properties = yyjson_obj_get(parameters, "properties");
    required = yyjson_obj_get(parameters, "required");
    type = yyjson_obj_get(parameters, "type");
    gem_chat_puts(t, ",parameters:{");
    if (yyjson_is_obj(properties) && yyjson_obj_size(properties) > 0) {
        gem_chat_puts(t, "properties:{");
        put_properties(d, properties, false);
        gem_chat_puts(t, "},");
    }
    if (yyjson_arr_size(required) > 0) {
        put_list(t, "required", required, false);
        gem_chat_puts(t, ",");
    }
    if (!yyjson_is_str(type) && d->reference) return; /* and the brace stays open */
    gem_chat_puts(t, "type:");
    if (yyjson_is_str(type))
        put_type_name(t, gem_chat_str(type), gem_chat_len(type));
    else
        put_type_name(t, "OBJECT", 6);
    gem_chat_puts(t, "}");
}

static void put_response(struct gem_chat_text *t, yyjson_val *response)
{
    yyjson_val *description = yyjson_obj_get(response, "description"), *type = yyjson_obj_get(response, "type");

    gem_chat_puts(t, ",response:{");
    if (gem_chat_len(description) > 0) {
        gem_chat_puts(t, "description:");
        gem_chat_put_quoted(t, gem_chat_str(description), gem_chat_len(description));
        gem_chat_puts(t, ",");
    }
    gem_chat_puts(t, "type:");
    put_type_name(t, gem_chat_str(type), gem_chat_len(type));
    gem_chat_puts(t, "}");
}

gem_status gem_chat_check_name(yyjson_val *name, const char *where, gem_error *err)
{
    const char *s = yyjson_get_str(name);
    const size_t n = gem_chat_len(name);
    size_t at;

    if (!yyjson_is_str(name) || n == 0) return gem_fail(err, GEM_E_FORMAT, 0, "%s: a tool without a name", where);
    if ((at = gem_chat_find_control(s, n)) < n)
        return gem_fail(err, GEM_E_FORMAT, at, "%s: the tool's name '%.*s' has a control token in it", where,
                        n < 80 ? (int)n : 80, s);
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)s[i] <= ' ' || s[i] == '{' || s[i] == '}' || s[i] == 0x7f)
            return gem_fail(err, GEM_E_FORMAT, i,
                            "%s: the tool's name '%.*s' has a space, a brace or a control character in it", where,
                            n < 80 ? (int)n : 80, s);
    return GEM_OK;
}

static gem_status check_tool(yyjson_val *tool, size_t i, gem_error *err)
{
    yyjson_val *function = gem_chat_tool_function(tool), *parameters = yyjson_obj_get(function, "parameters");
    yyjson_val *description = yyjson_obj_get(function, "description");
    char where[40];

    snprintf(where, sizeof where, "tool %zu", i);
    if (!function) return gem_fail(err, GEM_E_FORMAT, 0, "%s: no function with a name", where);
    if (description && !yyjson_is_str(description) && !yyjson_is_null(description))
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: the description is no text", where);
    if (parameters && !yyjson_is_obj(parameters) && !yyjson_is_null(parameters))
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: parameters are no JSON Schema object", where);
    return gem_chat_check_name(yyjson_obj_get(function, "name"), where, err);
}

static void put_tool(struct declarer *d, yyjson_val *tool)
{
    struct gem_chat_text *t = d->t;
    yyjson_val *function = gem_chat_tool_function(tool), *name = yyjson_obj_get(function, "name");
    yyjson_val *description = yyjson_obj_get(function, "description");
    yyjson_val *parameters = yyjson_obj_get(function, "parameters"), *response = yyjson_obj_get(function, "response");

    gem_chat_put_control(t, GEM_CHAT_TOOL);
    gem_chat_puts(t, "declaration:");
    gem_chat_put(t, gem_chat_str(name), gem_chat_len(name));
    gem_chat_puts(t, "{description:");
    if (yyjson_is_null(description) && d->reference)
        gem_chat_put_quoted(t, "None", 4);
    else
        gem_chat_put_quoted(t, gem_chat_str(description), gem_chat_len(description));
    if (yyjson_is_obj(parameters) && yyjson_obj_size(parameters) > 0) put_parameters(d, parameters);
    if (yyjson_is_obj(response) && yyjson_obj_size(response) > 0) put_response(t, response);
    if (!t->status) gem_chat_puts(t, "}");
    gem_chat_put_control(t, GEM_CHAT_TOOL_END);
}

void gem_chat_declare(struct gem_chat_text *t, yyjson_val *tools, bool reference)
{
    struct declarer d = {.t = t, .reference = reference, .begin = t->n};
    size_t i, max;
    yyjson_val *tool;

    yyjson_arr_foreach(tools, i, max, tool)
    {
        if (t->status || (!reference && (t->status = check_tool(tool, i, t->err)))) return;
        put_tool(&d, tool);
    }
}
