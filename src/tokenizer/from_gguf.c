/* SPDX-License-Identifier: Apache-2.0
 * src/tokenizer/from_gguf.c - the tokenizer in a GGUF file's metadata (spec/tokenizer-and-chat.md 1.9). */
#include "tokenizer/vocabulary.h"

#include <string.h>

#include "base/memory.h"

#define KEY_MODEL  "tokenizer.ggml.model"
#define KEY_TOKENS "tokenizer.ggml.tokens"
#define KEY_TYPES  "tokenizer.ggml.token_type"
#define KEY_SCORES "tokenizer.ggml.scores"
#define KEY_MERGES "tokenizer.ggml.merges"
#define KEY_PREFIX "tokenizer.ggml.add_space_prefix"

static const char *file_of(const struct gem_archive *a, const struct gem_kv *kv)
{
    return a->paths && kv->file < a->n_files ? a->paths[kv->file] : "GGUF";
}

static bool is_integer(enum gem_kv_type type) { return type <= GEM_KV_I32 || type == GEM_KV_U64 || type == GEM_KV_I64; }

static bool is_float(enum gem_kv_type type) { return type == GEM_KV_F32 || type == GEM_KV_F64; }

static bool is_text(enum gem_kv_type type) { return type == GEM_KV_STRING; }

/* The array `key`, whose elements must be of a type that fits; n, unless UINT64_MAX, is how many there must be. */
static gem_status get_array(const struct gem_archive *a, const char *key, bool (*fits)(enum gem_kv_type), uint64_t n,
                            const struct gem_kv **out, gem_error *err)
{
    const struct gem_kv *kv = gem_archive_kv(a, key);

    *out = NULL;
    if (!kv) return gem_fail(err, GEM_E_FORMAT, 0, "%s is missing, though there is a tokenizer", key);
    if (kv->type != GEM_KV_ARRAY || !fits(kv->element))
        return gem_fail(err, GEM_E_FORMAT, kv->offset, "%s: %s is not an array of the right type", file_of(a, kv), key);
    if (n != UINT64_MAX && kv->n != n)
        return gem_fail(err, GEM_E_FORMAT, kv->offset, "%s: %s has %llu entries, the vocabulary %llu", file_of(a, kv),
                        key, (unsigned long long)kv->n, (unsigned long long)n);
    *out = kv;
    return GEM_OK;
}

/* ---- pieces -------------------------------------------------------------------------------------------- */

/* Gemma 4's 24. Files mark some of them user-defined, so that a parser of printed text sees them, and some normal;
 * here they are control tokens whatever the file says, or text of a user could become one. */
static bool is_gemma4_control(const char *s, size_t n)
{
    static const char *const names[] = {
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<mask>",
        "<|tool>",
        "<tool|>",
        "<|tool_call>",
        "<tool_call|>",
        "<|tool_response>",
        "<tool_response|>",
        "<|\"|>",
        "<|think|>",
        "<|channel>",
        "<channel|>",
        "<|turn>",
        "<turn|>",
        "<|image>",
        "<|audio>",
        "<|image|>",
        "<|audio|>",
        "<image|>",
        "<audio|>",
        "<|video|>",
    };

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == n && !memcmp(names[i], s, n)) return true;
    return false;
}

/* llama.cpp's token types, and what they mean here. */
static bool kind_of(int64_t type, enum gem_piece_kind *kind)
{
    static const enum gem_piece_kind kinds[] = {
        [1] = GEM_PIECE_NORMAL, [2] = GEM_PIECE_CONTROL /* unknown */, [3] = GEM_PIECE_CONTROL,
        [4] = GEM_PIECE_USER,   [5] = GEM_PIECE_NORMAL /* unused */,   [6] = GEM_PIECE_BYTE,
    };

    if (type < 1 || type > 6) return false;
    *kind = kinds[type];
    return true;
}

static gem_status collect_pieces(const struct gem_archive *a, const struct gem_kv *tokens, const struct gem_kv *types,
                                 bool gemma4, struct gem_piece *pieces, gem_error *err)
{
    uint64_t cursor = 0;

    for (uint32_t id = 0; id < tokens->n; id++) {
        const int64_t type = gem_kv_int(types, id);
        struct gem_piece *p = &pieces[id];
        size_t n = 0;
        p->offset = tokens->offset + cursor;
        if (!gem_kv_next_string(tokens, &cursor, &p->s, &n) || n > UINT32_MAX)
            return gem_fail(err, GEM_E_FORMAT, p->offset, "%s: " KEY_TOKENS " ends at %u", file_of(a, tokens), id);
        p->n = (uint32_t)n;
        if (!kind_of(type, &p->kind))
            return gem_fail(err, GEM_E_FORMAT, types->offset, "%s: " KEY_TYPES "[%u] is %lld, which is no type",
                            file_of(a, types), id, (long long)type);
        if (gemma4 && is_gemma4_control(p->s, n)) p->kind = GEM_PIECE_CONTROL;
    }
    return GEM_OK;
}

static gem_status read_pieces(struct gem_tokenizer *t, const struct gem_archive *a, bool gemma4, gem_error *err)
{
    const struct gem_kv *tokens = NULL, *types = NULL;
    struct gem_piece *pieces;
    gem_status st;

    if ((st = get_array(a, KEY_TOKENS, is_text, UINT64_MAX, &tokens, err))) return st;
    if (tokens->n == 0 || tokens->n > GEM_TOKENIZER_MAX_VOCAB)
        return gem_fail(err, GEM_E_LIMIT, tokens->offset, "%s: %llu tokens, not from 1 to %d", file_of(a, tokens),
                        (unsigned long long)tokens->n, GEM_TOKENIZER_MAX_VOCAB);
    if ((st = get_array(a, KEY_TYPES, is_integer, tokens->n, &types, err))) return st;
    pieces = gem_calloc((size_t)tokens->n, sizeof *pieces, "the vocabulary", err);
    if (!pieces) return GEM_E_NOMEM;
    st = collect_pieces(a, tokens, types, gemma4, pieces, err);
    if (!st) st = gem_vocabulary_fill(t, file_of(a, tokens), pieces, (uint32_t)tokens->n, err);
    gem_free(pieces);
    return st;
}

/* ---- rules --------------------------------------------------------------------------------------------- */

static gem_status read_merges(struct gem_tokenizer *t, const struct gem_archive *a, gem_error *err)
{
    const struct gem_kv *merges = NULL;
    uint64_t cursor = 0;
    gem_status st;

    if ((st = get_array(a, KEY_MERGES, is_text, UINT64_MAX, &merges, err))) return st;
    if ((st = gem_merges_open(t, file_of(a, merges), merges->n, err))) return st;
    for (uint32_t rank = 0; rank < merges->n; rank++) {
        const uint64_t offset = merges->offset + cursor;
        const char *s, *left, *right;
        size_t n, n_left, n_right;
        if (!gem_kv_next_string(merges, &cursor, &s, &n) || !gem_merge_split(s, n, &left, &n_left, &right, &n_right))
            return gem_fail(err, GEM_E_FORMAT, offset, "%s: " KEY_MERGES "[%u] is not two pieces", file_of(a, merges),
                            rank);
        st = gem_merges_add(t, file_of(a, merges), offset, rank, left, n_left, right, n_right, err);
        if (st) return st;
    }
    return GEM_OK;
}

static gem_status read_scores(struct gem_tokenizer *t, const struct gem_archive *a, gem_error *err)
{
    const struct gem_kv *kv = NULL;
    float *scores;
    gem_status st;

    if ((st = get_array(a, KEY_SCORES, is_float, t->n_vocab, &kv, err))) return st;
    scores = gem_calloc(t->n_vocab, sizeof *scores, "scores", err);
    if (!scores) return GEM_E_NOMEM;
    for (uint32_t id = 0; !st && id < t->n_vocab; id++) {
        scores[id] = (float)gem_kv_float(kv, id);
        if (scores[id] != scores[id])
            st = gem_fail(err, GEM_E_FORMAT, kv->offset, "%s: " KEY_SCORES "[%u] is not a number", file_of(a, kv), id);
    }
    if (!st) st = gem_rules_from_scores(t, file_of(a, kv), scores, err);
    gem_free(scores);
    return st;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* What tokenizer.ggml.model says. *found false: there is none. */
static gem_status read_model(const struct gem_archive *a, bool *found, bool *gemma4, gem_error *err)
{
    const char *model = NULL;
    size_t n = 0;
    gem_status st;

    *found = false;
    if ((st = gem_kv_get_string(a, KEY_MODEL, false, &model, &n, err))) return st;
    if (!model) {
        const struct gem_kv *tokens = gem_archive_kv(a, KEY_TOKENS);
        if (!tokens) return GEM_OK;
        return gem_fail(err, GEM_E_FORMAT, tokens->offset, "%s: " KEY_TOKENS " without " KEY_MODEL, file_of(a, tokens));
    }
    *found = true;
    *gemma4 = n == 6 && !memcmp(model, "gemma4", 6);
    if (*gemma4 || (n == 5 && !memcmp(model, "llama", 5))) return GEM_OK;
    return gem_fail(err, GEM_E_UNSUPPORTED, gem_archive_kv(a, KEY_MODEL)->offset,
                    "%s: " KEY_MODEL " \"%.*s\" is not supported, only \"gemma4\" and \"llama\"",
                    file_of(a, gem_archive_kv(a, KEY_MODEL)), n > 60 ? 60 : (int)n, model);
}

gem_status gem_tokenizer_from_gguf(struct gem_tokenizer **out, const struct gem_archive *a, gem_error *err)
{
    struct gem_tokenizer *t;
    bool found, gemma4 = false;
    gem_status st;

    *out = NULL;
    if ((st = read_model(a, &found, &gemma4, err)) || !found) return st;
    t = gem_calloc(1, sizeof *t, "the tokenizer", err);
    if (!t) return GEM_E_NOMEM;
    st = read_pieces(t, a, gemma4, err);
    if (!st) st = gemma4 ? read_merges(t, a, err) : read_scores(t, a, err);
    /* SentencePiece puts a space in front unless told otherwise, and so does llama.cpp when the key is missing.
     * Gemma 4's pipeline has no such stage. */
    t->space_prefix = !gemma4;
    if (!st && !gemma4) st = gem_kv_get_bool(a, KEY_PREFIX, false, &t->space_prefix, err);
    if (st)
        gem_tokenizer_close(t);
    else
        *out = t;
    return st;
}
