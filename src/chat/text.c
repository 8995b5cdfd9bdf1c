/* SPDX-License-Identifier: Apache-2.0 */
#include "chat/text.h"

#include <string.h>

#include "base/memory.h"

enum { MAX_TEXT = 128 << 20, MAX_MARKS = 16 << 20 };

static const char *const gemma4[GEM_CHAT_N_CONTROLS] = {
    [GEM_CHAT_BOS] = "<bos>",
    [GEM_CHAT_EOS] = "<eos>",
    [GEM_CHAT_TURN] = "<|turn>",
    [GEM_CHAT_TURN_END] = "<turn|>",
    [GEM_CHAT_THINK] = "<|think|>",
    [GEM_CHAT_CHANNEL] = "<|channel>",
    [GEM_CHAT_CHANNEL_END] = "<channel|>",
    [GEM_CHAT_TOOL] = "<|tool>",
    [GEM_CHAT_TOOL_END] = "<tool|>",
    [GEM_CHAT_TOOL_CALL] = "<|tool_call>",
    [GEM_CHAT_TOOL_CALL_END] = "<tool_call|>",
    [GEM_CHAT_RESPONSE] = "<|tool_response>",
    [GEM_CHAT_RESPONSE_END] = "<tool_response|>",
    [GEM_CHAT_QUOTE] = "<|\"|>",
    [GEM_CHAT_IMAGE] = "<|image|>",
    [GEM_CHAT_AUDIO] = "<|audio|>",
    [GEM_CHAT_VIDEO] = "<|video|>",
};

static const char *const gemma3[GEM_CHAT_N_CONTROLS] = {
    [GEM_CHAT_BOS] = "<bos>",
    [GEM_CHAT_EOS] = "<eos>",
    [GEM_CHAT_TURN] = "<start_of_turn>",
    [GEM_CHAT_TURN_END] = "<end_of_turn>",
};

const char *gem_chat_control_name(gem_chat_format format, enum gem_chat_control control)
{
    return (format == GEM_CHAT_GEMMA3 ? gemma3 : gemma4)[control];
}

size_t gem_chat_find_control(const char *s, size_t n)
{
    for (size_t at = 0; at < n; at++) {
        if (s[at] != '<') continue;
        for (size_t i = 0; i < GEM_CHAT_N_CONTROLS; i++) {
            const size_t len = strlen(gemma4[i]);
            if (len <= n - at && !memcmp(s + at, gemma4[i], len)) return at;
        }
    }
    return n;
}

gem_status gem_chat_grow(void **p, size_t *cap, size_t n, size_t more, size_t size, size_t most, const char *what,
                         gem_error *err)
{
    size_t wanted = *cap ? *cap : 64;
    void *grown;

    if (more > most || n > most - more) return gem_fail(err, GEM_E_LIMIT, 0, "%s: more than %zu", what, most);
    if (n + more <= *cap) return GEM_OK;
    while (wanted < n + more) wanted *= 2;
    if (!(grown = gem_realloc(*p, wanted, size, what, err))) return GEM_E_NOMEM;
    *p = grown;
    *cap = wanted;
    return GEM_OK;
}

void gem_chat_put(struct gem_chat_text *t, const char *s, size_t n)
{
    void *p = t->s;

    if (t->status || n == 0) return;
    t->status = gem_chat_grow(&p, &t->cap, t->n, n, 1, MAX_TEXT, "bytes of a conversation's text", t->err);
    t->s = p;
    if (t->status) return;
    memcpy(t->s + t->n, s, n);
    t->n += n;
}

void gem_chat_puts(struct gem_chat_text *t, const char *s) { gem_chat_put(t, s, strlen(s)); }

void gem_chat_put_control(struct gem_chat_text *t, enum gem_chat_control control)
{
    const char *name = gem_chat_control_name(t->format, control);
    void *p = t->marks;

    if (t->status) return;
    t->status = gem_chat_grow(&p, &t->cap_marks, t->n_marks, 1, sizeof *t->marks, MAX_MARKS,
                              "control tokens of a conversation", t->err);
    t->marks = p;
    if (t->status) return;
    t->marks[t->n_marks++] = (struct gem_chat_mark){.at = t->n, .n = strlen(name), .control = control};
    gem_chat_puts(t, name);
}

void gem_chat_text_close(struct gem_chat_text *t)
{
    gem_free(t->s);
    gem_free(t->marks);
    *t = (struct gem_chat_text){0};
}

/* ---- white space ------------------------------------------------------------------------------------------------ */

static const char *const spaces[] = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
    "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
    "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
    "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
};

/* Bytes of the white space that s [n] begins, or ends, with; 0: none. */
static size_t space_at(const char *s, size_t n, bool end)
{
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        const size_t size = strlen(spaces[i]);
        if (size <= n && !memcmp(end ? s + n - size : s, spaces[i], size)) return size;
    }
    return 0;
}

size_t gem_chat_strip(const char **s, size_t n)
{
    size_t size;

    while ((size = space_at(*s, n, false))) {
        *s += size;
        n -= size;
    }
    while ((size = space_at(*s, n, true))) n -= size;
    return n;
}
