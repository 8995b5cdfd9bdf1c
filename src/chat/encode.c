/* SPDX-License-Identifier: Apache-2.0
 * src/chat/encode.c - a rendered conversation to tokens. Text between control tokens is encoded as one piece, for the
 * reference does so and merges reach across its parts; but where the tokens seen before spell a piece already, they
 * stay: a model may have written it in other tokens, and a session's cache is of those. */
#include "chat/chat.h"

#include <string.h>

#include "base/memory.h"

enum { MAX_TOKENS = 64 << 20 };

struct encoder {
    struct gem_chat_prompt *p;
    const struct gem_tokenizer *t;
    struct gem_chat_ids ids;
    const int32_t *seen; /* what is left of it; n_seen 0: the conversation went another way */
    size_t n_seen;
    gem_error *err;
};

static gem_status reserve(struct encoder *e, size_t more)
{
    void *tokens = e->p->tokens;
    const gem_status st = gem_chat_grow(&tokens, &e->p->cap_tokens, e->p->n_tokens, more, sizeof *e->p->tokens,
                                        MAX_TOKENS, "tokens of a conversation", e->err);

    e->p->tokens = tokens;
    return st;
}

static gem_status push(struct encoder *e, int32_t id)
{
    const gem_status st = reserve(e, 1);

    if (!st) e->p->tokens[e->p->n_tokens++] = id;
    return st;
}

static bool skip_thought(struct encoder *e)
{
    size_t n = 0;

    if (e->n_seen == 0 || e->seen[0] != e->ids.id[GEM_CHAT_CHANNEL] || e->seen[0] < 0) return false;
    while (n < e->n_seen && e->seen[n] != e->ids.id[GEM_CHAT_CHANNEL_END]) n++;
    if (n == e->n_seen) return false;
    e->seen += n + 1;
    e->n_seen -= n + 1;
    return true;
}

/* ---- text that was seen ----------------------------------------------------------------------------------------- */

/* Takes tokens over as long as they spell s [n], which must end where a control token, or the end of what was seen,
 * comes next. Thoughts that are in between are left out: history has none. */
static gem_status take_seen(struct encoder *e, const char *s, size_t n, bool *taken)
{
    gem_text_stream stream = {0};
    char piece[GEM_TEXT_STREAM_MAX];
    size_t at = 0, n_piece;
    gem_status st;

    *taken = false;
    while (at < n || stream.n_pending > 0) {
        if (skip_thought(e)) continue;
        if (e->n_seen == 0 || gem_tokenizer_is_control(e->t, e->seen[0])) return GEM_OK;
        if ((st = gem_tokenizer_stream_push(e->t, &stream, e->seen[0], piece, &n_piece, e->err))) return st;
        if (n_piece > n - at || memcmp(piece, s + at, n_piece)) return GEM_OK;
        if ((st = push(e, e->seen[0]))) return st;
        at += n_piece;
        e->seen++;
        e->n_seen--;
    }
    *taken = e->n_seen == 0 || gem_tokenizer_is_control(e->t, e->seen[0]);
    return GEM_OK;
}

static gem_status encode_text(struct encoder *e, const char *s, size_t n)
{
    const size_t begin = e->p->n_tokens;
    size_t count = 0;
    bool taken = false;
    gem_status st;

    if (n == 0) return GEM_OK;
    if (e->n_seen > 0 && (st = take_seen(e, s, n, &taken))) return st;
    if (taken) return GEM_OK;
    e->p->n_tokens = begin;
    e->n_seen = 0;
    if ((st = reserve(e, n + 8)))
        return st; /* a token has a byte at least, but some vocabularies put a space in front */
    st = gem_tokenizer_encode(e->t, s, n, false, e->p->tokens + begin, e->p->cap_tokens - begin, &count, e->err);
    if (st) return st;
    if (count > e->p->cap_tokens - begin)
        return gem_fail(e->err, GEM_E_UNSUPPORTED, 0, "a tokenizer that makes %zu tokens of %zu bytes", count, n);
    e->p->n_tokens += count;
    return GEM_OK;
}

/* ---- control tokens --------------------------------------------------------------------------------------------- */

static gem_status encode_control(struct encoder *e, const struct gem_chat_mark *mark)
{
    const int32_t id = e->ids.id[mark->control];

    if (id < 0 && mark->control == GEM_CHAT_BOS) return GEM_OK;
    if (id < 0)
        return gem_fail(e->err, GEM_E_UNSUPPORTED, 0, "the vocabulary has no control token %.*s", (int)mark->n,
                        e->p->text.s + mark->at);
    if (mark->control != GEM_CHAT_CHANNEL) skip_thought(e);
    if (e->n_seen > 0 && e->seen[0] == id) {
        e->seen++;
        e->n_seen--;
    } else {
        e->n_seen = 0;
    }
    return push(e, id);
}

gem_status gem_chat_encode(struct gem_chat_prompt *p, const struct gem_tokenizer *t, const int32_t *seen, size_t n_seen,
                           gem_error *err)
{
    struct encoder e = {.p = p, .t = t, .seen = seen, .n_seen = seen ? n_seen : 0, .err = err};
    size_t at = 0, media = 0;
    gem_status st;

    gem_chat_find_ids(&e.ids, p->text.format, t);
    for (size_t i = 0; seen && i < n_seen; i++)
        if (seen[i] < 0 || (uint32_t)seen[i] >= gem_tokenizer_vocab(t))
            return gem_fail(err, GEM_E_LIMIT, 0, "seen: token %zu is %d, the vocabulary has %u", i, (int)seen[i],
                            gem_tokenizer_vocab(t));
    for (size_t i = 0; i < p->text.n_marks; i++) {
        const struct gem_chat_mark *mark = &p->text.marks[i];

        if ((st = encode_text(&e, p->text.s + at, mark->at - at))) return st;
        if (media < p->n_media && p->media[media].token == i) p->media[media++].token = p->n_tokens;
        if ((st = encode_control(&e, mark))) return st;
        at = mark->at + mark->n;
    }
    return encode_text(&e, p->text.s + at, p->text.n - at);
}
