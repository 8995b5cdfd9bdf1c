/* SPDX-License-Identifier: Apache-2.0 */
#include "model/hparams.h"

#include <math.h>

/* A value that a hostile file may choose, and what it may be. */
struct range {
    const char *what;
    uint32_t value, min, max;
};

static gem_status check_ranges(const struct range *r, size_t n, const char *name, gem_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (r[i].value < r[i].min || r[i].value > r[i].max)
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: %s is %u, expected %u to %u", name, r[i].what, r[i].value,
                            r[i].min, r[i].max);
    return GEM_OK;
}

static gem_status check_model(const struct gem_hparams *h, const char *name, gem_error *err)
{
    const struct range ranges[] = {
        {"number of layers", h->n_layers, 1, GEM_MAX_LAYERS},
        {"hidden size", h->hidden, 1, 1u << 16},
        {"vocabulary size", h->vocab, 1, 1u << 22},
        {"number of attention heads", h->n_heads, 1, GEM_MAX_HEADS},
        {"sliding window", h->window, 1, 1u << 24},
        {"context length", h->context, 1, 1u << 24},
        {"width of per-layer embeddings", h->ple, 0, 1u << 14},
        {"number of experts", h->n_experts, 0, 4096},
        {"number of experts used", h->n_experts_used, h->n_experts ? 1 : 0, h->n_experts ? GEM_MAX_EXPERTS_USED : 0},
        {"expert feed-forward width", h->ffn_expert, h->n_experts ? 1 : 0, 1u << 20},
        {"number of layers that own a cache", h->n_own, 1, h->n_layers},
    };
    gem_status st = check_ranges(ranges, sizeof ranges / sizeof *ranges, name, err);

    if (st) return st;
    if (h->n_experts_used > h->n_experts)
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: %u of %u experts used", name, h->n_experts_used, h->n_experts);
    if (!(h->eps > 0 && h->eps < 1))
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: rms_norm_eps is %g", name, (double)h->eps);
    if (!(h->softcap >= 0 && h->softcap < 1e6f))
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: final_logit_softcapping is %g", name, (double)h->softcap);
    if (!(h->query_scale > 0 && h->query_scale < 1e3f))
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: attention scale is %g", name, (double)h->query_scale);
    return GEM_OK;
}

/* One table of angles serves all layers of a kind, so their heads must have one size. */
static gem_status finish_rope(struct gem_hparams *h, bool global, const char *name, gem_error *err)
{
    struct gem_rope_hparams *rope = global ? &h->rope_global : &h->rope_local;
    const char *which = global ? "global" : "local";
    uint32_t dim = 0;

    for (uint32_t i = 0; i < h->n_layers; i++) {
        if (h->layers[i].global != global) continue;
        if (dim && dim != h->layers[i].head_dim)
            return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: %s layers have heads of %u and of %u", name, which, dim,
                            h->layers[i].head_dim);
        dim = h->layers[i].head_dim;
    }
    if (rope->n_rot == 0 || rope->n_rot > dim / 2) rope->n_rot = dim / 2; /* not said: all pairs turn */
    if (rope->base > 1 && rope->base < 1e12f && rope->factor >= 1e-3f && rope->factor <= 1e6f) return GEM_OK;
    return gem_fail(err, GEM_E_FORMAT, 0, "%s: RoPE of %s layers has base %g and scaling factor %g", name, which,
                    (double)rope->base, (double)rope->factor);
}

static gem_status check_layer(const struct gem_hparams *h, uint32_t i, const char *name, gem_error *err)
{
    const struct gem_layer_hparams *l = &h->layers[i];
    const struct range ranges[] = {
        {"head size", l->head_dim, 2, 4096},
        {"number of key/value heads", l->n_kv_heads, 1, h->n_heads},
        {"feed-forward width", l->ffn, 1, 1u << 20},
    };
    gem_status st = check_ranges(ranges, sizeof ranges / sizeof *ranges, name, err);

    if (st) return st;
    if (l->head_dim % 2)
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: layer %u: head size %u is odd", name, i, l->head_dim);
    if (h->n_heads % l->n_kv_heads)
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: layer %u: %u attention heads do not divide over %u key/value heads",
                        name, i, h->n_heads, l->n_kv_heads);
    return GEM_OK;
}

/* A shared layer reads the last cache-owning layer of its own kind (spec 2.5). */
static gem_status find_donor(struct gem_hparams *h, uint32_t i, const char *name, gem_error *err)
{
    struct gem_layer_hparams *l = &h->layers[i];
    uint32_t donor = i;

    if (i >= h->n_own) {
        for (donor = h->n_own; donor > 0 && h->layers[donor - 1].global != l->global; donor--) {}
        if (donor-- == 0)
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: layer %u shares a cache, but no %s layer owns one", name, i,
                            l->global ? "global" : "local");
        if (h->layers[donor].head_dim != l->head_dim || h->layers[donor].n_kv_heads != l->n_kv_heads)
            return gem_fail(err, GEM_E_FORMAT, 0, "%s: layer %u shares the cache of layer %u, which has another shape",
                            name, i, donor);
    }
    l->kv_layer = donor;
    return GEM_OK;
}

static float round_to_bf16(double x) { return gem_bf16_to_f32(gem_f32_to_bf16((float)x)); }

gem_status gem_hparams_finish(struct gem_hparams *h, const char *name, gem_error *err)
{
    gem_status st;

    if ((st = check_model(h, name, err))) return st;
    for (uint32_t i = 0; i < h->n_layers; i++) {
        if ((st = check_layer(h, i, name, err))) return st;
        if ((st = find_donor(h, i, name, err))) return st;
    }
    if ((st = finish_rope(h, false, name, err))) return st;
    if ((st = finish_rope(h, true, name, err))) return st;
    for (size_t i = 0; i < 3; i++)
        if (h->placeholders[i] < 0 || (uint32_t)h->placeholders[i] >= h->vocab) h->placeholders[i] = -1;
    for (size_t i = 0; i < 3; i++) {
        if (h->media_begin[i] < 0 || (uint32_t)h->media_begin[i] >= h->vocab) h->media_begin[i] = -1;
        if (h->media_end[i] < 0 || (uint32_t)h->media_end[i] >= h->vocab) h->media_end[i] = -1;
    }
    if (h->pad < 0 || (uint32_t)h->pad >= h->vocab) h->pad = 0;
    h->embed_scale = round_to_bf16(sqrt((double)h->hidden));
    return GEM_OK;
}

uint32_t gem_hparams_table_row(const struct gem_hparams *h, int32_t token)
{
    for (size_t i = 0; i < 3; i++)
        if (token == h->placeholders[i]) return (uint32_t)h->pad;
    return (uint32_t)token;
}

const char *gem_hparams_size_label(const struct gem_hparams *h)
{
    static const struct {
        gem_family family;
        uint32_t n_layers, hidden, n_experts;
        const char *label;
    } sizes[] = {
        {GEM_FAMILY_GEMMA4, 35, 1536, 0, "E2B"}, {GEM_FAMILY_GEMMA4, 42, 2560, 0, "E4B"},
        {GEM_FAMILY_GEMMA4, 48, 3840, 0, "12B"}, {GEM_FAMILY_GEMMA4, 30, 2816, 128, "26B-A4B"},
        {GEM_FAMILY_GEMMA4, 60, 5376, 0, "31B"}, {GEM_FAMILY_GEMMA3, 18, 640, 0, "270M"},
        {GEM_FAMILY_GEMMA3, 26, 1152, 0, "1B"},  {GEM_FAMILY_GEMMA3, 34, 2560, 0, "4B"},
        {GEM_FAMILY_GEMMA3, 48, 3840, 0, "12B"}, {GEM_FAMILY_GEMMA3, 62, 5376, 0, "27B"},
    };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].family == h->family && sizes[i].n_layers == h->n_layers && sizes[i].hidden == h->hidden &&
            sizes[i].n_experts == h->n_experts)
            return sizes[i].label;
    return "";
}
