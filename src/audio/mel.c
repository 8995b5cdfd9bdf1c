/* SPDX-License-Identifier: Apache-2.0
 *
 * In double: the reference rounds the window and the windowed samples to float32, and then computes about as well as
 * float32 can; here no quiet band drowns in the rounding of a loud one. 10 us a frame are little against what the
 * encoder does with it. */
#include "audio/mel.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

enum { HALF = GEM_MEL_FFT / 2 };

static double mel_of(double hertz) { return 2595.0 * log10(1.0 + hertz / 700.0); }
static double hertz_of(double mel) { return 700.0 * (pow(10.0, mel / 2595.0) - 1.0); }

/* Of the triangle that rises from lo to mid and falls to hi. */
static double triangle(double hertz, double lo, double mid, double hi)
{
    const double up = (hertz - lo) / (mid - lo), down = (hi - hertz) / (hi - mid);

    return fmax(0.0, fmin(up, down));
}

static void init_bands(struct gem_mel *mel)
{
    const double top = mel_of(GEM_MEL_RATE / 2.0), step = top / (GEM_MEL_BANDS + 1);
    uint16_t used = 0;

    for (int m = 0; m < GEM_MEL_BANDS; m++) {
        const double lo = hertz_of(m * step), mid = hertz_of((m + 1) * step), hi = hertz_of((m + 2) * step);

        mel->at[m] = used;
        for (int bin = 0; bin < GEM_MEL_BINS; bin++) {
            const double weight = triangle(bin * (double)GEM_MEL_RATE / GEM_MEL_FFT, lo, mid, hi);
            if (weight == 0.0) continue;
            if (mel->n[m]++ == 0) mel->first[m] = (uint8_t)bin;
            mel->weights[used++] = weight;
        }
    }
}

void gem_mel_init(struct gem_mel *mel)
{
    *mel = (struct gem_mel){0};
    for (int i = 0; i < GEM_MEL_WINDOW; i++) mel->window[i] = (float)(0.5 - 0.5 * cos(2.0 * pi * i / GEM_MEL_WINDOW));
    for (int i = 0; i < HALF; i++) {
        mel->cosine[i] = cos(2.0 * pi * i / GEM_MEL_FFT);
        mel->sine[i] = sin(2.0 * pi * i / GEM_MEL_FFT);
        for (int bit = 1; bit < HALF; bit *= 2)
            if (i & bit) mel->reversed[i] |= (uint8_t)(HALF / 2 / bit);
    }
    init_bands(mel);
}

struct complex {
    double re, im;
};

/* z [HALF] in bit-reversed order -> its spectrum: radix 2, decimation in time. */
static void transform(const struct gem_mel *mel, struct complex *z)
{
    for (int size = 2; size <= HALF; size *= 2) {
        const int half = size / 2, step = GEM_MEL_FFT / size;

        for (int at = 0; at < HALF; at += size) {
            for (int i = 0; i < half; i++) {
                const double c = mel->cosine[i * step], s = mel->sine[i * step];
                struct complex *a = z + at + i, *b = a + half;
                const double re = b->re * c + b->im * s, im = b->im * c - b->re * s; /* b e^(-2 pi i / size) */

                *b = (struct complex){a->re - re, a->im - im};
                *a = (struct complex){a->re + re, a->im + im};
            }
        }
    }
}

/* Even samples were the real parts, odd ones the imaginary parts: Z = E + iO, and X = E + e^(-2 pi i b / 512) O. */
static double magnitude(const struct gem_mel *mel, const struct complex *z, int bin)
{
    const struct complex a = z[bin % HALF], b = z[(HALF - bin) % HALF];
    const struct complex even = {(a.re + b.re) / 2, (a.im - b.im) / 2}, odd = {(a.im + b.im) / 2, (b.re - a.re) / 2};
    const double c = bin < HALF ? mel->cosine[bin] : -1.0, s = bin < HALF ? mel->sine[bin] : 0.0;
    const double re = even.re + odd.re * c + odd.im * s, im = even.im + odd.im * c - odd.re * s;

    return sqrt(re * re + im * im);
}

void gem_mel_frame(const struct gem_mel *mel, const float *samples, float *out)
{
    struct complex z[HALF] = {0};
    double bins[GEM_MEL_BINS];

    for (int i = 0; i < GEM_MEL_WINDOW; i += 2) {
        const float even = samples[i] * mel->window[i], odd = samples[i + 1] * mel->window[i + 1];
        z[mel->reversed[i / 2]] = (struct complex){(double)even, (double)odd};
    }
    transform(mel, z);
    for (int bin = 0; bin < GEM_MEL_BINS; bin++) bins[bin] = magnitude(mel, z, bin);
    for (int m = 0; m < GEM_MEL_BANDS; m++) {
        double sum = 0.0;
        for (int i = 0; i < mel->n[m]; i++) sum += bins[mel->first[m] + i] * mel->weights[mel->at[m] + i];
        out[m] = (float)log(sum + 0.001);
    }
}

void gem_mel_features(const struct gem_mel *mel, const float *pcm, uint64_t n, float *out)
{
    float first[GEM_MEL_WINDOW] = {0};

    for (uint64_t i = 0; i < gem_mel_frames(n); i++, out += GEM_MEL_BANDS) {
        if (i == 0) {
            memcpy(first + GEM_MEL_HOP, pcm, GEM_MEL_HOP * sizeof *pcm);
            gem_mel_frame(mel, first, out);
        } else {
            gem_mel_frame(mel, pcm + (i - 1) * GEM_MEL_HOP, out);
        }
    }
}
