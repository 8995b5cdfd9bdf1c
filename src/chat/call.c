/* SPDX-License-Identifier: Apache-2.0
 * src/chat/call.c - what a model writes between <|tool_call> and <tool_call|> to JSON (spec/tokenizer-and-chat.md 3.3),
 * with the slips that models make in the field (3.6). Quote tokens come as the byte 0xff, which no text has. */
#include "chat/chat.h"

#include <string.h>

#include "chat/schema.h"

enum { MAX_ARGUMENTS = 4096 }; /* of one object: looking for a name among them is linear */

struct reader {
    yyjson_mut_doc *doc;
    const char *s;
    size_t n, at;
    yyjson_val *root; /* parameters of the tool called, or NULL */
    size_t depth;
    bool closed, stopped; /* as in gem_chat_body */
    bool nomem;
    const char *wrong;
};

static yyjson_mut_val *read_value(struct reader *r, yyjson_val *schema);

static yyjson_mut_val *fail(struct reader *r, const char *what)
{
    if (!r->wrong) r->wrong = what;
    return NULL;
}

static yyjson_mut_val *made(struct reader *r, yyjson_mut_val *v)
{
    if (!v) r->nomem = true;
    return v ? v : fail(r, "out of memory");
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static bool is_quote(char c) { return (uint8_t)c == GEM_CHAT_QUOTE_BYTE; }

static void skip_space(struct reader *r)
{
    while (r->at < r->n && is_space(r->s[r->at])) r->at++;
}

static bool next_is(struct reader *r, char c)
{
    skip_space(r);
    if (r->at == r->n || r->s[r->at] != c) return false;
    r->at++;
    return true;
}

static size_t trim_end(const char *s, size_t n)
{
    while (n > 0 && is_space(s[n - 1])) n--;
    return n;
}

/* ---- schemas ---------------------------------------------------------------------------------------------------- */

/* A schema that can not be understood allows everything: what was declared to the model is judged when it is rendered.
 */
static struct gem_chat_schema schema_of(const struct reader *r, yyjson_val *schema)
{
    struct gem_chat_schema s = {0};

    if (!schema || gem_chat_schema_read(&s, r->root, schema, NULL)) return (struct gem_chat_schema){0};
    if (s.nullable && s.types) s.types |= GEM_CHAT_NULL;
    return s;
}

static bool allows(unsigned types, unsigned type) { return types == 0 || (types & type) != 0; }

/* ---- literals --------------------------------------------------------------------------------------------------- */

static size_t digits(const char *s, size_t n)
{
    size_t i = 0;

    while (i < n && s[i] >= '0' && s[i] <= '9') i++;
    return i;
}

/* Whether s [n] is a JSON number, and whether an integer. */
static bool is_number(const char *s, size_t n, bool *integer)
{
    size_t i = n > 0 && s[0] == '-', k = digits(s + i, n - i);

    *integer = true;
    if (k == 0 || (k > 1 && s[i] == '0')) return false;
    i += k;
    if (i < n && s[i] == '.') {
        *integer = false;
        if (!(k = digits(s + i + 1, n - i - 1))) return false;
        i += 1 + k;
    }
    if (i < n && (s[i] == 'e' || s[i] == 'E')) {
        *integer = false;
        i++;
        if (i < n && (s[i] == '-' || s[i] == '+')) i++;
        if (!(k = digits(s + i, n - i))) return false;
        i += k;
    }
    return i == n;
}

static bool same_word(const char *s, size_t n, const char *word) { return n == strlen(word) && !memcmp(s, word, n); }

/* The type that s [n] spells without quotes; GEM_CHAT_STRING when none other. */
static unsigned literal_type(const char *s, size_t n)
{
    bool integer;

    if (is_number(s, n, &integer)) return integer ? GEM_CHAT_INTEGER | GEM_CHAT_NUMBER : GEM_CHAT_NUMBER;
    if (same_word(s, n, "true") || same_word(s, n, "false")) return GEM_CHAT_BOOLEAN;
    return same_word(s, n, "null") ? GEM_CHAT_NULL : GEM_CHAT_STRING;
}

static yyjson_mut_val *make_literal(struct reader *r, const char *s, size_t n, unsigned type)
{
    if (type & GEM_CHAT_NUMBER) return made(r, yyjson_mut_rawncpy(r->doc, s, n));
    if (type == GEM_CHAT_BOOLEAN) return made(r, yyjson_mut_bool(r->doc, s[0] == 't' || s[0] == 'T'));
    if (type == GEM_CHAT_NULL) return made(r, yyjson_mut_null(r->doc));
    return made(r, yyjson_mut_strncpy(r->doc, s, n));
}

/* "12.0" is an integer, by JSON Schema; it is delivered as one. */
static bool is_whole(const char *s, size_t n, size_t *n_whole)
{
    size_t i = 0;

    while (i < n && s[i] != '.') i++;
    *n_whole = i;
    if (i == n || i == 0) return false;
    for (i++; i < n; i++)
        if (s[i] != '0') return false;
    return true;
}

static yyjson_mut_val *make_word(struct reader *r, const char *s, size_t n, const struct gem_chat_schema *schema)
{
    const unsigned type = literal_type(s, n);
    size_t n_whole;

    if (type != GEM_CHAT_STRING && allows(schema->types, type)) return make_literal(r, s, n, type);
    if (type == GEM_CHAT_NUMBER && allows(schema->types, GEM_CHAT_INTEGER) && is_whole(s, n, &n_whole))
        return make_literal(r, s, n_whole, GEM_CHAT_NUMBER);
    if (allows(schema->types, GEM_CHAT_STRING)) return make_literal(r, s, n, GEM_CHAT_STRING);
    if (allows(schema->types, GEM_CHAT_BOOLEAN) && (same_word(s, n, "True") || same_word(s, n, "False")))
        return make_literal(r, s, n, GEM_CHAT_BOOLEAN);
    if (allows(schema->types, GEM_CHAT_NULL) && same_word(s, n, "None")) return make_literal(r, s, n, GEM_CHAT_NULL);
    return fail(r, "an argument is not of its declared type");
}

/* A string in quotes stays one, unless the declaration has no strings and its text spells what it has. */
static yyjson_mut_val *make_string(struct reader *r, const char *s, size_t n, const struct gem_chat_schema *schema)
{
    if (allows(schema->types, GEM_CHAT_STRING)) return make_literal(r, s, n, GEM_CHAT_STRING);
    return make_word(r, s, n, schema);
}

/* ---- strings ---------------------------------------------------------------------------------------------------- */

/* Behind an opening quote token. Sets *s and *n and goes past the closing one. A missing one is forgiven at the end of
 * a call that was closed: then the brackets there are the call's own. */
static bool read_quoted(struct reader *r, const char **s, size_t *n)
{
    const char *close = memchr(r->s + r->at, GEM_CHAT_QUOTE_BYTE, r->n - r->at);
    size_t end;

    *s = r->s + r->at;
    if (close) {
        *n = (size_t)(close - *s);
        r->at += *n + 1;
        return true;
    }
    if (!r->closed) {
        fail(r, "it ends inside a string");
        return false;
    }
    end = r->n - r->at;
    while (end > 0 && (is_space((*s)[end - 1]) || (*s)[end - 1] == '}' || (*s)[end - 1] == ']')) end--;
    *n = end;
    r->at = r->n;
    return true;
}

/* Behind an opening '"': JSON's escapes count. The value is made by yyjson, which knows them. */
static bool read_json_string(struct reader *r, char **text, size_t *n, yyjson_doc **doc)
{
    const size_t begin = r->at - 1;
    yyjson_read_err why = {0};
    size_t end = r->at;

    *doc = NULL;
    while (end < r->n && r->s[end] != '"' && !is_quote(r->s[end])) end += r->s[end] == '\\' && end + 1 < r->n ? 2 : 1;
    if (end >= r->n || is_quote(r->s[end])) {
        fail(r, "it ends inside a string");
        return false;
    }
    *doc = yyjson_read_opts((char *)(uintptr_t)(r->s + begin), end + 1 - begin, YYJSON_READ_NOFLAG, NULL, &why);
    if (why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION) {
        made(r, NULL);
        return false;
    }
    *text = (char *)(uintptr_t)yyjson_get_str(yyjson_doc_get_root(*doc));
    *n = yyjson_get_len(yyjson_doc_get_root(*doc));
    if (!*text) { /* raw newlines or unknown escapes: as it stands */
        *text = (char *)(uintptr_t)(r->s + begin + 1);
        *n = end - begin - 1;
    }
    r->at = end + 1;
    return true;
}

/* Behind an opening "'": verbatim, up to one that is followed by what can follow a value. */
static bool read_single_quoted(struct reader *r, const char **s, size_t *n)
{
    for (size_t end = r->at; end < r->n; end++) {
        size_t next = end + 1;

        if (is_quote(r->s[end])) break;
        if (r->s[end] != '\'') continue;
        while (next < r->n && is_space(r->s[next])) next++;
        if (next < r->n && !is_quote(r->s[next]) && !memchr(",}]:", r->s[next], 4)) continue;
        *s = r->s + r->at;
        *n = end - r->at;
        r->at = end + 1;
        return true;
    }
    fail(r, "it ends inside a string");
    return false;
}

/* Quote tokens without a string: a model closes a string that it had opened with another quote. */
static void skip_dangling_quote(struct reader *r)
{
    if (r->at < r->n && is_quote(r->s[r->at])) r->at++;
}

/* ---- objects and arrays ----------------------------------------------------------------------------------------- */

/* The declared key that s [n] begins with, followed by ':': keys are bare, so one may have a colon in it. 0: none. */
static size_t declared_key(const struct gem_chat_schema *schema, const char *s, size_t n)
{
    size_t best = 0, i, max;
    yyjson_val *key, *value;

    if (!schema->properties) return 0;
    yyjson_obj_foreach(schema->properties, i, max, key, value)
    {
        const size_t len = yyjson_get_len(key);
        (void)value;
        if (len > best && len < n && s[len] == ':' && !memcmp(s, yyjson_get_str(key), len)) best = len;
    }
    return best;
}

static bool read_bare_key(struct reader *r, const struct gem_chat_schema *schema, const char **key, size_t *n)
{
    size_t end = declared_key(schema, r->s + r->at, r->n - r->at);

    *key = r->s + r->at;
    if (end == 0)
        while (r->at + end < r->n && (*key)[end] != ':' && (*key)[end] != '}' && !is_quote((*key)[end])) end++;
    if (r->at + end == r->n || (*key)[end] != ':') {
        fail(r, "an argument without a name or a value");
        return false;
    }
    r->at += end;
    *n = trim_end(*key, end);
    return true;
}

static yyjson_mut_val *read_key(struct reader *r, const struct gem_chat_schema *schema)
{
    yyjson_doc *doc = NULL;
    yyjson_mut_val *v = NULL;
    const char *key = NULL;
    char *text = NULL;
    size_t n = 0;
    bool ok;

    skip_space(r);
    if (r->at < r->n && is_quote(r->s[r->at])) {
        r->at++;
        ok = read_quoted(r, &key, &n);
    } else if (r->at < r->n && r->s[r->at] == '"') {
        r->at++;
        ok = read_json_string(r, &text, &n, &doc);
        key = text;
    } else {
        ok = read_bare_key(r, schema, &key, &n);
    }
    if (ok) v = made(r, yyjson_mut_strncpy(r->doc, key, n));
    yyjson_doc_free(doc);
    if (ok && !next_is(r, ':')) return fail(r, "an argument without a value");
    return v;
}

/* Whether a list of n so far goes on. A missing bracket is forgiven before another one and at the end, there unless the
 * model was cut off before the list had anything. */
static bool goes_on(struct reader *r, char close, size_t n)
{
    while (next_is(r, ',')) {}
    if (next_is(r, close) || r->wrong) return false;
    if (r->at < r->n) return r->s[r->at] != '}' && r->s[r->at] != ']';
    if (n == 0 && !r->closed && !r->stopped) fail(r, "it ends before its arguments");
    return false;
}

static yyjson_mut_val *read_object(struct reader *r, const struct gem_chat_schema *schema)
{
    yyjson_mut_val *object = made(r, yyjson_mut_obj(r->doc));

    while (object && goes_on(r, '}', yyjson_mut_obj_size(object))) {
        yyjson_mut_val *key = read_key(r, schema), *value;

        if (!key) return NULL;
        if (yyjson_mut_obj_size(object) == MAX_ARGUMENTS) return fail(r, "too many arguments");
        value = read_value(r, yyjson_obj_getn(schema->properties, yyjson_mut_get_str(key), yyjson_mut_get_len(key)));
        if (!value) return NULL;
        if (!yyjson_mut_obj_put(object, key, value)) return made(r, NULL); /* the last one of a name counts */
    }
    return r->wrong ? NULL : object;
}

static yyjson_mut_val *read_array(struct reader *r, const struct gem_chat_schema *schema)
{
    yyjson_mut_val *array = made(r, yyjson_mut_arr(r->doc));

    while (array && goes_on(r, ']', yyjson_mut_arr_size(array))) {
        yyjson_val *own = yyjson_arr_get(schema->first_items, yyjson_mut_arr_size(array));
        yyjson_mut_val *value = read_value(r, own ? own : schema->items);

        if (!value) return NULL;
        if (!yyjson_mut_arr_append(array, value)) return made(r, NULL);
    }
    return r->wrong ? NULL : array;
}

/* ---- values ----------------------------------------------------------------------------------------------------- */

/* Up to a comma or a closing bracket. */
static yyjson_mut_val *read_bare(struct reader *r, const struct gem_chat_schema *schema)
{
    const size_t begin = r->at;
    size_t n;

    while (r->at < r->n && !memchr(",}]", r->s[r->at], 3) && !is_quote(r->s[r->at])) r->at++;
    if (r->at == r->n && !r->closed && !r->stopped) return fail(r, "it ends inside a value");
    n = trim_end(r->s + begin, r->at - begin);
    if (n == 0) return fail(r, "an argument without a value");
    return make_word(r, r->s + begin, n, schema);
}

static yyjson_mut_val *read_string(struct reader *r, const struct gem_chat_schema *schema, char opening)
{
    yyjson_doc *doc = NULL;
    yyjson_mut_val *v = NULL;
    const char *s = NULL;
    char *text = NULL;
    size_t n = 0;
    bool ok;

    r->at++;
    if (opening == '"') {
        ok = read_json_string(r, &text, &n, &doc);
        s = text;
    } else {
        ok = opening == '\'' ? read_single_quoted(r, &s, &n) : read_quoted(r, &s, &n);
    }
    if (ok) v = make_string(r, s, n, schema);
    yyjson_doc_free(doc);
    if (ok && !is_quote(opening)) skip_dangling_quote(r);
    return v;
}

static yyjson_mut_val *read_value(struct reader *r, yyjson_val *schema)
{
    const struct gem_chat_schema s = schema_of(r, schema);
    yyjson_mut_val *v;
    char c;

    skip_space(r);
    if (r->at == r->n) return fail(r, "an argument without a value");
    c = r->s[r->at];
    if (c != '{' && c != '[') return is_quote(c) || c == '"' || c == '\'' ? read_string(r, &s, c) : read_bare(r, &s);
    if (!allows(s.types, c == '{' ? GEM_CHAT_OBJECT : GEM_CHAT_ARRAY))
        return fail(r, "an argument is not of its declared type");
    if (++r->depth > GEM_CHAT_MAX_DEPTH) return fail(r, "it is nested too deep");
    r->at++;
    v = c == '{' ? read_object(r, &s) : read_array(r, &s);
    r->depth--;
    return v;
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

static yyjson_val *parameters_of(yyjson_val *tools, const char *name, size_t n)
{
    size_t i, max;
    yyjson_val *tool;

    yyjson_arr_foreach(tools, i, max, tool)
    {
        yyjson_val *function = gem_chat_tool_function(tool);
        if (yyjson_equals_strn(yyjson_obj_get(function, "name"), name, n))
            return yyjson_obj_get(function, "parameters");
    }
    return NULL;
}

static bool read_name(struct reader *r, const char **name, size_t *n)
{
    const size_t end = trim_end(r->s, r->n);
    const char *brace;

    skip_space(r);
    if (end - r->at < 5 || memcmp(r->s + r->at, "call:", 5)) {
        fail(r, "it does not begin with 'call:' and a name");
        return false;
    }
    r->at += 5;
    skip_space(r);
    brace = memchr(r->s + r->at, '{', r->n - r->at);
    *name = r->s + r->at;
    *n = brace ? trim_end(*name, (size_t)(brace - *name)) : 0;
    if (*n == 0 || memchr(*name, GEM_CHAT_QUOTE_BYTE, *n)) {
        fail(r, brace ? "a call without a tool's name" : "a call without arguments");
        return false;
    }
    r->at = (size_t)(brace - r->s) + 1;
    return true;
}

const char *gem_chat_read_call(yyjson_mut_doc *doc, yyjson_val *tools, const struct gem_chat_body *body,
                               const char **name, size_t *n_name, yyjson_mut_val **arguments, bool *nomem)
{
    struct reader r = {.doc = doc, .s = body->s, .n = body->n, .closed = body->closed, .stopped = body->stopped};

    *arguments = NULL;
    if (body->n > 0 && read_name(&r, name, n_name)) {
        struct gem_chat_schema s;
        r.root = parameters_of(tools, *name, *n_name);
        s = schema_of(&r, r.root);
        r.depth = 1;
        *arguments = read_object(&r, &s);
    } else {
        fail(&r, "an empty call");
    }
    while (*arguments && (next_is(&r, '}') || next_is(&r, ']'))) {}
    skip_space(&r);
    if (*arguments && r.at < r.n) fail(&r, "text behind the arguments");
    *nomem = r.nomem;
    if (r.wrong) *arguments = NULL;
    return r.wrong;
}
