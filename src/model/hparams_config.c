/* SPDX-License-Identifier: Apache-2.0
 *
 * config.json (spec/text-model.md 1.3). Numbers are read by tables of keys; what decides the architecture is read
 * by name; a setting that would change the computation and that we do not implement is refused, never ignored. */
#include "model/hparams.h"

#include "base/json.h"

#include <math.h>
#include <stdio.h>

struct reader {
    const char *name; /* of the file, for messages */
    yyjson_val *text; /* the object that holds the text model */
    gem_error *err;
};

/* NULL for an absent key and for JSON null. */
static yyjson_val *get(yyjson_val *obj, const char *key)
{
    yyjson_val *v = yyjson_obj_get(obj, key);

    return v && !yyjson_is_null(v) ? v : NULL;
}

static gem_status wrong(const struct reader *r, const char *key, const char *expected)
{
    return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: '%s' is not %s", r->name, key, expected);
}

/* Absent keys leave *out alone. */
static gem_status read_u32(const struct reader *r, yyjson_val *obj, const char *key, bool required, uint32_t *out)
{
    yyjson_val *v = get(obj, key);

    if (!v && required) return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: '%s' is missing", r->name, key);
    if (!v) return GEM_OK;
    if (!yyjson_is_uint(v) || yyjson_get_uint(v) > UINT32_MAX) return wrong(r, key, "a whole number below 2^32");
    *out = (uint32_t)yyjson_get_uint(v);
    return GEM_OK;
}

static gem_status read_f32(const struct reader *r, yyjson_val *obj, const char *key, float *out)
{
    yyjson_val *v = get(obj, key);

    if (!v) return GEM_OK;
    if (!yyjson_is_num(v)) return wrong(r, key, "a number");
    *out = (float)yyjson_get_num(v);
    return GEM_OK;
}

static gem_status read_bool(const struct reader *r, yyjson_val *obj, const char *key, bool *out)
{
    yyjson_val *v = get(obj, key);

    if (!v) return GEM_OK;
    if (!yyjson_is_bool(v)) return wrong(r, key, "true or false");
    *out = yyjson_get_bool(v);
    return GEM_OK;
}

/* A string setting must be absent or have the one value that we implement. */
static gem_status expect(const struct reader *r, const char *key, const char *value)
{
    yyjson_val *v = get(r->text, key);

    if (!v || yyjson_equals_str(v, value)) return GEM_OK;
    return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: '%s' is \"%s\"; only \"%s\" is supported", r->name, key,
                    yyjson_is_str(v) ? yyjson_get_str(v) : "?", value);
}

static const struct {
    const char *model_type;
    gem_family family;
} known_types[] = {
    {"gemma4", GEM_FAMILY_GEMMA4},         {"gemma4_text", GEM_FAMILY_GEMMA4},
    {"gemma4_unified", GEM_FAMILY_GEMMA4}, {"gemma4_unified_text", GEM_FAMILY_GEMMA4},
    {"gemma3", GEM_FAMILY_GEMMA3},         {"gemma3_text", GEM_FAMILY_GEMMA3},
};

static gem_status read_family(struct gem_hparams *h, const struct reader *r, yyjson_val *root)
{
    const char *type = yyjson_get_str(get(root, "model_type"));

    if (!type) return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: 'model_type' is missing", r->name);
    for (size_t i = 0; i < sizeof known_types / sizeof *known_types; i++)
        if (!strcmp(type, known_types[i].model_type)) {
            h->family = known_types[i].family;
            h->architecture = known_types[i].model_type;
            return GEM_OK;
        }
    if (strstr(type, "assistant"))
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: this is a drafter (%s), which cannot run alone", r->name,
                        type);
    return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: this is %s, not gemma4 or gemma3", r->name, type);
}

/* What the released Gemma 3 files leave to the defaults of their configuration class. */
static void gemma3_defaults(struct gem_hparams *h, uint32_t *kv, uint32_t *head_dim, uint32_t *ffn)
{
    h->hidden = 2304;
    h->n_layers = 26;
    h->n_heads = 8;
    h->vocab = 262208;
    h->window = 4096;
    h->context = 131072;
    *kv = 4;
    *head_dim = 256;
    *ffn = 9216;
}

/* "rope_parameters": {"full_attention": {...}, "sliding_attention": {...}} of current files; the flat
 * rope_theta, rope_local_base_freq and rope_scaling of older ones. */
static gem_status read_rope_kind(const struct reader *r, yyjson_val *obj, const char *which, uint32_t head_dim,
                                 struct gem_rope_hparams *rope)
{
    float partial = 1;
    const char *type;
    gem_status st;

    if (!obj) return GEM_OK;
    if (!yyjson_is_obj(obj)) return wrong(r, which, "an object");
    type = yyjson_get_str(get(obj, "rope_type"));
    if (!type) type = yyjson_get_str(get(obj, "type"));
    if (type && strcmp(type, "default") && strcmp(type, "proportional") && strcmp(type, "linear"))
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: RoPE type \"%s\" of %s is not supported", r->name, type,
                        which);
    if ((st = read_f32(r, obj, "rope_theta", &rope->base))) return st;
    if ((st = read_f32(r, obj, "factor", &rope->factor))) return st;
    if ((st = read_f32(r, obj, "partial_rotary_factor", &partial))) return st;
    if (!(partial > 0 && partial <= 1)) return wrong(r, "partial_rotary_factor", "above 0 and at most 1");
    if (type && !strcmp(type, "proportional"))
        rope->n_rot = (uint32_t)(partial * (float)head_dim / 2);
    else if (partial != 1)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: partial_rotary_factor without rope_type \"proportional\"",
                        r->name);
    return GEM_OK;
}

static gem_status read_rope(struct gem_hparams *h, const struct reader *r, uint32_t dim_local, uint32_t dim_global)
{
    yyjson_val *both = get(r->text, "rope_parameters");
    gem_status st;

    h->rope_local = (struct gem_rope_hparams){.base = 1e4f, .factor = 1};
    h->rope_global = (struct gem_rope_hparams){.base = 1e6f, .factor = 1};
    if (h->family == GEM_FAMILY_GEMMA4) h->rope_global.n_rot = dim_global / 8; /* a quarter of the pairs */
    if ((st = read_f32(r, r->text, "rope_theta", &h->rope_global.base))) return st;
    if ((st = read_f32(r, r->text, "rope_local_base_freq", &h->rope_local.base))) return st;
    if ((st = read_rope_kind(r, get(r->text, "rope_scaling"), "rope_scaling", dim_global, &h->rope_global))) return st;
    if (both && !yyjson_is_obj(both)) return wrong(r, "rope_parameters", "an object");
    if ((st = read_rope_kind(r, get(both, "full_attention"), "full_attention", dim_global, &h->rope_global))) return st;
    return read_rope_kind(r, get(both, "sliding_attention"), "sliding_attention", dim_local, &h->rope_local);
}

/* layer_types, or in old Gemma 3 files every sliding_window_pattern-th layer global. */
static gem_status read_layer_types(struct gem_hparams *h, const struct reader *r)
{
    yyjson_val *types = get(r->text, "layer_types");
    uint32_t pattern = 6;
    gem_status st;

    if (!types) {
        if (h->family == GEM_FAMILY_GEMMA4)
            return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: 'layer_types' is missing", r->name);
        if ((st = read_u32(r, r->text, "sliding_window_pattern", false, &pattern))) return st;
        if (pattern == 0) return wrong(r, "sliding_window_pattern", "above 0");
        for (uint32_t i = 0; i < h->n_layers; i++) h->layers[i].global = (i + 1) % pattern == 0;
        return GEM_OK;
    }
    if (!yyjson_is_arr(types) || yyjson_arr_size(types) != h->n_layers)
        return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: 'layer_types' does not have one entry for each of %u layers",
                        r->name, h->n_layers);
    for (uint32_t i = 0; i < h->n_layers; i++) {
        yyjson_val *t = yyjson_arr_get(types, i);
        h->layers[i].global = yyjson_equals_str(t, "full_attention");
        if (!h->layers[i].global && !yyjson_equals_str(t, "sliding_attention"))
            return gem_fail(r->err, GEM_E_FORMAT, 0,
                            "%s: 'layer_types' entry %u is neither full_attention nor "
                            "sliding_attention",
                            r->name, i);
    }
    return GEM_OK;
}

/* {"4": {"head_dim": 512, "num_key_value_heads": 1}, ...} */
static gem_status read_per_layer(struct gem_hparams *h, const struct reader *r, yyjson_val *map)
{
    yyjson_obj_iter it;
    yyjson_val *key, *inner;
    gem_status st;

    if (!yyjson_is_obj(map)) return wrong(r, "per_layer_config", "an object");
    yyjson_obj_iter_init(map, &it);
    while ((key = yyjson_obj_iter_next(&it))) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        yyjson_obj_iter fields;
        char *end;
        const unsigned long i = strtoul(yyjson_get_str(key), &end, 10);

        if (*end || end == yyjson_get_str(key) || i >= h->n_layers)
            return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: 'per_layer_config' has no layer \"%s\"", r->name,
                            yyjson_get_str(key));
        if (!yyjson_is_obj(value)) return wrong(r, "per_layer_config", "a map of objects");
        yyjson_obj_iter_init(value, &fields);
        while ((inner = yyjson_obj_iter_next(&fields)))
            if (!yyjson_equals_str(inner, "head_dim") && !yyjson_equals_str(inner, "num_key_value_heads") &&
                !yyjson_equals_str(inner, "intermediate_size"))
                return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: 'per_layer_config' of layer %lu sets '%s'", r->name,
                                i, yyjson_get_str(inner));
        if ((st = read_u32(r, value, "head_dim", false, &h->layers[i].head_dim))) return st;
        if ((st = read_u32(r, value, "num_key_value_heads", false, &h->layers[i].n_kv_heads))) return st;
        if ((st = read_u32(r, value, "intermediate_size", false, &h->layers[i].ffn))) return st;
    }
    return GEM_OK;
}

static gem_status read_layers(struct gem_hparams *h, const struct reader *r, uint32_t kv, uint32_t head_dim,
                              uint32_t ffn)
{
    uint32_t global_dim = head_dim, global_kv = kv;
    bool k_eq_v = false, wide = false;
    yyjson_val *map = get(r->text, "per_layer_config");
    gem_status st;

    if ((st = read_layer_types(h, r))) return st;
    if ((st = read_bool(r, r->text, "attention_k_eq_v", &k_eq_v))) return st;
    if ((st = read_bool(r, r->text, "use_double_wide_mlp", &wide))) return st;
    if (h->family == GEM_FAMILY_GEMMA4 && !map) {
        global_dim = 512; /* the class default, which old files may leave out */
        if ((st = read_u32(r, r->text, "global_head_dim", false, &global_dim))) return st;
        if (k_eq_v && (st = read_u32(r, r->text, "num_global_key_value_heads", false, &global_kv))) return st;
    }
    for (uint32_t i = 0; i < h->n_layers; i++) {
        struct gem_layer_hparams *l = &h->layers[i];
        l->head_dim = l->global ? global_dim : head_dim;
        l->n_kv_heads = l->global ? global_kv : kv;
        l->ffn = wide && i >= h->n_own ? 2 * ffn : ffn;
        l->k_eq_v = l->global && k_eq_v;
    }
    return map ? read_per_layer(h, r, map) : GEM_OK;
}

/* Settings that change the computation and have one supported value. */
static gem_status refuse_unsupported(const struct gem_hparams *h, const struct reader *r)
{
    bool bias = false, bidirectional = false;
    float attention_cap = 0;
    gem_status st;

    if ((st = expect(r, "hidden_activation", "gelu_pytorch_tanh"))) return st;
    if ((st = read_bool(r, r->text, "attention_bias", &bias))) return st;
    if (bias) return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: 'attention_bias' is not supported", r->name);
    if ((st = read_f32(r, r->text, "attn_logit_softcapping", &attention_cap))) return st;
    if (attention_cap != 0)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: 'attn_logit_softcapping' is not supported", r->name);
    if (h->family == GEM_FAMILY_GEMMA4) return expect(r, "use_bidirectional_attention", "vision");
    if ((st = read_bool(r, r->text, "use_bidirectional_attention", &bidirectional))) return st;
    if (bidirectional)
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: 'use_bidirectional_attention' is not supported", r->name);
    return GEM_OK;
}

static gem_status read_experts(struct gem_hparams *h, const struct reader *r)
{
    bool moe = false;
    gem_status st;

    if ((st = read_bool(r, r->text, "enable_moe_block", &moe)) || !moe) return st;
    if ((st = read_u32(r, r->text, "num_experts", true, &h->n_experts))) return st;
    if ((st = read_u32(r, r->text, "top_k_experts", true, &h->n_experts_used))) return st;
    return read_u32(r, r->text, "moe_intermediate_size", true, &h->ffn_expert);
}

/* Only the multimodal classes replace placeholders; the released ids are their defaults. */
static gem_status read_placeholders(struct gem_hparams *h, const struct reader *r, yyjson_val *root)
{
    const struct {
        const char *key;
        uint32_t id;
        int32_t *out;
    } ids[] = {
        {"image_token_id", 258880, &h->placeholders[0]}, {"video_token_id", 258884, &h->placeholders[1]},
        {"audio_token_id", 258881, &h->placeholders[2]}, {"boi_token_id", 255999, &h->media_begin[0]},
        {"boi_token_id", 255999, &h->media_begin[1]},    {"boa_token_id", 256000, &h->media_begin[2]},
        {"eoi_token_id", 258882, &h->media_end[0]},      {"eoi_token_id", 258882, &h->media_end[1]},
        {"eoa_token_index", 258883, &h->media_end[2]},
    };
    uint32_t pad = 0;
    gem_status st;

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        uint32_t id = ids[i].id;
        *ids[i].out = -1;
        if (h->family != GEM_FAMILY_GEMMA4 || r->text == root) continue;
        if ((st = read_u32(r, root, ids[i].key, false, &id))) return st;
        *ids[i].out = id <= INT32_MAX ? (int32_t)id : -1;
    }
    if ((st = read_u32(r, r->text, "pad_token_id", false, &pad))) return st;
    h->pad = pad <= INT32_MAX ? (int32_t)pad : -1;
    return GEM_OK;
}

static gem_status read_text(struct gem_hparams *h, const struct reader *r)
{
    const bool gemma4 = h->family == GEM_FAMILY_GEMMA4;
    uint32_t kv = 0, head_dim = 0, ffn = 0, shared = 0;
    float query_scalar = 0;
    const struct {
        const char *key;
        bool required;
        uint32_t *out;
    } numbers[] = {
        {"hidden_size", gemma4, &h->hidden},
        {"num_hidden_layers", gemma4, &h->n_layers},
        {"num_attention_heads", gemma4, &h->n_heads},
        {"num_key_value_heads", gemma4, &kv},
        {"head_dim", gemma4, &head_dim},
        {"intermediate_size", gemma4, &ffn},
        {"vocab_size", gemma4, &h->vocab},
        {"sliding_window", gemma4, &h->window},
        {"max_position_embeddings", false, &h->context},
        {"num_kv_shared_layers", false, &shared},
        {"hidden_size_per_layer_input", false, &h->ple},
    };
    gem_status st;

    h->eps = 1e-6f;
    h->context = 131072;
    h->tied = true;
    if (!gemma4) gemma3_defaults(h, &kv, &head_dim, &ffn);
    query_scalar = (float)head_dim;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((st = read_u32(r, r->text, numbers[i].key, numbers[i].required, numbers[i].out))) return st;
    if (h->n_layers == 0 || h->n_layers > GEM_MAX_LAYERS)
        return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: num_hidden_layers is %u, expected 1 to %d", r->name, h->n_layers,
                        GEM_MAX_LAYERS);
    if (shared >= h->n_layers)
        return gem_fail(r->err, GEM_E_FORMAT, 0, "%s: num_kv_shared_layers is %u of %u", r->name, shared, h->n_layers);
    h->n_own = h->n_layers - shared;
    if ((st = read_f32(r, r->text, "rms_norm_eps", &h->eps))) return st;
    if ((st = read_f32(r, r->text, "final_logit_softcapping", &h->softcap))) return st;
    if ((st = read_bool(r, r->text, "tie_word_embeddings", &h->tied))) return st;
    if (!gemma4 && (st = read_f32(r, r->text, "query_pre_attn_scalar", &query_scalar))) return st;
    h->query_scale = gemma4 ? 1 : (float)(1 / sqrt((double)query_scalar));
    h->value_norm = h->layer_scalar = gemma4;
    h->bidirectional_media = gemma4 && get(r->text, "use_bidirectional_attention");
    h->norm_plus_one = !gemma4;
    if ((st = refuse_unsupported(h, r))) return st;
    if ((st = read_experts(h, r))) return st;
    if ((st = read_layers(h, r, kv, head_dim, ffn))) return st;
    for (uint32_t i = 0, g = head_dim; i < h->n_layers; i++) {
        if (h->layers[i].global) g = h->layers[i].head_dim;
        if (i + 1 == h->n_layers && (st = read_rope(h, r, head_dim, g))) return st;
    }
    return GEM_OK;
}

gem_status gem_hparams_from_config(struct gem_hparams *h, const char *name, const void *json, size_t n_bytes,
                                   gem_error *err)
{
    enum { CEILING = 4 << 20 };
    struct reader r = {.name = name, .err = err};
    yyjson_doc *doc;
    yyjson_val *root;
    gem_status st;

    *h = (struct gem_hparams){0};
    if ((st = gem_json_parse(&doc, name, json, n_bytes, CEILING, err))) return st;
    root = yyjson_doc_get_root(doc);
    r.text = get(root, "text_config");
    if (!r.text) r.text = root;
    if (!yyjson_is_obj(root) || !yyjson_is_obj(r.text))
        st = gem_fail(err, GEM_E_FORMAT, 0, "%s: not a JSON object", name);
    else if (!(st = read_family(h, &r, root)) && !(st = read_placeholders(h, &r, root)))
        st = read_text(h, &r);
    if (!st) {
        h->has_vision = get(root, "vision_config") != NULL;
        h->has_audio = get(root, "audio_config") != NULL;
        st = gem_hparams_finish(h, name, err);
    }
    yyjson_doc_free(doc);
    return st;
}
