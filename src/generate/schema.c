/* SPDX-License-Identifier: Apache-2.0
 * src/generate/schema.c - rules for conjunctions of schemas. */
#include "generate/schema_parts.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- spelling ---------------------------------------------------------------------------------------- */

static uint32_t text(struct gem_schema *s, const char *t) { return gem_expr_text(s->g, t); }

static enum gem_spelling spelling(const struct gem_schema *s) { return s->tool ? GEM_SPELL_PLAIN : GEM_SPELL_JSON; }

static uint32_t quoted(struct gem_schema *s, uint32_t inside)
{
    const uint32_t quote = s->tool ? gem_expr_token(s->g, s->tool->quote) : text(s, "\"");

    return gem_expr_seq3(s->g, quote, inside, quote);
}

static uint32_t range(struct gem_schema *s, uint32_t lo, uint32_t hi)
{
    const struct gem_char_range r = {lo, hi};

    return gem_expr_chars(s->g, &r, 1, false);
}

/* A character of a string by any of its spellings. A pair of surrogates is one; a lone one is no text. */
static uint32_t any_char(struct gem_schema *s)
{
    static const struct gem_char_range itself[] = {{0x20, '!'}, {'#', '['}, {']', 0x10ffff}};
    static const struct gem_char_range letters[] = {{'"', '"'}, {'/', '/'}, {'\\', '\\'}, {'b', 'b'},
                                                    {'f', 'f'}, {'n', 'n'}, {'r', 'r'},   {'t', 't'}};
    static const struct gem_char_range hex_digits[] = {{'0', '9'}, {'A', 'F'}, {'a', 'f'}};
    static const struct gem_char_range not_d[] = {{'0', '9'}, {'A', 'C'}, {'E', 'F'}, {'a', 'c'}, {'e', 'f'}};
    static const struct gem_char_range d[] = {{'D', 'D'}, {'d', 'd'}};
    static const struct gem_char_range high[] = {{'8', '9'}, {'A', 'B'}, {'a', 'b'}};
    static const struct gem_char_range low[] = {{'C', 'F'}, {'c', 'f'}};
    struct gem_grammar *g = s->g;
    const uint32_t hex = gem_expr_chars(g, hex_digits, 3, false), two = gem_expr_repeat(g, hex, 2, 2);
    const uint32_t sd = gem_expr_chars(g, d, 2, false), u = text(s, "\\u");
    uint32_t kids[5];

    if (s->tool) return gem_text_any(g, GEM_SPELL_PLAIN);
    kids[0] = gem_expr_chars(g, itself, 3, false);
    kids[1] = gem_expr_seq2(g, text(s, "\\"), gem_expr_chars(g, letters, 8, false));
    kids[2] = gem_expr_seq3(g, u, gem_expr_chars(g, not_d, 5, false), gem_expr_repeat(g, hex, 3, 3));
    kids[3] = gem_expr_seq3(g, u, sd, gem_expr_seq2(g, range(s, '0', '7'), two));
    kids[4] = gem_expr_seq3(g, gem_expr_seq3(g, u, sd, gem_expr_chars(g, high, 3, false)), gem_expr_seq3(g, two, u, sd),
                            gem_expr_seq2(g, gem_expr_chars(g, low, 2, false), two));
    return gem_expr_alt(g, kids, 5);
}

/* Between the parts of lists and objects. */
static void make_spaces(struct gem_schema *s)
{
    struct gem_grammar *g = s->g;
    const uint32_t space = text(s, " "),
                   lines = gem_expr_alt2(g, gem_expr_repeat(g, space, 0, 40), gem_expr_repeat(g, text(s, "\t"), 1, 10));

    s->space = s->colon_space = GEM_EMPTY;
    if (s->tool || s->options.compact) return;
    s->colon_space = gem_expr_optional(g, space);
    s->space = gem_expr_optional(g, gem_expr_alt2(g, space, gem_expr_seq2(g, text(s, "\n"), lines)));
}

static uint32_t separator(struct gem_schema *s) { return gem_expr_seq2(s->g, text(s, ","), s->space); }

static uint32_t string_value(struct gem_schema *s)
{
    if (!s->string) {
        s->string = gem_rule_new(s->g, "string", 6, false);
        gem_rule_set(s->g, s->string, quoted(s, gem_expr_repeat(s->g, any_char(s), 0, GEM_REPEAT_FOREVER)));
    }
    return gem_expr_rule(s->g, s->string);
}

static uint32_t enclosed(struct gem_schema *s, const char *open, uint32_t inside, const char *close)
{
    return gem_expr_seq3(s->g, gem_expr_seq2(s->g, text(s, open), s->space), inside,
                         gem_expr_seq2(s->g, s->space, text(s, close)));
}

/* ---- values as they are ------------------------------------------------------------------------------ */

/* Keys of tool calls are bare and must not look like their own end. */
static bool is_bare(const char *key, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)key[i] <= ' ' || strchr(":{}[],\"<|>", key[i])) return false;
    return n > 0;
}

static uint32_t key_text(struct gem_schema *s, yyjson_val *blame, const char *key, size_t n)
{
    uint32_t x;

    if (s->tool && !is_bare(key, n)) {
        gem_schema_fail(s, GEM_E_UNSUPPORTED, blame, "properties", "a name that a tool call cannot spell");
        return GEM_NEVER;
    }
    x = gem_text_literal(s->g, spelling(s), key, n);
    x = gem_expr_seq2(s->g, s->tool ? x : quoted(s, x), text(s, ":"));
    return gem_expr_seq2(s->g, x, s->colon_space);
}

static uint32_t constant(struct gem_schema *s, yyjson_val *v)
{
    struct gem_expr_vec items = {0};
    const bool required = true, *all;
    bool *flags = NULL;
    uint32_t x = GEM_NEVER;
    size_t i, n;
    yyjson_val *key, *child;

    if (yyjson_is_null(v)) return text(s, "null");
    if (yyjson_is_bool(v)) return text(s, yyjson_get_bool(v) ? "true" : "false");
    if (yyjson_is_raw(v)) return gem_expr_bytes(s->g, yyjson_get_raw(v), yyjson_get_len(v));
    if (yyjson_is_str(v)) return quoted(s, gem_text_literal(s->g, spelling(s), yyjson_get_str(v), yyjson_get_len(v)));
    if (yyjson_is_arr(v))
        yyjson_arr_foreach(v, i, n, child) gem_expr_push(s->g, &items, constant(s, child));
    else
        yyjson_obj_foreach(v, i, n, key, child) gem_expr_push(
            s->g, &items,
            gem_expr_seq2(s->g, key_text(s, v, yyjson_get_str(key), yyjson_get_len(key)), constant(s, child)));
    flags = gem_calloc(items.n, sizeof *flags, "a schema", s->g->err);
    if (!flags) s->g->status = s->g->status ? s->g->status : GEM_E_NOMEM;
    for (i = 0; flags && i < items.n; i++) flags[i] = required;
    all = flags;
    if (!s->g->status) {
        x = gem_expr_list(s->g, items.x, all, items.n, separator(s), GEM_NEVER);
        x = yyjson_is_arr(v) ? enclosed(s, "[", x, "]") : enclosed(s, "{", x, "}");
    }
    gem_free(flags);
    gem_free(items.x);
    return x;
}

static uint32_t constants(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f)
{
    struct gem_expr_vec kids = {0};
    uint32_t x = GEM_NEVER;
    size_t i, n;
    yyjson_val *v;

    if (f->values[0]) {
        if (gem_schema_value_fits(s, k, f, f->values[0], NULL, true)) x = constant(s, f->values[0]);
    } else {
        yyjson_arr_foreach(f->values[1], i, n, v) if (gem_schema_value_fits(s, k, f, v, f->values[1], true))
            gem_expr_push(s->g, &kids, constant(s, v));
        if (!s->g->status) x = gem_expr_alt(s->g, kids.x, kids.n);
        gem_free(kids.x);
    }
    return x != GEM_NEVER ? x : gem_schema_never(s, k->c[0].v, "no value of enum or const satisfies the rest");
}

/* ---- numbers and strings ----------------------------------------------------------------------------- */

static uint32_t number(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f)
{
    struct gem_number_bounds b = {.above = f->above, .below = f->below, .multiple = f->multiple};
    char where[160], *least = NULL, *most = NULL;
    uint32_t x = GEM_NEVER;

    gem_schema_pointer(s, k->n ? k->c[0].v : s->root, where, sizeof where);
    if (f->least && !(least = gem_strndup(yyjson_get_raw(f->least), yyjson_get_len(f->least), s->g->err)))
        s->g->status = GEM_E_NOMEM;
    if (f->most && !(most = gem_strndup(yyjson_get_raw(f->most), yyjson_get_len(f->most), s->g->err)))
        s->g->status = GEM_E_NOMEM;
    b.least = least;
    b.most = most;
    if (!s->g->status)
        x = f->types & GEM_TYPE_NUMBER ? gem_number_any(s->g, &b, where) : gem_number_integer(s->g, &b, where);
    gem_free(least);
    gem_free(most);
    return x;
}

static uint32_t pattern(struct gem_schema *s, yyjson_val *v, uint32_t x)
{
    yyjson_val *p = yyjson_obj_get(v, "pattern"), *format = yyjson_obj_get(v, "format");
    char pointer[100], where[200];
    uint32_t y;

    gem_schema_pointer(s, v, pointer, sizeof pointer);
    if (p && !yyjson_is_str(p)) gem_schema_fail(s, GEM_E_FORMAT, v, "pattern", "not a string");
    if (p && !s->g->status) {
        snprintf(where, sizeof where, "%s, %s: pattern", s->name, pointer);
        y = gem_regex_parse(s->g, spelling(s), true, where, yyjson_get_str(p), yyjson_get_len(p));
        x = x == GEM_NEVER ? y : gem_expr_both(s->g, x, y);
    }
    if (format && !s->g->status) {
        const char *r =
            yyjson_is_str(format) ? gem_schema_format(yyjson_get_str(format), yyjson_get_len(format)) : NULL;
        if (!r) {
            gem_schema_fail(s, GEM_E_UNSUPPORTED, v, "format", "not one of those that are understood");
            return GEM_NEVER;
        }
        snprintf(where, sizeof where, "%s, %s: format", s->name, pointer);
        y = gem_regex_parse(s->g, spelling(s), false, where, r, strlen(r));
        x = x == GEM_NEVER ? y : gem_expr_both(s->g, x, y);
    }
    return x;
}

static uint32_t count_of(uint64_t n) { return n < GEM_REPEAT_FOREVER - 1 ? (uint32_t)n : GEM_REPEAT_FOREVER - 1; }

static uint32_t string(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f)
{
    const bool bounded = f->least_length > 0 || f->most_length != UINT64_MAX;
    const uint32_t least = count_of(f->least_length);
    const uint32_t most = f->most_length == UINT64_MAX ? GEM_REPEAT_FOREVER : count_of(f->most_length);
    uint32_t x = GEM_NEVER;

    if (f->least_length > f->most_length) return gem_schema_never(s, k->c[0].v, "minLength is above maxLength");
    if (!f->has_pattern && !bounded) return string_value(s);
    if (!f->has_pattern) return quoted(s, gem_expr_repeat(s->g, any_char(s), least, most));
    for (size_t i = 0; i < k->n && !s->g->status; i++) x = pattern(s, k->c[i].v, x);
    if (bounded) x = gem_expr_both(s->g, x, gem_expr_repeat(s->g, gem_text_any(s->g, spelling(s)), least, most));
    return quoted(s, x);
}

/* ---- arrays ------------------------------------------------------------------------------------------ */

/* All behind the first `n_prefix` items; each with its separator. */
static uint32_t array_rest(struct gem_schema *s, const struct gem_conjunction *k, uint64_t n_prefix, uint64_t least,
                           uint64_t most)
{
    struct gem_conjunction *item = gem_calloc(1, sizeof *item, "a schema", s->g->err);
    uint32_t x = GEM_NEVER, value;
    const uint32_t from = count_of(least > n_prefix ? least - n_prefix : 0);
    const uint32_t to = most == UINT64_MAX ? GEM_REPEAT_FOREVER : count_of(most - n_prefix);

    if (!item) {
        s->g->status = GEM_E_NOMEM;
        return GEM_NEVER;
    }
    gem_schema_item(s, k, (size_t)n_prefix, item);
    value = to == 0 ? GEM_NEVER : gem_schema_value(s, item);
    if (n_prefix > 0 || to == 0) {
        x = gem_expr_repeat(s->g, gem_expr_seq2(s->g, separator(s), value), from, to);
    } else {
        const uint32_t more = gem_expr_repeat(s->g, gem_expr_seq2(s->g, separator(s), value), from ? from - 1 : 0,
                                              to == GEM_REPEAT_FOREVER ? to : to - 1);
        x = gem_expr_seq2(s->g, value, more);
        if (from == 0) x = gem_expr_alt2(s->g, GEM_EMPTY, x);
    }
    gem_free(item);
    return x;
}

static uint64_t prefix_length(const struct gem_conjunction *k)
{
    size_t n = 0;

    for (size_t i = 0; i < k->n; i++) {
        const size_t own = yyjson_arr_size(yyjson_obj_get(k->c[i].v, "prefixItems"));
        if (own > n) n = own;
    }
    return n;
}

static void check_unique(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f)
{
    for (size_t i = 0; i < k->n; i++)
        if (yyjson_is_true(yyjson_obj_get(k->c[i].v, "uniqueItems")) && f->most_items > 1)
            gem_schema_fail(s, GEM_E_UNSUPPORTED, k->c[i].v, "uniqueItems",
                            "cannot be guaranteed while text is written");
}

static uint32_t array(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f)
{
    uint64_t n = prefix_length(k);
    struct gem_conjunction *item;
    uint32_t x;

    check_unique(s, k, f);
    if (n > f->most_items) n = f->most_items;
    if (f->least_items > f->most_items) return gem_schema_never(s, k->c[0].v, "minItems is above maxItems");
    if (n > GEM_GRAMMAR_MAX_NESTING || f->least_items > GEM_SCHEMA_MAX_ITEMS ||
        (f->most_items > GEM_SCHEMA_MAX_ITEMS && f->most_items != UINT64_MAX)) {
        gem_schema_fail(s, GEM_E_LIMIT, k->c[0].v, "items", "more than the ceiling of 10000 items, or 200 prefixItems");
        return GEM_NEVER;
    }
    x = array_rest(s, k, n, f->least_items, f->most_items);
    if (!(item = gem_calloc(1, sizeof *item, "a schema", s->g->err))) {
        s->g->status = GEM_E_NOMEM;
        return GEM_NEVER;
    }
    for (uint64_t i = n; i-- > 0 && !s->g->status;) {
        gem_schema_item(s, k, (size_t)i, item);
        x = gem_expr_seq2(s->g, gem_schema_value(s, item), x);
        if (i > 0) x = gem_expr_seq2(s->g, separator(s), x);
        if (i >= f->least_items) x = gem_expr_alt2(s->g, GEM_EMPTY, x);
    }
    gem_free(item);
    return x == GEM_NEVER ? GEM_NEVER : enclosed(s, "[", x, "]");
}

/* ---- objects ----------------------------------------------------------------------------------------- */

struct property {
    const char *name;
    size_t n;
    bool required;
};

struct properties {
    struct property *p;
    uint32_t n, cap;
};

static void add_property(struct gem_schema *s, struct properties *all, yyjson_val *name, bool required)
{
    const char *p = yyjson_get_str(name);
    const size_t n = yyjson_get_len(name);

    for (uint32_t i = 0; i < all->n; i++)
        if (all->p[i].n == n && !memcmp(all->p[i].name, p, n)) {
            all->p[i].required |= required;
            return;
        }
    if (gem_grammar_grow(s->g, &all->p, all->n, &all->cap, 1, sizeof *all->p, 4096, "properties of one object"))
        all->p[all->n++] = (struct property){p, n, required};
}

/* By the lower-cased name, and by the name where that is the same. */
static int compare_properties(const void *a, const void *b)
{
    const struct property *x = a, *y = b;
    const size_t n = x->n < y->n ? x->n : y->n;

    for (size_t i = 0; i < n; i++) {
        const uint8_t p = (uint8_t)x->name[i], q = (uint8_t)y->name[i];
        const uint8_t lower_p = p >= 'A' && p <= 'Z' ? p + 32 : p, lower_q = q >= 'A' && q <= 'Z' ? q + 32 : q;
        if (lower_p != lower_q) return lower_p < lower_q ? -1 : 1;
    }
    if (x->n != y->n) return x->n < y->n ? -1 : 1;
    return memcmp(x->name, y->name, n);
}

static int compare_names(const void *a, const void *b)
{
    const struct property *x = a, *y = b;
    const int order = memcmp(x->name, y->name, x->n < y->n ? x->n : y->n);

    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static void find_properties(struct gem_schema *s, const struct gem_conjunction *k, struct properties *all)
{
    size_t at, n;
    yyjson_val *name, *value;

    for (size_t i = 0; i < k->n; i++) {
        yyjson_val *own = yyjson_obj_get(k->c[i].v, "properties");
        if (yyjson_is_obj(own)) yyjson_obj_foreach(own, at, n, name, value) add_property(s, all, name, false);
    }
    for (size_t i = 0; i < k->n; i++) {
        yyjson_val *required = yyjson_obj_get(k->c[i].v, "required");
        if (yyjson_is_arr(required)) yyjson_arr_foreach(required, at, n, name) add_property(s, all, name, true);
    }
    if (s->tool && all->n > 1) qsort(all->p, all->n, sizeof *all->p, compare_properties);
}

/* Characters that a key may have beside those of declared names. */
static uint32_t key_chars(struct gem_schema *s, const struct gem_char_range *but, size_t n_but)
{
    static const struct gem_char_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    struct gem_char_range r[260];
    size_t n = 0, n_left;

    if (!s->tool) return gem_text_chars(s->g, GEM_SPELL_JSON, but, n_but, true);
    for (size_t i = 0; i < 4; i++)
        for (uint32_t c = word[i].lo; c <= word[i].hi; c++) {
            size_t b = 0;
            while (b < n_but && (c < but[b].lo || c > but[b].hi)) b++;
            if (b == n_but) r[n++] = (struct gem_char_range){c, c};
        }
    n_left = gem_ranges_normalise(r, n);
    return gem_expr_chars(s->g, r, n_left, false);
}

/* The rest of any key that is none of names [n], which are sorted and share their first `at` bytes. */
static uint32_t other_key(struct gem_schema *s, const struct property *names, size_t n, size_t at, unsigned depth)
{
    const uint32_t any = gem_expr_repeat(s->g, key_chars(s, NULL, 0), 0, GEM_REPEAT_FOREVER);
    struct gem_expr_vec kids = {0};
    struct gem_char_range *firsts;
    size_t i = 0, n_firsts = 0;
    uint32_t x = GEM_NEVER;

    if (n == 0 || s->g->status) return any;
    if (depth > GEM_GRAMMAR_MAX_NESTING) {
        gem_schema_fail(s, GEM_E_LIMIT, s->root, "additionalProperties", "beside a property with a very long name");
        return GEM_NEVER;
    }
    if (!(firsts = gem_calloc(n, sizeof *firsts, "a schema", s->g->err))) {
        s->g->status = GEM_E_NOMEM;
        return GEM_NEVER;
    }
    if (names[0].n > at)
        gem_expr_push(s->g, &kids, GEM_EMPTY); /* the end here is another key */
    else
        i = 1;
    while (i < n && !s->g->status) {
        uint32_t cp = 0;
        const size_t n_char = gem_utf8_decode(names[i].name + at, names[i].n - at, &cp);
        size_t end = i + 1;
        while (end < n && names[end].n >= at + n_char && !memcmp(names[end].name + at, names[i].name + at, n_char))
            end++;
        firsts[n_firsts++] = (struct gem_char_range){cp, cp};
        gem_expr_push(s->g, &kids,
                      gem_expr_seq2(s->g, gem_text_literal(s->g, spelling(s), names[i].name + at, n_char),
                                    other_key(s, names + i, end - i, at + n_char, depth + 1)));
        i = end;
    }
    gem_expr_push(s->g, &kids, gem_expr_seq2(s->g, key_chars(s, firsts, n_firsts), any));
    if (!s->g->status) x = gem_expr_alt(s->g, kids.x, kids.n);
    gem_free(firsts);
    gem_free(kids.x);
    return x;
}

/* Properties that no schema names, or GEM_NEVER. */
static uint32_t other_properties(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f,
                                 const struct properties *all)
{
    struct gem_conjunction *more;
    struct property *names = NULL;
    uint32_t x = GEM_NEVER;

    if (f->closed || f->most_properties == 0) return GEM_NEVER;
    if (!(more = gem_calloc(1, sizeof *more, "a schema", s->g->err)) ||
        !(names = gem_calloc(all->n, sizeof *names, "a schema", s->g->err))) {
        s->g->status = GEM_E_NOMEM;
        goto out;
    }
    gem_schema_additional(s, k, more);
    if (more->never || (!f->open && f->has_properties) || s->g->status) goto out;
    if (all->n > 0) memcpy(names, all->p, all->n * sizeof *names);
    if (all->n > 1) qsort(names, all->n, sizeof *names, compare_names);
    x = other_key(s, names, all->n, 0, 0);
    if (s->tool) x = gem_expr_both(s->g, x, gem_expr_repeat(s->g, key_chars(s, NULL, 0), 1, GEM_REPEAT_FOREVER));
    x = gem_expr_seq2(s->g, s->tool ? x : quoted(s, x), text(s, ":"));
    x = gem_expr_seq3(s->g, x, s->colon_space, gem_schema_value(s, more));
out:
    gem_free(more);
    gem_free(names);
    return x;
}

/* Numbers of properties are not counted while writing, so a bound must hold for any choice. */
static void check_counts(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f,
                         const struct properties *all, bool others)
{
    uint64_t required = 0;

    for (uint32_t i = 0; i < all->n; i++) required += all->p[i].required;
    if (f->least_properties > required)
        gem_schema_fail(s, GEM_E_UNSUPPORTED, k->c[0].v, "minProperties", "above the number of required properties");
    if (f->most_properties < (others ? UINT64_MAX : all->n) && f->most_properties != UINT64_MAX)
        gem_schema_fail(s, GEM_E_UNSUPPORTED, k->c[0].v, "maxProperties", "below the number of possible properties");
}

static uint32_t object(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f)
{
    struct properties all = {0};
    struct gem_expr_vec items = {0};
    struct gem_conjunction *value = gem_calloc(1, sizeof *value, "a schema", s->g->err);
    bool *required = NULL;
    uint32_t x = GEM_NEVER, rest;

    find_properties(s, k, &all);
    required = gem_calloc(all.n, sizeof *required, "a schema", s->g->err);
    if (!value || !required) s->g->status = s->g->status ? s->g->status : GEM_E_NOMEM;
    for (uint32_t i = 0; i < all.n && !s->g->status; i++) {
        const struct property *p = &all.p[i];
        uint32_t item;
        gem_schema_property(s, k, p->name, p->n, value);
        item = gem_expr_seq2(s->g, key_text(s, k->c[0].v, p->name, p->n), gem_schema_value(s, value));
        gem_expr_push(s->g, &items, item);
        required[i] = p->required;
        if (item == GEM_NEVER && p->required) gem_schema_never(s, k->c[0].v, "a required property has no valid value");
    }
    rest = s->g->status ? GEM_NEVER : other_properties(s, k, f, &all);
    check_counts(s, k, f, &all, rest != GEM_NEVER);
    if (!s->g->status) x = gem_expr_list(s->g, items.x, required, items.n, separator(s), rest);
    gem_free(all.p);
    gem_free(items.x);
    gem_free(value);
    gem_free(required);
    return x == GEM_NEVER ? GEM_NEVER : enclosed(s, "{", x, "}");
}

/* ---- unions ------------------------------------------------------------------------------------------ */

/* The first union that was not split yet. */
static yyjson_val *find_union(const struct gem_conjunction *k, size_t *at, bool *one)
{
    for (size_t i = 0; i < k->n; i++) {
        yyjson_val *v = k->c[i].v;
        *at = i;
        *one = false;
        if (!k->c[i].any_done && yyjson_obj_get(v, "anyOf")) return yyjson_obj_get(v, "anyOf");
        *one = true;
        if (!k->c[i].one_done && yyjson_obj_get(v, "oneOf")) return yyjson_obj_get(v, "oneOf");
    }
    return NULL;
}

static void check_overlap(struct gem_schema *s, yyjson_val *v, const struct gem_conjunction *branches, size_t n)
{
    for (size_t i = 0; i < n && !s->g->status; i++)
        for (size_t j = i + 1; j < n && !s->g->status; j++) {
            char why[96];
            if (gem_schema_disjoint(s, &branches[i], &branches[j], 0)) continue;
            snprintf(why, sizeof why, "branches %zu and %zu may hold together; anyOf would be possible", i, j);
            gem_schema_fail(s, GEM_E_UNSUPPORTED, v, "oneOf", why);
        }
}

static uint32_t split(struct gem_schema *s, const struct gem_conjunction *k, yyjson_val *list, size_t at, bool one)
{
    const size_t n = yyjson_arr_size(list);
    struct gem_conjunction *branches = NULL;
    struct gem_expr_vec kids = {0};
    uint32_t x = GEM_NEVER;

    if (n == 0 || n > 1000) {
        gem_schema_fail(s, n ? GEM_E_LIMIT : GEM_E_FORMAT, k->c[at].v, one ? "oneOf" : "anyOf",
                        n ? "more than 1000 branches" : "not a list with branches");
        return GEM_NEVER;
    }
    if (!(branches = gem_calloc(n, sizeof *branches, "a schema", s->g->err))) {
        s->g->status = GEM_E_NOMEM;
        return GEM_NEVER;
    }
    for (size_t i = 0; i < n; i++) {
        branches[i] = *k;
        branches[i].c[at].any_done |= !one;
        branches[i].c[at].one_done |= one;
        gem_conjunction_add(s, &branches[i], yyjson_arr_get(list, i), k->c[at].v);
    }
    if (one) check_overlap(s, k->c[at].v, branches, n);
    for (size_t i = 0; i < n && !s->g->status; i++) gem_expr_push(s->g, &kids, gem_schema_value(s, &branches[i]));
    if (!s->g->status) x = gem_expr_alt(s->g, kids.x, kids.n);
    gem_free(kids.x);
    gem_free(branches);
    return x != GEM_NEVER ? x : gem_schema_never(s, k->c[at].v, "no branch can be satisfied");
}

/* ---- conjunctions ------------------------------------------------------------------------------------ */

static bool same_conjunction(const struct gem_schema *s, const struct gem_schema_memo *m,
                             const struct gem_conjunction *k)
{
    if (m->n != k->n) return false;
    for (size_t i = 0; i < k->n; i++) {
        const struct gem_conjunct *a = &s->seen[m->first + i], *b = &k->c[i];
        if (a->v != b->v || a->any_done != b->any_done || a->one_done != b->one_done) return false;
    }
    return true;
}

uint32_t gem_schema_value(struct gem_schema *s, struct gem_conjunction *k)
{
    char name[64];
    uint32_t rule;

    if (s->g->status || k->never) return GEM_NEVER;
    for (uint32_t i = 0; i < s->n_memos; i++)
        if (same_conjunction(s, &s->memos[i], k)) return gem_expr_rule(s->g, s->memos[i].rule);
    if (!gem_grammar_grow(s->g, &s->memos, s->n_memos, &s->cap_memos, 1, sizeof *s->memos, GEM_SCHEMA_MAX_RULES,
                          "schemas") ||
        !gem_grammar_grow(s->g, &s->seen, s->n_seen, &s->cap_seen, k->n, sizeof *s->seen,
                          GEM_SCHEMA_MAX_RULES * GEM_SCHEMA_MAX_TOGETHER, "schemas"))
        return GEM_NEVER;
    if (k->n > 0)
        gem_schema_pointer(s, k->c[0].v, name, sizeof name);
    else
        snprintf(name, sizeof name, "any value");
    rule = gem_rule_new(s->g, name, strlen(name), false);
    s->memos[s->n_memos++] = (struct gem_schema_memo){.first = s->n_seen, .n = (uint32_t)k->n, .rule = rule};
    if (k->n > 0) memcpy(s->seen + s->n_seen, k->c, k->n * sizeof *k->c);
    s->n_seen += (uint32_t)k->n;
    return gem_expr_rule(s->g, rule);
}

/* Alternatives for the types that are left. `scalar` tells whether the rule is small enough to be copied. */
static uint32_t by_type(struct gem_schema *s, const struct gem_conjunction *k, const struct gem_facts *f, bool *scalar)
{
    uint32_t kids[6];
    size_t n = 0;

    if (f->types & GEM_TYPE_NULL) kids[n++] = text(s, "null");
    if (f->types & GEM_TYPE_BOOLEAN) kids[n++] = gem_expr_alt2(s->g, text(s, "true"), text(s, "false"));
    if (f->types & (GEM_TYPE_INTEGER | GEM_TYPE_NUMBER)) kids[n++] = number(s, k, f);
    if (f->types & GEM_TYPE_STRING) kids[n++] = string(s, k, f);
    if (f->types & GEM_TYPE_ARRAY) kids[n++] = array(s, k, f);
    if (f->types & GEM_TYPE_OBJECT) kids[n++] = object(s, k, f);
    *scalar = !(f->types & (GEM_TYPE_ARRAY | GEM_TYPE_OBJECT));
    if (n == 0) return gem_schema_never(s, k->n ? k->c[0].v : s->root, "no type is left");
    return gem_expr_alt(s->g, kids, n);
}

static void build(struct gem_schema *s, const struct gem_schema_memo *memo)
{
    struct gem_conjunction *k = gem_calloc(1, sizeof *k, "a schema", s->g->err);
    const uint32_t rule = memo->rule;
    struct gem_facts f;
    yyjson_val *list;
    uint32_t x = GEM_NEVER;
    size_t at;
    bool one, scalar = true;

    if (!k) {
        s->g->status = GEM_E_NOMEM;
        return;
    }
    k->n = memo->n;
    if (k->n > 0) memcpy(k->c, s->seen + memo->first, k->n * sizeof *k->c);
    gem_schema_gather(s, k, &f);
    if (s->tool && s->n_built == 1) { /* a tool's parameters as a whole */
        f.types &= GEM_TYPE_OBJECT;
        if (find_union(k, &at, &one))
            gem_schema_fail(s, GEM_E_UNSUPPORTED, k->c[at].v, one ? "oneOf" : "anyOf", "of all parameters");
    }
    if (!s->g->status && (list = find_union(k, &at, &one)))
        x = split(s, k, list, at, one);
    else if (!s->g->status)
        x = f.values[0] || f.values[1] ? constants(s, k, &f) : by_type(s, k, &f, &scalar);
    gem_rule_set(s->g, rule, x);
    if (!s->g->status) s->g->rules[rule].may_inline = scalar;
    gem_free(k);
}

void gem_schema_build(struct gem_schema *s)
{
    while (s->n_built < s->n_memos && !s->g->status) {
        const struct gem_schema_memo memo = s->memos[s->n_built++];
        build(s, &memo);
    }
}

static void begin(struct gem_schema *s, struct gem_grammar *g, const char *name, yyjson_val *root)
{
    s->g = g;
    s->name = name;
    s->root = root;
    make_spaces(s);
}

static uint32_t finish(struct gem_schema *s, yyjson_val *v)
{
    struct gem_conjunction *k = gem_calloc(1, sizeof *k, "a schema", s->g->err);
    uint32_t x = GEM_NEVER;

    if (!k) s->g->status = GEM_E_NOMEM;
    if (k && v) gem_conjunction_add(s, k, v, NULL);
    if (k) x = gem_schema_value(s, k);
    gem_schema_build(s);
    if (!s->g->status && k && (k->never || (s->n_memos > 0 && s->g->rules[s->memos[0].rule].expr == GEM_NEVER)))
        gem_schema_fail(s, GEM_E_UNSUPPORTED, s->blame ? s->blame : s->root, "schema",
                        s->blame_why ? s->blame_why : "no value satisfies it");
    gem_free(k);
    gem_free(s->memos);
    gem_free(s->seen);
    return x;
}

gem_status gem_schema_parse(struct gem_grammar *g, const struct gem_schema_options *options, const char *json, size_t n)
{
    struct gem_schema s = {.options = *options};
    yyjson_doc *doc;

    if (g->status) return g->status;
    g->root = gem_rule_new(g, "root", 4, false);
    if (g->status) return g->status;
    if ((g->status = gem_json_parse_raw(&doc, "schema", json, n, GEM_SCHEMA_MAX_BYTES, g->err))) return g->status;
    begin(&s, g, "schema", yyjson_doc_get_root(doc));
    gem_rule_set(g, g->root, finish(&s, s.root));
    yyjson_doc_free(doc);
    return g->status;
}

uint32_t gem_schema_tool_value(struct gem_grammar *g, const struct gem_schema_tool *tool, const char *name,
                               yyjson_val *v)
{
    struct gem_schema s = {.tool = tool};

    if (g->status) return GEM_NEVER;
    begin(&s, g, name, v);
    return finish(&s, v);
}
