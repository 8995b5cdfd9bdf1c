/* SPDX-License-Identifier: Apache-2.0
 *
 * Pillow's resampling (spec/multimodal.md 1.4): two passes of weights in fixed point, rows before columns, with 8 bits
 * between them. */
#include "vision/preprocess.h"

#include "base/memory.h"

#include <math.h>
#include <string.h>

enum { FRACTION_BITS = 22, MAX_SIDE = GEM_MAX_BUDGET * GEM_CELL };

/* Cubic convolution, a = -1/2. */
static double cubic(double t)
{
    t = fabs(t);
    if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
    if (t < 2) return (((t - 5) * t + 8) * t - 4) * -0.5;
    return 0;
}

/* Which inputs an output sees, and how much of each. */
struct taps {
    uint32_t first, n;
    const int32_t *weights;
};

struct filter {
    struct taps *taps; /* [out] */
    int32_t *weights;
    double *real; /* weights of one output before rounding */
};

static void close_filter(struct filter *f)
{
    gem_free(f->taps);
    gem_free(f->weights);
    gem_free(f->real);
}

/* One output; weights [support] receives its fixed-point weights. */
static void make_taps(const struct filter *f, uint32_t i, uint32_t in, double scale, int32_t *weights)
{
    const double stretch = scale > 1 ? scale : 1, support = 2 * stretch, centre = (i + 0.5) * scale;
    const double low = centre - support + 0.5, high = centre + support + 0.5;
    const uint32_t first = low > 0 ? (uint32_t)low : 0, end = high < in ? (uint32_t)high : in;
    double sum = 0;

    for (uint32_t j = first; j < end; j++) {
        f->real[j - first] = cubic((j - centre + 0.5) * (1 / stretch));
        sum += f->real[j - first];
    }
    for (uint32_t j = 0; j < end - first; j++) {
        const double w = (sum != 0 ? f->real[j] / sum : f->real[j]) * (1 << FRACTION_BITS);
        weights[j] = (int32_t)(w < 0 ? w - 0.5 : w + 0.5);
    }
    f->taps[i] = (struct taps){.first = first, .n = end - first, .weights = weights};
}

static gem_status make_filter(struct filter *f, uint32_t in, uint32_t out, gem_error *err)
{
    const double scale = (double)in / out, stretch = scale > 1 ? scale : 1;
    const size_t support = (size_t)ceil(2 * stretch) * 2 + 1;

    *f = (struct filter){.taps = gem_calloc(out, sizeof *f->taps, "a resampling filter", err)};
    if (f->taps) f->weights = gem_realloc(NULL, out * support, sizeof *f->weights, "a resampling filter", err);
    if (f->weights) f->real = gem_realloc(NULL, support, sizeof *f->real, "a resampling filter", err);
    if (!f->real) return GEM_E_NOMEM;
    for (uint32_t i = 0; i < out; i++) make_taps(f, i, in, scale, f->weights + i * support);
    return GEM_OK;
}

static uint8_t to_byte(int32_t sum)
{
    sum >>= FRACTION_BITS;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static const int32_t half = 1 << (FRACTION_BITS - 1);

static void filter_row(const struct filter *f, uint8_t *out, uint32_t width, const uint8_t *in)
{
    for (uint32_t x = 0; x < width; x++) {
        const struct taps *t = &f->taps[x];
        const uint8_t *p = in + (size_t)t->first * 3;
        int32_t r = half, g = half, b = half;

        for (uint32_t j = 0; j < t->n; j++, p += 3) {
            r += p[0] * t->weights[j];
            g += p[1] * t->weights[j];
            b += p[2] * t->weights[j];
        }
        *out++ = to_byte(r);
        *out++ = to_byte(g);
        *out++ = to_byte(b);
    }
}

/* A row of the result, n bytes, out of rows `stride` bytes apart; sums [n]. Row after row, so that memory is read in
 * order and the compiler can use vectors. */
static void filter_column(const struct taps *t, uint8_t *out, size_t n, const uint8_t *in, size_t stride, int32_t *sums)
{
    for (size_t i = 0; i < n; i++) sums[i] = half;
    for (uint32_t j = 0; j < t->n; j++) {
        const uint8_t *p = in + (t->first + j) * stride;
        const int32_t w = t->weights[j];
        for (size_t i = 0; i < n; i++) sums[i] += p[i] * w;
    }
    for (size_t i = 0; i < n; i++) out[i] = to_byte(sums[i]);
}

/* Rows of pixels that belong to someone else. */
struct view {
    const uint8_t *pixels;
    struct gem_size size;
    size_t stride;
};

static gem_status resize_width(struct gem_image *out, uint32_t width, const struct view *in, const char *name,
                               gem_error *err)
{
    struct filter f = {0};
    gem_status st = gem_image_make(out, name, width, in->size.height, err);

    if (!st) st = make_filter(&f, in->size.width, width, err);
    for (uint32_t y = 0; y < in->size.height && !st; y++)
        filter_row(&f, out->rgb + (size_t)y * width * 3, width, in->pixels + y * in->stride);
    close_filter(&f);
    return st;
}

static gem_status resize_height(struct gem_image *out, uint32_t height, const struct view *in, const char *name,
                                gem_error *err)
{
    const size_t n = (size_t)in->size.width * 3;
    struct filter f = {0};
    int32_t *sums = gem_realloc(NULL, n, sizeof *sums, "a row of sums", err);
    gem_status st = sums ? gem_image_make(out, name, in->size.width, height, err) : GEM_E_NOMEM;

    if (!st) st = make_filter(&f, in->size.height, height, err);
    for (uint32_t y = 0; y < height && !st; y++)
        filter_column(&f.taps[y], out->rgb + y * n, n, in->pixels, in->stride, sums);
    close_filter(&f);
    gem_free(sums);
    return st;
}

/* Makes `view` one of `image`, in the place of what it was. */
static void look_at(struct view *view, struct gem_image *kept, struct gem_image *image)
{
    gem_image_close(kept);
    *kept = *image;
    *image = (struct gem_image){0};
    *view = (struct view){kept->rgb, {kept->width, kept->height}, (size_t)kept->width * 3};
}

static gem_status copy(struct gem_image *out, const struct view *in, const char *name, gem_error *err)
{
    const size_t n = (size_t)in->size.width * 3;
    const gem_status st = gem_image_make(out, name, in->size.width, in->size.height, err);

    for (uint32_t y = 0; y < in->size.height && !st; y++) memcpy(out->rgb + y * n, in->pixels + y * in->stride, n);
    return st;
}

/* Pillow 13 begins with the columns where the height loses more than twice as many pixels as the width (earlier
 * versions always began with the rows); with 8 bits between the passes the order shows. */
static bool columns_first(struct gem_size to, struct gem_size from)
{
    return from.height > to.height && (int64_t)from.height - to.height > 2 * ((int64_t)from.width - (int64_t)to.width);
}

gem_status gem_resample(struct gem_image *out, struct gem_size to, const uint8_t *pixels, struct gem_size from,
                        size_t stride, const char *name, gem_error *err)
{
    const bool first = columns_first(to, from);
    struct view view = {pixels, from, stride};
    struct gem_image between = {0};
    gem_status st = GEM_OK;

    *out = (struct gem_image){0};
    for (int pass = 0; pass < 2 && !st; pass++) {
        const bool columns = (pass == 0) == first;
        if (columns ? view.size.height == to.height : view.size.width == to.width) continue;
        st = columns ? resize_height(out, to.height, &view, name, err) : resize_width(out, to.width, &view, name, err);
        if (!st) look_at(&view, &between, out);
    }
    if (!st && between.rgb)
        *out = between;
    else if (!st)
        st = copy(out, &view, name, err);
    if (st) {
        gem_image_close(out);
        gem_image_close(&between);
    }
    return st;
}
