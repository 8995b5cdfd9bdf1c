/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding by name. Sizes come from the shapes of a few tensors; then every tensor must fit them. A first pass checks
 * and counts, a second one fills the vectors. */
#include "audio/audio.h"

#include "files/parse.h"

#include <math.h>
#include <stdio.h>

/* What a tensor becomes. Matrices stay where they are; all others are copied as float32. */
enum kind {
    VECTOR,
    HALVED,      /* a vector, of which half is used */
    MATRIX,      /* without bounds */
    LINEAR,      /* a matrix and four bounds; the name goes on with .weight, .input_min, ... */
    QUERY_SCALE, /* per_dim_scale, made ready to multiply with */
    FIRST_CONV,  /* [channels, 1, 3, 3] -> [9, channels] */
    SECOND_CONV, /* [out, in, 3, 3] -> [3, out, 3, in]: a tap in time is a matrix over 3 taps in frequency */
    DEPTHWISE,   /* [channels, 1, taps] -> [taps, channels] */
};

enum dim { NONE, ONE, THREE, TAPS, TEXT, HIDDEN, HIDDEN_2, HEAD, FFN, WIDTH, FIRST, SECOND, FLAT, N_DIMS };

struct binding {
    const char *hf, *gguf;
    const char *ollama; /* NULL: as gguf */
    size_t offset;
    enum kind kind;
    enum dim dims[4];
};

#define WHOLE(field) offsetof(struct gem_audio_weights, field)
#define LAYER(field) offsetof(struct gem_audio_layer, field)
#define COUNT(a)     (sizeof(a) / sizeof *(a))
static const struct binding layer_bindings[] = {
    {"feed_forward1.pre_layer_norm.weight", "ffn_norm.weight", NULL, LAYER(ffn[0].norm), VECTOR, {HIDDEN}},
    {"feed_forward1.post_layer_norm.weight", "ffn_post_norm.weight", NULL, LAYER(ffn[0].post_norm), HALVED, {HIDDEN}},
    {"feed_forward1.ffw_layer_1", "ffn_up", NULL, LAYER(ffn[0].up), LINEAR, {FFN, HIDDEN}},
    {"feed_forward1.ffw_layer_2", "ffn_down", NULL, LAYER(ffn[0].down), LINEAR, {HIDDEN, FFN}},
    {"feed_forward2.pre_layer_norm.weight", "ffn_norm_1.weight", NULL, LAYER(ffn[1].norm), VECTOR, {HIDDEN}},
    {"feed_forward2.post_layer_norm.weight", "ffn_post_norm_1.weight", NULL, LAYER(ffn[1].post_norm), HALVED, {HIDDEN}},
    {"feed_forward2.ffw_layer_1", "ffn_up_1", NULL, LAYER(ffn[1].up), LINEAR, {FFN, HIDDEN}},
    {"feed_forward2.ffw_layer_2", "ffn_down_1", NULL, LAYER(ffn[1].down), LINEAR, {HIDDEN, FFN}},
    {"norm_pre_attn.weight", "attn_pre_norm.weight", "ln1.weight", LAYER(attn_norm), VECTOR, {HIDDEN}},
    {"norm_post_attn.weight", "attn_post_norm.weight", "ln2.weight", LAYER(post_attn_norm), VECTOR, {HIDDEN}},
    {"norm_out.weight", "ln2.weight", "layer_pre_norm.weight", LAYER(out_norm), VECTOR, {HIDDEN}},
    {"self_attn.q_proj", "attn_q", NULL, LAYER(q), LINEAR, {HIDDEN, HIDDEN}},
    {"self_attn.k_proj", "attn_k", NULL, LAYER(k), LINEAR, {HIDDEN, HIDDEN}},
    {"self_attn.v_proj", "attn_v", NULL, LAYER(v), LINEAR, {HIDDEN, HIDDEN}},
    {"self_attn.post", "attn_out", NULL, LAYER(o), LINEAR, {HIDDEN, HIDDEN}},
    {"self_attn.relative_k_proj.weight",
     "attn_k_rel.weight",
     "linear_pos.weight",
     LAYER(relative),
     MATRIX,
     {HIDDEN, HIDDEN}},
    {"self_attn.per_dim_scale", "per_dim_scale.weight", NULL, LAYER(query_scale), QUERY_SCALE, {HEAD}},
    {"lconv1d.linear_start", "conv_pw1", NULL, LAYER(start), LINEAR, {HIDDEN_2, HIDDEN}},
    {"lconv1d.linear_end", "conv_pw2", NULL, LAYER(end), LINEAR, {HIDDEN, HIDDEN}},
    {"lconv1d.depthwise_conv1d.weight", "conv_dw.weight", NULL, LAYER(conv), DEPTHWISE, {HIDDEN, ONE, TAPS}},
    {"lconv1d.pre_layer_norm.weight", "conv_norm.weight", NULL, LAYER(conv_norm), VECTOR, {HIDDEN}}, /* crossed */
    {"lconv1d.conv_norm.weight", "norm_conv.weight", NULL, LAYER(post_conv_norm), VECTOR, {HIDDEN}},
};

static const struct binding tower_bindings[] = {
    {"subsample_conv_projection.layer0.conv.weight",
     "a.conv1d.0.weight",
     NULL,
     WHOLE(conv[0]),
     FIRST_CONV,
     {FIRST, ONE, THREE, THREE}},
    {"subsample_conv_projection.layer1.conv.weight",
     "a.conv1d.1.weight",
     NULL,
     WHOLE(conv[1]),
     SECOND_CONV,
     {SECOND, FIRST, THREE, THREE}},
    {"subsample_conv_projection.layer0.norm.weight",
     "a.conv1d.0.norm.weight",
     NULL,
     WHOLE(conv_norm[0]),
     VECTOR,
     {FIRST}},
    {"subsample_conv_projection.layer1.norm.weight",
     "a.conv1d.1.norm.weight",
     NULL,
     WHOLE(conv_norm[1]),
     VECTOR,
     {SECOND}},
    {"subsample_conv_projection.input_proj_linear.weight",
     "a.input_projection.weight",
     "a.pre_encode.out.weight",
     WHOLE(in.w),
     MATRIX,
     {HIDDEN, FLAT}},
    {"output_proj.weight", "a.pre_encode.out.weight", "mm.a.fc.weight", WHOLE(out.w), MATRIX, {WIDTH, HIDDEN}},
    {"output_proj.bias", "a.pre_encode.out.bias", "mm.a.fc.bias", WHOLE(out_bias), VECTOR, {WIDTH}},
};

/* Both begin with the name by which files of transformers and of llama.cpp have it. */
static const char *const embed_names[] = {
    "model.embed_audio.embedding_projection.weight",
    "mm.a.input_projection.weight",
    "embed_audio.embedding_projection.weight",
    "model.embed_audio.multimodal_embedder.embedding_projection.weight",
    "embed_audio.multimodal_embedder.embedding_projection.weight",
};

struct binder {
    struct gem_audio_weights *w;
    const struct gem_archive *a;
    const char *prefix; /* of the tower's names in safetensors */
    bool ollama, clipped;
    bool *known; /* [a->n_tensors] */
    uint64_t sizes[N_DIMS];
    size_t n_vector; /* floats taken from w->vectors; in the first pass only counted */
    gem_error *err;
};

/* ---- names --------------------------------------------------------------------------------------------------- */

/* layer -1: of the whole tower. */
static const struct gem_tensor *find(const struct binder *b, const struct binding *bind, int layer, const char *end,
                                     char *name, size_t cap)
{
    const char *gguf = b->ollama && bind->ollama ? bind->ollama : bind->gguf;

    if (!b->a->is_gguf && layer < 0)
        snprintf(name, cap, "%s%s%s", b->prefix, bind->hf, end);
    else if (!b->a->is_gguf)
        snprintf(name, cap, "%slayers.%d.%s%s%s", b->prefix, layer, bind->hf,
                 bind->kind == LINEAR && !strcmp(end, ".weight") ? ".linear" : "", end);
    else if (layer < 0)
        snprintf(name, cap, "%s%s", gguf, end);
    else
        snprintf(name, cap, "a.blk.%d.%s%s", layer, gguf, end);
    return gem_archive_tensor(b->a, name);
}

static gem_status missing(const struct binder *b, const char *name)
{
    return gem_fail(b->err, GEM_E_FORMAT, 0, GEM_NAME ": tensor '%s' is missing", b->a->paths[0], name);
}

static const struct gem_tensor *find_embed(const struct gem_archive *a)
{
    const struct gem_tensor *t = NULL;

    for (size_t i = 0; !t && i < COUNT(embed_names); i++) t = gem_archive_tensor(a, embed_names[i]);
    return t;
}

static bool is_audio(const char *name)
{
    static const char *const prefixes[] = {"model.audio_tower.", "audio_tower.", "model.embed_audio.",
                                           "embed_audio.",       "a.",           "mm.a."};

    for (size_t i = 0; i < COUNT(prefixes); i++)
        if (!strncmp(name, prefixes[i], strlen(prefixes[i]))) return true;
    return false;
}

bool gem_audio_found(const struct gem_archive *a)
{
    for (size_t i = 0; i < a->n_tensors; i++)
        if (is_audio(a->tensors[i].name)) return true;
    return false;
}

/* ---- one tensor ---------------------------------------------------------------------------------------------- */

static gem_status check_tensor(const struct binder *b, const struct gem_tensor *t, const uint64_t *want, uint32_t n)
{
    const gem_status st = gem_tensor_check(b->a, t, want, n, b->err);

    if (st || (n > 0 && want[n - 1] % gem_type_info(t->type)->block == 0)) return st;
    return gem_fail(b->err, GEM_E_UNSUPPORTED, t->offset, GEM_NAME ": tensor '%s' has type %s, which is not supported",
                    b->a->paths[t->file], t->name, t->type_name);
}

static gem_status check_finite(const struct binder *b, const struct gem_tensor *t, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return gem_fail(b->err, GEM_E_NONFINITE, t->offset, GEM_NAME ": tensor '%s' holds NaN or infinity",
                            b->a->paths[t->file], t->name);
    return GEM_OK;
}

/* Softplus is applied in GGUF files already (spec 7.2). */
static void ready_query_scale(const struct binder *b, float *v, uint64_t n)
{
    const double scale = 1.0 / sqrt((double)n) / log(2.0);

    for (uint64_t i = 0; i < n; i++) {
        const double z = (double)v[i];
        v[i] = (float)(scale * (b->a->is_gguf ? z : fmax(z, 0.0) + log1p(exp(-fabs(z)))));
    }
}

/* Kernels are short rows of floats (other types have blocks too long for them): element k of row r goes to its place.
 */
static void scatter(const struct gem_tensor *t, enum kind kind, const uint64_t *want, float *out)
{
    const uint64_t taps = kind == DEPTHWISE ? GEM_AUDIO_KERNEL : 9, inner = kind == SECOND_CONV ? want[1] : 1;
    const uint64_t bytes = gem_row_bytes(t->type, taps);
    float row[9];

    for (uint64_t r = 0; r < want[0] * inner; r++) {
        const uint64_t o = r / inner, i = r % inner;

        gem_decode_row(t->type, t->data + r * bytes, row, taps);
        for (uint64_t k = 0; k < taps; k++)
            out[kind == SECOND_CONV ? ((k / 3 * want[0] + o) * 3 + k % 3) * inner + i : k * want[0] + o] = row[k];
    }
}

static gem_status take_vector(struct binder *b, const struct gem_tensor *t, enum kind kind, const uint64_t *want,
                              uint32_t n_dims, const float **out)
{
    uint64_t n = 1;
    float *v = b->w->vectors ? b->w->vectors + b->n_vector : NULL;

    for (uint32_t i = 0; i < n_dims; i++) n *= want[i];
    b->n_vector += gem_align_up(n * sizeof *v) / sizeof *v;
    if (!v) return GEM_OK; /* first pass */
    if (kind == VECTOR || kind == HALVED || kind == QUERY_SCALE)
        gem_decode_row(t->type, t->data, v, n);
    else
        scatter(t, kind, want, v);
    for (uint64_t i = 0; kind == HALVED && i < n; i++) v[i] *= 0.5f;
    if (kind == QUERY_SCALE) ready_query_scale(b, v, n);
    *out = v;
    return check_finite(b, t, v, n);
}

static void unbounded(struct gem_audio_linear *l)
{
    l->in_min = l->out_min = -INFINITY;
    l->in_max = l->out_max = INFINITY;
}

static gem_status take_bounds(struct binder *b, const struct binding *bind, int layer, struct gem_audio_linear *l)
{
    static const char *const ends[] = {".input_min", ".input_max", ".output_min", ".output_max"};
    float *const bounds[] = {&l->in_min, &l->in_max, &l->out_min, &l->out_max};
    const uint64_t one = 1;
    char name[256];
    gem_status st;

    for (size_t i = 0; i < COUNT(ends); i++) {
        const struct gem_tensor *t = find(b, bind, layer, ends[i], name, sizeof name);
        if (!t) return missing(b, name);
        if ((st = check_tensor(b, t, &one, 1))) return st;
        b->known[t - b->a->tensors] = true;
        gem_decode_row(t->type, t->data, bounds[i], 1);
        if (i % 2 && !(*bounds[i - 1] <= *bounds[i])) /* NaN too */
            return gem_fail(b->err, GEM_E_FORMAT, t->offset, GEM_NAME ": tensor '%s' is %g, below its minimum %g",
                            b->a->paths[t->file], name, (double)*bounds[i], (double)*bounds[i - 1]);
    }
    return GEM_OK;
}

static gem_status bind_tensor(struct binder *b, const struct binding *bind, int layer, void *base)
{
    void *field = (char *)base + bind->offset;
    uint64_t want[4] = {1, 1, 1, 1};
    uint32_t n = 0;
    char name[256];
    const struct gem_tensor *t = find(b, bind, layer, bind->kind == LINEAR ? ".weight" : "", name, sizeof name);
    gem_status st;

    if (!t) return missing(b, name);
    for (; n < 4 && bind->dims[n] != NONE; n++) want[n] = b->sizes[bind->dims[n]];
    if ((st = check_tensor(b, t, want, n))) return st;
    b->known[t - b->a->tensors] = true;
    if (bind->kind == LINEAR) {
        struct gem_audio_linear *l = field;
        l->w = gem_tensor_matrix(t, want[0], want[1]);
        unbounded(l);
        return b->clipped ? take_bounds(b, bind, layer, l) : GEM_OK;
    }
    if (bind->kind == MATRIX) {
        *(struct gem_matrix *)field = gem_tensor_matrix(t, want[0], want[1]);
        return GEM_OK;
    }
    return take_vector(b, t, bind->kind, want, n, field);
}

/* ---- all of them --------------------------------------------------------------------------------------------- */

/* Dimension `dim` of a tensor, counted without those of 1, into a size. */
static gem_status measure(struct binder *b, enum dim what, const char *hf, int layer)
{
    const struct binding *tables[] = {tower_bindings, layer_bindings};
    const size_t counts[] = {COUNT(tower_bindings), COUNT(layer_bindings)};
    const struct binding *bind = NULL;
    const struct gem_tensor *t;
    char name[256];

    for (size_t i = 0; i < counts[layer >= 0]; i++)
        if (!strcmp(tables[layer >= 0][i].hf, hf)) bind = &tables[layer >= 0][i];
    t = find(b, bind, layer, bind->kind == LINEAR ? ".weight" : "", name, sizeof name);
    if (!t) return missing(b, name);
    b->sizes[what] = t->shape[0];
    if (t->shape[0] >= 1 && t->shape[0] <= 1 << 16) return GEM_OK;
    return gem_fail(b->err, GEM_E_LIMIT, t->offset, GEM_NAME ": tensor '%s' has %llu rows, at most 65536 are supported",
                    b->a->paths[t->file], t->name, (unsigned long long)t->shape[0]);
}

static gem_status measure_all(struct binder *b)
{
    static const struct {
        enum dim what;
        const char *hf;
        int layer;
    } from[] = {
        {HIDDEN, "subsample_conv_projection.input_proj_linear.weight", -1},
        {FIRST, "subsample_conv_projection.layer0.norm.weight", -1},
        {SECOND, "subsample_conv_projection.layer1.norm.weight", -1},
        {WIDTH, "output_proj.weight", -1},
        {FFN, "feed_forward1.ffw_layer_1", 0},
        {HEAD, "self_attn.per_dim_scale", 0},
    };
    const struct binding *last = &layer_bindings[0], *clip = &layer_bindings[2];
    struct gem_audio_weights *w = b->w;
    char name[256];
    gem_status st;

    for (size_t i = 0; i < COUNT(from); i++)
        if ((st = measure(b, from[i].what, from[i].hf, from[i].layer))) return st;
    b->sizes[ONE] = 1;
    b->sizes[THREE] = 3;
    b->sizes[TAPS] = GEM_AUDIO_KERNEL;
    b->sizes[HIDDEN_2] = 2 * b->sizes[HIDDEN];
    b->sizes[FLAT] = GEM_MEL_BANDS / 4 * b->sizes[SECOND];
    b->clipped = find(b, clip, 0, ".input_max", name, sizeof name);
    while (w->n_layers <= GEM_AUDIO_MAX_LAYERS && find(b, last, (int)w->n_layers, "", name, sizeof name)) w->n_layers++;
    if (w->n_layers > GEM_AUDIO_MAX_LAYERS)
        return gem_fail(b->err, GEM_E_LIMIT, 0, GEM_NAME ": more than %d audio layers", b->a->paths[0],
                        GEM_AUDIO_MAX_LAYERS);
    if (b->sizes[HIDDEN] % b->sizes[HEAD] || b->sizes[HIDDEN] % 2)
        return gem_fail(b->err, GEM_E_FORMAT, 0,
                        GEM_NAME ": the audio encoder's width %llu is odd or no multiple of its head width %llu",
                        b->a->paths[0], (unsigned long long)b->sizes[HIDDEN], (unsigned long long)b->sizes[HEAD]);
    w->hidden = (uint32_t)b->sizes[HIDDEN];
    w->head_dim = (uint32_t)b->sizes[HEAD];
    w->ffn = (uint32_t)b->sizes[FFN];
    w->width = (uint32_t)b->sizes[WIDTH];
    w->channels[0] = (uint32_t)b->sizes[FIRST];
    w->channels[1] = (uint32_t)b->sizes[SECOND];
    return GEM_OK;
}

static gem_status bind_pass(struct binder *b)
{
    gem_status st;

    b->n_vector = 0;
    for (size_t i = 0; i < COUNT(tower_bindings); i++)
        if ((st = bind_tensor(b, &tower_bindings[i], -1, b->w))) return st;
    for (uint32_t layer = 0; layer < b->w->n_layers; layer++)
        for (size_t i = 0; i < COUNT(layer_bindings); i++)
            if ((st = bind_tensor(b, &layer_bindings[i], (int)layer, &b->w->layers[layer]))) return st;
    return GEM_OK;
}

static gem_status bind_tower(struct binder *b)
{
    struct gem_audio_weights *w = b->w;
    gem_status st;

    if ((st = measure_all(b))) return st;
    if (!(w->layers = gem_calloc(w->n_layers, sizeof *w->layers, "audio layers", b->err))) return GEM_E_NOMEM;
    if ((st = bind_pass(b))) return st;
    if (!(w->vectors = gem_alloc_aligned(b->n_vector * sizeof(float), "audio norms", b->err))) return GEM_E_NOMEM;
    return bind_pass(b);
}

static gem_status bind_embed(struct binder *b)
{
    const struct gem_tensor *t = find_embed(b->a);
    const uint64_t want[] = {b->w->text_hidden, b->w->raw ? GEM_AUDIO_TOKEN : b->w->width};
    gem_status st;

    if (!t) return missing(b, embed_names[b->a->is_gguf]);
    if ((st = check_tensor(b, t, want, 2))) return st;
    b->known[t - b->a->tensors] = true;
    b->w->embed.w = gem_tensor_matrix(t, want[0], want[1]);
    return GEM_OK;
}

static gem_status refuse_unknown(const struct binder *b)
{
    for (size_t i = 0; i < b->a->n_tensors; i++)
        if (!b->known[i] && is_audio(b->a->tensors[i].name))
            return gem_fail(b->err, GEM_E_FORMAT, b->a->tensors[i].offset,
                            GEM_NAME ": tensor '%s' is unknown in an audio encoder", b->a->paths[b->a->tensors[i].file],
                            b->a->tensors[i].name);
    return GEM_OK;
}

/* The 12B has nothing but its embedding. */
bool gem_audio_is_raw(const struct gem_archive *a)
{
    for (size_t i = 0; i < a->n_tensors; i++) {
        const char *name = a->tensors[i].name;
        if (!strncmp(name, "a.", 2) || !strncmp(name, "audio_tower.", 12) || !strncmp(name, "model.audio_tower.", 18))
            return false;
    }
    return gem_audio_found(a);
}

gem_status gem_audio_bind(struct gem_audio_weights *w, const struct gem_archive *a, uint32_t text_hidden,
                          gem_error *err)
{
    struct binder b = {.w = w, .a = a, .err = err};
    gem_status st = GEM_E_NOMEM;

    *w = (struct gem_audio_weights){.text_hidden = text_hidden, .raw = gem_audio_is_raw(a), .path = a->paths[0]};
    unbounded(&w->in);
    unbounded(&w->out);
    unbounded(&w->embed);
    b.ollama = a->is_gguf && gem_archive_tensor(a, "mm.a.fc.weight");
    b.prefix = gem_archive_tensor(a, "audio_tower.output_proj.weight") ? "audio_tower." : "model.audio_tower.";
    if (!(b.known = gem_calloc(a->n_tensors, sizeof *b.known, "audio tensors", err))) goto fail;
    if (!w->raw && (st = bind_tower(&b))) goto fail;
    if ((st = bind_embed(&b))) goto fail;
    if ((st = refuse_unknown(&b))) goto fail;
    gem_free(b.known);
    return GEM_OK;
fail:
    gem_free(b.known);
    gem_audio_weights_close(w);
    return st;
}

void gem_audio_weights_close(struct gem_audio_weights *w)
{
    gem_free(w->layers);
    gem_free(w->vectors);
    gem_free(w->packed);
    *w = (struct gem_audio_weights){0};
}
