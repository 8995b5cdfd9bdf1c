/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a checkpoint: files -> hyperparameters -> weights -> tokenizer -> recommendations. */
#include "engine/internal.h"

#include "base/json.h"
#include "files/gem.h"

#include <stdio.h>
#include <unistd.h>

uint64_t gem_memory_available(void)
{
    unsigned long long kib = 0;
    char line[128];
    FILE *f = fopen("/proc/meminfo", "r");

    while (f && fgets(line, sizeof line, f) && sscanf(line, "MemAvailable: %llu kB", &kib) != 1) {}
    if (f) fclose(f);
    return kib ? kib * 1024 : UINT64_MAX;
}

gem_status gem_choose_cpu(unsigned *flags, const char *cpu, gem_error *err)
{
    const unsigned have = gem_cpu_flags();

    *flags = have;
    if (!cpu) return GEM_OK;
    for (const struct gem_kernel_tier *t = gem_kernel_tiers; t < gem_kernel_tiers + GEM_N_KERNEL_TIERS; t++) {
        if (strcmp(cpu, t->name)) continue;
        if ((have & t->flags) != t->flags)
            return gem_fail(err, GEM_E_UNSUPPORTED, 0, "cpu: this machine does not have %s", cpu);
        *flags = t->flags;
        return GEM_OK;
    }
    return gem_fail(err, GEM_E_ARGUMENT, 0, "cpu: '%s' is none of c, avx2, avxvnni, avx512, avx512bf16", cpu);
}

/* ---- the two kinds of checkpoints ------------------------------------------------------------------------------ */

static bool has_gguf_magic(const char *path)
{
    char magic[4] = "";
    FILE *f = fopen(path, "rb");
    const bool yes = f && fread(magic, 1, 4, f) == 4 && !memcmp(magic, "GGUF", 4);

    if (f) fclose(f);
    return yes;
}

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);

    return n >= m && !strcmp(s + n - m, end);
}

gem_status gem_model_companion(const struct gem_model *m, const char *name, struct gem_map *map, char **label,
                               gem_error *err)
{
    return gem_archive_companion(&m->archive, m->folder, name, map, label, err);
}

/* Any failure but lack of memory: `why` is kept for later. */
static gem_status tolerate(gem_status st, const gem_error *why, gem_error *err)
{
    if (st != GEM_E_NOMEM) return GEM_OK;
    if (err) *err = *why;
    return st;
}

static gem_status read_config(struct gem_model *m, const char *path, gem_error *err)
{
    struct gem_map map;
    char *label;
    gem_status st = gem_model_companion(m, "config.json", &map, &label, err);

    if (!st && !label) st = gem_fail(err, GEM_E_IO, 0, "%s: no config.json", path);
    if (!st) st = gem_hparams_from_config(&m->h, label, map.data, (size_t)map.n_bytes, err);
    /* A tower that is not supported is an error of those who show it images, or play it sound. */
    if (!st && m->h.has_vision)
        st = tolerate(gem_vision_hparams_from_config(&m->vision_h, label, map.data, (size_t)map.n_bytes, &m->no_vision),
                      &m->no_vision, err);
    if (!st && m->h.has_audio)
        st = tolerate(gem_audio_check_config(label, map.data, (size_t)map.n_bytes, &m->no_audio), &m->no_audio, err);
    gem_map_close(&map);
    gem_free(label);
    return st;
}

/* Weights can be used without text: a tokenizer of a kind that is not supported is an error of the text functions. A
 * damaged one is an error at once. */
static gem_status tolerate_tokenizer(const struct gem_model *m, gem_status st, gem_error *err)
{
    if (st == GEM_OK || st == GEM_E_UNSUPPORTED) return GEM_OK;
    if (err) *err = m->no_tokenizer;
    return st;
}

static gem_status read_tokenizer_json(struct gem_model *m, gem_error *err)
{
    struct gem_map map;
    char *label;
    gem_status st = gem_model_companion(m, "tokenizer.json", &map, &label, err);

    if (!st && label)
        st = tolerate_tokenizer(
            m, gem_tokenizer_from_json(&m->tokenizer, label, map.data, (size_t)map.n_bytes, &m->no_tokenizer), err);
    gem_map_close(&map);
    gem_free(label);
    return st;
}

/* Where the files of a folder are, of which one may be named. */
static gem_status find_folder(struct gem_model *m, const char *path, gem_error *err)
{
    if (gem_path_is_directory(path)) {
        m->folder = gem_strndup(path, strlen(path), err);
    } else { /* a safetensors file: its configuration lies beside it */
        const char *slash = strrchr(path, '/');
        m->folder =
            slash ? gem_strndup(path, slash == path ? 1 : (size_t)(slash - path), err) : gem_strndup(".", 1, err);
    }
    return m->folder ? GEM_OK : GEM_E_NOMEM;
}

/* A GGUF file has no key for them: found by name (spec/tokenizer-and-chat.md 1.3). */
static void find_placeholders(struct gem_model *m)
{
    static const char *const names[] = {"<|image|>", "<|video|>", "<|audio|>"};
    static const char *const begins[] = {"<|image>", "<|image>", "<|audio>"};
    static const char *const ends[] = {"<image|>", "<image|>", "<audio|>"};
    const int32_t pad = m->tokenizer ? gem_tokenizer_find(m->tokenizer, "<pad>", 5) : -1;

    for (size_t i = 0; m->tokenizer && m->h.family == GEM_FAMILY_GEMMA4 && i < 3; i++) {
        m->h.placeholders[i] = gem_tokenizer_find(m->tokenizer, names[i], strlen(names[i]));
        m->h.media_begin[i] = gem_tokenizer_find(m->tokenizer, begins[i], strlen(begins[i]));
        m->h.media_end[i] = gem_tokenizer_find(m->tokenizer, ends[i], strlen(ends[i]));
    }
    if (pad >= 0 && (uint32_t)pad < m->h.vocab) m->h.pad = pad;
}

/* What an open archive's key/values say. */
static gem_status read_gguf(struct gem_model *m, gem_error *err)
{
    gem_status st;

    if ((st = gem_hparams_from_gguf(&m->h, &m->archive, err))) return st;
    st = tolerate_tokenizer(m, gem_tokenizer_from_gguf(&m->tokenizer, &m->archive, &m->no_tokenizer), err);
    if (st) return st;
    find_placeholders(m);
    if ((st = gem_chat_from_gguf(m, err))) return st;
    return gem_recommend_from_gguf(m, err);
}

enum kind { NATIVE, FOLDER, GGUF };

static enum kind kind_of(const char *path)
{
    if (gem_path_is_directory(path)) return FOLDER;
    if (gem_native_is(path) || ends_with(path, ".gem")) return NATIVE;
    return ends_with(path, ".safetensors") && !has_gguf_magic(path) ? FOLDER : GGUF; /* which says so when it is none */
}

gem_status gem_model_open_archive(struct gem_model *m, const char *path, gem_error *err)
{
    gem_status st;

    if (!gem_path_exists(path)) return gem_fail(err, GEM_E_IO, 0, "%s: no such file or folder", path);
    switch (kind_of(path)) {
    case NATIVE: return gem_native_open(&m->archive, path, err);
    case GGUF: return gem_gguf_open(&m->archive, path, err);
    case FOLDER: break;
    }
    if ((st = find_folder(m, path, err))) return st;
    if ((st = read_config(m, m->folder, err))) return st; /* before the weights: a folder of something else is named */
    return gem_safetensors_open(&m->archive, path, err);
}

static gem_status open_files(struct gem_model *m, const char *path, gem_error *err)
{
    gem_status st;

    if ((st = gem_model_open_archive(m, path, err))) return st;
    if (m->archive.is_gguf) return read_gguf(m, err);
    if (m->archive.is_native && (st = read_config(m, path, err))) return st;
    if ((st = read_tokenizer_json(m, err))) return st;
    if ((st = gem_chat_from_folder(m, err))) return st;
    return gem_recommend_from_folder(m, err);
}

/* The towers: in a file of their own, or among the model's tensors. */
static gem_status find_towers(struct gem_model *m, const char *mmproj, gem_error *err)
{
    const char *s = NULL;
    size_t n = 0;
    gem_status st;

    if (!(m->towers = gem_calloc(1, sizeof *m->towers, "towers", err))) return GEM_E_NOMEM;
    pthread_mutex_init(&m->towers->lock, NULL);
    if (m->h.family == GEM_FAMILY_GEMMA4 && gem_vision_is_in(&m->archive)) m->sees = &m->archive;
    if (m->h.family == GEM_FAMILY_GEMMA4 && gem_audio_found(&m->archive)) m->hears = &m->archive;
    if (!mmproj) return GEM_OK;
    if ((st = gem_gguf_open(&m->mmproj, mmproj, err))) return st;
    if ((st = gem_kv_get_string(&m->mmproj, "general.architecture", true, &s, &n, err))) return st;
    if (n != 4 || memcmp(s, "clip", 4))
        return gem_fail(err, GEM_E_FORMAT, 0, "%s: not an mmproj file: its architecture is %.*s, not clip", mmproj,
                        n > 32 ? 32 : (int)n, s);
    if (gem_vision_is_in(&m->mmproj)) {
        m->sees = &m->mmproj;
        m->no_vision.code = GEM_OK; /* of the folder's own tower */
    }
    if (gem_audio_found(&m->mmproj)) {
        m->hears = &m->mmproj;
        m->no_audio.code = GEM_OK;
    }
    return GEM_OK;
}

static gem_status check_vocabulary(const struct gem_model *m, gem_error *err)
{
    const uint32_t n = m->tokenizer ? gem_tokenizer_vocab(m->tokenizer) : m->h.vocab;

    if (m->archive.is_gguf ? n == m->h.vocab : n <= m->h.vocab) return GEM_OK;
    return gem_fail(err, GEM_E_FORMAT, 0, "%s: the tokenizer has %u tokens, the embedding %u rows", m->archive.paths[0],
                    n, m->h.vocab);
}

/* ---- what there is to know ----------------------------------------------------------------------------------------
 */

static gem_status take_name(struct gem_model *m, const char *path, gem_error *err)
{
    const char *s = NULL;
    size_t n = 0;
    gem_status st;

    if (m->archive.is_gguf && (st = gem_kv_get_string(&m->archive, "general.name", false, &s, &n, err))) return st;
    if (!s) s = gem_path_base(path, &n);
    m->name = gem_strndup(s, n, err);
    return m->name ? GEM_OK : GEM_E_NOMEM;
}

/* Kinds of layers differ in shape; the first of each kind speaks for all. */
static void fill_layer_info(gem_model_info *info, const struct gem_hparams *h)
{
    for (uint32_t i = h->n_layers; i-- > 0;) {
        const struct gem_layer_hparams *l = &h->layers[i];
        *(l->global ? &info->head_dim_global : &info->head_dim) = l->head_dim;
        *(l->global ? &info->n_kv_heads_global : &info->n_kv_heads) = l->n_kv_heads;
        if (i >= h->n_own) info->ffn_shared = l->ffn;
    }
    info->ffn = h->layers[0].ffn;
}

static void fill_info(struct gem_model *m, const gem_model_options *o)
{
    const struct gem_hparams *h = &m->h;
    gem_model_info *info = &m->info;

    *info = (gem_model_info){
        .family = h->family,
        .precision = o->precision,
        .architecture = h->architecture,
        .name = m->name,
        .size_label = gem_hparams_size_label(h),
        .cpu = m->kern.name,
        .n_layers = h->n_layers,
        .n_layers_shared = h->n_layers - h->n_own,
        .hidden = h->hidden,
        .vocab = h->vocab,
        .context = h->context,
        .n_heads = h->n_heads,
        .window = h->window,
        .n_experts = h->n_experts,
        .n_experts_used = h->n_experts_used,
        .ffn_expert = h->ffn_expert,
        .ple = h->ple,
        .has_tokenizer = m->tokenizer != NULL,
        .n_parameters = m->w.n_parameters,
        .n_parameters_active = m->w.n_parameters_active,
        .mapped_bytes = m->w.mapped_bytes,
        .packed_bytes = m->w.packed_bytes + (m->w.coarse ? gem_coarse_bytes(&m->w.head) : 0),
        .two_stage_bytes = gem_coarse_bytes(&m->w.head),
    };
    info->ram_bytes = m->fixed_bytes + m->ledger->floor + gem_engine_bytes(m, NULL) + gem_session_bytes(m, NULL, NULL);
    fill_layer_info(info, h);
    for (size_t i = 0; i < m->archive.n_tensors; i++) {
        info->has_vision |= m->roles[i] == GEM_ROLE_VISION;
        info->has_audio |= m->roles[i] == GEM_ROLE_AUDIO;
    }
    info->has_vision |= m->sees != NULL;
    info->has_audio |= m->hears != NULL;
    for (uint32_t i = 0; i < m->archive.n_files; i++) /* without those inside another */
        if (m->archive.maps[i].fd) info->file_bytes += m->archive.maps[i].n_bytes;
}

/* ---- public -------------------------------------------------------------------------------------------------------
 */

/* The program itself, lists of tensors, tables of pages: what no function counts. */
enum { UNCOUNTED = 16 << 20 };

/* What the model holds besides mapped weights, which is then taken; and what those need at least. */
static gem_status fill_ledger(struct gem_model *m, const gem_model_options *o, gem_error *err)
{
    const bool packs = o->precision == GEM_PRECISION_FAST;
    struct gem_ledger *l = m->ledger;
    struct gem_stream stream;
    uint64_t packed = 0;
    gem_status st;

    if (packs && (st = gem_weights_packed_bytes(&m->w, &m->h, &packed, err))) return st;
    if (o->two_stage_head) packed += gem_coarse_bytes(&m->w.head);
    if ((st = gem_stream_open(&stream, &m->w, &m->h, packs, err))) return st;
    l->ceiling = o->ram ? o->ram : UINT64_MAX;
    l->floor = stream.floor;
    gem_stream_close(&stream);
    m->fixed_bytes = packed + m->w.vector_bytes + gem_tokenizer_bytes(m->tokenizer) + UNCOUNTED;
    if (o->metadata_only) return GEM_OK;
    return gem_ledger_take(l, m->fixed_bytes, gem_engine_bytes(m, NULL) + gem_session_bytes(m, NULL, NULL),
                           "the model alone", err);
}

static gem_status check_two_stages(const struct gem_model *m, const gem_model_options *o, const char *path,
                                   gem_error *err)
{
    if (!o->two_stage_head || gem_coarse_bytes(&m->w.head)) return GEM_OK;
    return gem_fail(err, GEM_E_ARGUMENT, 0,
                    "%s: a head in two stages is for tables of floating point numbers in rows of 32, not for %s x %u",
                    path, gem_type_info(m->w.head.type)->name, m->w.head.cols);
}

static gem_status pack(struct gem_model *m, const gem_model_options *o, gem_error *err)
{
    struct gem_pool *pool;
    gem_status st = gem_pool_open(&pool, o->n_threads, err);

    if (st) return st;
    if (o->precision == GEM_PRECISION_FAST)
        st = gem_weights_pack(&m->w, &m->h, pool, o->progress, o->progress_user, err);
    if (!st && o->two_stage_head) st = gem_coarse_open(&m->w.coarse, &m->w.head, pool, err);
    gem_pool_close(pool);
    return st;
}

/* Metadata has been read and copied: its pages are not needed any more. (Those of weights come back when they are.) */
static void release_metadata(const struct gem_model *m)
{
    for (uint32_t i = 0; i < m->archive.n_files; i++)
        if (m->archive.maps[i].fd) gem_map_release(m->archive.maps[i].data, m->archive.maps[i].n_bytes);
}

static gem_status open_model(gem_model **out, const char *path, const gem_model_options *o, gem_error *err)
{
    gem_status st = GEM_E_NOMEM;
    struct gem_model *m;
    unsigned cpu;

    if (o->precision != GEM_PRECISION_FAST && o->precision != GEM_PRECISION_EXACT)
        return gem_fail(err, GEM_E_ARGUMENT, 0, "precision: %d is neither fast (0) nor exact (1)", (int)o->precision);
    if (!(m = gem_calloc(1, sizeof *m, "a model", err))) return st;
    if (!(m->ledger = gem_calloc(1, sizeof *m->ledger, "a model", err))) goto fail;
    if (!(m->shared = gem_calloc(1, sizeof *m->shared, "a model", err))) goto fail;
    pthread_mutex_init(&m->shared->mutex, NULL);
    m->bos = -1;
    gem_fail(&m->no_tokenizer, GEM_E_UNSUPPORTED, 0, "%s: the model has no tokenizer", path);
    m->metadata_only = o->metadata_only;
    m->info.precision = o->precision;
    if ((st = gem_choose_cpu(&cpu, o->cpu, err))) goto fail;
    gem_kernels_init(&m->kern, cpu);
    if ((st = open_files(m, path, err))) goto fail;
    if ((st = check_vocabulary(m, err))) goto fail;
    if ((st = find_towers(m, o->mmproj, err))) goto fail;
    if ((st = take_name(m, path, err))) goto fail;
    st = GEM_E_NOMEM;
    if (!(m->roles = gem_calloc(m->archive.n_tensors, sizeof *m->roles, "a list of tensors", err))) goto fail;
    if ((st = gem_weights_bind(&m->w, &m->h, &m->archive, m->roles, err))) goto fail;
    if ((st = check_two_stages(m, o, path, err))) goto fail;
    if ((st = fill_ledger(m, o, err))) goto fail;
    if ((o->precision == GEM_PRECISION_FAST || o->two_stage_head) && !o->metadata_only && (st = pack(m, o, err)))
        goto fail;
    release_metadata(m);
    fill_info(m, o);
    if ((st = gem_weights_token_bytes(&m->w, &m->h, &m->info.token_bytes, err))) goto fail;
    if (m->w.coarse) m->info.token_bytes -= m->w.head.row_bytes * m->w.head.rows - gem_coarse_bytes(&m->w.head);
    *out = m;
    return GEM_OK;
fail:
    gem_model_close(m);
    return st;
}

gem_status gem_model_open(gem_model **out, const char *path, const gem_model_options *options, gem_error *err)
{
    static const gem_model_options defaults;
    const gem_model_options *o = options ? options : &defaults;
    char *copy = NULL;
    gem_status st = GEM_OK;

    *out = NULL;
    if (o->packed_copy) st = gem_packed_copy(path, o, &copy, err);
    if (!st) st = open_model(out, copy ? copy : path, o, err);
    gem_free(copy);
    return st;
}

void gem_model_close(gem_model *m)
{
    if (!m) return;
    if (m->shared) {
        gem_trie_close(m->shared->trie);
        pthread_mutex_destroy(&m->shared->mutex);
        gem_free(m->shared);
    }
    if (m->towers) {
        gem_vision_close(&m->towers->vision);
        gem_audio_weights_close(&m->towers->audio);
        pthread_mutex_destroy(&m->towers->lock);
        gem_free(m->towers);
    }
    gem_weights_close(&m->w);
    gem_archive_close(&m->mmproj);
    gem_tokenizer_close(m->tokenizer);
    gem_archive_close(&m->archive);
    gem_free(m->roles);
    gem_free(m->name);
    gem_free(m->folder);
    gem_free(m->ledger);
    gem_free(m->suppressed);
    gem_free(m);
}

const gem_model_info *gem_model_get_info(const gem_model *m) { return &m->info; }

bool gem_model_get_tensor(const gem_model *m, size_t index, gem_tensor_info *out)
{
    static const char *const roles[] = {"unknown", "text", "dead", "vision", "audio"};
    const struct gem_tensor *t;

    if (index >= m->archive.n_tensors) return false;
    t = &m->archive.tensors[index];
    *out = (gem_tensor_info){.name = t->name,
                             .type = t->type_name,
                             .n_dims = t->n_dims,
                             .bytes = t->n_bytes,
                             .role = roles[m->roles[index]],
                             .in_panels = t->layout != 0};
    memcpy(out->shape, t->shape, sizeof out->shape);
    return true;
}

/* ---- text -----------------------------------------------------------------------------------------------------------
 */

static gem_status need_tokenizer(const struct gem_model *m, gem_error *err)
{
    if (m->tokenizer) return GEM_OK;
    if (err) *err = m->no_tokenizer;
    return m->no_tokenizer.code;
}

gem_status gem_tokenize(const gem_model *m, const char *text, size_t n_bytes, bool control, int32_t *tokens, size_t cap,
                        size_t *n_tokens, gem_error *err)
{
    const gem_status st = need_tokenizer(m, err);

    return st ? st : gem_tokenizer_encode(m->tokenizer, text, n_bytes, control, tokens, cap, n_tokens, err);
}

gem_status gem_detokenize(const gem_model *m, const int32_t *tokens, size_t n_tokens, bool control, char *text,
                          size_t cap, size_t *n_bytes, gem_error *err)
{
    const gem_status st = need_tokenizer(m, err);

    return st ? st : gem_tokenizer_decode(m->tokenizer, tokens, n_tokens, control, text, cap, n_bytes, err);
}

gem_status gem_text_stream_push(const gem_model *m, gem_text_stream *stream, int32_t token, char *text, size_t *n_bytes,
                                gem_error *err)
{
    const gem_status st = need_tokenizer(m, err);

    return st ? st : gem_tokenizer_stream_push(m->tokenizer, stream, token, text, n_bytes, err);
}

int32_t gem_model_bos(const gem_model *m) { return m->bos; }

size_t gem_model_stop_tokens(const gem_model *m, const int32_t **ids)
{
    *ids = m->stop;
    return m->n_stop;
}

int32_t gem_model_token_id(const gem_model *m, const char *piece, size_t n_bytes)
{
    return m->tokenizer ? gem_tokenizer_find(m->tokenizer, piece, n_bytes) : -1;
}

const char *gem_model_piece(const gem_model *m, int32_t token, size_t *n_bytes)
{
    *n_bytes = 0;
    return m->tokenizer ? gem_tokenizer_piece(m->tokenizer, token, n_bytes) : NULL;
}
