/* SPDX-License-Identifier: Apache-2.0
 * src/tokenizer/from_json.c - Hugging Face's tokenizer.json. The file describes a pipeline; only Gemma's is
 * implemented, and a stage that is another is refused by name. Left aside: truncation and padding (for batches
 * of training data) and what the post-processor adds (callers begin sequences with <bos> themselves). */
#include "tokenizer/vocabulary.h"

#include <string.h>

#include "base/json.h"
#include "base/memory.h"

#define SPACE_MARK "\xe2\x96\x81" /* U+2581 */

/* ---- the stages ---------------------------------------------------------------------------------------- */

static bool is_string(yyjson_val *v, const char *s) { return yyjson_equals_str(v, s); }

static bool is_type(yyjson_val *v, const char *type) { return is_string(yyjson_obj_get(v, "type"), type); }

static bool is_none(yyjson_val *v) { return !v || yyjson_is_null(v); }

static bool is_replace(yyjson_val *v, const char *from, const char *to)
{
    return is_type(v, "Replace") && is_string(yyjson_obj_get(yyjson_obj_get(v, "pattern"), "String"), from) &&
           is_string(yyjson_obj_get(v, "content"), to);
}

/* The only stage of a Sequence of one, or the stage itself. */
static yyjson_val *unwrap(yyjson_val *v, const char *list)
{
    yyjson_val *stages = is_type(v, "Sequence") ? yyjson_obj_get(v, list) : NULL;

    return yyjson_arr_size(stages) == 1 ? yyjson_arr_get(stages, 0) : v;
}

static bool normalizer_known(yyjson_val *v) { return is_replace(unwrap(v, "normalizers"), " ", SPACE_MARK); }

/* After the normalizer no space is left to split on, so the behaviour does not matter. */
static bool pre_tokenizer_known(yyjson_val *v)
{
    if (is_none(v)) return true;
    v = unwrap(v, "pretokenizers");
    return is_type(v, "Split") && is_string(yyjson_obj_get(yyjson_obj_get(v, "pattern"), "String"), " ") &&
           !yyjson_is_true(yyjson_obj_get(v, "invert"));
}

static bool post_processor_known(yyjson_val *v) { return is_none(v) || is_type(v, "TemplateProcessing"); }

static bool decoder_known(yyjson_val *v)
{
    yyjson_val *stages = yyjson_obj_get(v, "decoders");
    const size_t n = yyjson_arr_size(stages);

    return is_type(v, "Sequence") && (n == 2 || (n == 3 && is_type(yyjson_arr_get(stages, 2), "Fuse"))) &&
           is_replace(yyjson_arr_get(stages, 0), SPACE_MARK, " ") && is_type(yyjson_arr_get(stages, 1), "ByteFallback");
}

static bool model_known(yyjson_val *v) { return is_type(v, "BPE"); }

static const struct stage {
    const char *key;
    bool (*known)(yyjson_val *v);
    const char *wanted;
} stages[] = {
    {"normalizer", normalizer_known, "Replace of the space by U+2581"},
    {"pre_tokenizer", pre_tokenizer_known, "none or Split on the space"},
    {"model", model_known, "BPE"},
    {"post_processor", post_processor_known, "none or TemplateProcessing"},
    {"decoder", decoder_known, "Sequence of Replace of U+2581 by the space, ByteFallback, Fuse"},
};

static bool is_empty_or_none(yyjson_val *v) { return is_none(v) || is_string(v, ""); }

static bool is_zero_or_none(yyjson_val *v) { return is_none(v) || (yyjson_is_num(v) && yyjson_get_num(v) == 0.0); }

static bool is_false_or_none(yyjson_val *v) { return is_none(v) || yyjson_is_false(v); }

static bool is_true(yyjson_val *v) { return yyjson_is_true(v); }

static const struct stage model_settings[] = {
    {"byte_fallback", is_true, "true"},
    {"dropout", is_zero_or_none, "none"},
    {"continuing_subword_prefix", is_empty_or_none, "none"},
    {"end_of_word_suffix", is_empty_or_none, "none"},
    {"ignore_merges", is_false_or_none, "false"},
};

static gem_status check_stages(const char *name, yyjson_val *root, gem_error *err)
{
    yyjson_val *model = yyjson_obj_get(root, "model");

    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        yyjson_val *v = yyjson_obj_get(root, stages[i].key);
        const char *type = yyjson_get_str(yyjson_obj_get(v, "type"));
        if (!stages[i].known(v))
            return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: %s \"%s\" is not supported, only %s", name, stages[i].key,
                            type ? type : "", stages[i].wanted);
    }
    for (size_t i = 0; i < sizeof model_settings / sizeof *model_settings; i++)
        if (!model_settings[i].known(yyjson_obj_get(model, model_settings[i].key)))
            return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: model.%s is not supported, only %s", name,
                            model_settings[i].key, model_settings[i].wanted);
    return GEM_OK;
}

/* ---- the vocabulary ------------------------------------------------------------------------------------ */

static bool id_of(yyjson_val *v, uint32_t *id)
{
    *id = (uint32_t)yyjson_get_uint(v);
    return yyjson_is_uint(v) && yyjson_get_uint(v) < GEM_TOKENIZER_MAX_VOCAB;
}

static gem_status bad_id(const char *name, yyjson_val *piece, gem_error *err)
{
    return gem_fail(err, GEM_E_LIMIT, 0, "%s: piece \"%.80s\" has no id from 0 to %d", name,
                    yyjson_get_str(piece) ? yyjson_get_str(piece) : "", GEM_TOKENIZER_MAX_VOCAB - 1);
}

static struct gem_piece piece_of(yyjson_val *v, enum gem_piece_kind kind)
{
    const size_t n = yyjson_get_len(v); /* below 64 MB */

    return (struct gem_piece){.s = yyjson_get_str(v), .n = (uint32_t)n, .kind = kind};
}

/* How many ids there are, so that the array of pieces can be made. */
static gem_status count_ids(const char *name, yyjson_val *vocab, yyjson_val *added, uint32_t *n, gem_error *err)
{
    yyjson_obj_iter entries = yyjson_obj_iter_with(vocab);
    yyjson_arr_iter tokens = yyjson_arr_iter_with(added);
    yyjson_val *v;
    uint32_t id;

    if (!yyjson_is_obj(vocab) || yyjson_obj_size(vocab) == 0)
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: model.vocab is missing or empty", name);
    if (!yyjson_is_arr(added) && !is_none(added))
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: added_tokens is not an array", name);
    *n = 0;
    while ((v = yyjson_obj_iter_next(&entries))) {
        if (!id_of(yyjson_obj_iter_get_val(v), &id)) return bad_id(name, v, err);
        if (id >= *n) *n = id + 1;
    }
    while ((v = yyjson_arr_iter_next(&tokens))) {
        if (!id_of(yyjson_obj_get(v, "id"), &id)) return bad_id(name, yyjson_obj_get(v, "content"), err);
        if (id >= *n) *n = id + 1;
    }
    return GEM_OK;
}

static gem_status collect_vocab(const char *name, yyjson_val *vocab, struct gem_piece *pieces, gem_error *err)
{
    yyjson_obj_iter entries = yyjson_obj_iter_with(vocab);
    yyjson_val *key;

    while ((key = yyjson_obj_iter_next(&entries))) {
        struct gem_piece piece = piece_of(key, GEM_PIECE_NORMAL);
        uint32_t id = 0;
        uint8_t byte;
        id_of(yyjson_obj_iter_get_val(key), &id);
        if (pieces[id].s)
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: two pieces have the id %u, \"%.80s\" and \"%.80s\"", name, id,
                            pieces[id].s, piece.s);
        if (gem_byte_piece(piece.s, piece.n, &byte)) piece.kind = GEM_PIECE_BYTE;
        pieces[id] = piece;
    }
    return GEM_OK;
}

static gem_status collect_added(const char *name, yyjson_val *added, struct gem_piece *pieces, gem_error *err)
{
    static const char *const absent[] = {"single_word", "lstrip", "rstrip", "normalized"};
    yyjson_arr_iter tokens = yyjson_arr_iter_with(added);
    yyjson_val *token;

    while ((token = yyjson_arr_iter_next(&tokens))) {
        yyjson_val *content = yyjson_obj_get(token, "content");
        const bool special = yyjson_is_true(yyjson_obj_get(token, "special"));
        const struct gem_piece piece = piece_of(content, special ? GEM_PIECE_CONTROL : GEM_PIECE_USER);
        uint32_t id = 0;
        id_of(yyjson_obj_get(token, "id"), &id);
        if (!yyjson_is_str(content) || piece.n == 0)
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: added token %u has no content", name, id);
        for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
            if (yyjson_is_true(yyjson_obj_get(token, absent[i])))
                return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: added token %u \"%.80s\": %s is not supported", name,
                                id, piece.s, absent[i]);
        if (pieces[id].s && (pieces[id].n != piece.n || memcmp(pieces[id].s, piece.s, piece.n)))
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: id %u is \"%.80s\" in model.vocab and \"%.80s\" in added_tokens",
                            name, id, pieces[id].s, piece.s);
        pieces[id] = piece;
    }
    return GEM_OK;
}

static gem_status read_vocab(struct gem_tokenizer *t, const char *name, yyjson_val *root, gem_error *err)
{
    yyjson_val *vocab = yyjson_obj_get(yyjson_obj_get(root, "model"), "vocab");
    yyjson_val *added = yyjson_obj_get(root, "added_tokens");
    struct gem_piece *pieces = NULL;
    uint32_t n = 0;
    gem_status st;

    if ((st = count_ids(name, vocab, added, &n, err))) return st;
    pieces = gem_calloc(n, sizeof *pieces, "the vocabulary", err);
    if (!pieces) return GEM_E_NOMEM;
    st = collect_vocab(name, vocab, pieces, err);
    if (!st) st = collect_added(name, added, pieces, err);
    if (!st) st = gem_vocabulary_fill(t, name, pieces, n, err);
    gem_free(pieces);
    return st;
}

/* ---- merges -------------------------------------------------------------------------------------------- */

/* A merge is ["a", "b"] or "a b". */
static bool halves(yyjson_val *v, const char **a, size_t *n_a, const char **b, size_t *n_b)
{
    yyjson_val *left = yyjson_arr_get_first(v), *right = yyjson_arr_get_last(v);

    if (yyjson_is_str(v)) return gem_merge_split(yyjson_get_str(v), yyjson_get_len(v), a, n_a, b, n_b);
    *a = yyjson_get_str(left);
    *n_a = yyjson_get_len(left);
    *b = yyjson_get_str(right);
    *n_b = yyjson_get_len(right);
    return yyjson_arr_size(v) == 2 && *a && *b;
}

static gem_status read_merges(struct gem_tokenizer *t, const char *name, yyjson_val *root, gem_error *err)
{
    yyjson_val *merges = yyjson_obj_get(yyjson_obj_get(root, "model"), "merges"), *v;
    yyjson_arr_iter list = yyjson_arr_iter_with(merges);
    gem_status st;

    if (!yyjson_is_arr(merges)) return gem_fail(err, GEM_E_FORMAT, 0, "%s: model.merges is missing", name);
    if ((st = gem_merges_open(t, name, yyjson_arr_size(merges), err))) return st;
    for (uint32_t rank = 0; (v = yyjson_arr_iter_next(&list)); rank++) {
        const char *a, *b;
        size_t n_a, n_b;
        if (!halves(v, &a, &n_a, &b, &n_b))
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: merge %u is not a pair of pieces", name, rank);
        if ((st = gem_merges_add(t, name, 0, rank, a, n_a, b, n_b, err))) return st;
    }
    return GEM_OK;
}

gem_status gem_tokenizer_from_json(struct gem_tokenizer **out, const char *name, const void *json, size_t n_bytes,
                                   gem_error *err)
{
    struct gem_tokenizer *t = NULL;
    yyjson_doc *doc = NULL;
    yyjson_val *root;
    gem_status st;

    *out = NULL;
    if ((st = gem_json_parse(&doc, name, json, n_bytes, GEM_TOKENIZER_MAX_JSON, err))) return st;
    root = yyjson_doc_get_root(doc);
    t = gem_calloc(1, sizeof *t, "the tokenizer", err);
    st = t ? GEM_OK : GEM_E_NOMEM;
    if (!st) st = check_stages(name, root, err);
    if (!st) st = read_vocab(t, name, root, err);
    if (!st) st = read_merges(t, name, root, err);
    yyjson_doc_free(doc);
    if (st)
        gem_tokenizer_close(t);
    else
        *out = t;
    return st;
}
