/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF metadata (spec/text-model.md 4.3, docs/gemma3.md): keys are "gemma4.block_count" and so on. */
#include "model/hparams.h"

#include <math.h>
#include <stdio.h>

struct reader {
    const struct gem_archive *a;
    const char *arch;
    gem_error *err;
    char key[96]; /* of the last call of full_key */
};

static const char *full_key(struct reader *r, const char *key)
{
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, key);
    return r->key;
}

static gem_status read_u32(struct reader *r, const char *key, bool required, uint32_t *out)
{
    return gem_kv_get_u32(r->a, full_key(r, key), required, out, r->err);
}

static gem_status read_f32(struct reader *r, const char *key, float *out)
{
    return gem_kv_get_f32(r->a, full_key(r, key), false, out, r->err);
}

static const struct {
    const char *architecture;
    gem_family family;
} known[] = {{"gemma4", GEM_FAMILY_GEMMA4}, {"gemma3", GEM_FAMILY_GEMMA3}};

static gem_status read_family(struct gem_hparams *h, struct reader *r)
{
    const char *s = NULL, *path = r->a->paths[0];
    size_t n = 0;
    gem_status st = gem_kv_get_string(r->a, "general.architecture", true, &s, &n, r->err);

    if (st) return st;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (n == strlen(known[i].architecture) && !memcmp(s, known[i].architecture, n)) {
            h->family = known[i].family;
            r->arch = h->architecture = known[i].architecture;
            return GEM_OK;
        }
    if (n > 64) n = 64;
    if (n >= 9 && !memcmp(s + n - 9, "assistant", 9))
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: this is a drafter (%.*s), which cannot run alone", path,
                        (int)n, s);
    if (n == 4 && !memcmp(s, "clip", 4))
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 0,
                        "%s: this is a projector (mmproj) for images or sound, not a language model", path);
    return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: this is %.*s, not gemma4 or gemma3", path, (int)n, s);
}

/* rope_freqs.weight [d/2] F32: divisors of the angle in global layers; 1 turns, 1e30 stands still. */
static gem_status read_rope_freqs(struct gem_hparams *h, struct reader *r, uint32_t dim)
{
    const struct gem_tensor *t = gem_archive_tensor(r->a, "rope_freqs.weight");
    uint32_t n = 0;

    if (h->family == GEM_FAMILY_GEMMA4) h->rope_global.n_rot = dim / 8;
    if (!t) return GEM_OK;
    if (t->type != GEM_F32 || t->n_dims != 1 || t->shape[0] != dim / 2)
        return gem_fail(r->err, GEM_E_FORMAT, t->offset, "%s: tensor 'rope_freqs.weight' is not F32[%u]",
                        r->a->paths[0], dim / 2);
    for (uint32_t i = 0; i < dim / 2; i++) {
        float f;
        memcpy(&f, t->data + 4 * (size_t)i, 4);
        if (f == 1 && n == i)
            n++;
        else if (!(f >= 1e29f))
            return gem_fail(r->err, GEM_E_UNSUPPORTED, t->offset + 4 * (uint64_t)i,
                            "%s: tensor 'rope_freqs.weight' entry %u is %g; only ones followed by 1e30 are supported",
                            r->a->paths[0], i, (double)f);
    }
    h->rope_global.n_rot = n;
    return GEM_OK;
}

static gem_status read_rope(struct gem_hparams *h, struct reader *r, uint32_t global_dim)
{
    const char *type = NULL;
    size_t n = 0;
    gem_status st;

    h->rope_local = (struct gem_rope_hparams){.base = 1e4f, .factor = 1};
    h->rope_global = (struct gem_rope_hparams){.base = 1e6f, .factor = 1};
    if ((st = read_f32(r, "rope.freq_base", &h->rope_global.base))) return st;
    if ((st = read_f32(r, "rope.freq_base_swa", &h->rope_local.base))) return st;
    if ((st = gem_kv_get_string(r->a, full_key(r, "rope.scaling.type"), false, &type, &n, r->err))) return st;
    if (type && n == 6 && !memcmp(type, "linear", 6)) {
        if ((st = read_f32(r, "rope.scaling.factor", &h->rope_global.factor))) return st;
    } else if (type && !(n == 4 && !memcmp(type, "none", 4))) {
        return gem_fail(r->err, GEM_E_UNSUPPORTED, 0, "%s: RoPE scaling type \"%.*s\" is not supported", r->a->paths[0],
                        n > 32 ? 32 : (int)n, type);
    }
    return read_rope_freqs(h, r, global_dim);
}

/* bool[n_layers], true for local layers; in Gemma 3 files also one number n, every n-th layer global, or nothing: 6.
 * Without a window all layers are global. */
static gem_status read_pattern(struct gem_hparams *h, struct reader *r, uint32_t *local)
{
    const bool gemma4 = h->family == GEM_FAMILY_GEMMA4;
    const struct gem_kv *kv = gem_archive_kv(r->a, full_key(r, "attention.sliding_window_pattern"));
    uint32_t every = 6;
    gem_status st;

    if ((st = read_u32(r, "attention.sliding_window", gemma4, &h->window))) return st;
    full_key(r, "attention.sliding_window_pattern");
    if (gemma4 || (kv && kv->type == GEM_KV_ARRAY)) {
        if ((st = gem_kv_get_u32s(r->a, r->key, gemma4, local, h->n_layers, r->err))) return st;
    } else {
        if ((st = gem_kv_get_u32(r->a, r->key, false, &every, r->err))) return st;
        for (uint32_t i = 0; i < h->n_layers; i++) local[i] = every != 0 && (i + 1) % every != 0;
    }
    if (h->window) return GEM_OK;
    for (uint32_t i = 0; i < h->n_layers; i++) local[i] = 0;
    h->window = h->context;
    return GEM_OK;
}

static gem_status read_layers(struct gem_hparams *h, struct reader *r)
{
    const bool gemma4 = h->family == GEM_FAMILY_GEMMA4;
    uint32_t kv[GEM_MAX_LAYERS], ffn[GEM_MAX_LAYERS], local[GEM_MAX_LAYERS] = {0};
    uint32_t dim = h->n_heads ? h->hidden / h->n_heads : 0, dim_local;
    gem_status st;

    for (uint32_t i = 0; i < h->n_layers; i++) kv[i] = h->n_heads;
    if ((st = gem_kv_get_u32s(r->a, full_key(r, "attention.head_count_kv"), gemma4, kv, h->n_layers, r->err)))
        return st;
    if ((st = gem_kv_get_u32s(r->a, full_key(r, "feed_forward_length"), true, ffn, h->n_layers, r->err))) return st;
    if ((st = read_pattern(h, r, local))) return st;
    if ((st = read_u32(r, "attention.key_length", gemma4, &dim))) return st;
    dim_local = dim;
    if ((st = read_u32(r, "attention.key_length_swa", gemma4, &dim_local))) return st;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.attn_v.weight", i);
        h->layers[i] = (struct gem_layer_hparams){
            .global = !local[i],
            .head_dim = local[i] ? dim_local : dim,
            .n_kv_heads = kv[i],
            .ffn = ffn[i],
            /* no key says so: values are keys where a global layer has no attn_v (spec 4.3) */
            .k_eq_v = gemma4 && !local[i] && !gem_archive_tensor(r->a, name),
        };
    }
    return read_rope(h, r, dim);
}

/* llama.cpp's rule, since the file has no key: 1/sqrt(head size), but for the 27B 1/sqrt(hidden / heads). */
static float gemma3_query_scale(const struct gem_hparams *h)
{
    const double d = h->n_layers == 62 && h->n_heads ? (double)h->hidden / h->n_heads : h->layers[0].head_dim;

    return d > 0 ? (float)(1 / sqrt(d)) : 0;
}

gem_status gem_hparams_from_gguf(struct gem_hparams *h, const struct gem_archive *a, gem_error *err)
{
    struct reader r = {.a = a, .err = err};
    const struct gem_tensor *table = gem_archive_tensor(a, "token_embd.weight");
    uint32_t shared = 0;
    gem_status st;

    *h = (struct gem_hparams){.eps = 1e-6f,
                              .placeholders = {-1, -1, -1}, /* whose ids the tokenizer knows */
                              .media_begin = {-1, -1, -1},
                              .media_end = {-1, -1, -1}};
    if ((st = read_family(h, &r))) return st;
    if (!table) return gem_fail(err, GEM_E_FORMAT, 0, "%s: tensor 'token_embd.weight' is missing", a->paths[0]);
    h->vocab = table->n_dims == 2 && table->shape[0] <= UINT32_MAX ? (uint32_t)table->shape[0] : 0;
    h->tied = gem_archive_tensor(a, "output.weight") == NULL;
    h->context = 131072;
    const struct {
        const char *key;
        bool required;
        uint32_t *out;
    } numbers[] = {
        {"block_count", true, &h->n_layers},
        {"embedding_length", true, &h->hidden},
        {"attention.head_count", true, &h->n_heads},
        {"context_length", false, &h->context},
        {"attention.shared_kv_layers", false, &shared},
        {"embedding_length_per_layer_input", false, &h->ple},
        {"expert_count", false, &h->n_experts},
        {"expert_used_count", false, &h->n_experts_used},
        {"expert_feed_forward_length", false, &h->ffn_expert},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if ((st = read_u32(&r, numbers[i].key, numbers[i].required, numbers[i].out))) return st;
    if (h->n_layers == 0 || h->n_layers > GEM_MAX_LAYERS || shared >= h->n_layers)
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: %u layers of which %u share a cache; expected 1 to %d layers",
                        a->paths[0], h->n_layers, shared, GEM_MAX_LAYERS);
    h->n_own = h->n_layers - shared;
    if (h->n_experts == 0) h->n_experts_used = h->ffn_expert = 0;
    if ((st = read_f32(&r, "attention.layer_norm_rms_epsilon", &h->eps))) return st;
    if ((st = read_f32(&r, "final_logit_softcapping", &h->softcap))) return st;
    if ((st = read_layers(h, &r))) return st;
    h->value_norm = h->layer_scalar = h->family == GEM_FAMILY_GEMMA4;
    h->bidirectional_media = h->family == GEM_FAMILY_GEMMA4 && h->ple == 0; /* no key says so; it is so in all sizes */
    h->query_scale = h->family == GEM_FAMILY_GEMMA4 ? 1 : gemma3_query_scale(h);
    return gem_hparams_finish(h, a->paths[0], err);
}
