/* SPDX-License-Identifier: Apache-2.0
 * src/model/hparams.h - what a model is, apart from its weights: spec/text-model.md 1 and docs/gemma3.md. One
 * structure for every size of both families; the forward pass asks it, never the name of a model. */
#ifndef GEM_MODEL_HPARAMS_H
#define GEM_MODEL_HPARAMS_H

#include "files/archive.h"

enum { GEM_MAX_LAYERS = 256, GEM_MAX_HEADS = 256, GEM_MAX_EXPERTS_USED = 64 };

/* Rotary embedding of one kind of layer: pair i turns by position / (base^(2i/d) * factor), i < n_rot; the others
 * stay. */
struct gem_rope_hparams {
    float base, factor;
    uint32_t n_rot; /* pairs that turn; 0 while reading: not said */
};

struct gem_layer_hparams {
    bool global; /* sees all earlier positions; else the newest `window` */
    bool k_eq_v; /* no v_proj: values are the keys before norm and rotation */
    uint32_t head_dim;
    uint32_t n_kv_heads;
    uint32_t ffn;
    uint32_t kv_layer; /* whose cache this layer reads: its own index, or a donor's */
};

struct gem_hparams {
    gem_family family;
    const char *architecture; /* static */
    uint32_t n_layers;
    uint32_t n_own; /* layers [0, n_own) own a cache, the rest read a donor's */
    uint32_t hidden, vocab, n_heads, window, context;
    uint32_t ple;                                   /* width of per-layer embeddings; 0: none */
    uint32_t n_experts, n_experts_used, ffn_expert; /* 0: dense */
    float eps;
    float softcap;              /* of logits; 0: none */
    float embed_scale;          /* sqrt(hidden) rounded to bfloat16 (spec 2.1) */
    float query_scale;          /* of q before the dot product with keys; 1 in Gemma 4 */
    bool value_norm;            /* values are normalised (Gemma 4) */
    bool layer_scalar;          /* every layer ends by scaling the residual stream (Gemma 4) */
    bool norm_plus_one;         /* the file's norm weights are w of (1 + w): Gemma 3 safetensors */
    bool tied;                  /* the output head is the token table */
    bool has_vision, has_audio; /* the configuration names towers */
    /* Ids that stand for soft tokens of images, videos and sound. Where none was put, they read as the padding token,
     * as in the reference's multimodal classes. -1: no such id. */
    int32_t placeholders[3], pad;
    int32_t media_begin[3], media_end[3]; /* markers around each kind; -1: not known */
    /* In local layers the soft tokens of one image or frame see each other, later ones too (spec/multimodal.md 2.6). */
    bool bidirectional_media;
    struct gem_rope_hparams rope_local, rope_global;
    struct gem_layer_hparams layers[GEM_MAX_LAYERS];
};

/* From config.json: multimodal (text_config) or text-only, either spelling of the global layers' shape. */
gem_status gem_hparams_from_config(struct gem_hparams *h, const char *name, const void *json, size_t n_bytes,
                                   gem_error *err);
/* From GGUF metadata. */
gem_status gem_hparams_from_gguf(struct gem_hparams *h, const struct gem_archive *a, gem_error *err);

/* Shared by both: donors of shared layers, derived scales, and every range and relation checked. */
gem_status gem_hparams_finish(struct gem_hparams *h, const char *name, gem_error *err);

/* The row of the embedding tables that a token reads. */
uint32_t gem_hparams_table_row(const struct gem_hparams *h, int32_t token);

/* "E2B", "26B-A4B", "270M" ... or "": by shape. Static. */
const char *gem_hparams_size_label(const struct gem_hparams *h);

#endif
