/* SPDX-License-Identifier: Apache-2.0
 * src/audio/mel.h - log-mel features as spec/multimodal.md 4.1 has them: frames of 320 samples (20 ms) every 160,
 * periodic Hann window, magnitudes of a 512-point spectrum, 128 triangles on the HTK mel scale from 0 to 8000 Hz, ln(.
 * + 0.001). */
#ifndef GEM_AUDIO_MEL_H
#define GEM_AUDIO_MEL_H

#include <stddef.h>
#include <stdint.h>

enum {
    GEM_MEL_RATE = 16000, /* samples in a second */
    GEM_MEL_HOP = 160,
    GEM_MEL_WINDOW = 320,
    GEM_MEL_BANDS = 128,
    GEM_MEL_FFT = 512,
    GEM_MEL_BINS = GEM_MEL_FFT / 2 + 1,
};

/* Tables; about 12 KB. */
struct gem_mel {
    float window[GEM_MEL_WINDOW];
    double cosine[GEM_MEL_FFT / 2], sine[GEM_MEL_FFT / 2]; /* of 2 pi i / GEM_MEL_FFT */
    uint8_t reversed[GEM_MEL_FFT / 2];                     /* bits of the index */
    /* Bin b lies in the falling side of one triangle and the rising side of the next. */
    uint8_t first[GEM_MEL_BANDS], n[GEM_MEL_BANDS]; /* bins of a band that are not 0 */
    uint16_t at[GEM_MEL_BANDS];                     /* of the band's first weight */
    double weights[2 * GEM_MEL_BINS];
};

void gem_mel_init(struct gem_mel *mel);

/* Frames of a sound of n samples: frame i is there when sample 160 (i + 1) is. */
static inline uint64_t gem_mel_frames(uint64_t n) { return n ? (n - 1) / GEM_MEL_HOP : 0; }

/* One frame: samples [GEM_MEL_WINDOW] -> out [GEM_MEL_BANDS]. */
void gem_mel_frame(const struct gem_mel *mel, const float *samples, float *out);
/* All of them: out [gem_mel_frames(n), GEM_MEL_BANDS]. Frame i begins 160 samples before sample 160 i; what lies before
 * the first is 0. */
void gem_mel_features(const struct gem_mel *mel, const float *pcm, uint64_t n, float *out);

#endif
