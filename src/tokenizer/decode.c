/* SPDX-License-Identifier: Apache-2.0
 * src/tokenizer/decode.c - ids to text, whole and streaming. */
#include "tokenizer/vocabulary.h"

#include <string.h>

#include "base/utf8.h"

/* ---- pieces of text ------------------------------------------------------------------------------------ */

struct sink {
    char *out;
    size_t cap, n; /* n counts on beyond cap */
};

static void emit(struct sink *k, const char *s, size_t n)
{
    if (n > 0 && k->n < k->cap) memcpy(k->out + k->n, s, n < k->cap - k->n ? n : k->cap - k->n);
    k->n += n;
}

/* A piece's text: each U+2581 is a space. */
static void emit_piece(struct sink *k, const char *s, size_t n)
{
    static const char mark[] = "\xe2\x96\x81";
    size_t begin = 0;

    for (size_t i = 0; i + 3 <= n;) {
        if (memcmp(s + i, mark, 3)) {
            i++;
            continue;
        }
        emit(k, s + begin, i - begin);
        emit(k, " ", 1);
        begin = i += 3;
    }
    emit(k, s + begin, n - begin);
}

static void emit_replacements(struct sink *k, size_t n)
{
    for (size_t i = 0; i < n; i++) emit(k, GEM_UTF8_REPLACEMENT, GEM_UTF8_REPLACEMENT_BYTES);
}

static uint8_t byte_of(const struct gem_tokenizer *t, uint32_t id)
{
    uint8_t byte = 0;
    size_t n;
    const char *s = gem_piece_text(t, id, &n);

    gem_byte_piece(s, n, &byte);
    return byte;
}

bool gem_tokenizer_is_byte(const struct gem_tokenizer *t, int32_t id, uint8_t *byte)
{
    if (id < 0 || (uint32_t)id >= t->n_vocab || t->kind[id] != GEM_PIECE_BYTE) return false;
    *byte = byte_of(t, (uint32_t)id);
    return true;
}

static gem_status check_id(const struct gem_tokenizer *t, int32_t id, gem_error *err)
{
    if (id >= 0 && (uint32_t)id < t->n_vocab) return GEM_OK;
    return gem_fail(err, GEM_E_LIMIT, 0, "token %d is not one of the vocabulary's %u", (int)id, t->n_vocab);
}

/* ---- whole --------------------------------------------------------------------------------------------- */

/* Control tokens that are left out are as if they were not there, even in the middle of a character. */
static bool skipped(const struct gem_tokenizer *t, int32_t id, bool control)
{
    return t->kind[id] == GEM_PIECE_UNUSED || (t->kind[id] == GEM_PIECE_CONTROL && !control);
}

/* Decodes the run of byte pieces at tokens[begin]; returns where it ends. The reference's rule: a run that is UTF-8 as
 * a whole is text, of any other each byte becomes U+FFFD. */
static size_t decode_bytes(const struct gem_tokenizer *t, const int32_t *tokens, size_t begin, size_t n, bool control,
                           struct sink *k)
{
    struct gem_utf8_reader reader = {0};
    size_t end = begin, n_run = 0;
    bool valid = true;

    for (; end < n; end++) {
        if (skipped(t, tokens[end], control)) continue;
        if (t->kind[tokens[end]] != GEM_PIECE_BYTE) break;
        valid = valid && gem_utf8_feed(&reader, byte_of(t, (uint32_t)tokens[end]));
        n_run++;
    }
    if (!valid || reader.need > 0) {
        emit_replacements(k, n_run);
        return end;
    }
    for (size_t i = begin; i < end; i++) {
        const char byte = (char)byte_of(t, (uint32_t)tokens[i]);
        if (!skipped(t, tokens[i], control)) emit(k, &byte, 1);
    }
    return end;
}

gem_status gem_tokenizer_decode(const struct gem_tokenizer *t, const int32_t *tokens, size_t n_tokens, bool control,
                                char *text, size_t cap, size_t *n_bytes, gem_error *err)
{
    struct sink k = {.out = text, .cap = cap};
    gem_status st;

    *n_bytes = 0;
    for (size_t i = 0; i < n_tokens; i++)
        if ((st = check_id(t, tokens[i], err))) return st;
    for (size_t i = 0; i < n_tokens;) {
        size_t n;
        const char *piece = gem_piece_text(t, (uint32_t)tokens[i], &n);
        if (t->kind[tokens[i]] == GEM_PIECE_BYTE) {
            i = decode_bytes(t, tokens, i, n_tokens, control, &k);
            continue;
        }
        if (!skipped(t, tokens[i], control)) emit_piece(&k, piece, n);
        i++;
    }
    *n_bytes = k.n;
    return GEM_OK;
}

/* ---- streaming ----------------------------------------------------------------------------------------- */

static void give_up_pending(gem_text_stream *stream, struct sink *k)
{
    emit_replacements(k, stream->n_pending);
    stream->n_pending = 0;
}

static void push_byte(gem_text_stream *stream, uint8_t byte, struct sink *k)
{
    struct gem_utf8_reader reader = {0};
    char whole[4];

    for (uint32_t i = 0; i < stream->n_pending; i++) gem_utf8_feed(&reader, stream->pending[i]);
    if (!gem_utf8_feed(&reader, byte)) {
        const bool again = stream->n_pending > 0; /* it may begin a character, though it does not continue this one */
        give_up_pending(stream, k);
        if (again)
            push_byte(stream, byte, k);
        else
            emit_replacements(k, 1);
        return;
    }
    stream->pending[stream->n_pending++] = byte;
    if (reader.need > 0) return;
    memcpy(whole, stream->pending, stream->n_pending);
    emit(k, whole, stream->n_pending);
    stream->n_pending = 0;
}

gem_status gem_tokenizer_stream_push(const struct gem_tokenizer *t, gem_text_stream *stream, int32_t token, char *text,
                                     size_t *n_bytes, gem_error *err)
{
    struct sink k = {.out = text, .cap = GEM_TEXT_STREAM_MAX};
    size_t n;
    const char *piece;
    gem_status st;

    *n_bytes = 0;
    if ((st = check_id(t, token, err))) return st;
    if (stream->n_pending > 3)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "gem_text_stream: not zero-initialised or damaged");
    if (skipped(t, token, stream->control)) return GEM_OK;
    piece = gem_piece_text(t, (uint32_t)token, &n);
    if (t->kind[token] == GEM_PIECE_BYTE) {
        push_byte(stream, byte_of(t, (uint32_t)token), &k);
    } else {
        give_up_pending(stream, &k);
        emit_piece(&k, piece, n);
    }
    *n_bytes = k.n; /* at most 3 * 3 + GEM_TOKENIZER_MAX_PIECE */
    return GEM_OK;
}

GEM_API void gem_text_stream_finish(gem_text_stream *stream, char *text, size_t *n_bytes)
{
    struct sink k = {.out = text, .cap = GEM_TEXT_STREAM_MAX};

    if (stream->n_pending > sizeof stream->pending) stream->n_pending = 0; /* never was a stream */
    give_up_pending(stream, &k);
    *n_bytes = k.n;
}
