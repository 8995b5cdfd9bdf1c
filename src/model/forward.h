/* SPDX-License-Identifier: Apache-2.0
 * src/model/forward.h - one pass of the decoder over a batch of rows, from one or many sessions. Read forward.c with
 * spec/text-model.md 2 beside it. All memory is laid out when the structure is opened; a pass cannot fail.
 *
 * SAME BITS: every row is computed by the same operations in the same order whatever else is in the batch; see
 * kernels.h. Rows meet only through the caches. */
#ifndef GEM_MODEL_FORWARD_H
#define GEM_MODEL_FORWARD_H

#include "model/cache.h"
#include "model/ple.h"
#include "model/stream.h"
#include "model/weights.h"

/* One position of one session. Rows of a session come in order of position and are consecutive from cache->n on. */
struct gem_row {
    struct gem_cache *cache;
    uint32_t position;
    int32_t token;
    uint32_t item;              /* the caller's number for the session */
    bool wanted;                /* logits are asked for */
    uint32_t n_best;            /* of them the best so many, and those of `bias`; the others may be -INFINITY. 0: all */
    const gem_logit_bias *bias; /* [n_bias] what their reader will add to some */
    uint32_t n_bias;
    const float *soft; /* [hidden] the input of a soft token, instead of the token's embedding; else NULL */
    uint32_t sees_to;  /* last position that local layers see: its own, or the end of its image, in the same batch */
};

/* Told of every row's state; see gem_hidden_fn. Rows that are told of run through all layers. */
typedef void gem_tap_fn(void *user, const struct gem_row *row, uint32_t layer, const float *x);
/* Logits of a wanted row, in the order of rows. finite: neither the state nor the logits hold NaN or infinity. */
typedef void gem_rows_fn(void *user, const struct gem_row *row, const float *logits, bool finite);

enum {
    GEM_TILE = 16,        /* rows of exact weights that are decoded at a time */
    GEM_HEAD_ROWS = 8,    /* rows of logits that are computed at a time */
    GEM_HEAD_BEST = 1024, /* most logits that the head in two stages looks for */
    GEM_JOINED = 32,      /* positions whose keys are put together at a time: they stay near the processor */
    GEM_QUERIES = 64,     /* that go through a span of keys together; more where more share one key/value head */
};

/* The softmax of one query over the spans so far. */
struct gem_softmax_state {
    float top, sum;
};

/* Memory of one thread. `queries` is GEM_QUERIES or the size of a larger group. */
struct gem_thread_scratch {
    float *scores;                    /* [queries, GEM_SPAN] */
    uint16_t *probs;                  /* [queries, GEM_SPAN] bfloat16 */
    float *top, *sum;                 /* [queries] */
    uint16_t *panels;                 /* [GEM_SPAN, head_dim] keys or values that the cache has in another form */
    uint16_t *joined;                 /* [GEM_JOINED, head_dim] keys that are partly values, of int8 */
    float *rest;                      /* [queries, GEM_JOINED] what values add to scores of int8 */
    float *part;                      /* [queries, head_dim] */
    struct gem_softmax_state *states; /* [queries] */
    float *tile;                      /* [GEM_TILE, widest row]: decoded weights of the exact tier, and other rows */
};

/* Parts of attention that several threads compute side by side, for n_queries queries of one span each. */
struct gem_split {
    size_t n_queries;
    float *top, *sum, *value; /* [n_queries], [n_queries], [n_queries, head_dim] */
    struct gem_softmax_state *states;
};

/* What the head in two stages did since its engine was opened. */
struct gem_head_counts {
    uint64_t n_tried, n_full, n_computed; /* rows of logits; of these by the whole product; rows of the table */
};

/* What the head in two stages (coarse.h) needs. */
struct gem_head_scratch {
    float *x;          /* [GEM_HEAD_ROWS, hidden] what the table is multiplied with, as floats */
    uint8_t *act;      /* [GEM_HEAD_ROWS] pairs of int8 rows */
    float *low, *high; /* [vocab / GEM_PANEL] of the logits of GEM_PANEL rows: what the largest is at least, at most */
    uint32_t *rows;    /* [n_rows] of the table that are computed, ... */
    float *values;     /* ... and their logits */
    size_t n_rows;
    uint32_t pause, skip; /* after vain attempts: how many rows are not tried, of which so many are still to come */
    struct gem_head_counts counts;
};

/* Some consecutive rows. */
struct gem_rows {
    uint32_t first, n;
};

struct gem_forward {
    const struct gem_hparams *h;
    const struct gem_weights *w;
    const struct gem_kernels *kern;
    struct gem_pool *pool;
    bool exact;
    uint32_t max_rows;
    struct gem_ple ple_rows;  /* of the batch's tokens */
    struct gem_stream stream; /* open when there is a ceiling for weights; planned before each pass */

    struct gem_arena arena;
    struct gem_row *rows; /* [max_rows] */
    uint32_t n_rows;
    float *x, *norm, *out;   /* [max_rows, hidden] residual stream, its norm, a branch's result */
    float *q, *k, *v;        /* [max_rows, heads * head_dim]; q also takes what attention gives */
    void *query;             /* [kv heads, max_rows, group, head_dim] queries as the kernels want them */
    struct gem_rows *blocks; /* [max_rows] rows that go through the keys together */
    uint32_t n_blocks;
    struct gem_split split;
    float *gate, *up;       /* [max_rows, ffn] */
    float *ple, *ple_gate;  /* [max_rows, n_layers * ple], [max_rows, ple] */
    float *cos[2], *sin[2]; /* [max_rows, n_rot] of local and global layers */
    float *logits;          /* [GEM_HEAD_ROWS, vocab] */
    struct gem_head_scratch head;
    bool wide;    /* int8 activations come in pairs; see struct gem_act */
    bool twice;   /* so do those in bfloat16, in GEM_TWICE_LAYERS of narrow models, but for the feed-forward */
    uint8_t *act; /* [max_rows or twice that, widest] int8 or bfloat16 activations */
    struct gem_thread_scratch *threads;
    struct gem_expert_scratch {
        float *probs;                 /* [max_rows, n_experts] */
        uint32_t *chosen;             /* [max_rows, used] expert of each slot */
        float *weight;                /* [max_rows, used] */
        uint32_t *order;              /* [max_rows * used] slots sorted by expert */
        uint32_t *start;              /* [n_experts + 1] */
        float *in, *gate_up, *result; /* [max_rows * used, hidden | 2 ffn | hidden] */
        uint8_t *act;                 /* int8 rows gathered for one expert */
    } experts;
};

uint64_t gem_forward_bytes(const struct gem_hparams *h, uint32_t max_rows, unsigned n_threads);
/* ple_cap: bytes of per-layer embeddings that may be kept; gem_ple_bytes has them, gem_forward_bytes does not. */
gem_status gem_forward_open(struct gem_forward *f, const struct gem_hparams *h, const struct gem_weights *w,
                            const struct gem_kernels *kern, struct gem_pool *pool, bool exact, uint32_t max_rows,
                            uint64_t ple_cap, gem_error *err);
void gem_forward_close(struct gem_forward *f);

/* Reads what f->rows need from files. On failure nothing has changed. */
gem_status gem_forward_fetch(struct gem_forward *f, gem_error *err);
/* Computes f->rows[0 .. n_rows), which have been fetched: writes their keys and values, then logits of the wanted ones.
 */
void gem_forward_run(struct gem_forward *f, gem_tap_fn *tap, gem_rows_fn *on_row, void *user);

/* ---- parts of a layer, each on f->n_rows rows ------------------------------------------------------------ */

/* The input of matrix products: m rows of k floats, and what a matrix asked for last: their int8 or bfloat16 form.
 * wide: two int8 rows for each, the second holding what the first left over, so that activations have 16 bits. Mixtures
 * of experts need it: with 8 bits a token's set of experts often differs from the exact one (docs/performance.md),
 * which changes the whole row. Decoding costs the same bytes; only large prefills pay.
 * twice: the same with two bfloat16 rows. Every later layer makes the rounding of the first ones larger, and in narrow
 * models it averages out less; docs/performance.md has which products are worth it. */
enum { GEM_TWICE_LAYERS = 2, GEM_NARROW = 512 };
struct gem_act {
    const float *x;
    size_t ldx;
    uint32_t m, k;
    uint8_t *other;                                        /* [m] rows of int8 blocks or of bfloat16 */
    enum { GEM_ACT_F32, GEM_ACT_INT8, GEM_ACT_BF16 } form; /* of `other`; GEM_ACT_F32: none yet */
    bool wide, twice;
};
struct gem_act gem_act_of(struct gem_forward *f, const float *x, size_t ldx, uint32_t m, uint32_t k);
/* y [m, ldy] = M x */
void gem_linear(struct gem_forward *f, float *y, size_t ldy, const struct gem_matrix *mat, struct gem_act *act);

/* y[i] = row rows[i] of M times row `column` of the activations, the bits that gem_linear gives. M holds floats, and
 * gem_linear_input was called with it. */
void gem_linear_some(struct gem_forward *f, float *y, const struct gem_matrix *mat, const struct gem_act *act,
                     uint32_t column, const uint32_t *rows, size_t n);
/* What gem_linear multiplies a float matrix with, m rows of k floats: act->x, or out [m, k]. */
const float *gem_linear_input(struct gem_forward *f, const struct gem_matrix *mat, struct gem_act *act, float *out);

/* out = rms_norm(in, w) by rows of n; in place when out is in. */
void gem_norm_rows(struct gem_forward *f, float *out, const float *in, const float *w, size_t n);
/* x += rms_norm(f->out, w): how every branch joins the residual stream. */
void gem_join_branch(struct gem_forward *f, const float *w);

void gem_rope_rows(struct gem_forward *f);                 /* tables of the rows' positions */
void gem_store_kv(struct gem_forward *f, uint32_t layer);  /* norm -> keys and values in the caches */
void gem_attention(struct gem_forward *f, uint32_t layer); /* norm -> out */
void gem_feed_forward(struct gem_forward *f, const struct gem_matrix *gate, const struct gem_matrix *up,
                      const struct gem_matrix *down);          /* norm -> out */
void gem_experts_layer(struct gem_forward *f, uint32_t layer); /* x -> out: both branches, before the last norm */
void gem_ple_rows(struct gem_forward *f);                      /* x -> ple, once per pass (spec 2.2) */
void gem_ple_layer(struct gem_forward *f, uint32_t layer);     /* x += ... */
void gem_head(struct gem_forward *f, gem_rows_fn *on_row, void *user); /* x -> logits of all rows */

#endif
