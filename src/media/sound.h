/* SPDX-License-Identifier: Apache-2.0
 * src/media/sound.h - what the models hear: mono float samples, 16000 in a second. */
#ifndef GEM_MEDIA_SOUND_H
#define GEM_MEDIA_SOUND_H

#include "base/status.h"

enum { GEM_SOUND_RATE = 16000 };

/* Samples of the longest sound: 262144 tokens of 40 ms, the longest context of Gemma 4; 2.9 hours, 640 MB. */
#define GEM_SOUND_MAX ((uint64_t)262144 * 640)

/* Zero-initialised is the closed state. */
struct gem_sound {
    float *pcm; /* [n] */
    uint64_t n;
};

/* The bytes of a WAV file. name: for messages. GEM_E_FORMAT, GEM_E_UNSUPPORTED, GEM_E_LIMIT (too long, said before
 * memory is taken), GEM_E_ARGUMENT as gem_sound_check. */
gem_status gem_sound_from_wav(struct gem_sound *s, const char *name, const uint8_t *bytes, uint64_t n, gem_error *err);
/* pcm [n_frames, n_channels], full scale 1; channels are averaged. */
gem_status gem_sound_from_pcm(struct gem_sound *s, const char *name, const float *pcm, uint64_t n_frames,
                              uint32_t n_channels, uint32_t rate, gem_error *err);
/* A file of any kind: WAV files are read here, others, and the sound of videos, by FFmpeg where it is built in. */
gem_status gem_sound_decode(struct gem_sound *s, const char *name, const uint8_t *bytes, uint64_t n, gem_error *err);
gem_status gem_sound_load(struct gem_sound *s, const char *path, gem_error *err);
void gem_sound_close(struct gem_sound *s);

/* GEM_E_ARGUMENT when there are no samples, when one is NaN or infinite (it is named), or when all are 0: a microphone
 * that was off, or a damaged file. */
gem_status gem_sound_check(const char *name, const float *pcm, uint64_t n, gem_error *err);

#endif
