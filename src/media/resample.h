/* SPDX-License-Identifier: Apache-2.0
 * src/media/resample.h - mono PCM from one sample rate to another by a windowed sinc: 64 zero crossings on each side,
 * Kaiser window. Flat to 0.9 of the lower Nyquist frequency, -100 dB from that frequency on, linear phase, no delay. */
#ifndef GEM_MEDIA_RESAMPLE_H
#define GEM_MEDIA_RESAMPLE_H

#include "base/status.h"

enum { GEM_RATE_MIN = 4000, GEM_RATE_MAX = 384000 };

/* Zero-initialised is the closed state. */
struct gem_resampler {
    uint32_t up, down; /* rates over their greatest common divisor: output i lies at input i * down / up */
    uint32_t n_phases; /* rows of the bank; `up`, or fewer between which weights are interpolated */
    uint32_t n_taps;   /* of a row */
    double *bank;      /* [n_phases + 1, n_taps] */
};

/* Rates are within GEM_RATE_MIN and GEM_RATE_MAX, else GEM_E_UNSUPPORTED. */
gem_status gem_resampler_open(struct gem_resampler *r, uint32_t from, uint32_t to, gem_error *err);
void gem_resampler_close(struct gem_resampler *r);

/* ceil(n * up / down): as long as the input. */
uint64_t gem_resampler_length(const struct gem_resampler *r, uint64_t n);
/* Outputs [begin, end) from all n inputs (what lies outside is 0): out [end - begin]. The same bits however it is cut.
 */
void gem_resampler_run(const struct gem_resampler *r, const float *in, uint64_t n, uint64_t begin, uint64_t end,
                       float *out);

#endif
