/* SPDX-License-Identifier: Apache-2.0
 *
 * vision_config of config.json, and the keys of GGUF files. */
#include "vision/hparams.h"

#include "base/json.h"

#include <stdio.h>

static yyjson_val *get(yyjson_val *obj, const char *key)
{
    yyjson_val *v = yyjson_obj_get(obj, key);

    return v && !yyjson_is_null(v) ? v : NULL;
}

/* A setting with one value that we implement. */
static gem_status expect_number(const char *name, yyjson_val *obj, const char *key, double value, gem_error *err)
{
    yyjson_val *v = get(obj, key);

    if (!v || (yyjson_is_num(v) && yyjson_get_num(v) == value)) return GEM_OK;
    return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: vision_config: '%s' is not %g", name, key, value);
}

static gem_status check_settings(const char *name, yyjson_val *obj, gem_error *err)
{
    static const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"patch_size", GEM_PATCH}, {"pooling_kernel_size", GEM_POOL}, {"rms_norm_eps", 1e-6}, {"rope_theta", 100}};
    yyjson_val *activation = get(obj, "hidden_activation"), *rope = get(obj, "rope_parameters");
    gem_status st;

    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((st = expect_number(name, obj, numbers[i].key, numbers[i].value, err))) return st;
    if ((st = expect_number(name, rope, "rope_theta", 100, err))) return st;
    if (activation && !yyjson_equals_str(activation, "gelu_pytorch_tanh"))
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: vision_config: 'hidden_activation' is not gelu_pytorch_tanh",
                        name);
    if (yyjson_get_bool(get(obj, "attention_bias")))
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: vision_config: 'attention_bias' is not supported", name);
    return GEM_OK;
}

struct number {
    const char *key;
    uint32_t *out;
};

static gem_status read_numbers(const char *name, yyjson_val *obj, const struct number *list, size_t n, gem_error *err)
{
    for (size_t i = 0; i < n; i++) {
        yyjson_val *v = get(obj, list[i].key);
        if (!v) continue; /* the default of the released configurations */
        if (!yyjson_is_uint(v) || yyjson_get_uint(v) > UINT32_MAX)
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: vision_config: '%s' is not a whole number", name, list[i].key);
        *list[i].out = (uint32_t)yyjson_get_uint(v);
    }
    return GEM_OK;
}

static gem_status read_encoder(struct gem_vision_hparams *h, const char *name, yyjson_val *obj, gem_error *err)
{
    uint32_t n_kv;
    const struct number numbers[] = {
        {"hidden_size", &h->width},           {"num_hidden_layers", &h->n_layers},
        {"num_attention_heads", &h->n_heads}, {"head_dim", &h->head_dim},
        {"intermediate_size", &h->ffn},       {"position_embedding_size", &h->n_positions},
        {"num_key_value_heads", &n_kv},
    };
    gem_status st;

    *h = (struct gem_vision_hparams){
        .width = 768, .n_layers = 16, .n_heads = 12, .head_dim = 64, .ffn = 3072, .n_positions = 10240};
    n_kv = UINT32_MAX;
    if ((st = read_numbers(name, obj, numbers, sizeof numbers / sizeof *numbers, err))) return st;
    h->clipped = yyjson_get_bool(get(obj, "use_clipped_linears"));
    h->standardized = yyjson_get_bool(get(obj, "standardize"));
    if (n_kv == UINT32_MAX || n_kv == h->n_heads) return GEM_OK;
    return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: vision_config: %u heads, but %u for keys and values", name,
                    h->n_heads, n_kv);
}

gem_status gem_vision_hparams_from_config(struct gem_vision_hparams *h, const char *name, const void *json, size_t n,
                                          gem_error *err)
{
    enum { CEILING = 4 << 20 };
    yyjson_doc *doc;
    yyjson_val *obj;
    const char *type;
    gem_status st;

    *h = (struct gem_vision_hparams){0};
    if ((st = gem_json_parse(&doc, name, json, n, CEILING, err))) return st;
    obj = get(yyjson_doc_get_root(doc), "vision_config");
    type = yyjson_get_str(get(obj, "model_type"));
    if (!yyjson_is_obj(obj)) {
        st = gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: no 'vision_config': this model cannot see", name);
    } else if ((st = check_settings(name, obj, err))) {
        /* said */
    } else if (type && !strcmp(type, "gemma4_unified_vision")) {
        const struct number numbers[] = {{"mm_embed_dim", &h->width}, {"mm_posemb_size", &h->n_positions}};
        *h = (struct gem_vision_hparams){.encoder_free = true, .width = 3840, .n_positions = 1120};
        st = read_numbers(name, obj, numbers, 2, err);
    } else if (type && !strcmp(type, "gemma4_vision")) {
        st = read_encoder(h, name, obj, err);
    } else {
        st = gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: vision tower of type %s is not supported", name,
                      type ? type : "unknown");
    }
    yyjson_doc_free(doc);
    return st;
}

/* ---- GGUF -------------------------------------------------------------------------------------------------------- */

static gem_status read_projector(struct gem_vision_hparams *h, const struct gem_archive *a, gem_error *err)
{
    const char *type = NULL;
    size_t n = 0;
    gem_status st;

    if ((st = gem_kv_get_string(a, "clip.vision.projector_type", false, &type, &n, err))) return st;
    if (!type && (st = gem_kv_get_string(a, "clip.projector_type", false, &type, &n, err))) return st;
    h->encoder_free =
        type ? n == 8 && !memcmp(type, "gemma4uv", 8) : gem_archive_tensor(a, "v.patch_norm.1.weight") != NULL;
    if (!type || h->encoder_free || (n == 7 && !memcmp(type, "gemma4v", 7))) return GEM_OK;
    return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: projector of type %.*s is not supported, only gemma4v and gemma4uv",
                    a->paths[0], n > 32 ? 32 : (int)n, type);
}

/* From shapes: all dimensions have been checked against each other when the tower is bound. */
static uint32_t dimension(const struct gem_archive *a, const char *name, uint32_t i)
{
    const struct gem_tensor *t = gem_archive_tensor(a, name);

    return t && i < t->n_dims && t->shape[i] <= UINT32_MAX ? (uint32_t)t->shape[i] : 0;
}

gem_status gem_vision_hparams_from_gguf(struct gem_vision_hparams *h, const struct gem_archive *a, gem_error *err)
{
    const char *prefix = gem_archive_kv(a, "clip.vision.block_count") ? "clip.vision" : "gemma4.vision";
    char key[64];
    gem_status st;

    *h = (struct gem_vision_hparams){0};
    if ((st = read_projector(h, a, err))) return st;
    h->width = dimension(a, "v.patch_embd.weight", 0);
    h->n_positions = dimension(a, "v.position_embd.weight", 1);
    if (h->encoder_free) return GEM_OK;
    snprintf(key, sizeof key, "%s.block_count", prefix);
    if ((st = gem_kv_get_u32(a, key, true, &h->n_layers, err))) return st;
    snprintf(key, sizeof key, "%s.attention.head_count", prefix);
    if ((st = gem_kv_get_u32(a, key, true, &h->n_heads, err))) return st;
    h->head_dim = dimension(a, "v.blk.0.attn_q_norm.weight", 0);
    h->ffn = dimension(a, "v.blk.0.ffn_up.weight", 0);
    h->clipped = gem_archive_tensor(a, "v.blk.0.attn_q.input_min") != NULL;
    h->standardized = gem_archive_tensor(a, "v.std_scale") != NULL;
    return GEM_OK;
}

gem_status gem_vision_hparams_check(const struct gem_vision_hparams *h, const char *name, gem_error *err)
{
    const struct {
        const char *what;
        uint32_t value, min, max;
    } ranges[] = {
        {"width", h->width, 1, 1u << 14},
        {"number of positions", h->n_positions, 1, 1u << 20},
        {"number of layers", h->n_layers, h->encoder_free ? 0 : 1, h->encoder_free ? 0 : 256},
        {"number of heads", h->n_heads, h->encoder_free ? 0 : 1, h->encoder_free ? 0 : 256},
        {"head size", h->head_dim, h->encoder_free ? 0 : 4, h->encoder_free ? 0 : GEM_VISION_MAX_HEAD},
        {"feed-forward width", h->ffn, h->encoder_free ? 0 : 1, h->encoder_free ? 0 : 1u << 16},
    };

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < ranges[i].min || ranges[i].value > ranges[i].max)
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: vision tower: %s is %u, expected %u to %u", name, ranges[i].what,
                            ranges[i].value, ranges[i].min, ranges[i].max);
    if (h->head_dim % 4 == 0) return GEM_OK;
    return gem_fail(err, GEM_E_FORMAT, 0, "%s: vision tower: head size %u is no multiple of 4", name, h->head_dim);
}
