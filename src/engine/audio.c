/* SPDX-License-Identifier: Apache-2.0
 *
 * Sounds as media items: decoded to what the models hear, and cut into the pieces that the encoder takes. */
#include "engine/internal.h"

static gem_status check_hearing(const struct gem_model *m, gem_error *err)
{
    if (m->hears && m->no_audio.code) {
        if (err) *err = m->no_audio;
        return m->no_audio.code;
    }
    if (m->hears) return GEM_OK;
    return gem_fail(err, GEM_E_UNSUPPORTED, 0, "%s: the model cannot hear: it has no audio encoder%s",
                    m->archive.paths[0],
                    m->archive.is_gguf && !m->mmproj.n_files ? ", and no mmproj file was given" : "");
}

static gem_status load_sound(struct gem_sound *sound, const gem_audio_source *s, const char *name, gem_error *err)
{
    if ((s->path != NULL) + (s->bytes != NULL) + (s->pcm != NULL) != 1)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "%s: exactly one of path, bytes and pcm must be given", name);
    if (s->path) return gem_sound_load(sound, s->path, err);
    if (s->bytes) return gem_sound_decode(sound, name, s->bytes, s->n_bytes, err);
    return gem_sound_from_pcm(sound, name, s->pcm, s->n_frames, s->n_channels ? s->n_channels : 1,
                              s->rate ? s->rate : GEM_SOUND_RATE, err);
}

static void name_content(struct gem_media *media, bool raw)
{
    const char *recipe = gem_audio_recipe(raw);
    struct gem_sha256 s;

    gem_sha256_begin(&s);
    gem_sha256_add(&s, recipe, strlen(recipe) + 1); /* no image begins so */
    gem_sha256_add(&s, media->sound.pcm, media->sound.n * sizeof *media->sound.pcm);
    media->digest = gem_sha256_end(&s);
}

/* An item of a piece, whose samples are the item's from now on. */
static gem_status make_item(gem_media **out, const struct gem_model *m, struct gem_sound piece, uint32_t n_tokens,
                            bool raw, gem_error *err)
{
    struct gem_media *media = gem_calloc(1, sizeof *media, "a piece of sound", err);

    *out = media;
    if (!media) {
        gem_sound_close(&piece);
        return GEM_E_NOMEM;
    }
    media->model = m;
    media->kind = GEM_MEDIA_AUDIO;
    media->n_tokens = n_tokens;
    media->sound = piece;
    name_content(media, raw);
    return GEM_OK;
}

static gem_status copy_piece(struct gem_sound *piece, const struct gem_sound *sound, const struct gem_audio_piece *p,
                             gem_error *err)
{
    piece->n = p->n_samples;
    piece->pcm = gem_alloc_aligned(p->n_samples * sizeof *piece->pcm, "a piece of sound", err);
    if (!piece->pcm) return GEM_E_NOMEM;
    memcpy(piece->pcm, sound->pcm + p->begin, p->n_samples * sizeof *piece->pcm);
    return GEM_OK;
}

/* A sound that is a single piece is handed over. */
static gem_status make_items(gem_media ***out, size_t *n, const struct gem_model *m, struct gem_sound *sound,
                             gem_error *err)
{
    const bool raw = gem_audio_is_raw(m->hears);
    const uint64_t n_samples = sound->n;
    uint32_t n_pieces = 0;
    gem_status st = GEM_OK;

    while (gem_audio_piece(raw, n_samples, n_pieces).n_samples > 0) n_pieces++;
    if (!(*out = gem_calloc(n_pieces, sizeof **out, "a list of media", err))) return GEM_E_NOMEM;
    for (uint32_t i = 0; i < n_pieces; i++) {
        const struct gem_audio_piece p = gem_audio_piece(raw, n_samples, i);
        struct gem_sound piece = {0};

        if (n_pieces == 1) {
            piece = *sound;
            *sound = (struct gem_sound){0};
        } else if ((st = copy_piece(&piece, sound, &p, err))) {
            return st;
        }
        if ((st = make_item(&(*out)[i], m, piece, p.n_tokens, raw, err))) return st;
        ++*n;
    }
    return GEM_OK;
}

gem_status gem_media_open_audio(gem_media ***out, size_t *n, const gem_model *m, const gem_audio_source *s,
                                gem_error *err)
{
    const char *name = s->name ? s->name : s->path ? s->path : "sound";
    struct gem_sound sound = {0};
    gem_status st;

    *out = NULL;
    *n = 0;
    if ((st = check_hearing(m, err))) return st;
    if (!(st = load_sound(&sound, s, name, err))) st = make_items(out, n, m, &sound, err);
    gem_sound_close(&sound);
    if (!st) return GEM_OK;
    gem_media_close_all(*out, *n);
    *out = NULL;
    *n = 0;
    return st;
}

void gem_media_close_all(gem_media **media, size_t n)
{
    for (size_t i = 0; i < n; i++) gem_media_close(media[i]);
    gem_free(media);
}

gem_status gem_media_features(const gem_media *media, float *features, size_t cap, size_t *n_frames, gem_error *err)
{
    struct gem_mel mel;

    *n_frames = 0;
    if (media->kind != GEM_MEDIA_AUDIO) return gem_fail(err, GEM_E_ARGUMENT, 0, "only sounds have features");
    if (gem_audio_is_raw(media->model->hears)) return GEM_OK;
    *n_frames = (size_t)gem_mel_frames(media->sound.n);
    if (cap == 0) return GEM_OK;
    if (cap < *n_frames)
        return gem_fail(err, GEM_E_LIMIT, 0, "features: %zu frames do not fit into %zu", *n_frames, cap);
    gem_mel_init(&mel);
    gem_mel_features(&mel, media->sound.pcm, media->sound.n, features);
    return GEM_OK;
}
