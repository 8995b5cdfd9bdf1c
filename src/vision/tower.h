/* SPDX-License-Identifier: Apache-2.0
 * src/vision/tower.h - the part of a model that sees: pixels become soft tokens (spec/multimodal.md 2.1 to 2.4).
 *
 * Two kinds. The encoder of E2B, E4B, 26B-A4B and 31B is a transformer over patches whose outputs are pooled 3 by 3;
 * the small ones clip what goes in and out of each matrix, the large ones standardise what is pooled. The 12B has no
 * encoder: squares of 48 pixels pass one matrix. */
#ifndef GEM_VISION_TOWER_H
#define GEM_VISION_TOWER_H

#include "model/weights.h"
#include "vision/attention.h"
#include "vision/preprocess.h"

/* Bounds of what goes in and out of a matrix; `on` is false where the model has none. */
struct gem_clip {
    bool on;
    float in_min, in_max, out_min, out_max;
};

struct gem_vision_linear {
    struct gem_matrix matrix; /* panels: of a quantised one, in the fast tier */
    const uint16_t *pairs;    /* the same as pairs of bfloat16, where the fast tier multiplies those; else NULL */
    struct gem_clip clip;
};

struct gem_vision_layer {
    const float *attn_norm, *post_attn_norm, *ffn_norm, *post_ffn_norm; /* [width] */
    const float *q_norm, *k_norm;                                       /* [head_dim] */
    struct gem_vision_linear q, k, v, o, gate, up, down;
};

/* Scale and offset of a LayerNorm. */
struct gem_layer_norm {
    const float *weight, *bias;
};

struct gem_vision_hparams {
    bool encoder_free;
    uint32_t width; /* of the residual stream; of the embedding where there is no encoder */
    uint32_t n_layers, n_heads, head_dim, ffn;
    uint32_t n_positions; /* of each axis */
    uint32_t hidden;      /* of the language model */
    bool clipped, standardized;
};

struct gem_vision {
    struct gem_vision_hparams h;
    bool channel_first;         /* input columns are ordered (channel, row, column), as in GGUF */
    bool axis_first;            /* the table of positions is [axis][position], else [position][axis] */
    struct gem_matrix patch;    /* [width, 768], or [width, 6912] where there is no encoder */
    struct gem_matrix position; /* [2 * n_positions, width] */
    struct gem_matrix project;  /* [hidden, width] */
    const float *std_bias, *std_scale;
    struct gem_vision_layer *layers;
    struct gem_layer_norm patch_norm, dense_norm, position_norm; /* no encoder */
    const float *patch_bias;                                     /* no encoder */

    struct gem_arena vectors; /* storage of all norms */
    bool pairs;               /* the fast tier, on a machine that multiplies pairs of bfloat16 */
    uint8_t *packed;          /* panels of the fast tier */
    uint64_t packed_bytes;
};

/* Does this archive hold tensors that see? */
bool gem_vision_is_in(const struct gem_archive *a);

/* What config.json says of vision_config; sizes that a GGUF names are read when it is bound. A setting that would
 * change the computation and is not implemented is GEM_E_UNSUPPORTED. */
gem_status gem_vision_hparams_from_config(struct gem_vision_hparams *h, const char *name, const void *json, size_t n,
                                          gem_error *err);

/* Binds the tower in `a`: a folder, a file of llama.cpp's mmproj kind, or a GGUF with language model and tower in one.
 *   config  what config.json said, for a folder; else NULL
 *   hidden  of the language model
 * Every tensor is checked by name, type and shape; one that is missing or unknown is an error. */
gem_status gem_vision_open(struct gem_vision *v, const struct gem_archive *a, const struct gem_vision_hparams *config,
                           uint32_t hidden, gem_error *err);
/* For the fast tier: panels of the encoder's matrices, in 8 bits or as pairs of bfloat16. */
gem_status gem_vision_pack(struct gem_vision *v, const struct gem_kernels *kern, struct gem_pool *pool, gem_error *err);
void gem_vision_close(struct gem_vision *v);

/* Memory for encoding, which grows with the patches of the largest image, and is kept from one image to the next.
 * Zero-initialised is empty. */
struct gem_vision_scratch {
    struct gem_arena arena;
};
uint64_t gem_vision_scratch_bytes(const struct gem_vision *v, unsigned n_threads, struct gem_size size);
/* At least n_bytes. */
gem_status gem_vision_scratch_fit(struct gem_vision_scratch *s, uint64_t n_bytes, gem_error *err);
void gem_vision_scratch_close(struct gem_vision_scratch *s);

/* soft [cells, hidden], cells = width / 48 * height / 48, row by row. The image has a size that gem_vision_target
 * gives; the scratch memory fits it. Cannot fail; damaged weights show as values that are not finite. SAME BITS: rows
 * do not depend on the number of threads. */
void gem_vision_encode(const struct gem_vision *v, const struct gem_kernels *kern, struct gem_pool *pool,
                       struct gem_vision_scratch *s, const struct gem_image *image, float *soft);
/* GEM_E_LIMIT when the image has more rows or columns of patches than the tower has positions. */
gem_status gem_vision_check(const struct gem_vision *v, struct gem_size size, gem_error *err);

/* ---- parts --------------------------------------------------------------------------------------------------- */

/* Rows of patches that pass a layer together; rows of a quantised matrix that are decoded together. */
enum { GEM_VISION_ROWS = 96, GEM_VISION_TILE = 16 };

/* Memory of one thread. */
struct gem_vision_buffers {
    float *a, *b, *gate, *up; /* [GEM_VISION_ROWS, widest], the last two [.., ffn] */
    float *clipped;           /* [GEM_VISION_ROWS, widest of all] */
    float *tile;              /* [GEM_VISION_TILE, widest]: decoded rows of a quantised matrix */
    uint8_t *act;             /* [GEM_VISION_ROWS] int8 or bfloat16 rows */
    struct gem_vision_scores scores;
};

/* y [m, rows] = clip(M clip(x)), x [m, cols] with rows ldx apart, m at most GEM_VISION_ROWS. */
void gem_vision_apply(const struct gem_kernels *kern, const struct gem_vision_buffers *t,
                      const struct gem_vision_linear *l, const float *x, size_t ldx, size_t m, float *y, size_t ldy);

#endif
