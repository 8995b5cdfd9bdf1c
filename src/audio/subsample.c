/* SPDX-License-Identifier: Apache-2.0
 *
 * Features, then two convolutions of 3 x 3 with stride 2 in time and frequency, each followed by a LayerNorm over its
 * channels and ReLU (spec 5.2). A token needs the frames 4t - 3 .. 4t + 3: row 0 of e->frames and of e->map holds the
 * last row of the tokens before. Rows begin with a column of zeros, the padding below frequency 0. */
#include "audio/audio.h"

#include <math.h>

enum {
    BANDS = GEM_MEL_BANDS,
    FRAME = BANDS + 1,   /* floats of a row of e->frames */
    HALF = BANDS / 2,    /* frequencies after the first convolution */
    QUARTER = BANDS / 4, /* and after the second */
};

struct job {
    struct gem_audio_encoder *e;
    const float *pcm;
    uint32_t n_frames;
    float *out;
};

/* Sum of x[i] and of (x[i] - mean)^2 in eight lanes, so that a compiler may use vectors. */
static float sum(const float *x, size_t n, float mean, bool squares)
{
    float lanes[8] = {0}, rest = 0.0f;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l++) {
            const float d = x[i + l] - mean;
            lanes[l] += squares ? d * d : d;
        }
    for (; i < n; i++) rest += squares ? (x[i] - mean) * (x[i] - mean) : x[i] - mean;
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7])) + rest;
}

/* x = max(0, (x - mean) / sqrt(variance + eps) * w) */
static void norm_relu(float *x, const float *w, size_t n)
{
    const float mean = sum(x, n, 0.0f, false) / (float)n;
    const float scale = 1.0f / sqrtf(sum(x, n, mean, true) / (float)n + 1e-6f);

    for (size_t i = 0; i < n; i++) {
        const float y = (x[i] - mean) * scale * w[i];
        x[i] = y < 0.0f ? 0.0f : y; /* NaN stays */
    }
}

/* Items are frames. */
static void frame_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *row = j->e->frames + (1 + i) * FRAME;
        row[0] = 0.0f;
        if (i < j->n_frames)
            gem_mel_frame(&j->e->mel, j->pcm + i * GEM_MEL_HOP, row + 1);
        else
            memset(row, 0, FRAME * sizeof *row);
    }
}

/* One frequency of the first convolution: in[t] + 0 .. 2 are its taps. */
static void first_cell(const struct gem_audio_weights *w, const float *const *in, size_t at, float *out)
{
    const size_t n = w->channels[0];

    for (size_t c = 0; c < n; c++) out[c] = 0.0f;
    for (size_t tap = 0; tap < 9; tap++) {
        const float x = in[tap / 3][at + tap % 3], *weight = w->conv[0] + tap * n;
        for (size_t c = 0; c < n; c++) out[c] += weight[c] * x;
    }
    norm_relu(out, w->conv_norm[0], n);
}

/* Items are rows of the map. A row past the last frame is padding of the second convolution, so 0, whatever the first
 * would make of it. */
static void first_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_audio_weights *w = j->e->w;
    const size_t n = w->channels[0], row = (HALF + 1) * n;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const float *first = j->e->frames + 2 * i * FRAME;
        const float *const in[] = {first, first + FRAME, first + 2 * (size_t)FRAME};
        float *out = j->e->map + (1 + i) * row;

        memset(out, 0, row * sizeof *out);
        for (size_t f = 0; f < HALF && 2 * i < j->n_frames; f++) first_cell(w, in, 2 * f, out + (1 + f) * n);
    }
}

/* Items are tokens. Every tap in time is a product: [out channels, 3 in channels] times 32 windows of 3 frequencies. */
static void second_items(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_audio_weights *w = j->e->w;
    const struct gem_kernels *kern = j->e->products.kern;
    const size_t in = w->channels[0], n = w->channels[1], row = (HALF + 1) * in;
    float *tap = j->e->products.threads[thread].tile; /* [32, n]: a tile has 16 rows of at least that */

    for (size_t i = begin; i < end; i++) {
        float *out = j->out + i * QUARTER * n;

        for (size_t t = 0; t < 3; t++) {
            kern->gemm_f32(w->conv[1] + t * n * 3 * in, 3 * in, j->e->map + (2 * i + t) * row, 2 * in, t ? tap : out, n,
                           n, QUARTER, 3 * in);
            if (t) kern->add(out, tap, QUARTER * n);
        }
        for (size_t f = 0; f < QUARTER; f++) norm_relu(out + f * n, w->conv_norm[1], n);
    }
}

void gem_audio_subsample(struct gem_audio_encoder *e, const float *pcm, uint32_t n, uint32_t n_frames, float *out)
{
    const size_t row = (HALF + 1) * (size_t)e->w->channels[0];
    struct job job = {e, pcm, n_frames, out};

    gem_pool_run(e->products.pool, 4 * (size_t)n, 8, frame_items, &job);
    gem_pool_run(e->products.pool, 2 * (size_t)n, 1, first_items, &job);
    gem_pool_run(e->products.pool, n, 1, second_items, &job);
    memcpy(e->frames, e->frames + 4 * (size_t)n * FRAME, FRAME * sizeof *e->frames);
    memcpy(e->map, e->map + 2 * n * row, row * sizeof *e->map);
}
