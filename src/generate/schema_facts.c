/* SPDX-License-Identifier: Apache-2.0
 * src/generate/schema_facts.c - what schemas say: references, keywords, conjunctions. */
#include "generate/schema_parts.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- messages ---------------------------------------------------------------------------------------- */

static size_t append_token(char *out, size_t cap, size_t at, const char *s, size_t n)
{
    if (at + 1 < cap) out[at++] = '/';
    for (size_t i = 0; i < n && at + 2 < cap; i++) {
        if (s[i] == '~' || s[i] == '/') {
            out[at++] = '~';
            out[at++] = s[i] == '~' ? '0' : '1';
        } else {
            out[at++] = s[i];
        }
    }
    out[at] = 0;
    return at;
}

/* Looks for v below `from`; depth is bounded by the parser. */
static bool find_pointer(yyjson_val *from, const yyjson_val *v, char *out, size_t cap, size_t at)
{
    size_t i, n;
    yyjson_val *key, *child;
    char index[24];

    if (from == v) return true;
    if (yyjson_is_obj(from)) yyjson_obj_foreach(from, i, n, key, child)
        {
            const size_t end = append_token(out, cap, at, yyjson_get_str(key), yyjson_get_len(key));
            if (find_pointer(child, v, out, cap, end)) return true;
        }
    if (yyjson_is_arr(from)) yyjson_arr_foreach(from, i, n, child)
        {
            const int n_index = snprintf(index, sizeof index, "%zu", i);
            const size_t end = append_token(out, cap, at, index, (size_t)n_index);
            if (find_pointer(child, v, out, cap, end)) return true;
        }
    return false;
}

void gem_schema_pointer(const struct gem_schema *s, const yyjson_val *v, char *out, size_t cap)
{
    out[0] = 0;
    if (!find_pointer(s->root, v, out, cap, 0)) out[0] = 0;
    if (out[0] == 0) snprintf(out, cap, "/");
}

void gem_schema_fail(struct gem_schema *s, gem_status code, const yyjson_val *v, const char *keyword, const char *why)
{
    char pointer[128];

    if (s->g->status) return;
    gem_schema_pointer(s, v, pointer, sizeof pointer);
    gem_grammar_fail(s->g, code, 0, "%s, %s: %s: %s", s->name, pointer, keyword, why);
}

uint32_t gem_schema_never(struct gem_schema *s, yyjson_val *v, const char *why)
{
    if (!s->blame) {
        s->blame = v;
        s->blame_why = why;
    }
    return GEM_NEVER;
}

/* ---- values ------------------------------------------------------------------------------------------ */

static bool decimal_of(yyjson_val *v, struct gem_decimal *d)
{
    return yyjson_is_raw(v) && gem_decimal_parse(d, yyjson_get_raw(v), yyjson_get_len(v));
}

unsigned gem_json_type(yyjson_val *v)
{
    struct gem_decimal d;

    if (yyjson_is_null(v)) return GEM_TYPE_NULL;
    if (yyjson_is_bool(v)) return GEM_TYPE_BOOLEAN;
    if (yyjson_is_str(v)) return GEM_TYPE_STRING;
    if (yyjson_is_arr(v)) return GEM_TYPE_ARRAY;
    if (yyjson_is_obj(v)) return GEM_TYPE_OBJECT;
    return decimal_of(v, &d) && !gem_decimal_is_whole(&d) ? GEM_TYPE_NUMBER : GEM_TYPE_INTEGER;
}

size_t gem_json_chars(yyjson_val *string)
{
    const char *s = yyjson_get_str(string);
    size_t n = 0;

    for (size_t i = 0; i < yyjson_get_len(string); i++) n += ((uint8_t)s[i] & 0xc0) != 0x80;
    return n;
}

bool gem_json_equal(yyjson_val *a, yyjson_val *b)
{
    struct gem_decimal x, y;
    yyjson_arr_iter it_a, it_b;
    yyjson_obj_iter it;
    yyjson_val *key, *u;

    if (yyjson_is_raw(a) && yyjson_is_raw(b)) {
        if (decimal_of(a, &x) && decimal_of(b, &y)) return gem_decimal_compare(&x, &y) == 0;
        return yyjson_get_len(a) == yyjson_get_len(b) && /* beyond all sizes: by spelling */
               !memcmp(yyjson_get_raw(a), yyjson_get_raw(b), yyjson_get_len(a));
    }
    if (yyjson_get_type(a) != yyjson_get_type(b)) return false;
    if (yyjson_is_str(a)) return yyjson_equals_strn(a, yyjson_get_str(b), yyjson_get_len(b));
    if (yyjson_is_bool(a)) return yyjson_get_bool(a) == yyjson_get_bool(b);
    if (yyjson_is_arr(a)) {
        if (yyjson_arr_size(a) != yyjson_arr_size(b)) return false;
        it_a = yyjson_arr_iter_with(a);
        it_b = yyjson_arr_iter_with(b);
        while ((u = yyjson_arr_iter_next(&it_a)))
            if (!gem_json_equal(u, yyjson_arr_iter_next(&it_b))) return false;
    } else if (yyjson_is_obj(a)) {
        if (yyjson_obj_size(a) != yyjson_obj_size(b)) return false;
        it = yyjson_obj_iter_with(a);
        while ((key = yyjson_obj_iter_next(&it))) {
            u = yyjson_obj_getn(b, yyjson_get_str(key), yyjson_get_len(key));
            if (!u || !gem_json_equal(yyjson_obj_iter_get_val(key), u)) return false;
        }
    }
    return true;
}

/* ---- references -------------------------------------------------------------------------------------- */

/* One step of a JSON pointer, decoded. Returns the rest, which begins with "/" or is empty; NULL when it is malformed.
 */
static const char *pointer_step(const char *s, size_t *n, char *token, size_t *n_token)
{
    size_t i = 1, k = 0;

    for (; i < *n && s[i] != '/'; i++) {
        char c = s[i];
        if (c == '%' && i + 2 < *n) {
            unsigned byte;
            const char hex[3] = {s[i + 1], s[i + 2], 0};
            if (sscanf(hex, "%2x", &byte) != 1) return NULL;
            c = (char)byte;
            i += 2;
        }
        token[k++] = c;
    }
    for (size_t from = 0, to = 0;; from++, to++) { /* ~1 is "/", ~0 is "~" */
        if (from == k) {
            *n_token = to;
            break;
        }
        token[to] = token[from];
        if (token[from] != '~') continue;
        if (from + 1 == k || (token[from + 1] != '0' && token[from + 1] != '1')) return NULL;
        token[to] = token[++from] == '0' ? '~' : '/';
    }
    *n -= i;
    return s + i;
}

static yyjson_val *follow_pointer(struct gem_schema *s, const char *p, size_t n)
{
    yyjson_val *at = s->root;
    char *token = gem_calloc(n + 1, 1, "a reference", s->g->err);

    if (!token) {
        s->g->status = GEM_E_NOMEM;
        return NULL;
    }
    while (at && n > 0) {
        size_t n_token;
        if (*p != '/' || !(p = pointer_step(p, &n, token, &n_token))) {
            at = NULL;
        } else if (yyjson_is_arr(at)) {
            token[n_token] = 0;
            at = n_token > 0 && n_token < 10 && strspn(token, "0123456789") == n_token
                     ? yyjson_arr_get(at, (size_t)strtoul(token, NULL, 10))
                     : NULL;
        } else {
            at = yyjson_obj_getn(at, token, n_token);
        }
    }
    gem_free(token);
    return at;
}

static yyjson_val *find_anchor(yyjson_val *v, const char *name, size_t n)
{
    size_t i, count;
    yyjson_val *key, *child, *found;

    if (yyjson_is_obj(v)) {
        if (yyjson_equals_strn(yyjson_obj_get(v, "$anchor"), name, n)) return v;
        yyjson_obj_foreach(v, i, count, key, child) if ((found = find_anchor(child, name, n))) return found;
    }
    if (yyjson_is_arr(v))
        yyjson_arr_foreach(v, i, count, child) if ((found = find_anchor(child, name, n))) return found;
    return NULL;
}

static yyjson_val *resolve(struct gem_schema *s, yyjson_val *schema, yyjson_val *ref)
{
    yyjson_val *id = yyjson_obj_get(s->root, "$id"), *target;
    const char *p = yyjson_get_str(ref);
    size_t n = yyjson_get_len(ref);
    const size_t n_id = yyjson_is_str(id) ? yyjson_get_len(id) : 0;

    if (!p) {
        gem_schema_fail(s, GEM_E_FORMAT, schema, "$ref", "not a string");
        return NULL;
    }
    if (n_id > 0 && n >= n_id && !memcmp(p, yyjson_get_str(id), n_id)) {
        p += n_id;
        n -= n_id;
    } else if (n == 0 || *p != '#') {
        gem_schema_fail(s, GEM_E_UNSUPPORTED, schema, "$ref",
                        "only references within the schema (\"#...\") are followed");
        return NULL;
    }
    if (n > 0 && *p == '#') p++, n--;
    target = n == 0 || *p == '/' ? follow_pointer(s, p, n) : find_anchor(s->root, p, n);
    if (!target) gem_schema_fail(s, GEM_E_FORMAT, schema, "$ref", "what it names is not there");
    return target;
}

/* ---- keywords ---------------------------------------------------------------------------------------- */

enum keyword_kind { KEYWORD_USED, KEYWORD_NOTE, KEYWORD_REFUSED };

static const struct keyword {
    const char *name;
    enum keyword_kind kind;
    unsigned types; /* that it is about */
} keywords[] = {
    {"type", KEYWORD_USED, 0},
    {"properties", KEYWORD_USED, GEM_TYPE_OBJECT},
    {"required", KEYWORD_USED, GEM_TYPE_OBJECT},
    {"additionalProperties", KEYWORD_USED, GEM_TYPE_OBJECT},
    {"unevaluatedProperties", KEYWORD_USED, GEM_TYPE_OBJECT},
    {"minProperties", KEYWORD_USED, GEM_TYPE_OBJECT},
    {"maxProperties", KEYWORD_USED, GEM_TYPE_OBJECT},
    {"items", KEYWORD_USED, GEM_TYPE_ARRAY},
    {"prefixItems", KEYWORD_USED, GEM_TYPE_ARRAY},
    {"minItems", KEYWORD_USED, GEM_TYPE_ARRAY},
    {"maxItems", KEYWORD_USED, GEM_TYPE_ARRAY},
    {"uniqueItems", KEYWORD_USED, GEM_TYPE_ARRAY},
    {"minLength", KEYWORD_USED, GEM_TYPE_STRING},
    {"maxLength", KEYWORD_USED, GEM_TYPE_STRING},
    {"pattern", KEYWORD_USED, GEM_TYPE_STRING},
    {"format", KEYWORD_USED, 0},
    {"minimum", KEYWORD_USED, GEM_TYPE_INTEGER | GEM_TYPE_NUMBER},
    {"maximum", KEYWORD_USED, GEM_TYPE_INTEGER | GEM_TYPE_NUMBER},
    {"exclusiveMinimum", KEYWORD_USED, GEM_TYPE_INTEGER | GEM_TYPE_NUMBER},
    {"exclusiveMaximum", KEYWORD_USED, GEM_TYPE_INTEGER | GEM_TYPE_NUMBER},
    {"multipleOf", KEYWORD_USED, GEM_TYPE_INTEGER | GEM_TYPE_NUMBER},
    {"enum", KEYWORD_USED, 0},
    {"const", KEYWORD_USED, 0},
    {"anyOf", KEYWORD_USED, 0},
    {"oneOf", KEYWORD_USED, 0},
    {"allOf", KEYWORD_USED, 0},
    {"$ref", KEYWORD_USED, 0},
    {"nullable", KEYWORD_USED, 0}, /* OpenAPI's; in tool declarations only */
    {"$id", KEYWORD_NOTE, 0},
    {"$schema", KEYWORD_NOTE, 0},
    {"$anchor", KEYWORD_NOTE, 0},
    {"$defs", KEYWORD_NOTE, 0},
    {"definitions", KEYWORD_NOTE, 0},
    {"$comment", KEYWORD_NOTE, 0},
    {"title", KEYWORD_NOTE, 0},
    {"description", KEYWORD_NOTE, 0},
    {"default", KEYWORD_NOTE, 0},
    {"example", KEYWORD_NOTE, 0},
    {"examples", KEYWORD_NOTE, 0},
    {"deprecated", KEYWORD_NOTE, 0},
    {"readOnly", KEYWORD_NOTE, 0},
    {"writeOnly", KEYWORD_NOTE, 0},
    {"contentEncoding", KEYWORD_NOTE, 0},
    {"contentMediaType", KEYWORD_NOTE, 0},
    {"contentSchema", KEYWORD_NOTE, 0},
    {"$vocabulary", KEYWORD_NOTE, 0},
    {"not", KEYWORD_REFUSED, 0},
    {"if", KEYWORD_REFUSED, 0},
    {"then", KEYWORD_REFUSED, 0},
    {"else", KEYWORD_REFUSED, 0},
    {"patternProperties", KEYWORD_REFUSED, 0},
    {"propertyNames", KEYWORD_REFUSED, 0},
    {"dependentRequired", KEYWORD_REFUSED, 0},
    {"dependentSchemas", KEYWORD_REFUSED, 0},
    {"dependencies", KEYWORD_REFUSED, 0},
    {"unevaluatedItems", KEYWORD_REFUSED, 0},
    {"additionalItems", KEYWORD_REFUSED, 0},
    {"contains", KEYWORD_REFUSED, 0},
    {"minContains", KEYWORD_REFUSED, 0},
    {"maxContains", KEYWORD_REFUSED, 0},
    {"$dynamicRef", KEYWORD_REFUSED, 0},
    {"$dynamicAnchor", KEYWORD_REFUSED, 0},
    {"$recursiveRef", KEYWORD_REFUSED, 0},
};

static const struct keyword *keyword_of(const char *name, size_t n)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strlen(keywords[i].name) == n && !memcmp(keywords[i].name, name, n)) return &keywords[i];
    return NULL;
}

/* Types that the keywords of a schema are about; fails on those that are not understood. */
static unsigned check_keywords(struct gem_schema *s, yyjson_val *v)
{
    unsigned types = 0;
    size_t i, n;
    yyjson_val *key, *value;

    yyjson_obj_foreach(v, i, n, key, value)
    {
        const char *name = yyjson_get_str(key);
        const struct keyword *k = keyword_of(name, yyjson_get_len(key));
        if (!k && (yyjson_get_len(key) < 2 || memcmp(name, "x-", 2) != 0)) {
            char shown[48];
            snprintf(shown, sizeof shown, "%.*s", (int)yyjson_get_len(key), name);
            gem_schema_fail(s, GEM_E_UNSUPPORTED, v, shown, "an unknown keyword");
        } else if (k && k->kind == KEYWORD_REFUSED) {
            gem_schema_fail(s, GEM_E_UNSUPPORTED, v, k->name, "cannot be guaranteed while text is written");
        } else if (k) {
            types |= k->types;
        }
    }
    return types;
}

/* ---- conjunctions ------------------------------------------------------------------------------------ */

static int compare_conjuncts(const void *a, const void *b)
{
    const struct gem_conjunct *x = a, *y = b;

    if (x->v != y->v) return x->v < y->v ? -1 : 1;
    return (x->any_done + 2 * x->one_done) - (y->any_done + 2 * y->one_done);
}

/* path: schemas that led here by references and allOf alone; meeting one again would never end. */
static void add(struct gem_schema *s, struct gem_conjunction *k, yyjson_val *v, yyjson_val **path, size_t depth)
{
    yyjson_val *ref, *all, *part;
    size_t i, n;

    if (s->g->status) return;
    if (yyjson_is_bool(v)) {
        k->never |= !yyjson_get_bool(v);
        return;
    }
    if (!yyjson_is_obj(v)) {
        gem_schema_fail(s, GEM_E_FORMAT, v, "schema", "neither an object nor true or false");
        return;
    }
    for (i = 0; i < depth; i++)
        if (path[i] == v) {
            gem_schema_fail(s, GEM_E_UNSUPPORTED, v, "$ref", "leads back to itself without end");
            return;
        }
    for (i = 0; i < k->n; i++)
        if (k->c[i].v == v) return;
    if (k->n == GEM_SCHEMA_MAX_TOGETHER || depth + 1 >= GEM_SCHEMA_MAX_TOGETHER) {
        gem_schema_fail(s, GEM_E_LIMIT, v, "allOf", "too many schemas for one value");
        return;
    }
    k->c[k->n++] = (struct gem_conjunct){.v = v, .by = depth > 0 ? path[depth - 1] : NULL};
    path[depth] = v;
    if ((ref = yyjson_obj_get(v, "$ref")) && (ref = resolve(s, v, ref))) add(s, k, ref, path, depth + 1);
    if (!(all = yyjson_obj_get(v, "allOf"))) return;
    if (!yyjson_is_arr(all) || yyjson_arr_size(all) == 0) gem_schema_fail(s, GEM_E_FORMAT, v, "allOf", "not a list");
    if (yyjson_is_arr(all)) yyjson_arr_foreach(all, i, n, part) add(s, k, part, path, depth + 1);
}

void gem_conjunction_add(struct gem_schema *s, struct gem_conjunction *k, yyjson_val *v, yyjson_val *by)
{
    yyjson_val *path[GEM_SCHEMA_MAX_TOGETHER];
    size_t depth = 0;

    while (by && depth + 1 < GEM_SCHEMA_MAX_TOGETHER) { /* all that led to v without a step into the value */
        size_t i = 0;
        path[depth++] = by;
        while (i < k->n && k->c[i].v != by) i++;
        by = i < k->n ? k->c[i].by : NULL;
    }
    for (size_t i = 0; i < depth / 2; i++) { /* the newest last */
        yyjson_val *swap = path[i];
        path[i] = path[depth - 1 - i];
        path[depth - 1 - i] = swap;
    }
    add(s, k, v, path, depth);
    if (k->n > 1) qsort(k->c, k->n, sizeof *k->c, compare_conjuncts);
}

/* ---- gathering --------------------------------------------------------------------------------------- */

static unsigned type_named(struct gem_schema *s, yyjson_val *v, yyjson_val *name)
{
    static const struct {
        const char *name;
        unsigned types;
    } names[] = {{"null", GEM_TYPE_NULL},       {"boolean", GEM_TYPE_BOOLEAN},
                 {"integer", GEM_TYPE_INTEGER}, {"number", GEM_TYPE_INTEGER | GEM_TYPE_NUMBER},
                 {"string", GEM_TYPE_STRING},   {"array", GEM_TYPE_ARRAY},
                 {"object", GEM_TYPE_OBJECT}};
    char lower[16] = "";

    for (size_t i = 0; s->tool && yyjson_is_str(name) && i < yyjson_get_len(name) && i + 1 < sizeof lower; i++) {
        const char c = yyjson_get_str(name)[i]; /* declarations are often written in capitals, as the models see them */
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (yyjson_equals_str(name, names[i].name) || (lower[0] && !strcmp(lower, names[i].name)))
            return names[i].types;
    gem_schema_fail(s, GEM_E_FORMAT, v, "type", "not the name of a type");
    return 0;
}

static unsigned types_of(struct gem_schema *s, yyjson_val *v)
{
    yyjson_val *type = yyjson_obj_get(v, "type"), *one;
    unsigned types = 0;
    size_t i, n;

    if (!type) return GEM_TYPE_ALL;
    if (yyjson_is_arr(type))
        yyjson_arr_foreach(type, i, n, one) types |= type_named(s, v, one);
    else
        types = type_named(s, v, type);
    if (s->tool && yyjson_is_true(yyjson_obj_get(v, "nullable"))) types |= GEM_TYPE_NULL;
    return types;
}

static void gather_count(struct gem_schema *s, yyjson_val *v, const char *keyword, bool least, uint64_t *bound)
{
    yyjson_val *value = yyjson_obj_get(v, keyword);
    struct gem_decimal d;
    uint64_t count = 0;

    if (!value) return;
    if (!decimal_of(value, &d) || d.negative || !gem_decimal_is_whole(&d)) {
        gem_schema_fail(s, GEM_E_FORMAT, v, keyword, "not a count");
        return;
    }
    for (const char *p = d.whole; *p; p++)
        if (count < UINT64_C(1) << 40) count = count * 10 + (uint64_t)(*p - '0');
    if (least ? count > *bound : count < *bound) *bound = count;
}

/* A bound of numbers; the tighter one stays. */
static void gather_bound(struct gem_schema *s, yyjson_val *v, const char *keyword, bool lower, bool exclusive,
                         struct gem_facts *f)
{
    yyjson_val *value = yyjson_obj_get(v, keyword), **bound = lower ? &f->least : &f->most;
    bool *strict = lower ? &f->above : &f->below;
    struct gem_decimal d, old;
    int order = 0;

    if (!value) return;
    if (!decimal_of(value, &d)) {
        gem_schema_fail(s, yyjson_is_raw(value) ? GEM_E_LIMIT : GEM_E_FORMAT, v, keyword,
                        yyjson_is_raw(value) ? "a number with too many digits" : "not a number");
        return;
    }
    if (*bound && decimal_of(*bound, &old))
        order = lower ? gem_decimal_compare(&d, &old) : gem_decimal_compare(&old, &d);
    if (*bound && (order < 0 || (order == 0 && (*strict || !exclusive)))) return;
    *bound = value;
    *strict = exclusive;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

static void gather_multiple(struct gem_schema *s, yyjson_val *v, struct gem_facts *f)
{
    yyjson_val *value = yyjson_obj_get(v, "multipleOf");
    struct gem_decimal d;
    uint64_t m = 0;

    if (!value) return;
    if (!decimal_of(value, &d) || d.negative || (gem_decimal_is_whole(&d) && !strcmp(d.whole, "0"))) {
        gem_schema_fail(s, GEM_E_FORMAT, v, "multipleOf", "not a number above zero");
        return;
    }
    for (const char *p = d.whole; *p && m < 100000; p++) m = m * 10 + (uint64_t)(*p - '0');
    if (!gem_decimal_is_whole(&d) || m > 10000) {
        gem_schema_fail(s, GEM_E_UNSUPPORTED, v, "multipleOf", "only whole numbers up to 10000");
        return;
    }
    f->multiple = f->multiple ? f->multiple / gcd(f->multiple, m) * m : m;
    if (f->multiple > 10000) gem_schema_fail(s, GEM_E_UNSUPPORTED, v, "multipleOf", "only whole numbers up to 10000");
}

static void gather_object(struct gem_schema *s, yyjson_val *v, struct gem_facts *f)
{
    yyjson_val *properties = yyjson_obj_get(v, "properties"), *more = yyjson_obj_get(v, "additionalProperties");
    yyjson_val *rest = yyjson_obj_get(v, "unevaluatedProperties"), *required = yyjson_obj_get(v, "required"), *name;
    size_t i, n;

    if (properties && !yyjson_is_obj(properties)) gem_schema_fail(s, GEM_E_FORMAT, v, "properties", "not an object");
    if (required && !yyjson_is_arr(required)) gem_schema_fail(s, GEM_E_FORMAT, v, "required", "not a list");
    if (yyjson_is_arr(required))
        yyjson_arr_foreach(required, i, n, name) if (!yyjson_is_str(name))
            gem_schema_fail(s, GEM_E_FORMAT, v, "required", "not a list of names");
    f->has_properties |= properties || yyjson_arr_size(required) > 0;
    f->open |= more && !yyjson_is_false(more);
    f->closed |= yyjson_is_false(rest);
    if (rest && !yyjson_is_bool(rest))
        gem_schema_fail(s, GEM_E_UNSUPPORTED, v, "unevaluatedProperties", "only true or false");
    gather_count(s, v, "minProperties", true, &f->least_properties);
    gather_count(s, v, "maxProperties", false, &f->most_properties);
}

static void gather_array(struct gem_schema *s, yyjson_val *v, struct gem_facts *f)
{
    yyjson_val *items = yyjson_obj_get(v, "items"), *prefix = yyjson_obj_get(v, "prefixItems");

    if (yyjson_is_arr(items)) gem_schema_fail(s, GEM_E_UNSUPPORTED, v, "items", "a list: prefixItems has replaced it");
    if (prefix && !yyjson_is_arr(prefix)) gem_schema_fail(s, GEM_E_FORMAT, v, "prefixItems", "not a list");
    f->has_items |= items || prefix || yyjson_obj_get(v, "minItems") || yyjson_obj_get(v, "maxItems");
    gather_count(s, v, "minItems", true, &f->least_items);
    gather_count(s, v, "maxItems", false, &f->most_items);
}

void gem_schema_gather(struct gem_schema *s, const struct gem_conjunction *k, struct gem_facts *f)
{
    unsigned about = 0;
    bool typed = false;

    *f = (struct gem_facts){
        .types = GEM_TYPE_ALL, .most_length = UINT64_MAX, .most_items = UINT64_MAX, .most_properties = UINT64_MAX};
    for (size_t i = 0; i < k->n && !s->g->status; i++) {
        yyjson_val *v = k->c[i].v, *constant = yyjson_obj_get(v, "const"), *list = yyjson_obj_get(v, "enum");
        about |= check_keywords(s, v);
        typed |= yyjson_obj_get(v, "type") != NULL || constant || list;
        f->types &= types_of(s, v);
        if (list && !yyjson_is_arr(list)) gem_schema_fail(s, GEM_E_FORMAT, v, "enum", "not a list");
        if (constant && !f->values[0]) f->values[0] = constant;
        if (list && !f->values[1]) f->values[1] = list;
        gather_bound(s, v, "minimum", true, false, f);
        gather_bound(s, v, "exclusiveMinimum", true, true, f);
        gather_bound(s, v, "maximum", false, false, f);
        gather_bound(s, v, "exclusiveMaximum", false, true, f);
        gather_multiple(s, v, f);
        gather_count(s, v, "minLength", true, &f->least_length);
        gather_count(s, v, "maxLength", false, &f->most_length);
        f->has_pattern |= yyjson_obj_get(v, "pattern") || yyjson_obj_get(v, "format");
        gather_array(s, v, f);
        gather_object(s, v, f);
    }
    if (!typed && about) f->types &= about;
}

/* ---- parts ------------------------------------------------------------------------------------------- */

/* Whether `of` brought the conjunct along, or is it. */
static bool comes_from(const struct gem_conjunction *k, const struct gem_conjunct *c, const yyjson_val *of)
{
    for (size_t steps = 0; steps <= k->n; steps++) {
        size_t i = 0;
        if (c->v == of) return true;
        while (i < k->n && k->c[i].v != c->by) i++;
        if (i == k->n) return false;
        c = &k->c[i];
    }
    return false;
}

/* unevaluatedProperties of v sees what v and the schemas that it refers to name, and nothing beside them. */
static bool is_evaluated(const struct gem_conjunction *k, const yyjson_val *v, const char *name, size_t n)
{
    for (size_t i = 0; i < k->n; i++) {
        yyjson_val *other = k->c[i].v;
        if ((yyjson_obj_getn(yyjson_obj_get(other, "properties"), name, n) ||
             yyjson_obj_get(other, "additionalProperties")) &&
            comes_from(k, &k->c[i], v))
            return true;
    }
    return false;
}

void gem_schema_property(struct gem_schema *s, const struct gem_conjunction *k, const char *name, size_t n,
                         struct gem_conjunction *out)
{
    *out = (struct gem_conjunction){.n = 0};
    for (size_t i = 0; i < k->n; i++) {
        yyjson_val *v = k->c[i].v, *own = yyjson_obj_getn(yyjson_obj_get(v, "properties"), name, n);
        if (!own) own = yyjson_obj_get(v, "additionalProperties");
        if (own) gem_conjunction_add(s, out, own, NULL);
        if (yyjson_is_false(yyjson_obj_get(v, "unevaluatedProperties")) && !is_evaluated(k, v, name, n))
            out->never = true;
    }
}

void gem_schema_additional(struct gem_schema *s, const struct gem_conjunction *k, struct gem_conjunction *out)
{
    *out = (struct gem_conjunction){.n = 0};
    for (size_t i = 0; i < k->n; i++) {
        yyjson_val *own = yyjson_obj_get(k->c[i].v, "additionalProperties");
        if (own) gem_conjunction_add(s, out, own, NULL);
    }
}

void gem_schema_item(struct gem_schema *s, const struct gem_conjunction *k, size_t i, struct gem_conjunction *out)
{
    *out = (struct gem_conjunction){.n = 0};
    for (size_t c = 0; c < k->n; c++) {
        yyjson_val *v = k->c[c].v, *prefix = yyjson_obj_get(v, "prefixItems");
        yyjson_val *own = i < yyjson_arr_size(prefix) ? yyjson_arr_get(prefix, i) : yyjson_obj_get(v, "items");
        if (own) gem_conjunction_add(s, out, own, NULL);
    }
}

/* ---- what excludes what ------------------------------------------------------------------------------ */

static bool number_fits(const struct gem_facts *f, yyjson_val *v)
{
    struct gem_decimal d, bound;
    int order;

    if (!decimal_of(v, &d)) return !f->least && !f->most && !f->multiple;
    if (f->least && decimal_of(f->least, &bound)) {
        order = gem_decimal_compare(&d, &bound);
        if (order < 0 || (order == 0 && f->above)) return false;
    }
    if (f->most && decimal_of(f->most, &bound)) {
        order = gem_decimal_compare(&d, &bound);
        if (order > 0 || (order == 0 && f->below)) return false;
    }
    if (f->multiple > 0) {
        uint64_t r = 0;
        for (const char *p = d.whole; *p; p++) r = (r * 10 + (uint64_t)(*p - '0')) % f->multiple;
        if (r != 0 || !gem_decimal_is_whole(&d)) return false;
    }
    return true;
}

/* from: a list that v is of, which need not be searched. */
static bool value_is_among(const struct gem_conjunction *k, yyjson_val *v, yyjson_val *from)
{
    for (size_t i = 0; i < k->n; i++) {
        yyjson_val *constant = yyjson_obj_get(k->c[i].v, "const"), *list = yyjson_obj_get(k->c[i].v, "enum"), *one;
        bool found = !yyjson_is_arr(list) || list == from;
        size_t at, n;
        if (constant && !gem_json_equal(constant, v)) return false;
        if (!found) yyjson_arr_foreach(list, at, n, one) found |= gem_json_equal(one, v);
        if (!found) return false;
    }
    return true;
}

bool gem_schema_value_fits(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f,
                           yyjson_val *v, yyjson_val *from, bool sure)
{
    const unsigned type = gem_json_type(v);

    if (!(type & f->types) || !value_is_among(k, v, from)) return false;
    if ((type & (GEM_TYPE_INTEGER | GEM_TYPE_NUMBER)) && !number_fits(f, v)) return false;
    if (type == GEM_TYPE_STRING) {
        if (gem_json_chars(v) < f->least_length || gem_json_chars(v) > f->most_length) return false;
        if (sure && f->has_pattern)
            gem_schema_fail(s, GEM_E_UNSUPPORTED, k->c[0].v, "enum", "together with pattern or format");
    }
    if (sure && ((type == GEM_TYPE_OBJECT && (f->has_properties || f->open || f->closed)) ||
                 (type == GEM_TYPE_ARRAY && f->has_items)))
        gem_schema_fail(s, GEM_E_UNSUPPORTED, k->c[0].v, "enum", "of lists or objects together with other keywords");
    return true;
}

static bool intervals_apart(const struct gem_facts *a, const struct gem_facts *b)
{
    struct gem_decimal most, least;

    if (!a->most || !b->least || !decimal_of(a->most, &most) || !decimal_of(b->least, &least)) return false;
    return gem_decimal_compare(&most, &least) < (a->below || b->above ? 1 : 0);
}

static bool values_apart(struct gem_schema *s, const struct gem_conjunction *a, const struct gem_facts *fa,
                         const struct gem_conjunction *b, const struct gem_facts *fb)
{
    yyjson_val *list = fa->values[1], *v;
    size_t i, n;

    (void)a;
    if (fa->values[0]) return !gem_schema_value_fits(s, b, fb, fa->values[0], NULL, false);
    if (!yyjson_is_arr(list)) return false;
    yyjson_arr_foreach(list, i, n, v) if (gem_schema_value_fits(s, b, fb, v, NULL, false)) return false;
    return true;
}

static bool requires(const struct gem_conjunction *k, const char *name, size_t n)
{
    for (size_t i = 0; i < k->n; i++) {
        yyjson_val *required = yyjson_obj_get(k->c[i].v, "required"), *one;
        size_t at, count;
        if (!yyjson_is_arr(required)) continue;
        yyjson_arr_foreach(required, at, count, one) if (yyjson_equals_strn(one, name, n)) return true;
    }
    return false;
}

/* A property that a requires and that b does not take, or that both require with values that exclude each other. */
static bool objects_apart(struct gem_schema *s, const struct gem_conjunction *a, const struct gem_conjunction *b,
                          unsigned depth)
{
    for (size_t i = 0; i < a->n; i++) {
        yyjson_val *required = yyjson_obj_get(a->c[i].v, "required"), *name;
        size_t at, n;
        if (!yyjson_is_arr(required)) continue;
        yyjson_arr_foreach(required, at, n, name)
        {
            const char *p = yyjson_get_str(name);
            const size_t n_p = yyjson_get_len(name);
            struct gem_conjunction *x, *y;
            bool apart = false;
            if (!p || !(x = gem_calloc(2, sizeof *x, "a schema", s->g->err))) continue;
            y = x + 1;
            gem_schema_property(s, a, p, n_p, x);
            gem_schema_property(s, b, p, n_p, y);
            apart = y->never || (requires(b, p, n_p) && gem_schema_disjoint(s, x, y, depth + 1));
            gem_free(x);
            if (apart) return true;
        }
    }
    return false;
}

bool gem_schema_disjoint(struct gem_schema *s, const struct gem_conjunction *a, const struct gem_conjunction *b,
                         unsigned depth)
{
    struct gem_facts fa, fb;
    unsigned types;

    if (a->never || b->never) return true;
    if (depth > 8) return false;
    gem_schema_gather(s, a, &fa);
    gem_schema_gather(s, b, &fb);
    types = fa.types & fb.types;
    if (s->g->status || types == 0) return types == 0;
    if ((fa.values[0] || fa.values[1]) && values_apart(s, a, &fa, b, &fb)) return true;
    if ((fb.values[0] || fb.values[1]) && values_apart(s, b, &fb, a, &fa)) return true;
    if (!(types & ~(unsigned)(GEM_TYPE_INTEGER | GEM_TYPE_NUMBER)))
        return intervals_apart(&fa, &fb) || intervals_apart(&fb, &fa);
    if (types == GEM_TYPE_STRING) return fa.most_length < fb.least_length || fb.most_length < fa.least_length;
    if (types == GEM_TYPE_ARRAY) return fa.most_items < fb.least_items || fb.most_items < fa.least_items;
    if (types == GEM_TYPE_OBJECT) return objects_apart(s, a, b, depth) || objects_apart(s, b, a, depth);
    return false;
}
