/* SPDX-License-Identifier: Apache-2.0 */
#include "media/sound.h"

#include "base/file.h"
#include "base/memory.h"
#include "media/resample.h"
#include "media/video.h"
#include "media/wav.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

gem_status gem_sound_check(const char *name, const float *pcm, uint64_t n, gem_error *err)
{
    bool silent = true;

    if (n == 0) return gem_fail(err, GEM_E_ARGUMENT, 0, "%.120s: there are no samples", name);
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite(pcm[i]))
            return gem_fail(err, GEM_E_ARGUMENT, i * sizeof *pcm, "%.120s: sample %llu of %llu is %s", name,
                            (unsigned long long)i, (unsigned long long)n,
                            isnan(pcm[i]) ? "not a number (NaN)" : "infinite");
        silent &= pcm[i] == 0.0f;
    }
    if (silent)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "%.120s: all %llu samples are 0, there is nothing to hear", name,
                        (unsigned long long)n);
    return GEM_OK;
}

/* Where mono samples come from. */
struct source {
    const struct gem_wav *wav; /* NULL: pcm */
    const float *pcm;
    uint32_t n_channels, rate;
    uint64_t n; /* frames */
};

static void read_mono(const struct source *from, float *out)
{
    const float *p = from->pcm;

    if (from->wav) {
        gem_wav_mono(from->wav, 0, from->n, out);
        return;
    }
    for (uint64_t i = 0; i < from->n; i++) {
        double sum = 0.0;
        for (uint32_t c = 0; c < from->n_channels; c++) sum += (double)*p++;
        out[i] = (float)(sum / from->n_channels);
    }
}

static gem_status check_length(const char *name, const struct source *from, gem_error *err)
{
    if (from->n == 0) return gem_fail(err, GEM_E_ARGUMENT, 0, "%.120s: there are no samples", name);
    if (from->rate < GEM_RATE_MIN || from->rate > GEM_RATE_MAX)
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%.120s: a sample rate of %u Hz is not supported, only %d to %d",
                        name, from->rate, GEM_RATE_MIN, GEM_RATE_MAX);
    if (from->n / from->rate > GEM_SOUND_MAX / GEM_SOUND_RATE)
        return gem_fail(err, GEM_E_LIMIT, 0, "%.120s: %llu seconds of sound, at most %llu are supported", name,
                        (unsigned long long)(from->n / from->rate),
                        (unsigned long long)(GEM_SOUND_MAX / GEM_SOUND_RATE));
    return GEM_OK;
}

static gem_status convert(struct gem_sound *s, const char *name, const struct source *from, gem_error *err)
{
    struct gem_resampler r = {0};
    float *mono = NULL;
    gem_status st;

    *s = (struct gem_sound){0};
    if ((st = check_length(name, from, err))) return st;
    st = GEM_E_NOMEM;
    if (!(mono = gem_alloc_aligned(from->n * sizeof *mono, "sound", err))) goto out;
    read_mono(from, mono);
    if ((st = gem_sound_check(name, mono, from->n, err))) goto out;
    if (from->rate == GEM_SOUND_RATE) {
        *s = (struct gem_sound){mono, from->n};
        return GEM_OK;
    }
    if ((st = gem_resampler_open(&r, from->rate, GEM_SOUND_RATE, err))) goto out;
    s->n = gem_resampler_length(&r, from->n);
    st = GEM_E_NOMEM;
    if (!(s->pcm = gem_alloc_aligned(s->n * sizeof *s->pcm, "sound", err))) goto out;
    gem_resampler_run(&r, mono, from->n, 0, s->n, s->pcm);
    st = gem_sound_check(name, s->pcm, s->n, err); /* float samples near the largest number may have overflowed */
out:
    if (st) gem_sound_close(s);
    gem_resampler_close(&r);
    gem_free(mono);
    return st;
}

gem_status gem_sound_from_wav(struct gem_sound *s, const char *name, const uint8_t *bytes, uint64_t n, gem_error *err)
{
    struct gem_wav wav;
    struct source from = {.wav = &wav};
    gem_status st = gem_wav_parse(&wav, name, bytes, n, err);

    *s = (struct gem_sound){0};
    if (st) return st;
    from.rate = wav.rate;
    from.n = wav.n_frames;
    return convert(s, name, &from, err);
}

gem_status gem_sound_from_pcm(struct gem_sound *s, const char *name, const float *pcm, uint64_t n_frames,
                              uint32_t n_channels, uint32_t rate, gem_error *err)
{
    const struct source from = {.pcm = pcm, .n_channels = n_channels, .rate = rate, .n = n_frames};

    *s = (struct gem_sound){0};
    if (n_channels == 0) return gem_fail(err, GEM_E_ARGUMENT, 0, "%.120s: 0 channels", name);
    return convert(s, name, &from, err);
}

gem_status gem_sound_decode(struct gem_sound *s, const char *name, const uint8_t *bytes, uint64_t n, gem_error *err)
{
    *s = (struct gem_sound){0};
    if (n == 0) return gem_fail(err, GEM_E_FORMAT, 0, "%.120s: the sound file is empty", name);
    return gem_wav_is(bytes, n) ? gem_sound_from_wav(s, name, bytes, n, err)
                                : gem_ffmpeg_sound(s, name, NULL, bytes, n, err);
}

static bool file_is_wav(const struct gem_map *map)
{
    uint8_t head[12];

    return pread(map->fd - 1, head, sizeof head, 0) == sizeof head && gem_wav_is(head, sizeof head);
}

gem_status gem_sound_load(struct gem_sound *s, const char *path, gem_error *err)
{
    struct gem_map map = {0};
    uint8_t *data = NULL;
    gem_status st;

    *s = (struct gem_sound){0};
    if ((st = gem_map_open(&map, path, err))) goto out;
    if (map.n_bytes == 0)
        st = gem_fail(err, GEM_E_FORMAT, 0, "%.120s: the sound file is empty", path);
    else if (!file_is_wav(&map))
        st = gem_ffmpeg_sound(s, path, path, NULL, 0, err);
    else if (!(st = gem_map_read_all(&map, path, UINT32_MAX, &data, err))) /* what a RIFF header can say */
        st = gem_sound_from_wav(s, path, data, map.n_bytes, err);
out:
    gem_free(data);
    gem_map_close(&map);
    return st;
}

void gem_sound_close(struct gem_sound *s)
{
    gem_free(s->pcm);
    *s = (struct gem_sound){0};
}
