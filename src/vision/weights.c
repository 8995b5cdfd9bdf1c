/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors of a tower by name (spec/multimodal.md 7). */
#include "vision/hparams.h"

#include <stdio.h>

enum kind { VECTOR, MATRIX, LINEAR }; /* LINEAR: a matrix with bounds, where the model has them */
enum dim { WIDTH, ATTENTION, HEAD, FFN, HIDDEN, PATCH, SQUARE, POSITIONS };
enum when { ALWAYS, STANDARDIZED };

struct binding {
    const char *hf, *gguf; /* a LINEAR without ".weight" */
    size_t offset;
    enum kind kind;
    enum dim rows, cols;
    enum when when;
};

#define LAYER(field) offsetof(struct gem_vision_layer, field)
#define WHOLE(field) offsetof(struct gem_vision, field)

static const struct binding encoder_bindings[] = {
    {"vision_tower.patch_embedder.input_proj.weight", "v.patch_embd.weight", WHOLE(patch), MATRIX, WIDTH, PATCH,
     ALWAYS},
    {"vision_tower.patch_embedder.position_embedding_table", "v.position_embd.weight", WHOLE(position), MATRIX,
     POSITIONS, WIDTH, ALWAYS},
    {"vision_tower.std_bias", "v.std_bias", WHOLE(std_bias), VECTOR, WIDTH, WIDTH, STANDARDIZED},
    {"vision_tower.std_scale", "v.std_scale", WHOLE(std_scale), VECTOR, WIDTH, WIDTH, STANDARDIZED},
    {"embed_vision.embedding_projection.weight", "mm.input_projection.weight", WHOLE(project), MATRIX, HIDDEN, WIDTH,
     ALWAYS},
};

static const struct binding layer_bindings[] = {
    {"input_layernorm.weight", "ln1.weight", LAYER(attn_norm), VECTOR, WIDTH, WIDTH, ALWAYS},
    {"post_attention_layernorm.weight", "attn_post_norm.weight", LAYER(post_attn_norm), VECTOR, WIDTH, WIDTH, ALWAYS},
    {"pre_feedforward_layernorm.weight", "ln2.weight", LAYER(ffn_norm), VECTOR, WIDTH, WIDTH, ALWAYS},
    {"post_feedforward_layernorm.weight", "ffn_post_norm.weight", LAYER(post_ffn_norm), VECTOR, WIDTH, WIDTH, ALWAYS},
    {"self_attn.q_norm.weight", "attn_q_norm.weight", LAYER(q_norm), VECTOR, HEAD, HEAD, ALWAYS},
    {"self_attn.k_norm.weight", "attn_k_norm.weight", LAYER(k_norm), VECTOR, HEAD, HEAD, ALWAYS},
    {"self_attn.q_proj", "attn_q", LAYER(q), LINEAR, ATTENTION, WIDTH, ALWAYS},
    {"self_attn.k_proj", "attn_k", LAYER(k), LINEAR, ATTENTION, WIDTH, ALWAYS},
    {"self_attn.v_proj", "attn_v", LAYER(v), LINEAR, ATTENTION, WIDTH, ALWAYS},
    {"self_attn.o_proj", "attn_out", LAYER(o), LINEAR, WIDTH, ATTENTION, ALWAYS},
    {"mlp.gate_proj", "ffn_gate", LAYER(gate), LINEAR, FFN, WIDTH, ALWAYS},
    {"mlp.up_proj", "ffn_up", LAYER(up), LINEAR, FFN, WIDTH, ALWAYS},
    {"mlp.down_proj", "ffn_down", LAYER(down), LINEAR, WIDTH, FFN, ALWAYS},
};

/* The names of the files; transformers renames them as it loads (spec 7.1), and so may who saves. */
static const struct binding encoder_free_bindings[] = {
    {"vision_embedder.patch_ln1.weight", "v.patch_norm.1.weight", WHOLE(patch_norm.weight), VECTOR, SQUARE, SQUARE,
     ALWAYS},
    {"vision_embedder.patch_ln1.bias", "v.patch_norm.1.bias", WHOLE(patch_norm.bias), VECTOR, SQUARE, SQUARE, ALWAYS},
    {"vision_embedder.patch_dense.weight", "v.patch_embd.weight", WHOLE(patch), MATRIX, WIDTH, SQUARE, ALWAYS},
    {"vision_embedder.patch_dense.bias", "v.patch_embd.bias", WHOLE(patch_bias), VECTOR, WIDTH, WIDTH, ALWAYS},
    {"vision_embedder.patch_ln2.weight", "v.patch_norm.2.weight", WHOLE(dense_norm.weight), VECTOR, WIDTH, WIDTH,
     ALWAYS},
    {"vision_embedder.patch_ln2.bias", "v.patch_norm.2.bias", WHOLE(dense_norm.bias), VECTOR, WIDTH, WIDTH, ALWAYS},
    {"vision_embedder.pos_embedding", "v.position_embd.weight", WHOLE(position), MATRIX, POSITIONS, WIDTH, ALWAYS},
    {"vision_embedder.pos_norm.weight", "v.patch_norm.3.weight", WHOLE(position_norm.weight), VECTOR, WIDTH, WIDTH,
     ALWAYS},
    {"vision_embedder.pos_norm.bias", "v.patch_norm.3.bias", WHOLE(position_norm.bias), VECTOR, WIDTH, WIDTH, ALWAYS},
    {"embed_vision.embedding_projection.weight", "mm.input_projection.weight", WHOLE(project), MATRIX, HIDDEN, WIDTH,
     ALWAYS},
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct binder {
    struct gem_vision *v;
    const struct gem_archive *a;
    const char *prefix; /* before all names of a folder: "model." or nothing */
    bool *seen;         /* [a->n_tensors] */
    gem_error *err;
};

static uint64_t size_of(const struct gem_vision_hparams *h, enum dim d)
{
    switch (d) {
    case WIDTH: return h->width;
    case ATTENTION: return (uint64_t)h->n_heads * h->head_dim;
    case HEAD: return h->head_dim;
    case FFN: return h->ffn;
    case HIDDEN: return h->hidden;
    case PATCH: return (uint64_t)GEM_PATCH * GEM_PATCH * 3;
    case SQUARE: return (uint64_t)GEM_CELL * GEM_CELL * 3;
    case POSITIONS: return 2 * (uint64_t)h->n_positions;
    }
    return 0;
}

static gem_status find(const struct binder *b, const char *name, const struct gem_tensor **out)
{
    *out = gem_archive_tensor(b->a, name);
    if (!*out) return gem_fail(b->err, GEM_E_FORMAT, 0, "%s: tensor '%s' is missing", b->a->paths[0], name);
    b->seen[*out - b->a->tensors] = true;
    return GEM_OK;
}

static gem_status bind_vector(const struct binder *b, const char *name, uint64_t n, const float **out)
{
    const struct gem_tensor *t;
    float *values;
    gem_status st;

    if ((st = find(b, name, &t))) return st;
    if ((st = gem_tensor_check(b->a, t, &n, 1, b->err))) return st;
    values = gem_arena_take(&b->v->vectors, (size_t)n * sizeof *values);
    *out = values;
    return gem_tensor_values(b->a, t, values, (size_t)n, b->err);
}

/* Patches and positions have more dimensions than a matrix; which, tells the order in them. */
static uint32_t split_shape(const struct gem_tensor *t, uint64_t rows, uint64_t cols, uint64_t want[4], uint32_t side)
{
    if (t->n_dims == 4) { /* [width, 3, side, side] */
        want[0] = rows;
        want[1] = 3;
        want[2] = want[3] = side;
        return 4;
    }
    if (t->n_dims == 3) { /* [2, n, width] or [n, 2, width] */
        want[0] = t->shape[0] == 2 ? 2 : rows / 2;
        want[1] = t->shape[0] == 2 ? rows / 2 : 2;
        want[2] = cols;
        return 3;
    }
    want[0] = rows;
    want[1] = cols;
    return 2;
}

static gem_status bind_matrix(const struct binder *b, const char *name, uint64_t rows, uint64_t cols,
                              struct gem_matrix *out)
{
    const struct gem_tensor *t;
    uint64_t want[4];
    gem_status st;

    if ((st = find(b, name, &t))) return st;
    if ((st = gem_tensor_check(b->a, t, want, split_shape(t, rows, cols, want, GEM_PATCH), b->err))) return st;
    if (cols % gem_type_info(t->type)->block)
        return gem_fail(b->err, GEM_E_UNSUPPORTED, t->offset, "%s: tensor '%s' has blocks that span rows",
                        b->a->paths[t->file], name);
    *out = gem_tensor_matrix(t, rows, cols);
    return GEM_OK;
}

static gem_status bind_clip(const struct binder *b, const char *stem, struct gem_clip *clip)
{
    const struct {
        const char *name;
        float *out;
    } bounds[] = {{"input_min", &clip->in_min},
                  {"input_max", &clip->in_max},
                  {"output_min", &clip->out_min},
                  {"output_max", &clip->out_max}};
    static const uint64_t one = 1;
    char name[192];
    gem_status st;

    clip->on = b->v->h.clipped;
    for (size_t i = 0; i < COUNT(bounds) && clip->on; i++) {
        const struct gem_tensor *t;
        snprintf(name, sizeof name, "%s.%s", stem, bounds[i].name);
        if ((st = find(b, name, &t))) return st;
        if ((st = gem_tensor_check(b->a, t, &one, 1, b->err))) return st;
        if ((st = gem_tensor_values(b->a, t, bounds[i].out, 1, b->err))) return st;
    }
    if (!clip->on || (clip->in_min <= clip->in_max && clip->out_min <= clip->out_max)) return GEM_OK;
    return gem_fail(b->err, GEM_E_FORMAT, 0, "%s: '%s': a lower bound above the upper one", b->a->paths[0], stem);
}

static gem_status bind_one(const struct binder *b, const struct binding *bind, const char *name, void *base)
{
    void *field = (char *)base + bind->offset;
    const uint64_t rows = size_of(&b->v->h, bind->rows), cols = size_of(&b->v->h, bind->cols);
    struct gem_vision_linear *linear = field;
    char full[192];
    gem_status st;

    if (bind->when == STANDARDIZED && !b->v->h.standardized) return GEM_OK;
    if (bind->kind == VECTOR) return bind_vector(b, name, rows, field);
    if (bind->kind == MATRIX) return bind_matrix(b, name, rows, cols, field);
    snprintf(full, sizeof full, "%s%s", name, b->a->is_gguf ? ".weight" : ".linear.weight");
    if ((st = bind_matrix(b, full, rows, cols, &linear->matrix))) return st;
    return bind_clip(b, name, &linear->clip);
}

static gem_status bind_all(const struct binder *b, const struct binding *table, size_t n, const char *in_front,
                           void *base)
{
    char name[160];
    gem_status st;

    for (size_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%s%s", in_front, b->a->is_gguf ? table[i].gguf : table[i].hf);
        if ((st = bind_one(b, &table[i], name, base))) return st;
    }
    return GEM_OK;
}

static gem_status bind_layers(const struct binder *b)
{
    char in_front[96];
    gem_status st;

    for (uint32_t i = 0; i < b->v->h.n_layers; i++) {
        if (b->a->is_gguf)
            snprintf(in_front, sizeof in_front, "v.blk.%u.", i);
        else
            snprintf(in_front, sizeof in_front, "%svision_tower.encoder.layers.%u.", b->prefix, i);
        if ((st = bind_all(b, layer_bindings, COUNT(layer_bindings), in_front, &b->v->layers[i]))) return st;
    }
    return GEM_OK;
}

/* ---- whose tensors these are ----------------------------------------------------------------------------------- */

static bool is_ours(const struct gem_archive *a, const char *name)
{
    static const char *const folder[] = {"vision_tower.", "vision_embedder.", "embed_vision."};

    if (a->is_gguf) return !strncmp(name, "v.", 2) || (!strncmp(name, "mm.", 3) && strncmp(name, "mm.a.", 5));
    if (!strncmp(name, "model.", 6)) name += 6;
    for (size_t i = 0; i < COUNT(folder); i++)
        if (!strncmp(name, folder[i], strlen(folder[i]))) return true;
    return false;
}

bool gem_vision_is_in(const struct gem_archive *a)
{
    for (size_t i = 0; i < a->n_tensors; i++)
        if (is_ours(a, a->tensors[i].name)) return true;
    return false;
}

static gem_status refuse_unknown(const struct binder *b)
{
    for (size_t i = 0; i < b->a->n_tensors; i++) {
        const struct gem_tensor *t = &b->a->tensors[i];
        /* v.clamp_data: Ollama's second copy of the bounds */
        if (b->seen[i] || !is_ours(b->a, t->name) || !strcmp(t->name, "v.clamp_data")) continue;
        return gem_fail(b->err, GEM_E_FORMAT, t->offset, "%s: tensor '%s' is unknown in a vision tower of Gemma 4",
                        b->a->paths[t->file], t->name);
    }
    return GEM_OK;
}

/* Of all vectors that a tower of this size has. */
static uint64_t vector_bytes(const struct gem_vision_hparams *h)
{
    const uint64_t width = gem_align_up(h->width * sizeof(float)), head = gem_align_up(h->head_dim * sizeof(float));

    if (h->encoder_free) return 2 * gem_align_up(size_of(h, SQUARE) * sizeof(float)) + 5 * width;
    return h->n_layers * (4 * width + 2 * head) + 2 * width;
}

/* What the shapes say of the order of values. */
static void find_orders(struct gem_vision *v, const struct gem_archive *a)
{
    const struct gem_tensor *t = NULL;

    v->channel_first = a->is_gguf;
    v->axis_first = true;
    if (a->is_gguf) t = gem_archive_tensor(a, "v.position_embd.weight");
    if (!a->is_gguf && v->h.encoder_free) v->axis_first = false;
    if (t && t->shape[0] != 2) v->axis_first = false;
}

static gem_status open_tower(struct binder *b)
{
    struct gem_vision *v = b->v;
    gem_status st;

    if ((st = gem_arena_open(&v->vectors, vector_bytes(&v->h), "norms of a vision tower", b->err))) return st;
    if (v->h.encoder_free)
        return bind_all(b, encoder_free_bindings, COUNT(encoder_free_bindings), b->a->is_gguf ? "" : b->prefix, v);
    v->layers = gem_calloc(v->h.n_layers, sizeof *v->layers, "layers of a vision tower", b->err);
    if (!v->layers) return GEM_E_NOMEM;
    st = bind_all(b, encoder_bindings, COUNT(encoder_bindings), b->a->is_gguf ? "" : b->prefix, v);
    return st ? st : bind_layers(b);
}

gem_status gem_vision_open(struct gem_vision *v, const struct gem_archive *a, const struct gem_vision_hparams *config,
                           uint32_t hidden, gem_error *err)
{
    struct binder b = {.v = v, .a = a, .err = err, .prefix = "model."};
    gem_status st;

    *v = (struct gem_vision){0};
    if (config)
        v->h = *config;
    else if ((st = gem_vision_hparams_from_gguf(&v->h, a, err)))
        return st;
    v->h.hidden = hidden;
    if ((st = gem_vision_hparams_check(&v->h, a->paths[0], err))) return st;
    if (!a->is_gguf && gem_archive_tensor(a, "embed_vision.embedding_projection.weight")) b.prefix = "";
    st = GEM_E_NOMEM;
    if (!(b.seen = gem_calloc(a->n_tensors, sizeof *b.seen, "a list of tensors", err))) goto out;
    if ((st = open_tower(&b))) goto out;
    if ((st = refuse_unknown(&b))) goto out;
    find_orders(v, a);
out:
    gem_free(b.seen);
    if (st) gem_vision_close(v);
    return st;
}

void gem_vision_close(struct gem_vision *v)
{
    gem_arena_close(&v->vectors);
    gem_free(v->layers);
    gem_free(v->packed);
    *v = (struct gem_vision){0};
}
