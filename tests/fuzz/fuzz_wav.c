/* SPDX-License-Identifier: Apache-2.0
 * WAV files: whatever is accepted is a sound of finite samples, as long as its file says. */
#include "media/sound.h"
#include "media/wav.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gem_sound s = {0};
    struct gem_wav wav;
    gem_error err = {0};
    const gem_status parsed = gem_wav_parse(&wav, "fuzz.wav", data, size, &err);
    uint64_t n;

    if (parsed && (err.code != parsed || err.message[0] == 0)) abort(); /* a failure must say why */
    if (!parsed && wav.n_frames * wav.n_channels * wav.sample_bytes > size) abort();
    if (!parsed && (wav.rate % 25 || (wav.rate < 16000 && wav.n_frames > 100000))) { /* slow, and nothing new */
        float mono[64];
        gem_wav_mono(&wav, wav.n_frames > 64 ? wav.n_frames - 64 : 0, wav.n_frames > 64 ? 64 : wav.n_frames, mono);
        return 0;
    }
    err = (gem_error){0};
    if (gem_sound_from_wav(&s, "fuzz.wav", data, size, &err)) {
        if (err.code == GEM_OK || err.message[0] == 0 || s.pcm) abort();
        return 0;
    }
    n = (wav.n_frames * GEM_SOUND_RATE + wav.rate - 1) / wav.rate;
    if (s.n != n) abort();
    for (uint64_t i = 0; i < n; i++)
        if (!isfinite(s.pcm[i])) abort();
    gem_sound_close(&s);
    return 0;
}
