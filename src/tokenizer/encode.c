/* SPDX-License-Identifier: Apache-2.0
 * src/tokenizer/encode.c - text to ids. Tokens found whole are cut out, the rest falls into words between which no
 * merge reaches (gem_joinable), and each word is merged alone; words seen before in this call are looked up. */
#include "tokenizer/vocabulary.h"

#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

enum { WORD_IDS = 4, WORD_BYTES = 24 }; /* of words that are remembered: nearly all in prose and code */
enum { MAX_WORDS_BITS = 13 };           /* 8192 words take 448 KB: half of a usual L2 cache */

/* A word and what became of it. */
struct word {
    uint8_t n_bytes, n_ids; /* n_bytes 0: none */
    char text[WORD_BYTES];
    uint32_t ids[WORD_IDS];
};

struct encoder {
    const struct gem_tokenizer *t;
    int32_t *out;
    size_t cap, n; /* of out; n counts on beyond cap */
    uint32_t *symbols;
    size_t cap_symbols;
    struct gem_merge_scratch scratch;
    struct word *words; /* NULL for short texts */
    unsigned word_bits;
    gem_error *err;
};

static void emit(struct encoder *e, uint32_t id)
{
    if (e->n < e->cap) e->out[e->n] = (int32_t)id;
    e->n++;
}

/* The symbol at s and how many bytes it takes. Where no piece fits, that is the byte piece of one byte: the bytes
 * that follow in the same character are no valid beginning, so they become byte pieces in their turn. */
static inline uint32_t symbol_at(const struct gem_tokenizer *t, const char *s, size_t n, size_t *n_bytes)
{
    const uint8_t c = (uint8_t)s[0];
    uint32_t cp, symbol = GEM_SYMBOL_NONE;
    size_t len;

    *n_bytes = 1;
    if (c < 0x80) return t->ascii[c];
    len = gem_utf8_decode(s, n, &cp);
    if (len > 0) symbol = gem_symbol_of(t, cp);
    if (symbol == GEM_SYMBOL_NONE) return t->byte_id[c];
    *n_bytes = len;
    return symbol;
}

static gem_status push_symbol(struct encoder *e, size_t n, uint32_t symbol)
{
    if (n == e->cap_symbols) {
        const size_t cap = n ? n * 2 : 256;
        uint32_t *grown = gem_realloc(e->symbols, cap, sizeof *grown, "a word's characters", e->err);
        if (!grown) return GEM_E_NOMEM;
        e->symbols = grown;
        e->cap_symbols = cap;
    }
    e->symbols[n] = symbol;
    return GEM_OK;
}

static struct word *word_slot(const struct encoder *e, uint64_t hash, size_t n_bytes)
{
    if (!e->words || n_bytes > WORD_BYTES) return NULL;
    return &e->words[hash >> (64 - e->word_bits)];
}

static bool word_known(const struct word *w, const char *s, size_t n)
{
    return w->n_bytes == n && !memcmp(w->text, s, n);
}

static void word_learn(struct word *w, const char *s, size_t n, const uint32_t *ids, size_t n_ids)
{
    if (n_ids > WORD_IDS) return;
    w->n_bytes = (uint8_t)n;
    w->n_ids = (uint8_t)n_ids;
    memcpy(w->text, s, n);
    memcpy(w->ids, ids, n_ids * sizeof *ids);
}

/* Encodes a word of n_symbols, which are in e->symbols, and n_bytes at s; hash is of its symbols. n_bytes 0: a word
 * that is not the text alone and so is not to be remembered. */
static gem_status encode_word(struct encoder *e, const char *s, size_t n_bytes, size_t n_symbols, uint64_t hash)
{
    struct word *w = n_symbols > 1 && n_bytes ? word_slot(e, hash, n_bytes) : NULL;
    gem_status st;

    if (w && word_known(w, s, n_bytes)) {
        for (size_t i = 0; i < w->n_ids; i++) emit(e, w->ids[i]);
        return GEM_OK;
    }
    if ((st = gem_merge(e->t, e->symbols, &n_symbols, &e->scratch, e->err))) return st;
    for (size_t i = 0; i < n_symbols; i++) emit(e, e->symbols[i]);
    if (w) word_learn(w, s, n_bytes, e->symbols, n_symbols);
    return GEM_OK;
}

static uint64_t hash_symbol(uint64_t hash, uint32_t symbol) { return (hash ^ symbol) * UINT64_C(0x9e3779b97f4a7c15); }

/* Encodes text that holds no token to be found whole. space: as if a space stood before it. */
static gem_status encode_plain(struct encoder *e, const char *s, size_t n, bool space)
{
    const struct gem_tokenizer *t = e->t;
    size_t at = 0, len = 0;
    gem_status st;

    while (at < n) {
        const size_t begin = at;
        const bool prefixed = space;
        uint32_t symbol = prefixed ? t->ascii[' '] : symbol_at(t, s + at, n - at, &len), next;
        uint64_t hash = symbol;
        size_t n_symbols = 1;
        if ((st = push_symbol(e, 0, symbol))) return st;
        if (!prefixed) at += len;
        for (space = false; at < n; at += len, symbol = next) {
            next = symbol_at(t, s + at, n - at, &len);
            if (!gem_joinable(t, symbol, next)) break;
            if ((st = push_symbol(e, n_symbols++, next))) return st;
            hash = hash_symbol(hash, next);
        }
        if ((st = encode_word(e, s + begin, prefixed ? 0 : at - begin, n_symbols, hash))) return st;
    }
    return GEM_OK;
}

static gem_status encode_text(struct encoder *e, const char *s, size_t n, bool control)
{
    const struct gem_tokenizer *t = e->t;
    bool space = t->space_prefix;
    size_t begin = 0;
    gem_status st;

    for (size_t at = 0; at < n && (control || t->has_user);) {
        const uint8_t c = (uint8_t)s[at];
        uint32_t id = GEM_SYMBOL_NONE;
        if (t->whole_from[c] < t->whole_from[c + 1]) id = gem_vocabulary_whole(t, s + at, n - at, control);
        if (id == GEM_SYMBOL_NONE) {
            at++;
            continue;
        }
        if ((st = encode_plain(e, s + begin, at - begin, space))) return st;
        emit(e, id);
        space = t->space_prefix;
        begin = at += t->begin[id + 1] - t->begin[id];
    }
    return encode_plain(e, s + begin, n - begin, space);
}

/* Remembering words pays from some lines of text on. */
static gem_status open_words(struct encoder *e, size_t n_bytes)
{
    if (n_bytes < 1024) return GEM_OK;
    for (e->word_bits = 6; e->word_bits < MAX_WORDS_BITS && n_bytes >> (e->word_bits + 4); e->word_bits++) continue;
    e->words = gem_calloc((size_t)1 << e->word_bits, sizeof *e->words, "words", e->err);
    return e->words ? GEM_OK : GEM_E_NOMEM;
}

gem_status gem_tokenizer_encode(const struct gem_tokenizer *t, const char *text, size_t n_bytes, bool control,
                                int32_t *tokens, size_t cap, size_t *n_tokens, gem_error *err)
{
    struct encoder e = {.t = t, .out = tokens, .cap = cap, .err = err};
    gem_status st;

    st = open_words(&e, n_bytes);
    if (!st) st = encode_text(&e, text, n_bytes, control);
    *n_tokens = st ? 0 : e.n;
    gem_merge_scratch_close(&e.scratch);
    gem_free(e.symbols);
    gem_free(e.words);
    return st;
}
