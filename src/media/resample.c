/* SPDX-License-Identifier: Apache-2.0
 *
 * y(t) = sum over k of x[k] h(k - t), h(u) = sinc(c u) kaiser(c u / 64) over the sum of all weights, where c is the
 * cut-off in units of the input's Nyquist frequency. t takes `up` different fractional parts, so the weights are a bank
 * of that many rows. Odd pairs of rates would want thousands: they get PHASES rows, and weights between two of them are
 * interpolated; the error of that is (pi / PHASES)^2 / 24 of a weight, 4e-7. Smith, "Digital Audio Resampling", 2002.
 */
#include "media/resample.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { PHASES = 1024, CROSSINGS = 64 };

static const double pi = 3.14159265358979323846;
static const double beta = 10.06;    /* of the Kaiser window: 100 dB */
static const double passband = 0.95; /* middle of the transition, over the Nyquist frequency */

/* Modified Bessel function of the first kind, order 0, by its power series. */
static double bessel(double x)
{
    double sum = 1.0, term = 1.0;

    for (int k = 1; term > 1e-17 * sum; k++) {
        term *= (x / (2 * k)) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

static double kernel(double u, double cutoff)
{
    const double x = u * cutoff, edge = x / CROSSINGS;

    if (fabs(edge) >= 1.0) return 0.0;
    return (x == 0.0 ? 1.0 : sin(pi * x) / (pi * x)) * bessel(beta * sqrt(1.0 - edge * edge));
}

/* Weights for outputs whose time is `phase` past an input; a constant stays what it is. */
static void fill_row(const struct gem_resampler *r, double phase, double cutoff, double *row)
{
    const uint32_t before = r->n_taps / 2 - 1;
    const double middle = before + phase;
    double sum = 0.0;

    for (uint32_t k = 0; k < r->n_taps; k++) {
        const double weight = kernel(k - middle, cutoff);
        row[k] = weight;
        sum += weight;
    }
    for (uint32_t k = 0; k < r->n_taps; k++) row[k] /= sum;
}

static uint32_t common_divisor(uint32_t a, uint32_t b)
{
    while (b) {
        const uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

gem_status gem_resampler_open(struct gem_resampler *r, uint32_t from, uint32_t to, gem_error *err)
{
    const uint32_t bad = from < GEM_RATE_MIN || from > GEM_RATE_MAX ? from : to;
    const uint32_t divisor = common_divisor(from, to);
    double cutoff;

    *r = (struct gem_resampler){0};
    if (bad < GEM_RATE_MIN || bad > GEM_RATE_MAX)
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "a sample rate of %u Hz is not supported, only %d to %d", bad,
                        GEM_RATE_MIN, GEM_RATE_MAX);
    r->up = to / divisor;
    r->down = from / divisor;
    r->n_phases = r->up <= PHASES ? r->up : PHASES;
    cutoff = passband * (from > to ? (double)to / from : 1.0);
    r->n_taps = 2 * (uint32_t)ceil(CROSSINGS / cutoff) + 2;
    r->n_taps = (r->n_taps + 7) / 8 * 8;
    r->bank = gem_alloc_aligned((uint64_t)(r->n_phases + 1) * r->n_taps * sizeof(double), "a resampling filter", err);
    if (!r->bank) return GEM_E_NOMEM;
    for (uint32_t i = 0; i <= r->n_phases; i++)
        fill_row(r, (double)i / r->n_phases, cutoff, r->bank + (size_t)i * r->n_taps);
    return GEM_OK;
}

void gem_resampler_close(struct gem_resampler *r)
{
    gem_free(r->bank);
    *r = (struct gem_resampler){0};
}

uint64_t gem_resampler_length(const struct gem_resampler *r, uint64_t n) { return (n * r->up + r->down - 1) / r->down; }

/* Eight lanes, so that a compiler may use vectors; n a multiple of 8. In double: the noise of float sums would show in
 * the logarithm of quiet bands. */
static double dot(const double *w, const float *x, size_t n)
{
    double lanes[8] = {0};

    for (size_t i = 0; i < n; i += 8)
        for (size_t l = 0; l < 8; l++) lanes[l] += w[i + l] * (double)x[i + l];
    return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

/* As dot, from input `first` on, which may lie before the beginning; what lies outside of the n inputs is 0. */
static double dot_at(const struct gem_resampler *r, const double *w, const float *in, uint64_t n, int64_t first)
{
    double sum = 0.0;

    if (first >= 0 && (uint64_t)first + r->n_taps <= n) return dot(w, in + first, r->n_taps);
    for (uint32_t k = 0; k < r->n_taps; k++)
        if (first + k >= 0 && (uint64_t)(first + k) < n) sum += w[k] * (double)in[first + k];
    return sum;
}

void gem_resampler_run(const struct gem_resampler *r, const float *in, uint64_t n, uint64_t begin, uint64_t end,
                       float *out)
{
    for (uint64_t i = begin; i < end; i++) {
        const uint64_t at = i * r->down; /* below 2^64: i is below 2^44, rates below 2^20 */
        const int64_t first = (int64_t)(at / r->up) - (int64_t)(r->n_taps / 2 - 1);
        const uint64_t phase = at % r->up * r->n_phases;
        const double *row = r->bank + phase / r->up * r->n_taps;
        const double between = (double)(phase % r->up) / r->up;
        double y = dot_at(r, row, in, n, first);

        if (between > 0.0) y += between * (dot_at(r, row + r->n_taps, in, n, first) - y);
        out[i - begin] = (float)y;
    }
}
