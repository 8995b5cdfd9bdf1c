/* SPDX-License-Identifier: Apache-2.0 */
#include "media/wav.h"

#include <string.h>

enum { PCM = 1, FLOAT = 3, EXTENSIBLE = 0xfffe, HEADER = 12, CHUNK = 8 };

static uint32_t load_16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
static uint32_t load_32(const uint8_t *p) { return load_16(p) | load_16(p + 2) << 16; }

bool gem_wav_is(const uint8_t *bytes, uint64_t n)
{
    return n >= HEADER && (!memcmp(bytes, "RIFF", 4) || !memcmp(bytes, "RF64", 4) || !memcmp(bytes, "RIFX", 4)) &&
           !memcmp(bytes + 8, "WAVE", 4);
}

/* The tag that WAVE_FORMAT_EXTENSIBLE hides in the first bytes of a GUID; 0 when it is another GUID. */
static uint32_t extended_tag(const uint8_t *body, uint32_t n)
{
    static const uint8_t rest[14] = {0, 0, 0, 0, 16, 0, 128, 0, 0, 170, 0, 56, 155, 113};

    return n >= 40 && !memcmp(body + 26, rest, sizeof rest) ? load_16(body + 24) : 0;
}

static gem_status read_format(struct gem_wav *w, const char *name, const uint8_t *body, uint32_t n, uint64_t offset,
                              gem_error *err)
{
    uint32_t tag, block, bits;

    if (n < 16)
        return gem_fail(err, GEM_E_FORMAT, offset, "%.120s: 'fmt ' has %u bytes, at least 16 expected", name, n);
    tag = load_16(body) == EXTENSIBLE ? extended_tag(body, n) : load_16(body);
    w->n_channels = (uint16_t)load_16(body + 2);
    w->rate = load_32(body + 4);
    block = load_16(body + 12);
    bits = load_16(body + 14);
    if (tag != PCM && tag != FLOAT)
        return gem_fail(err, GEM_E_UNSUPPORTED, offset,
                        "%.120s: WAV format 0x%04x is not supported, only PCM and float are", name,
                        tag ? tag : load_16(body));
    if (w->n_channels == 0 || block == 0 || block % w->n_channels)
        return gem_fail(err, GEM_E_FORMAT, offset, "%.120s: %u bytes for a frame of %u channels", name, block,
                        w->n_channels);
    w->is_float = tag == FLOAT;
    w->sample_bytes = (uint16_t)(block / w->n_channels);
    /* Fewer bits than the bytes have room for are the upper ones. */
    if (tag == PCM ? w->sample_bytes > 4 || bits == 0 || bits > 8u * w->sample_bytes
                   : (w->sample_bytes != 4 && w->sample_bytes != 8) || bits != 8u * w->sample_bytes)
        return gem_fail(err, GEM_E_UNSUPPORTED, offset, "%.120s: %s samples of %u bits in %u bytes are not supported",
                        name, tag == PCM ? "PCM" : "float", bits, w->sample_bytes);
    return GEM_OK;
}

static gem_status read_data(struct gem_wav *w, const char *name, const uint8_t *body, uint32_t n, uint64_t offset,
                            gem_error *err)
{
    const uint32_t block = (uint32_t)w->n_channels * w->sample_bytes;

    if (block == 0) return gem_fail(err, GEM_E_FORMAT, offset, "%.120s: 'data' comes before 'fmt '", name);
    if (n == 0) return gem_fail(err, GEM_E_FORMAT, offset, "%.120s: there are no samples", name);
    if (n % block)
        return gem_fail(err, GEM_E_FORMAT, offset, "%.120s: 'data' has %u bytes, no multiple of %u for a frame", name,
                        n, block);
    w->data = body;
    w->n_frames = n / block;
    return GEM_OK;
}

gem_status gem_wav_parse(struct gem_wav *w, const char *name, const uint8_t *bytes, uint64_t n, gem_error *err)
{
    *w = (struct gem_wav){0};
    if (!gem_wav_is(bytes, n)) return gem_fail(err, GEM_E_FORMAT, 0, "%.120s: not a WAV file", name);
    if (memcmp(bytes, "RIFF", 4))
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%.120s: WAV files of the kind %.4s are not supported", name,
                        (const char *)bytes);
    for (uint64_t at = HEADER; !w->data;) {
        const uint64_t left = n - at - CHUNK;
        uint32_t size;
        gem_status st = GEM_OK;

        if (n - at < CHUNK) return gem_fail(err, GEM_E_FORMAT, at, "%.120s: ends before a 'data' chunk", name);
        size = load_32(bytes + at + 4);
        if (size > left)
            return gem_fail(err, GEM_E_FORMAT, at, "%.120s: a chunk claims %u bytes, but only %llu are left", name,
                            size, (unsigned long long)left);
        if (!memcmp(bytes + at, "fmt ", 4)) st = read_format(w, name, bytes + at + CHUNK, size, at, err);
        if (!memcmp(bytes + at, "data", 4)) st = read_data(w, name, bytes + at + CHUNK, size, at, err);
        if (st) return st;
        at += CHUNK + (uint64_t)size + (size % 2 && size < left); /* the pad byte may be missing at the end */
    }
    return GEM_OK;
}

/* One sample, full scale 1. */
static double sample(const struct gem_wav *w, const uint8_t *p)
{
    double d;
    float f;

    switch (w->sample_bytes | (w->is_float ? 64 : 0)) {
    case 1: return (p[0] - 128) / 128.0; /* the only unsigned one */
    case 2: return (int16_t)load_16(p) / 32768.0;
    case 3: return (int32_t)(load_16(p) << 8 | (uint32_t)p[2] << 24) / 2147483648.0;
    case 4: return (int32_t)load_32(p) / 2147483648.0;
    case 4 | 64: {
        const uint32_t u = load_32(p);
        memcpy(&f, &u, sizeof f);
        return (double)f;
    }
    default: {
        const uint64_t u = load_32(p) | (uint64_t)load_32(p + 4) << 32;
        memcpy(&d, &u, sizeof d);
        return d;
    }
    }
}

void gem_wav_mono(const struct gem_wav *w, uint64_t first, uint64_t n, float *out)
{
    const uint8_t *p = w->data + first * w->n_channels * w->sample_bytes;

    for (uint64_t i = 0; i < n; i++) {
        double sum = 0.0;
        for (uint32_t c = 0; c < w->n_channels; c++, p += w->sample_bytes) sum += sample(w, p);
        out[i] = (float)(sum / w->n_channels);
    }
}
