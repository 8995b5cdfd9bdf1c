/* SPDX-License-Identifier: Apache-2.0
 * src/chat/parse.c - what a model writes to thought, text and calls (spec/tokenizer-and-chat.md 3.6). Works on control
 * tokens, not on their spelling: a marker that an answer only speaks of is text. Text is given out at once, but for
 * what may turn out not to be text: the channel's label, a newline before the end of a thought, white space behind a
 * call. */
#include "chat/chat.h"

#include <string.h>

#include "base/memory.h"
#include "base/stop.h"
#include "base/utf8.h"

enum { MAX_CALL = 16 << 20, MAX_ANSWER = 256 << 20 };

/* More control tokens than rendering has: all that may come. */
static const char *const other_names[] = {"<pad>",    "<unk>",    "<mask>",        "<|image>",       "<image|>",
                                          "<|audio>", "<audio|>", "<end_of_turn>", "<start_of_turn>"};
enum { N_OTHERS = sizeof other_names / sizeof *other_names };

struct buffer {
    char *s;
    size_t n, cap;
};

struct call {
    yyjson_mut_val *name, *arguments;
};

struct gem_chat_parser {
    const struct gem_tokenizer *t;
    struct gem_chat_ids ids;
    gem_chat_format format;
    yyjson_val *tools;
    gem_chat_event_fn *on_event;
    void *user;
    gem_error *err; /* of the call in progress */
    gem_status status;

    enum { IN_CONTENT, IN_LABEL, IN_THOUGHT, IN_CALL } state;
    bool stopped, finished;
    bool empty;      /* nothing but the label has come in this thought */
    bool after_call; /* white space here is not content */
    size_t n_thought_tokens;
    gem_text_stream stream;
    struct gem_utf8_reader utf8; /* of pushed text, with what there is of a character */
    char pending[4];
    size_t n_pending;
    struct buffer held;    /* text that may not be text */
    struct buffer body;    /* of the call that is open */
    struct buffer partial; /* beginning of a control token's spelling, in pushed text */

    bool has_stop;
    struct gem_stop stop;           /* content goes through it */
    struct buffer thought, content; /* all of it, for the message */
    yyjson_mut_doc *doc;            /* of calls */
    struct call *calls;
    size_t n_calls, cap_calls;
    char *message; /* yyjson's */
};

/* ---- buffers and events ----------------------------------------------------------------------------------------- */

static void add(gem_chat_parser *p, struct buffer *b, const char *s, size_t n, size_t most, const char *what)
{
    void *grown = b->s;

    if (p->status || n == 0) return;
    p->status = gem_chat_grow(&grown, &b->cap, b->n, n, 1, most, what, p->err);
    b->s = grown;
    if (p->status) return;
    memcpy(b->s + b->n, s, n);
    b->n += n;
}

static void emit(const gem_chat_parser *p, gem_chat_event_kind kind, const char *s, size_t n, const char *name,
                 size_t n_name)
{
    const gem_chat_event event = {.kind = kind, .text = s, .n_text = n, .name = name, .n_name = n_name};

    if (p->on_event && !p->status) p->on_event(p->user, &event);
}

static void give_thought(gem_chat_parser *p, const char *s, size_t n)
{
    if (n == 0) return;
    if (p->empty && p->thought.n > 0) add(p, &p->thought, "\n", 1, MAX_ANSWER, "bytes of an answer");
    p->empty = false;
    add(p, &p->thought, s, n, MAX_ANSWER, "bytes of an answer");
    emit(p, GEM_CHAT_THOUGHT, s, n, NULL, 0);
}

/* A gem_text_fn. */
static bool tell_content(void *user, const char *s, size_t n)
{
    gem_chat_parser *p = user;

    add(p, &p->content, s, n, MAX_ANSWER, "bytes of an answer");
    emit(p, GEM_CHAT_TEXT, s, n, NULL, 0);
    return true;
}

static void give_content(gem_chat_parser *p, const char *s, size_t n)
{
    if (n == 0) return;
    if (!p->has_stop) {
        tell_content(p, s, n);
        return;
    }
    gem_stop_push(&p->stop, s, n);
    if (p->stop.found >= 0) p->stopped = true;
}

/* No stop string reaches over what comes now. */
static void end_stop(gem_chat_parser *p)
{
    if (p->has_stop) gem_stop_flush(&p->stop);
}

static bool has_content(const gem_chat_parser *p) { return p->content.n + p->stop.n_held > 0; }

static void complain(gem_chat_parser *p, const char *s, size_t n, const char *what)
{
    end_stop(p);
    emit(p, GEM_CHAT_MALFORMED, s, n, what, strlen(what));
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

static const char label[] = "thought\n";
enum { N_LABEL = sizeof label - 1 };

/* Up to one newline at the end waits: it belongs to the end of the thought, if that comes next. */
static void push_thought(gem_chat_parser *p, const char *s, size_t n)
{
    const bool newline = n > 0 && s[n - 1] == '\n';

    if (n == 0) return;
    give_thought(p, p->held.s, p->held.n);
    p->held.n = 0;
    give_thought(p, s, n - newline);
    if (newline) add(p, &p->held, "\n", 1, 1, "bytes");
}

/* A channel begins with its label. What begins otherwise is all thought. */
static void push_label(gem_chat_parser *p, const char *s, size_t n)
{
    const size_t have = p->held.n, want = have + n < N_LABEL ? have + n : N_LABEL;

    add(p, &p->held, s, n, MAX_ANSWER, "bytes of an answer");
    if (p->status) return;
    if (!memcmp(p->held.s, label, want) && want < N_LABEL) return;
    struct buffer held = p->held;
    const size_t skip = memcmp(held.s, label, want) ? 0 : N_LABEL;
    p->held = (struct buffer){0};
    p->state = IN_THOUGHT;
    push_thought(p, held.s + skip, held.n - skip);
    gem_free(held.s);
}

static bool all_space(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ' && s[i] != '\n' && s[i] != '\t' && s[i] != '\r') return false;
    return true;
}

/* Whether what is held may still be a thought whose opening token was lost. */
static bool may_be_label(const gem_chat_parser *p)
{
    const size_t n = p->held.n < N_LABEL ? p->held.n : N_LABEL;

    return !has_content(p) && p->n_calls == 0 && n > 0 && !memcmp(p->held.s, label, n);
}

static void flush_content(gem_chat_parser *p)
{
    give_content(p, p->held.s, p->held.n);
    p->held.n = 0;
}

static void push_content(gem_chat_parser *p, const char *s, size_t n)
{
    if (n == 0) return;
    if (p->held.n == 0 && !p->after_call && (has_content(p) || s[0] != label[0] || p->thought.n > 0)) {
        give_content(p, s, n); /* the usual case: nothing to wait for */
        return;
    }
    add(p, &p->held, s, n, MAX_ANSWER, "bytes of an answer");
    if (p->status || (p->after_call && all_space(p->held.s, p->held.n)) || may_be_label(p)) return;
    p->after_call = false;
    flush_content(p);
}

static void push_plain(gem_chat_parser *p, const char *s, size_t n)
{
    if (p->stopped || n == 0) return;
    switch (p->state) {
    case IN_CONTENT: push_content(p, s, n); break;
    case IN_LABEL: push_label(p, s, n); break;
    case IN_THOUGHT: push_thought(p, s, n); break;
    case IN_CALL: add(p, &p->body, s, n, MAX_CALL, "bytes of a call"); break;
    }
}

/* ---- ends of states --------------------------------------------------------------------------------------------- */

static void end_thought(gem_chat_parser *p)
{
    if (p->state == IN_LABEL && (p->held.n + 1 != N_LABEL || memcmp(p->held.s, label, N_LABEL - 1)))
        give_thought(p, p->held.s, p->held.n); /* a word that only began like the label */
    p->held.n = 0;                             /* the newline before the end, or the label alone */
    p->state = IN_CONTENT;
}

/* What was held as content goes out, unless it is white space between calls or before the end. */
static void end_content(gem_chat_parser *p)
{
    if (p->after_call && all_space(p->held.s, p->held.n)) p->held.n = 0;
    flush_content(p);
    end_stop(p);
}

static void leave(gem_chat_parser *p)
{
    if (p->state == IN_THOUGHT || p->state == IN_LABEL)
        end_thought(p);
    else
        end_content(p);
}

/* The raw text of a call, quote tokens by name. */
static void complain_of_call(gem_chat_parser *p, bool closed, const char *what)
{
    static const char open[] = "<|tool_call>", close[] = "<tool_call|>", quote[] = "<|\"|>";
    struct buffer raw = {0};

    add(p, &raw, open, sizeof open - 1, SIZE_MAX / 2, "a call");
    for (size_t i = 0; i < p->body.n; i++) {
        if ((uint8_t)p->body.s[i] == GEM_CHAT_QUOTE_BYTE)
            add(p, &raw, quote, sizeof quote - 1, SIZE_MAX / 2, "a call");
        else
            add(p, &raw, p->body.s + i, 1, SIZE_MAX / 2, "a call");
    }
    if (closed) add(p, &raw, close, sizeof close - 1, SIZE_MAX / 2, "a call");
    complain(p, raw.s, raw.n, what);
    gem_free(raw.s);
}

static void keep_call(gem_chat_parser *p, const char *name, size_t n_name, yyjson_mut_val *arguments)
{
    void *calls = p->calls;
    size_t n = 0;
    char *json = yyjson_mut_val_write(arguments, YYJSON_WRITE_NOFLAG, &n);

    if (!json) {
        p->status = gem_fail_nomem(p->err, n, "a call");
        return;
    }
    p->status = gem_chat_grow(&calls, &p->cap_calls, p->n_calls, 1, sizeof *p->calls, 1 << 20, "calls", p->err);
    p->calls = calls;
    if (!p->status) {
        p->calls[p->n_calls] = (struct call){yyjson_mut_strncpy(p->doc, name, n_name), arguments};
        if (!p->calls[p->n_calls++].name) p->status = gem_fail_nomem(p->err, n_name, "a call");
    }
    emit(p, GEM_CHAT_CALL, json, n, name, n_name);
    gem_free(json);
}

static void end_call(gem_chat_parser *p, bool closed, bool stopped)
{
    const struct gem_chat_body body = {.s = p->body.s, .n = p->body.n, .closed = closed, .stopped = stopped};
    yyjson_mut_val *arguments;
    const char *name = NULL, *wrong;
    size_t n_name = 0;
    bool nomem = false;

    if (p->status) return;
    wrong = gem_chat_read_call(p->doc, p->tools, &body, &name, &n_name, &arguments, &nomem);
    if (nomem)
        p->status = gem_fail_nomem(p->err, p->body.n, "a call");
    else if (wrong)
        complain_of_call(p, closed, wrong);
    else
        keep_call(p, name, n_name, arguments);
    p->body.n = 0;
    p->state = IN_CONTENT;
    p->after_call = true;
}

/* ---- control tokens --------------------------------------------------------------------------------------------- */

static void on_channel(gem_chat_parser *p)
{
    if (p->state == IN_LABEL && p->held.n == 0) return; /* said twice */
    if (p->state == IN_CALL) end_call(p, false, true);
    leave(p);
    p->state = IN_LABEL;
    p->empty = true;
    p->n_thought_tokens = 0;
}

static void on_channel_end(gem_chat_parser *p)
{
    if (p->state == IN_CALL) end_call(p, false, true);
    if (p->state == IN_THOUGHT || p->state == IN_LABEL) {
        end_thought(p);
    } else if (may_be_label(p) && p->held.n >= N_LABEL) { /* the opening token was lost */
        const size_t n = p->held.n - (p->held.n > N_LABEL && p->held.s[p->held.n - 1] == '\n');
        give_thought(p, p->held.s + N_LABEL, n - N_LABEL);
        p->held.n = 0;
    }
}

static void on_call(gem_chat_parser *p)
{
    if (p->state == IN_CALL) {
        end_call(p, false, true);
    } else {
        leave(p);
    }
    p->state = IN_CALL;
}

static void on_quote(gem_chat_parser *p)
{
    static const char quote = (char)GEM_CHAT_QUOTE_BYTE;

    if (p->state == IN_CALL)
        add(p, &p->body, &quote, 1, MAX_CALL, "bytes of a call");
    else
        push_plain(p, "<|\"|>", 5);
}

static void on_stop(gem_chat_parser *p)
{
    if (p->state == IN_CALL) end_call(p, false, true);
    leave(p);
    p->stopped = true;
}

static void on_control(gem_chat_parser *p, enum gem_chat_control control)
{
    if (p->stopped) return;
    switch (control) {
    case GEM_CHAT_CHANNEL: on_channel(p); break;
    case GEM_CHAT_CHANNEL_END: on_channel_end(p); break;
    case GEM_CHAT_TOOL_CALL: on_call(p); break;
    case GEM_CHAT_TOOL_CALL_END:
        if (p->state == IN_CALL) end_call(p, true, true);
        break;
    case GEM_CHAT_QUOTE: on_quote(p); break;
    case GEM_CHAT_EOS:
    case GEM_CHAT_TURN_END:
    case GEM_CHAT_RESPONSE: on_stop(p); break;
    default: {
        const char *name = gem_chat_control_name(p->format, control);
        complain(p, name, strlen(name), "a control token that has no place in an answer");
    }
    }
}

static void flush_stream(gem_chat_parser *p)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;

    gem_text_stream_finish(&p->stream, text, &n);
    push_plain(p, text, n);
}

/* ---- tokens ----------------------------------------------------------------------------------------------------- */

static bool begin(gem_chat_parser *p, gem_error *err)
{
    p->err = err;
    if (p->status) gem_fail(err, p->status, 0, "a parser that failed before");
    return !p->status;
}

gem_status gem_chat_parser_push(gem_chat_parser *p, int32_t token, gem_error *err)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;

    if (!begin(p, err)) return p->status;
    if (!p->t) return gem_fail(err, GEM_E_UNSUPPORTED, 0, "the model has no tokenizer");
    if (p->stopped) return GEM_OK;
    if (p->state == IN_THOUGHT || p->state == IN_LABEL) p->n_thought_tokens++;
    for (size_t i = 0; i < GEM_CHAT_N_CONTROLS; i++) {
        if (p->ids.id[i] != token || token < 0) continue;
        flush_stream(p);
        on_control(p, (enum gem_chat_control)i);
        return p->status;
    }
    if (token >= 0 && (uint32_t)token < gem_tokenizer_vocab(p->t) && gem_tokenizer_is_control(p->t, token)) {
        const char *name = gem_tokenizer_piece(p->t, token, &n);
        flush_stream(p);
        complain(p, name, n, "a control token that has no place in an answer");
        return p->status;
    }
    if ((p->status = gem_tokenizer_stream_push(p->t, &p->stream, token, text, &n, err))) return p->status;
    push_plain(p, text, n);
    return p->status;
}

/* ---- text with control tokens by name --------------------------------------------------------------------------- */

/* The control token that s begins with; GEM_CHAT_N_CONTROLS and more: one of the others; -1: none. *partial: s may be
 * the beginning of one. */
static int control_at(const gem_chat_parser *p, const char *s, size_t n, size_t *len, bool *partial)
{
    *partial = false;
    for (int i = 0; i < GEM_CHAT_N_CONTROLS + N_OTHERS; i++) {
        const char *name = i < GEM_CHAT_N_CONTROLS ? gem_chat_control_name(p->format, (enum gem_chat_control)i)
                                                   : other_names[i - GEM_CHAT_N_CONTROLS];
        if (!name) continue;
        *len = strlen(name);
        if (*len <= n && !memcmp(s, name, *len)) return i;
        if (*len > n && !memcmp(s, name, n)) *partial = true;
    }
    return -1;
}

/* Consumes as much of s as is decided; returns how much. */
static size_t push_decided(gem_chat_parser *p, const char *s, size_t n)
{
    size_t done = 0;

    if (n == 0) return 0;
    for (size_t at = 0; at < n && !p->status;) {
        size_t len = 0;
        bool partial = false;
        const int control = s[at] == '<' ? control_at(p, s + at, n - at, &len, &partial) : -1;

        if (s[at] != '<' || (control < 0 && !partial)) {
            at++;
            continue;
        }
        push_plain(p, s + done, at - done);
        done = at;
        if (control < 0) return done;
        if (control < GEM_CHAT_N_CONTROLS)
            on_control(p, (enum gem_chat_control)control);
        else if (!p->stopped)
            complain(p, s + at, len, "a control token that has no place in an answer");
        done = at += len;
    }
    push_plain(p, s + done, n - done);
    return n;
}

/* Appends valid UTF-8 only: what is none becomes U+FFFD, byte by byte. A character that is not whole yet waits. */
static void add_clean(gem_chat_parser *p, const char *s, size_t n)
{
    for (size_t i = 0; i < n && !p->status;) {
        if (!gem_utf8_feed(&p->utf8, (uint8_t)s[i])) {
            const bool again = p->n_pending > 0; /* it may begin a character, though it does not continue this one */
            for (size_t k = 0; k < (again ? p->n_pending : 1); k++)
                add(p, &p->partial, GEM_UTF8_REPLACEMENT, GEM_UTF8_REPLACEMENT_BYTES, MAX_ANSWER, "bytes of an answer");
            p->n_pending = 0;
            i += !again;
            continue;
        }
        p->pending[p->n_pending++] = s[i++];
        if (p->utf8.need > 0) continue;
        add(p, &p->partial, p->pending, p->n_pending, MAX_ANSWER, "bytes of an answer");
        p->n_pending = 0;
    }
}

gem_status gem_chat_parser_push_text(gem_chat_parser *p, const char *text, size_t n, gem_error *err)
{
    size_t done;

    if (!begin(p, err)) return p->status;
    add_clean(p, text, n);
    if (p->status) return p->status;
    done = push_decided(p, p->partial.s, p->partial.n);
    p->partial.n -= done;
    if (p->partial.n > 0) memmove(p->partial.s, p->partial.s + done, p->partial.n);
    return p->status;
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

gem_status gem_chat_parser_finish(gem_chat_parser *p, gem_error *err)
{
    if (!begin(p, err)) return p->status;
    if (p->finished) return GEM_OK;
    flush_stream(p);
    for (size_t i = 0; i < p->n_pending; i++)
        add(p, &p->partial, GEM_UTF8_REPLACEMENT, GEM_UTF8_REPLACEMENT_BYTES, MAX_ANSWER, "bytes of an answer");
    push_plain(p, p->partial.s, p->partial.n);
    p->partial.n = 0;
    if (!p->stopped && p->state == IN_CALL) end_call(p, false, false);
    if (!p->stopped) leave(p);
    p->finished = true;
    return p->status;
}

gem_status gem_chat_parser_set_stop(gem_chat_parser *p, const gem_stop_string *strings, size_t n, gem_error *err)
{
    gem_status st;

    gem_stop_close(&p->stop);
    p->has_stop = false;
    if (n == 0) return GEM_OK;
    st = gem_stop_open(&p->stop, strings, n, tell_content, p, err);
    p->has_stop = st == GEM_OK;
    return st;
}

int32_t gem_chat_parser_stop(const gem_chat_parser *p) { return p->has_stop ? p->stop.found : -1; }

bool gem_chat_parser_thinking(const gem_chat_parser *p, size_t *n_tokens)
{
    const bool open = (p->state == IN_LABEL || p->state == IN_THOUGHT) && !p->stopped;

    if (n_tokens) *n_tokens = open ? p->n_thought_tokens : 0;
    return open;
}

static bool add_calls(const gem_chat_parser *p, yyjson_mut_doc *doc, yyjson_mut_val *message, size_t first)
{
    yyjson_mut_val *list = yyjson_mut_arr(doc);
    bool ok = list && yyjson_mut_obj_add_val(doc, message, "tool_calls", list);

    for (size_t i = 0; i < p->n_calls && ok; i++) {
        yyjson_mut_val *call = yyjson_mut_arr_add_obj(doc, list), *function;
        char id[40] = "call_";
        size_t n = 5, number = first + i, digits = 1;

        for (size_t rest = number; rest >= 10; rest /= 10) digits++;
        for (size_t k = digits; k-- > 0; number /= 10) id[n + k] = (char)('0' + number % 10);
        ok = call && yyjson_mut_obj_add_strncpy(doc, call, "id", id, n + digits) &&
             yyjson_mut_obj_add_str(doc, call, "type", "function") &&
             (function = yyjson_mut_obj_add_obj(doc, call, "function")) &&
             yyjson_mut_obj_add_val(doc, function, "name", yyjson_mut_val_mut_copy(doc, p->calls[i].name)) &&
             yyjson_mut_obj_add_val(doc, function, "arguments", yyjson_mut_val_mut_copy(doc, p->calls[i].arguments));
    }
    return ok;
}

gem_status gem_chat_parser_message(gem_chat_parser *p, size_t first_call, const char **json, size_t *n, gem_error *err)
{
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *message = yyjson_mut_obj(doc);
    bool ok;

    *json = NULL;
    *n = 0;
    yyjson_mut_doc_set_root(doc, message);
    ok = message && yyjson_mut_obj_add_str(doc, message, "role", "assistant");
    if (ok && p->thought.n > 0) ok = yyjson_mut_obj_add_strn(doc, message, "reasoning", p->thought.s, p->thought.n);
    if (ok && (p->content.n > 0 || p->n_calls == 0))
        ok = yyjson_mut_obj_add_strn(doc, message, "content", p->content.s ? p->content.s : "", p->content.n);
    if (ok && p->n_calls > 0) ok = add_calls(p, doc, message, first_call);
    gem_free(p->message);
    p->message = ok ? yyjson_mut_write(doc, YYJSON_WRITE_ALLOW_INVALID_UNICODE, n) : NULL;
    yyjson_mut_doc_free(doc);
    if (!p->message) return gem_fail_nomem(err, 0, "a message");
    *json = p->message;
    return GEM_OK;
}

/* ---- opening and closing ---------------------------------------------------------------------------------------- */

gem_status gem_chat_reader_open(gem_chat_parser **out, const struct gem_tokenizer *t, gem_chat_format format,
                                const struct gem_chat_prompt *prompt, gem_chat_event_fn *on_event, void *user,
                                gem_error *err)
{
    gem_chat_parser *p = gem_calloc(1, sizeof *p, "a parser of answers", err);

    *out = NULL;
    if (!p) return GEM_E_NOMEM;
    p->t = t;
    p->format = prompt ? prompt->text.format : format;
    gem_chat_find_ids(&p->ids, p->format, t);
    p->tools = prompt ? yyjson_doc_get_root(prompt->tools) : NULL;
    p->on_event = on_event;
    p->user = user;
    if (prompt && prompt->thought == GEM_THOUGHT_OPEN) {
        p->state = IN_THOUGHT;
        p->empty = true;
    }
    if (!(p->doc = yyjson_mut_doc_new(NULL))) {
        gem_chat_parser_close(p);
        return gem_fail_nomem(err, 0, "a parser of answers");
    }
    *out = p;
    return GEM_OK;
}

void gem_chat_parser_close(gem_chat_parser *p)
{
    struct buffer *buffers[5];

    if (!p) return;
    buffers[0] = &p->held;
    buffers[1] = &p->body;
    buffers[2] = &p->partial;
    buffers[3] = &p->thought;
    buffers[4] = &p->content;
    for (size_t i = 0; i < 5; i++) gem_free(buffers[i]->s);
    gem_stop_close(&p->stop);
    yyjson_mut_doc_free(p->doc);
    gem_free(p->calls);
    gem_free(p->message);
    gem_free(p);
}
