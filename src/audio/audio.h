/* SPDX-License-Identifier: Apache-2.0
 * src/audio/audio.h - sound to soft tokens: rows that take the place of placeholder tokens in the decoder's input.
 * spec/multimodal.md 4 and 5.
 *
 * E2B and E4B: 16 kHz mono PCM -> log-mel features [T, 128] -> two convolutions that keep one of four frames ->
 * conformer blocks -> projection [N, hidden]. 12B: frames of 640 samples -> projection, no encoder.
 *
 * Bind the weights (gem_audio_bind); for the fast tier, pack them (gem_audio_pack). Open an encoder (gem_audio_open):
 * it takes all memory there is to take. Check samples with gem_sound_check of media/sound.h; then, for every piece that
 * gem_audio_piece cuts of them, each to stand between its own markers, gem_audio_encode writes [n_tokens, hidden].
 *
 * SAME BITS: a soft token is the same bits for any number of threads, and whether a piece came whole or bit by bit. */
#ifndef GEM_AUDIO_AUDIO_H
#define GEM_AUDIO_AUDIO_H

#include "audio/mel.h"
#include "model/forward.h"

enum {
    GEM_AUDIO_TOKEN = 640,      /* samples for one soft token, 40 ms */
    GEM_AUDIO_PIECE = 480000,   /* samples, 30 s: what the encoder was trained on at most */
    GEM_AUDIO_DISTANCES = 12,   /* a frame attends to itself and the 11 before it (spec 5.4) */
    GEM_AUDIO_KERNEL = 5,       /* taps of the depthwise convolution */
    GEM_AUDIO_MAX_LAYERS = 256, /* ceiling */
};

/* ---- weights ------------------------------------------------------------------------------------------------- */

/* y = clip(W clip(x)); bounds are infinite where a linear is not clipped. */
struct gem_audio_linear {
    struct gem_matrix w;
    float in_min, in_max, out_min, out_max;
    unsigned parts; /* fast tier: numbers of bfloat16 that stand for one of x; 0: x stays as it is */
};

struct gem_audio_ffn {
    const float *norm, *post_norm;    /* [hidden] post_norm halved, as the branch is (spec 5.3) */
    struct gem_audio_linear up, down; /* [ffn, hidden], [hidden, ffn] */
};

struct gem_audio_layer {
    struct gem_audio_ffn ffn[2];
    const float *attn_norm, *post_attn_norm; /* [hidden] */
    struct gem_audio_linear q, k, v, o;      /* [hidden, hidden] */
    struct gem_matrix relative;              /* [hidden, hidden] */
    const float *query_scale;                /* [head_dim] head_dim^-1/2 / ln 2 * softplus(per_dim_scale) */
    const float *conv_norm, *post_conv_norm; /* [hidden] before linear_start; after the convolution */
    struct gem_audio_linear start, end;      /* [2 hidden, hidden], [hidden, hidden] */
    const float *conv;                       /* [GEM_AUDIO_KERNEL, hidden] */
    const float *out_norm;                   /* [hidden] */
};

/* Zero-initialised is the closed state. Immutable once bound and packed; the archive stays open. */
struct gem_audio_weights {
    bool raw; /* 12B: only `embed` is there, [text_hidden, 640] */
    uint32_t text_hidden, hidden, head_dim, n_layers, ffn;
    uint32_t width;                         /* of output_proj */
    uint32_t channels[2];                   /* of the convolutions */
    const float *conv[2];                   /* [9, channels[0]], tap (t, f) major; [3, channels[1], 3, channels[0]] */
    const float *conv_norm[2];              /* [channels[i]] */
    struct gem_audio_linear in, out, embed; /* [hidden, 32 channels[1]], [width, hidden], [text_hidden, width] */
    const float *out_bias;                  /* [width] */
    struct gem_audio_layer *layers;         /* [n_layers] */

    float *vectors;  /* storage of all but matrices, float32 */
    uint8_t *packed; /* storage of what was packed */
    uint64_t packed_bytes;
    const char *path; /* the archive's, for messages */
};

/* Whether the archive holds an audio front end at all, and whether that is the 12B's. */
bool gem_audio_found(const struct gem_archive *a);
bool gem_audio_is_raw(const struct gem_archive *a);
/* Of config.json: GEM_E_UNSUPPORTED when audio_config asks for another computation than this one, and names the key. */
gem_status gem_audio_check_config(const char *name, const void *json, size_t n_bytes, gem_error *err);
/* Binds the audio tensors of a checkpoint folder (model.audio_tower., model.embed_audio.), of llama.cpp's mmproj GGUF
 * or of Ollama's one-file GGUF, and reads the sizes off their shapes. text_hidden: width of the decoder's rows.
 * A tensor that is missing, misshapen, unknown or of a type that does not decode is named. */
gem_status gem_audio_bind(struct gem_audio_weights *w, const struct gem_archive *a, uint32_t text_hidden,
                          gem_error *err);
/* For the fast tier: panels of quantised matrices, and how the others are multiplied with `kern`. Afterwards the
 * weights are for encoders with that table. Without it products run in float32. */
gem_status gem_audio_pack(struct gem_audio_weights *w, const struct gem_kernels *kern, struct gem_pool *pool,
                          gem_error *err);
void gem_audio_weights_close(struct gem_audio_weights *w);

/* ---- how long a sound is ------------------------------------------------------------------------------------- */

/* Soft tokens of n samples in one piece; raw: for the 12B. Up to 160 samples (10 ms) give none, but for the 12B (spec
 * 4.1). These need no weights, so that a prompt can be laid out before any are bound. */
uint32_t gem_audio_tokens(bool raw, uint64_t n_samples);

struct gem_audio_piece {
    uint64_t begin, n_samples; /* n_samples 0: there is no such piece */
    uint32_t n_tokens;
};

/* Piece i of a sound: 30 s each, the last one what is left; a rest of up to 10 ms, which would give no token, stays
 * with the piece before it. The 12B has no encoder that could be too short: one piece (spec 4.3). */
struct gem_audio_piece gem_audio_piece(bool raw, uint64_t n_samples, uint32_t i);

/* Two sounds have the same soft tokens when their samples and this line are equal: what a cache must hash besides the
 * samples and the model. Static. */
const char *gem_audio_recipe(bool raw);

/* ---- the encoder --------------------------------------------------------------------------------------------- */

struct gem_audio_state; /* what one layer remembers of the past */

/* Zero-initialised is the closed state. One call at a time. */
struct gem_audio_encoder {
    const struct gem_audio_weights *w;
    struct gem_mel mel;
    /* Only what gem_linear reads: kern, pool, act, wide, threads[].tile. */
    struct gem_forward products;
    uint32_t max_rows;
    struct gem_arena arena;

    /* Samples that are not used up, from 160 before the next token's first (12B: from the first). */
    float *pcm; /* [pcm_cap] */
    size_t n_pcm, pcm_cap;
    uint32_t n_done;                /* tokens of this piece so far */
    float *frames, *map;            /* features and first convolution of a few tokens; row 0 is the past */
    struct gem_audio_state *states; /* [n_layers] */
    float *relative;                /* [n_layers, GEM_AUDIO_DISTANCES, hidden] R of spec 5.4, farthest first */

    float *x, *norm, *clip, *wide; /* [max_rows, hidden | hidden or width | widest | widest] */
    float *k, *v, *glu;            /* [past + max_rows, hidden] */
    float *scores;                 /* [threads, 2, GEM_AUDIO_DISTANCES], each on its own cache lines */
};

/* Bytes that gem_audio_open takes. max_rows: tokens per step, which bounds memory; 0: 256, 10 s, or with products in
 * bfloat16 a whole piece. */
uint64_t gem_audio_bytes(const struct gem_audio_weights *w, uint32_t max_rows, unsigned n_threads);
gem_status gem_audio_open(struct gem_audio_encoder *e, const struct gem_audio_weights *w,
                          const struct gem_kernels *kern, struct gem_pool *pool, uint32_t max_rows, gem_error *err);
void gem_audio_close(struct gem_audio_encoder *e);

/* A whole piece: out [gem_audio_tokens(w->raw, n), text_hidden]. Samples must be finite (gem_sound_check).
 * GEM_E_NONFINITE: damaged weights. */
gem_status gem_audio_encode(struct gem_audio_encoder *e, const float *pcm, uint64_t n, float *out, gem_error *err);

/* The same bit by bit. Begin a piece; then feed it samples, the last ones (perhaps none) with `last`. A call writes the
 * tokens that became complete: gem_audio_ready() says how many it will be. A token needs 641 to 801 samples from its
 * own first one on. */
void gem_audio_begin(struct gem_audio_encoder *e);
uint32_t gem_audio_ready(const struct gem_audio_encoder *e, uint64_t n, bool last);
gem_status gem_audio_feed(struct gem_audio_encoder *e, const float *pcm, uint64_t n, bool last, float *out,
                          gem_error *err);

/* ---- parts, each in its own file ----------------------------------------------------------------------------- */

/* Convolutions: the features of n tokens (n at most GEM_AUDIO_BLOCK), n_frames of them real, from e->frames into the
 * columns of `in`: out [n, 32 channels[1]]. */
enum { GEM_AUDIO_BLOCK = 32 };
void gem_audio_subsample(struct gem_audio_encoder *e, const float *pcm, uint32_t n, uint32_t n_frames, float *out);
/* One block on e->x [n, hidden]. */
void gem_audio_conformer(struct gem_audio_encoder *e, uint32_t layer, uint32_t n);
/* y [n, rows of w] = clip(W clip(x)), x [n, cols of w]; norm: NULL, or the weights of an RMSNorm of x before it. */
void gem_audio_product(struct gem_audio_encoder *e, float *y, const struct gem_audio_linear *l, const float *norm,
                       const float *x, uint32_t n);
/* y [n, hidden] = down(silu(up(norm(x)))) */
void gem_audio_feed_forward(struct gem_audio_encoder *e, float *y, const struct gem_audio_ffn *ff, const float *x,
                            uint32_t n);
enum { GEM_AUDIO_STRIPE = 64 }; /* rows of a matrix that are multiplied together, in bfloat16 */
#define GEM_AUDIO_EPS 1e-6f     /* of every RMSNorm */

struct gem_audio_state {
    float *k, *v; /* [GEM_AUDIO_DISTANCES - 1, hidden] of the newest tokens */
    float *glu;   /* [GEM_AUDIO_KERNEL - 1, hidden] */
};

#endif
