/* SPDX-License-Identifier: Apache-2.0 */
#include "generate/answer.h"

#include "base/json.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static int32_t control(struct gem_grammar *g, const struct gem_tokenizer *t, const char *name)
{
    const int32_t id = gem_tokenizer_find(t, name, strlen(name));

    if (id < 0 || !gem_tokenizer_is_control(t, id)) {
        gem_grammar_fail(g, GEM_E_UNSUPPORTED, 0, "the model's vocabulary has no %s", name);
        return 0;
    }
    return id;
}

static uint32_t token(struct gem_grammar *g, const struct gem_tokenizer *t, const char *name)
{
    const int32_t id = control(g, t, name);

    return g->status ? GEM_NEVER : gem_expr_token(g, id);
}

/* Any text, and no control token. */
static uint32_t free_text(struct gem_grammar *g)
{
    return gem_expr_repeat(g, gem_text_any(g, GEM_SPELL_PLAIN), 0, GEM_REPEAT_FOREVER);
}

/* ---- thoughts ------------------------------------------------------------------------------------------ */

gem_status gem_answer_after_thought(struct gem_grammar *g, const struct gem_tokenizer *t, gem_thought thought)
{
    uint32_t answer, open, rest, root;

    if (g->status || thought == GEM_THOUGHT_NONE) return g->status;
    if ((unsigned)thought > GEM_THOUGHT_OPEN)
        return gem_grammar_fail(g, GEM_E_ARGUMENT, 0, "thought: not a gem_thought");
    answer = gem_expr_rule(g, g->root);
    rest = gem_expr_seq3(g, free_text(g), token(g, t, "<channel|>"), answer);
    if (thought == GEM_THOUGHT_OPTIONAL) {
        open = gem_expr_seq2(g, token(g, t, "<|channel>"), gem_expr_text(g, "thought\n"));
        rest = gem_expr_alt2(g, answer, gem_expr_seq2(g, open, rest));
    }
    root = gem_rule_new(g, "answer", 6, false);
    gem_rule_set(g, root, rest);
    g->root = root;
    return g->status;
}

/* ---- tools --------------------------------------------------------------------------------------------- */

static bool is_name(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char c = s[i], lower = (char)(c | 0x20);
        if (!(lower >= 'a' && lower <= 'z') && !(c >= '0' && c <= '9') && !(c && strchr("_-.:/", c))) return false;
    }
    return n > 0;
}

/* {"type": "function", "function": {"name", "parameters"}} or the inner object alone. */
static yyjson_val *function_of(yyjson_val *tool)
{
    yyjson_val *inner = yyjson_obj_get(tool, "function");

    return yyjson_is_obj(inner) ? inner : tool;
}

static uint32_t call_of(struct gem_grammar *g, const struct gem_tokenizer *t, yyjson_val *function)
{
    yyjson_val *name = yyjson_obj_get(function, "name"), *parameters = yyjson_obj_get(function, "parameters");
    struct gem_schema_tool spelling = {.quote = 0};
    uint32_t begin, arguments;
    const char *text = yyjson_get_str(name);
    char where[64];

    snprintf(where, sizeof where, "tool %s", text ? text : ""); /* checked: it is a name */
    spelling.quote = control(g, t, "<|\"|>");
    begin = gem_expr_seq3(g, token(g, t, "<|tool_call>"), gem_expr_text(g, "call:"),
                          gem_expr_bytes(g, text, yyjson_get_len(name)));
    if (!parameters || yyjson_is_null(parameters) || (yyjson_is_obj(parameters) && yyjson_obj_size(parameters) == 0))
        arguments = gem_expr_text(g, "{}");
    else
        arguments = gem_schema_tool_value(g, &spelling, where, parameters);
    return gem_expr_seq3(g, begin, arguments, token(g, t, "<tool_call|>"));
}

static bool check_tool(struct gem_grammar *g, yyjson_val *tools, size_t at, yyjson_val *function)
{
    yyjson_val *name = yyjson_obj_get(function, "name"), *other;
    size_t i, n;

    if (!yyjson_is_str(name) || !is_name(yyjson_get_str(name), yyjson_get_len(name))) {
        gem_grammar_fail(g, GEM_E_FORMAT, 0,
                         "tools, /%zu: a name is letters, digits and \"_-.:/\", since a call could not spell any other",
                         at);
        return false;
    }
    yyjson_arr_foreach(tools, i, n, other)
    {
        yyjson_val *other_name = yyjson_obj_get(function_of(other), "name");
        if (i < at && yyjson_equals_strn(other_name, yyjson_get_str(name), yyjson_get_len(name)))
            gem_grammar_fail(g, GEM_E_FORMAT, 0, "tools, /%zu: a second tool of the name \"%s\"", at,
                             yyjson_get_str(name));
    }
    return !g->status;
}

/* One call of any of the tools, or of the one that is asked for. */
static uint32_t any_call(struct gem_grammar *g, const struct gem_tokenizer *t, yyjson_val *tools,
                         const gem_tool_options *o)
{
    struct gem_expr_vec calls = {0};
    yyjson_val *tool;
    uint32_t x = GEM_NEVER;
    size_t i, n;

    yyjson_arr_foreach(tools, i, n, tool)
    {
        yyjson_val *function = function_of(tool);
        if (!check_tool(g, tools, i, function)) break;
        if (o->name && !yyjson_equals_strn(yyjson_obj_get(function, "name"), o->name, o->n_name)) continue;
        gem_expr_push(g, &calls, call_of(g, t, function));
    }
    if (!g->status && calls.n == 0)
        gem_grammar_fail(g, GEM_E_ARGUMENT, 0, "tools: none%s%.*s%s", o->name ? " has the name \"" : "",
                         o->name ? (int)o->n_name : 0, o->name ? o->name : "",
                         o->name ? "\", which is to be called" : "");
    if (!g->status) x = gem_expr_alt(g, calls.x, calls.n);
    gem_free(calls.x);
    return x;
}

gem_status gem_answer_with_tools(struct gem_grammar *g, const struct gem_tokenizer *t, const char *json, size_t n,
                                 const gem_tool_options *o)
{
    yyjson_doc *doc;
    yyjson_val *tools;
    uint32_t call, calls, x;

    if (g->status) return g->status;
    if ((unsigned)o->choice > GEM_TOOL_NONE)
        return gem_grammar_fail(g, GEM_E_ARGUMENT, 0, "choice: not a gem_tool_choice");
    g->root = gem_rule_new(g, "root", 4, false);
    if (g->status) return g->status;
    if ((g->status = gem_json_parse_raw(&doc, "tools", json, n, GEM_SCHEMA_MAX_BYTES, g->err))) return g->status;
    tools = yyjson_doc_get_root(doc);
    if (!yyjson_is_arr(tools)) gem_grammar_fail(g, GEM_E_FORMAT, 0, "tools: not a list");
    if (o->choice == GEM_TOOL_NONE) {
        x = free_text(g);
    } else {
        call = any_call(g, t, tools, o);
        calls = gem_expr_repeat(g, call, 1, o->single ? 1 : GEM_REPEAT_FOREVER);
        x = o->choice == GEM_TOOL_REQUIRED || o->name ? calls
                                                      : gem_expr_seq2(g, free_text(g), gem_expr_optional(g, calls));
    }
    gem_rule_set(g, g->root, x);
    yyjson_doc_free(doc);
    return g->status;
}
