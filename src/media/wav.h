/* SPDX-License-Identifier: Apache-2.0
 * src/media/wav.h - RIFF WAVE files: integer PCM of 8 to 32 bits and float of 32 or 64, any number of channels, plain
 * or WAVE_FORMAT_EXTENSIBLE. Input is untrusted. */
#ifndef GEM_MEDIA_WAV_H
#define GEM_MEDIA_WAV_H

#include "base/status.h"

struct gem_wav {
    const uint8_t *data; /* the first frame, in the bytes that were parsed */
    uint64_t n_frames;   /* at least 1 */
    uint32_t rate;       /* frames in a second */
    uint16_t n_channels; /* at least 1 */
    uint16_t sample_bytes;
    bool is_float;
};

/* Whether the bytes begin as a WAV file does. */
bool gem_wav_is(const uint8_t *bytes, uint64_t n);
/* name: the file's, for messages. GEM_E_FORMAT: damaged, truncated, without sound; GEM_E_UNSUPPORTED: other codecs and
 * RF64. Nothing is copied. */
gem_status gem_wav_parse(struct gem_wav *w, const char *name, const uint8_t *bytes, uint64_t n, gem_error *err);
/* Frames [first, first + n) as the mean of their channels, full scale 1: out [n]. */
void gem_wav_mono(const struct gem_wav *w, uint64_t first, uint64_t n, float *out);

#endif
