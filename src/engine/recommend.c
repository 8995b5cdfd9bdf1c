/* SPDX-License-Identifier: Apache-2.0
 *
 * What a checkpoint recommends: first token, stop tokens, sampling (spec/tokenizer-and-chat.md 4). */
#include "engine/internal.h"

#include "base/json.h"

#include <math.h>

static void add_stop(struct gem_model *m, int64_t id)
{
    if (id < 0 || id >= m->h.vocab || m->n_stop == GEM_MAX_STOP) return;
    for (size_t i = 0; i < m->n_stop; i++)
        if (m->stop[i] == id) return;
    m->stop[m->n_stop++] = (int32_t)id;
}

/* By name, since files disagree about which id ends a turn (spec/tokenizer-and-chat.md 4.2). */
static void add_stops_by_name(struct gem_model *m)
{
    static const char *const names[] = {"<eos>", "<turn|>", "<|tool_response>", "<end_of_turn>"};

    for (size_t i = 0; m->tokenizer && i < sizeof names / sizeof *names; i++) {
        const int32_t id = gem_tokenizer_find(m->tokenizer, names[i], strlen(names[i]));
        if (id >= 0 && gem_tokenizer_is_control(m->tokenizer, id)) add_stop(m, id);
    }
}

static void bos_by_name(struct gem_model *m)
{
    if (m->bos < 0 && m->tokenizer) m->bos = gem_tokenizer_find(m->tokenizer, "<bos>", 5);
}

static gem_status suppress(struct gem_model *m, const int64_t *ids, size_t n, gem_error *err)
{
    if (n == 0) return GEM_OK;
    if (!(m->suppressed = gem_calloc(n, sizeof *m->suppressed, "suppressed tokens", err))) return GEM_E_NOMEM;
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= 0 && ids[i] < m->h.vocab)
            m->suppressed[m->sampling.n_bias++] = (gem_logit_bias){.token = (int32_t)ids[i], .bias = -INFINITY};
    m->sampling.bias = m->suppressed;
    return GEM_OK;
}

/* ---- folders ------------------------------------------------------------------------------------------------------
 */

static int64_t get_id(yyjson_val *v)
{
    return yyjson_is_uint(v) && yyjson_get_uint(v) <= INT32_MAX ? (int64_t)yyjson_get_uint(v) : -1;
}

/* eos_token_id: one id or a list. */
static void read_stops(struct gem_model *m, yyjson_val *obj)
{
    yyjson_val *v = yyjson_obj_get(obj, "eos_token_id"), *e;
    yyjson_arr_iter it;

    add_stop(m, get_id(v));
    yyjson_arr_iter_init(v, &it);
    while ((e = yyjson_arr_iter_next(&it))) add_stop(m, get_id(e));
}

static gem_status read_suppressed(struct gem_model *m, yyjson_val *obj, gem_error *err)
{
    enum { MOST = 1024 };
    int64_t ids[MOST];
    size_t n = 0;
    yyjson_arr_iter it;
    yyjson_val *e;

    yyjson_arr_iter_init(yyjson_obj_get(obj, "suppress_tokens"), &it);
    while ((e = yyjson_arr_iter_next(&it)) && n < MOST) ids[n++] = get_id(e);
    return suppress(m, ids, n, err);
}

static void read_sampling(struct gem_model *m, yyjson_val *obj)
{
    gem_sampling *s = &m->sampling;
    yyjson_val *v;

    if (!yyjson_get_bool(yyjson_obj_get(obj, "do_sample"))) return; /* greedy */
    s->temperature = 1;
    if (yyjson_is_num(v = yyjson_obj_get(obj, "temperature"))) s->temperature = (float)yyjson_get_num(v);
    if (yyjson_is_uint(v = yyjson_obj_get(obj, "top_k"))) s->top_k = (uint32_t)yyjson_get_uint(v);
    if (yyjson_is_num(v = yyjson_obj_get(obj, "top_p"))) s->top_p = (float)yyjson_get_num(v);
    if (yyjson_is_num(v = yyjson_obj_get(obj, "min_p"))) s->min_p = (float)yyjson_get_num(v);
}

/* Reads one optional file of the checkpoint. */
static gem_status load(const struct gem_model *m, yyjson_doc **doc, const char *name, gem_error *err)
{
    enum { CEILING = 4 << 20 };
    struct gem_map map;
    char *label;
    gem_status st = gem_model_companion(m, name, &map, &label, err);

    *doc = NULL;
    if (!st && label) st = gem_json_parse(doc, label, map.data, (size_t)map.n_bytes, CEILING, err);
    gem_map_close(&map);
    gem_free(label);
    return st;
}

/* How many soft tokens an image takes where the caller does not say: transformers reads the first of these files that
 * is there. */
static gem_status read_budget(struct gem_model *m, gem_error *err)
{
    static const char *const files[] = {"processor_config.json", "preprocessor_config.json"};
    gem_status st = GEM_OK;

    for (size_t i = 0; i < 2 && !m->image_budget && !st; i++) {
        yyjson_doc *doc;
        yyjson_val *root, *value;

        if ((st = load(m, &doc, files[i], err))) break;
        root = yyjson_doc_get_root(doc);
        value = yyjson_obj_get(i == 0 ? yyjson_obj_get(root, "image_processor") : root, "max_soft_tokens");
        if (yyjson_is_uint(value) && yyjson_get_uint(value) <= UINT32_MAX)
            m->image_budget = (uint32_t)yyjson_get_uint(value);
        yyjson_doc_free(doc);
    }
    return st;
}

gem_status gem_recommend_from_folder(struct gem_model *m, gem_error *err)
{
    yyjson_doc *generation = NULL, *config = NULL;
    yyjson_val *root, *text;
    gem_status st;

    if ((st = read_budget(m, err))) goto out;
    if ((st = load(m, &generation, "generation_config.json", err))) goto out;
    if ((st = load(m, &config, "config.json", err))) goto out;
    root = yyjson_doc_get_root(config);
    text = yyjson_obj_get(root, "text_config");
    if (generation) {
        yyjson_val *g = yyjson_doc_get_root(generation);
        read_stops(m, g);
        read_sampling(m, g);
        m->bos = (int32_t)get_id(yyjson_obj_get(g, "bos_token_id"));
        if ((st = read_suppressed(m, g, err))) goto out;
    }
    if (m->n_stop == 0) read_stops(m, root);
    if (m->n_stop == 0) read_stops(m, text);
    /* Files name <eos> alone, or leave out the token that waits for a tool's result. */
    if (m->n_stop == 0 || m->chat.format >= GEM_CHAT_GEMMA4_SMALL) add_stops_by_name(m);
    bos_by_name(m);
    if (m->bos < 0) m->bos = (int32_t)get_id(yyjson_obj_get(text ? text : root, "bos_token_id"));
out:
    yyjson_doc_free(generation);
    yyjson_doc_free(config);
    return st;
}

/* ---- GGUF
 * ------------------------------------------------------------------------------------------------------------ */

gem_status gem_recommend_from_gguf(struct gem_model *m, gem_error *err)
{
    static const char *const stops[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"};
    const struct gem_archive *a = &m->archive;
    const struct gem_kv *kv = gem_archive_kv(a, "tokenizer.ggml.suppress_tokens");
    int64_t ids[64];
    size_t n = 0;
    uint32_t id, top_k = 0;
    gem_status st;

    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        id = UINT32_MAX;
        if ((st = gem_kv_get_u32(a, stops[i], false, &id, err))) return st;
        add_stop(m, id);
    }
    add_stops_by_name(m);
    id = UINT32_MAX;
    if ((st = gem_kv_get_u32(a, "tokenizer.ggml.bos_token_id", false, &id, err))) return st;
    if (id < m->h.vocab) m->bos = (int32_t)id;
    bos_by_name(m);
    if ((st = gem_kv_get_f32(a, "general.sampling.temp", false, &m->sampling.temperature, err))) return st;
    if ((st = gem_kv_get_f32(a, "general.sampling.top_p", false, &m->sampling.top_p, err))) return st;
    if ((st = gem_kv_get_u32(a, "general.sampling.top_k", false, &top_k, err))) return st;
    m->sampling.top_k = top_k;
    if (!kv || kv->type != GEM_KV_ARRAY || kv->element > GEM_KV_I32) return GEM_OK;
    while (n < kv->n && n < sizeof ids / sizeof *ids) {
        ids[n] = gem_kv_int(kv, n);
        n++;
    }
    return suppress(m, ids, n, err);
}

void gem_sampling_default(const gem_model *m, gem_sampling *out) { *out = m->sampling; }
