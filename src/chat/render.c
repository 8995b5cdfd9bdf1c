/* SPDX-License-Identifier: Apache-2.0
 * src/chat/render.c - messages to text with control tokens, as the templates of Gemma 4 (2026-07-09) do it. Where these
 * are wrong (spec/tokenizer-and-chat.md 2.7) the right thing is done, unless the reference is asked for. */
#include "chat/chat.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "chat/declare.h"
#include "chat/values.h"

enum { MAX_CALLS = 4096 }; /* of one message: each result looks for its call */

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_ASSISTANT, ROLE_TOOL, ROLE_OTHER };

struct renderer {
    struct gem_chat_prompt *p;
    struct gem_chat_text *t; /* of p */
    const gem_chat_options *o;
    gem_error *err;
    yyjson_val **messages;
    enum role *roles;
    size_t n, last_user; /* index of the last user message + 1; 0: none */
    enum { LAST_NONE, LAST_CALL, LAST_RESULT } last;
};

static void fail(struct renderer *r, size_t i, const char *what)
{
    if (!r->t->status) r->t->status = gem_fail(r->err, GEM_E_FORMAT, 0, "message %zu: %s", i, what);
}

/* ---- roles ------------------------------------------------------------------------------------------------------ */

static enum role role_of(yyjson_val *message)
{
    static const struct {
        const char *name;
        enum role role;
    } names[] = {{"system", ROLE_SYSTEM},
                 {"developer", ROLE_SYSTEM},
                 {"user", ROLE_USER},
                 {"assistant", ROLE_ASSISTANT},
                 {"tool", ROLE_TOOL}};
    yyjson_val *role = yyjson_obj_get(message, "role");

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (yyjson_equals_str(role, names[i].name)) return names[i].role;
    return ROLE_OTHER;
}

static gem_status check_message(const struct renderer *r, size_t i)
{
    yyjson_val *role = yyjson_obj_get(r->messages[i], "role");
    const char *name = yyjson_get_str(role);
    const size_t n = gem_chat_len(role);

    if (!yyjson_is_obj(r->messages[i])) return gem_fail(r->err, GEM_E_FORMAT, 0, "message %zu: not an object", i);
    if (!name) return gem_fail(r->err, GEM_E_FORMAT, 0, "message %zu: no role", i);
    if (r->roles[i] != ROLE_OTHER || r->o->reference) return GEM_OK;
    return gem_fail(r->err, GEM_E_FORMAT, 0,
                    "message %zu: the role '%.*s' is none of system, developer, user, assistant, tool", i,
                    n < 60 ? (int)n : 60, name);
}

static gem_status read_messages(struct renderer *r, yyjson_val *messages)
{
    size_t i, max;
    yyjson_val *v;
    gem_status st;

    if (!yyjson_is_arr(messages)) return gem_fail(r->err, GEM_E_FORMAT, 0, "messages: not an array");
    r->n = yyjson_arr_size(messages);
    if (!(r->messages = gem_calloc(r->n, sizeof(yyjson_val *), "messages", r->err))) return GEM_E_NOMEM;
    if (!(r->roles = gem_calloc(r->n, sizeof *r->roles, "messages", r->err))) return GEM_E_NOMEM;
    yyjson_arr_foreach(messages, i, max, v)
    {
        r->messages[i] = v;
        r->roles[i] = role_of(v);
        if ((st = check_message(r, i))) return st;
        if (r->roles[i] == ROLE_USER) r->last_user = i + 1;
    }
    return GEM_OK;
}

/* The nearest message before, or behind, i that is not a tool's; r->n: none. */
static size_t before(const struct renderer *r, size_t i)
{
    while (i-- > 0)
        if (r->roles[i] != ROLE_TOOL) return i;
    return r->n;
}

static size_t behind(const struct renderer *r, size_t i)
{
    for (i++; i < r->n; i++)
        if (r->roles[i] != ROLE_TOOL) return i;
    return r->n;
}

/* ---- content ---------------------------------------------------------------------------------------------------- */

static void put_trimmed(struct renderer *r, const char *s, size_t n)
{
    n = gem_chat_strip(&s, n);
    gem_chat_put(r->t, s, n);
}

static size_t find(const char *s, size_t n, const char *what)
{
    const size_t len = strlen(what);

    for (size_t i = 0; i + len <= n; i++)
        if (!memcmp(s + i, what, len)) return i;
    return n;
}

/* What an assistant said, without thoughts that are spelled in it: cut at each end of a channel; of each piece, what
 * comes before the channel's beginning. */
static void put_answer(struct renderer *r, const char *s, size_t n)
{
    static const char open[] = "<|channel>", close[] = "<channel|>";
    char *kept;
    size_t n_kept = 0;

    if (find(s, n, open) == n && find(s, n, close) == n) {
        put_trimmed(r, s, n);
        return;
    }
    if (!(kept = gem_calloc(n, 1, "a message", r->err))) {
        r->t->status = GEM_E_NOMEM;
        return;
    }
    while (n > 0) {
        const size_t n_piece = find(s, n, close), n_said = find(s, n_piece, open);
        memcpy(kept + n_kept, s, n_said);
        n_kept += n_said;
        if (n_piece == n) break;
        s += n_piece + sizeof close - 1;
        n -= n_piece + sizeof close - 1;
    }
    put_trimmed(r, kept, n_kept);
    gem_free(kept);
}

static void put_text(struct renderer *r, size_t i, yyjson_val *text)
{
    if (r->roles[i] == ROLE_ASSISTANT)
        put_answer(r, gem_chat_str(text), gem_chat_len(text));
    else
        put_trimmed(r, gem_chat_str(text), gem_chat_len(text));
}

static bool put_media(struct renderer *r, size_t i, size_t part, yyjson_val *type)
{
    static const struct {
        const char *part, *type;
        enum gem_chat_control control;
    } kinds[] = {{"image", "image", GEM_CHAT_IMAGE},
                 {"image_url", "image", GEM_CHAT_IMAGE},
                 {"audio", "audio", GEM_CHAT_AUDIO},
                 {"input_audio", "audio", GEM_CHAT_AUDIO},
                 {"video", "video", GEM_CHAT_VIDEO}};
    struct gem_chat_prompt *p = r->p;
    void *media = p->media;

    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        if (!yyjson_equals_str(type, kinds[k].part)) continue;
        if (!r->t->status && r->t->format == GEM_CHAT_GEMMA3)
            r->t->status = gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "message %zu: Gemma 3 is used for text only", i);
        if (r->t->status) return true;
        r->t->status = gem_chat_grow(&media, &p->cap_media, p->n_media, 1, sizeof *p->media, 1 << 20,
                                     "images, sounds and videos", r->err);
        p->media = media;
        if (r->t->status) return true;
        p->media[p->n_media++] =
            (gem_chat_media){.type = kinds[k].type, .token = r->t->n_marks, .message = i, .part = part};
        gem_chat_put_control(r->t, kinds[k].control);
        return true;
    }
    return false;
}

static void check_part(struct renderer *r, size_t i, size_t part, yyjson_val *type)
{
    const char *name = yyjson_get_str(type);
    const size_t n = gem_chat_len(type);

    if (r->o->reference || r->t->status) return;
    r->t->status = gem_fail(r->err, GEM_E_FORMAT, 0,
                            "message %zu: part %zu of its content is of the type '%.*s', which "
                            "is not understood here",
                            i, part, n < 60 ? (int)n : 60, name ? name : "");
}

static void put_parts(struct renderer *r, size_t i, yyjson_val *content)
{
    size_t part, max;
    yyjson_val *v;

    yyjson_arr_foreach(content, part, max, v)
    {
        yyjson_val *type = yyjson_obj_get(v, "type"), *text = yyjson_obj_get(v, "text");

        if (yyjson_equals_str(type, "text") && yyjson_is_str(text))
            put_text(r, i, text);
        else if (!put_media(r, i, part, type))
            check_part(r, i, part, type);
    }
}

static void put_content(struct renderer *r, size_t i)
{
    yyjson_val *content = yyjson_obj_get(r->messages[i], "content");

    if (yyjson_is_str(content))
        put_text(r, i, content);
    else if (yyjson_is_arr(content))
        put_parts(r, i, content);
    else if (content && !yyjson_is_null(content) && !r->o->reference)
        fail(r, i, "its content is neither text nor a list of parts");
}

/* ---- calls and results ------------------------------------------------------------------------------------------ */

static yyjson_val *calls_of(yyjson_val *message)
{
    yyjson_val *calls = yyjson_obj_get(message, "tool_calls");

    return yyjson_arr_size(calls) > 0 ? calls : NULL;
}

static yyjson_val *own_results_of(yyjson_val *message)
{
    yyjson_val *results = yyjson_obj_get(message, "tool_responses");

    return yyjson_arr_size(results) > 0 ? results : NULL;
}

static yyjson_val *function_of(yyjson_val *call)
{
    yyjson_val *function = yyjson_obj_get(call, "function");

    return function ? function : call;
}

/* Clients of the OpenAI form send arguments as JSON text. */
static void put_arguments_text(struct renderer *r, size_t i, yyjson_val *text)
{
    yyjson_doc *doc = NULL;
    yyjson_val *root;
    gem_error why;
    gem_status st;

    if (gem_chat_len(text) == 0) {
        gem_chat_puts(r->t, "{}");
        return;
    }
    st = gem_json_parse_raw(&doc, "arguments", gem_chat_str(text), gem_chat_len(text), GEM_CHAT_MAX_JSON, &why);
    root = yyjson_doc_get_root(doc);
    if (st && !r->t->status)
        r->t->status = gem_fail(r->err, st, why.offset, "message %zu: a call's %.200s", i, why.message);
    else if (yyjson_is_obj(root))
        gem_chat_put_object(r->t, root);
    else
        fail(r, i, "a call's arguments are JSON, but no object");
    yyjson_doc_free(doc);
}

static void put_arguments(struct renderer *r, size_t i, yyjson_val *arguments)
{
    if (yyjson_is_obj(arguments))
        gem_chat_put_object(r->t, arguments);
    else if (!arguments || yyjson_is_null(arguments))
        gem_chat_puts(r->t, "{}");
    else if (yyjson_is_str(arguments) && !r->o->reference)
        put_arguments_text(r, i, arguments);
    else
        fail(r, i, "a call's arguments are not an object");
}

static void put_calls(struct renderer *r, size_t i, yyjson_val *calls)
{
    char where[40];
    size_t k, max;
    yyjson_val *call;

    snprintf(where, sizeof where, "message %zu", i);
    if (yyjson_arr_size(calls) > MAX_CALLS && !r->t->status)
        r->t->status = gem_fail(r->err, GEM_E_LIMIT, 0, "%s: more than %d calls", where, MAX_CALLS);
    yyjson_arr_foreach(calls, k, max, call)
    {
        yyjson_val *function = function_of(call), *name = yyjson_obj_get(function, "name");

        if (!r->t->status && !r->o->reference) r->t->status = gem_chat_check_name(name, where, r->err);
        gem_chat_put_control(r->t, GEM_CHAT_TOOL_CALL);
        gem_chat_puts(r->t, "call:");
        gem_chat_put(r->t, gem_chat_str(name), gem_chat_len(name));
        put_arguments(r, i, yyjson_obj_get(function, "arguments"));
        gem_chat_put_control(r->t, GEM_CHAT_TOOL_CALL_END);
    }
}

static void begin_result(struct renderer *r, yyjson_val *name)
{
    gem_chat_put_control(r->t, GEM_CHAT_RESPONSE);
    gem_chat_puts(r->t, "response:");
    if (gem_chat_len(name) > 0)
        gem_chat_put(r->t, gem_chat_str(name), gem_chat_len(name));
    else
        gem_chat_puts(r->t, "unknown");
}

static void put_result_value(struct renderer *r, yyjson_val *value)
{
    if (yyjson_is_obj(value)) {
        gem_chat_put_object(r->t, value);
        return;
    }
    gem_chat_puts(r->t, "{value:");
    gem_chat_put_value(r->t, value, false);
    gem_chat_puts(r->t, "}");
}

/* The results that Google's native form carries on the assistant's message. */
static void put_own_results(struct renderer *r, yyjson_val *results)
{
    size_t k, max;
    yyjson_val *v;

    yyjson_arr_foreach(results, k, max, v)
    {
        yyjson_val *response = yyjson_obj_get(v, "response");

        begin_result(r, yyjson_obj_get(v, "name"));
        if (!response && r->o->reference)
            gem_chat_puts(r->t, "{value:[]}"); /* undefined passes for an empty list */
        else
            put_result_value(r, response);
        gem_chat_put_control(r->t, GEM_CHAT_RESPONSE_END);
    }
}

/* Text parts joined as they are; media go behind the closed result. */
static void put_result_parts(struct renderer *r, size_t i, yyjson_val *parts)
{
    size_t k, max;
    yyjson_val *v;

    gem_chat_puts(r->t, "{value:");
    gem_chat_put_control(r->t, GEM_CHAT_QUOTE);
    yyjson_arr_foreach(parts, k, max, v)
    {
        yyjson_val *text = yyjson_obj_get(v, "text");
        if (yyjson_equals_str(yyjson_obj_get(v, "type"), "text"))
            gem_chat_put(r->t, gem_chat_str(text), gem_chat_len(text));
    }
    gem_chat_put_control(r->t, GEM_CHAT_QUOTE);
    gem_chat_puts(r->t, "}");
    gem_chat_put_control(r->t, GEM_CHAT_RESPONSE_END);
    yyjson_arr_foreach(parts, k, max, v)
    {
        yyjson_val *type = yyjson_obj_get(v, "type");
        if (!yyjson_equals_str(type, "text") && !put_media(r, i, k, type)) check_part(r, i, k, type);
    }
}

static bool same_id(yyjson_val *a, yyjson_val *b)
{
    const bool no_a = !a || yyjson_is_null(a), no_b = !b || yyjson_is_null(b);

    return no_a || no_b ? no_a && no_b : yyjson_equals(a, b); /* missing equals missing, as in the template */
}

/* The name of the call that result number k, message i, is of; NULL after a failure or when unknown. */
static yyjson_val *result_name(struct renderer *r, size_t i, size_t k, yyjson_val *calls)
{
    yyjson_val *id = yyjson_obj_get(r->messages[i], "tool_call_id"), *call, *name = NULL;
    size_t c, max;

    if ((!id || yyjson_is_null(id)) && !r->o->reference) {
        call = yyjson_arr_get(calls, k);
        if (!call) fail(r, i, "a tool's result without a call: there are more results than calls");
        return yyjson_obj_get(function_of(call), "name");
    }
    yyjson_arr_foreach(calls, c, max, call)
    {
        if (same_id(yyjson_obj_get(call, "id"), id)) name = yyjson_obj_get(function_of(call), "name");
    }
    if (!name && !r->o->reference) fail(r, i, "a tool's result without a call: no call has its tool_call_id");
    return name ? name : yyjson_obj_get(r->messages[i], "name");
}

/* The tool messages right behind message i. Returns how many. */
static size_t put_results(struct renderer *r, size_t i, yyjson_val *calls)
{
    size_t k = 0;

    for (size_t at = i + 1; at < r->n && r->roles[at] == ROLE_TOOL; at++, k++) {
        yyjson_val *content = yyjson_obj_get(r->messages[at], "content");

        begin_result(r, result_name(r, at, k, calls));
        if (yyjson_is_arr(content)) {
            put_result_parts(r, at, content);
            continue;
        }
        if (yyjson_is_obj(content) && r->o->reference) fail(r, at, "its content is an object");
        put_result_value(r, content);
        gem_chat_put_control(r->t, GEM_CHAT_RESPONSE_END);
    }
    return k;
}

/* caller: the message before it that is not a tool's; r->n: none. */
static void check_tool_message(struct renderer *r, size_t i, size_t caller)
{
    if (r->o->reference) return;
    if (caller == r->n || !calls_of(r->messages[caller]) || own_results_of(r->messages[caller]))
        fail(r, i, "a tool's result without a call right before it");
}

/* ---- turns ------------------------------------------------------------------------------------------------------ */

static void put_reasoning(struct renderer *r, size_t i)
{
    yyjson_val *m = r->messages[i], *text = yyjson_obj_get(m, "reasoning");

    if (gem_chat_len(text) == 0) text = yyjson_obj_get(m, "reasoning_content");
    if (gem_chat_len(text) == 0) return;
    if (i + 1 <= r->last_user && !(r->o->preserve_thinking && calls_of(m))) return;
    gem_chat_put_control(r->t, GEM_CHAT_CHANNEL);
    gem_chat_puts(r->t, "thought\n");
    gem_chat_put(r->t, gem_chat_str(text), gem_chat_len(text));
    gem_chat_puts(r->t, "\n");
    gem_chat_put_control(r->t, GEM_CHAT_CHANNEL_END);
}

static void put_role(struct renderer *r, size_t i)
{
    yyjson_val *role = yyjson_obj_get(r->messages[i], "role");

    gem_chat_put_control(r->t, GEM_CHAT_TURN);
    if (r->roles[i] == ROLE_ASSISTANT)
        gem_chat_puts(r->t, "model");
    else
        gem_chat_put(r->t, gem_chat_str(role), gem_chat_len(role));
    gem_chat_puts(r->t, "\n");
}

static void end_turn(struct renderer *r)
{
    gem_chat_put_control(r->t, GEM_CHAT_TURN_END);
    gem_chat_puts(r->t, "\n");
}

/* A message that is not a tool's. Text beside calls was said before them; only Google's native form, where the results
 * are on the same message, has an answer there. The template puts it behind the results in any case and ends the turn,
 * which makes models think without end. */
static void put_message(struct renderer *r, size_t i)
{
    const bool assistant = r->roles[i] == ROLE_ASSISTANT;
    const size_t last = before(r, i), next = behind(r, i);
    const bool all = assistant || r->o->reference; /* the template asks no one for its role */
    yyjson_val *calls = all ? calls_of(r->messages[i]) : NULL, *own = all ? own_results_of(r->messages[i]) : NULL;
    const bool text_first = calls && !own && !r->o->reference;
    size_t begin, n_results = 0;
    bool has_text;

    if (!assistant || last == r->n || r->roles[last] != ROLE_ASSISTANT) put_role(r, i);
    if (all) put_reasoning(r, i);
    begin = r->t->n;
    if (text_first) put_content(r, i);
    has_text = r->t->n > begin;
    put_calls(r, i, calls);
    if (own) {
        put_own_results(r, own);
        n_results = yyjson_arr_size(own);
    } else if (calls) {
        n_results = put_results(r, i, calls);
    }
    begin = r->t->n;
    if (!text_first) {
        put_content(r, i);
        has_text = r->t->n > begin;
    }
    r->last = n_results ? LAST_RESULT : calls ? LAST_CALL : LAST_NONE;
    if (calls && !n_results) {
        gem_chat_put_control(r->t, GEM_CHAT_RESPONSE);
        return;
    }
    if (assistant && next < r->n && r->roles[next] == ROLE_ASSISTANT) return; /* which goes on with this turn */
    if (n_results && (text_first || !has_text) && next == r->n) return;       /* the model goes on with it */
    end_turn(r);
    if (own && has_text && !r->o->reference) r->last = LAST_NONE;
}

static void put_system(struct renderer *r, yyjson_val *tools)
{
    const bool first = r->n > 0 && r->roles[0] == ROLE_SYSTEM;
    yyjson_val *content = first ? yyjson_obj_get(r->messages[0], "content") : NULL, *v;
    size_t k, max;

    if (!first && !r->o->thinking && yyjson_arr_size(tools) == 0) return;
    gem_chat_put_control(r->t, GEM_CHAT_TURN);
    gem_chat_puts(r->t, "system\n");
    if (r->o->thinking) {
        gem_chat_put_control(r->t, GEM_CHAT_THINK);
        gem_chat_puts(r->t, "\n");
    }
    if (yyjson_is_str(content)) put_text(r, 0, content);
    yyjson_arr_foreach(content, k, max, v)
    {
        yyjson_val *text = yyjson_obj_get(v, "text");
        if (!yyjson_is_str(text)) check_part(r, 0, k, yyjson_obj_get(v, "type"));
        put_text(r, 0, text);
        gem_chat_puts(r->t, " ");
    }
    if (content && !yyjson_is_str(content) && !yyjson_is_arr(content) && !yyjson_is_null(content))
        fail(r, 0, "its content is neither text nor a list of parts");
    gem_chat_declare(r->t, tools, r->o->reference);
    end_turn(r);
}

static void put_generation(struct renderer *r)
{
    const bool large = r->t->format == GEM_CHAT_GEMMA4_LARGE, thinking = r->o->thinking;
    const bool opened = r->last == LAST_NONE;

    if (opened) {
        gem_chat_put_control(r->t, GEM_CHAT_TURN);
        gem_chat_puts(r->t, "model\n");
    }
    if (thinking) r->p->thought = r->last == LAST_RESULT ? GEM_THOUGHT_OPEN : GEM_THOUGHT_OPTIONAL;
    if (r->p->thought != GEM_THOUGHT_OPEN && !(opened && large && !thinking)) return;
    gem_chat_put_control(r->t, GEM_CHAT_CHANNEL);
    gem_chat_puts(r->t, "thought\n");
    if (!thinking) gem_chat_put_control(r->t, GEM_CHAT_CHANNEL_END);
}

static void render_gemma4(struct renderer *r)
{
    size_t caller = r->n;

    gem_chat_put_control(r->t, GEM_CHAT_BOS);
    put_system(r, yyjson_doc_get_root(r->p->tools));
    for (size_t i = r->n > 0 && r->roles[0] == ROLE_SYSTEM; i < r->n && !r->t->status; i++) {
        if (r->roles[i] == ROLE_TOOL) {
            check_tool_message(r, i, caller);
        } else {
            put_message(r, i);
            caller = i;
        }
    }
    if (!r->o->history_only) put_generation(r);
}

/* ---- Gemma 3 ---------------------------------------------------------------------------------------------------- */

/* Plain turns. The system text goes before the first user's. */
static void render_gemma3(struct renderer *r)
{
    const bool system = r->n > 0 && r->roles[0] == ROLE_SYSTEM;
    bool lead = system;

    if (r->p->tools || r->o->thinking) {
        r->t->status = gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: Gemma 3's conversations have none",
                                r->p->tools ? "tools" : "thinking");
        return;
    }
    gem_chat_put_control(r->t, GEM_CHAT_BOS);
    for (size_t i = system; i < r->n && !r->t->status; i++) {
        if (r->roles[i] != ROLE_USER && r->roles[i] != ROLE_ASSISTANT)
            fail(r, i, "Gemma 3's conversations have only the roles user and assistant after the first message");
        put_role(r, i);
        if (lead && r->roles[i] == ROLE_USER) {
            yyjson_val *text = yyjson_obj_get(r->messages[0], "content");
            if (!yyjson_is_str(text)) text = yyjson_obj_get(yyjson_arr_get(text, 0), "text");
            gem_chat_put(r->t, gem_chat_str(text), gem_chat_len(text));
            gem_chat_puts(r->t, "\n\n");
            lead = false;
        }
        if (calls_of(r->messages[i])) fail(r, i, "Gemma 3's conversations have no calls");
        put_content(r, i);
        end_turn(r);
    }
    if (!r->o->history_only) {
        gem_chat_put_control(r->t, GEM_CHAT_TURN);
        gem_chat_puts(r->t, "model\n");
    }
}

/* ----------------------------------------------------------------------------------------------------------------- */

gem_status gem_chat_render_messages(struct gem_chat_prompt *p, yyjson_val *messages, const gem_chat_options *options,
                                    gem_error *err)
{
    struct renderer r = {.p = p, .t = &p->text, .o = options, .err = err};
    gem_status st = read_messages(&r, messages);

    if (!st && p->text.format == GEM_CHAT_GEMMA3)
        render_gemma3(&r);
    else if (!st)
        render_gemma4(&r);
    if (!st) st = p->text.status;
    gem_free(r.messages);
    gem_free(r.roles);
    return st;
}
