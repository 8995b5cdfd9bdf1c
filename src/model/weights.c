/* SPDX-License-Identifier: Apache-2.0 */
#include "model/weights.h"

#include "model/coarse.h"

#include <math.h>
#include <stdio.h>

/* What a tensor becomes. Vectors and scalars are copied as float32; matrices stay where they are; the table of
 * per-layer embeddings stays in its file. */
enum kind { VECTOR, SCALAR, MATRIX, STACK, TABLE };

/* When a layer has a tensor. */
enum need {
    ALWAYS,
    OWNS_CACHE, /* elsewhere it is dead: accepted, never read (spec 2.5) */
    OWNS_VALUE, /* as above, and not where values are keys */
    HAS_PLE,
    HAS_EXPERTS,
    HAS_SCALE,
    FUSED_EXPERTS, /* the file has gate_up in one */
    SPLIT_EXPERTS,
};

/* Sizes that shapes are made of. */
enum dim { NONE, ONE, HIDDEN, VOCAB, FFN, HEAD, Q_ROWS, KV_ROWS, PLE, PLE_ALL, EXPERTS, FFN_EXPERT, FFN_EXPERT_2 };

struct binding {
    const char *hf, *gguf; /* after the prefix of the layer */
    size_t offset;
    enum kind kind;
    enum need need;
    enum dim dims[3];
    bool norm; /* 1 is added where the file's norms are w of (1 + w) */
};

#define LAYER(field) offsetof(struct gem_layer, field)
#define WHOLE(field) offsetof(struct gem_weights, field)

static const struct binding whole_bindings[] = {
    {"embed_tokens.weight", "token_embd.weight", WHOLE(table), MATRIX, ALWAYS, {VOCAB, HIDDEN}, false},
    {"norm.weight", "output_norm.weight", WHOLE(norm), VECTOR, ALWAYS, {HIDDEN}, true},
    {"embed_tokens_per_layer.weight",
     "per_layer_token_embd.weight",
     WHOLE(ple_table),
     TABLE,
     HAS_PLE,
     {VOCAB, PLE_ALL},
     false},
    {"per_layer_model_projection.weight",
     "per_layer_model_proj.weight",
     WHOLE(ple_proj),
     MATRIX,
     HAS_PLE,
     {PLE_ALL, HIDDEN},
     false},
    {"per_layer_projection_norm.weight", "per_layer_proj_norm.weight", WHOLE(ple_norm), VECTOR, HAS_PLE, {PLE}, true},
};

static const struct binding layer_bindings[] = {
    {"input_layernorm.weight", "attn_norm.weight", LAYER(attn_norm), VECTOR, ALWAYS, {HIDDEN}, true},
    {"self_attn.q_proj.weight", "attn_q.weight", LAYER(q), MATRIX, ALWAYS, {Q_ROWS, HIDDEN}, false},
    {"self_attn.k_proj.weight", "attn_k.weight", LAYER(k), MATRIX, OWNS_CACHE, {KV_ROWS, HIDDEN}, false},
    {"self_attn.v_proj.weight", "attn_v.weight", LAYER(v), MATRIX, OWNS_VALUE, {KV_ROWS, HIDDEN}, false},
    {"self_attn.o_proj.weight", "attn_output.weight", LAYER(o), MATRIX, ALWAYS, {HIDDEN, Q_ROWS}, false},
    {"self_attn.q_norm.weight", "attn_q_norm.weight", LAYER(q_norm), VECTOR, ALWAYS, {HEAD}, true},
    {"self_attn.k_norm.weight", "attn_k_norm.weight", LAYER(k_norm), VECTOR, OWNS_CACHE, {HEAD}, true},
    {"post_attention_layernorm.weight",
     "post_attention_norm.weight",
     LAYER(post_attn_norm),
     VECTOR,
     ALWAYS,
     {HIDDEN},
     true},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight", LAYER(ffn_norm), VECTOR, ALWAYS, {HIDDEN}, true},
    {"mlp.gate_proj.weight", "ffn_gate.weight", LAYER(gate), MATRIX, ALWAYS, {FFN, HIDDEN}, false},
    {"mlp.up_proj.weight", "ffn_up.weight", LAYER(up), MATRIX, ALWAYS, {FFN, HIDDEN}, false},
    {"mlp.down_proj.weight", "ffn_down.weight", LAYER(down), MATRIX, ALWAYS, {HIDDEN, FFN}, false},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight", LAYER(post_ffn_norm), VECTOR, ALWAYS, {HIDDEN}, true},
    {"layer_scalar", "layer_output_scale.weight", LAYER(scale), SCALAR, HAS_SCALE, {ONE}, false},
    {"per_layer_input_gate.weight", "inp_gate.weight", LAYER(ple_gate), MATRIX, HAS_PLE, {PLE, HIDDEN}, false},
    {"per_layer_projection.weight", "proj.weight", LAYER(ple_proj), MATRIX, HAS_PLE, {HIDDEN, PLE}, false},
    {"post_per_layer_input_norm.weight", "post_norm.weight", LAYER(ple_norm), VECTOR, HAS_PLE, {HIDDEN}, true},
    {"router.proj.weight", "ffn_gate_inp.weight", LAYER(experts.router), MATRIX, HAS_EXPERTS, {EXPERTS, HIDDEN}, false},
    {"router.scale", "ffn_gate_inp.scale", LAYER(experts.router_scale), VECTOR, HAS_EXPERTS, {HIDDEN}, false},
    {"router.per_expert_scale",
     "ffn_down_exps.scale",
     LAYER(experts.expert_scale),
     VECTOR,
     HAS_EXPERTS,
     {EXPERTS},
     false},
    {"pre_feedforward_layernorm_2.weight",
     "pre_ffw_norm_2.weight",
     LAYER(experts.norm),
     VECTOR,
     HAS_EXPERTS,
     {HIDDEN},
     true},
    {"post_feedforward_layernorm_1.weight",
     "post_ffw_norm_1.weight",
     LAYER(experts.post_norm_dense),
     VECTOR,
     HAS_EXPERTS,
     {HIDDEN},
     true},
    {"post_feedforward_layernorm_2.weight",
     "post_ffw_norm_2.weight",
     LAYER(experts.post_norm_experts),
     VECTOR,
     HAS_EXPERTS,
     {HIDDEN},
     true},
    {"experts.gate_up_proj",
     "ffn_gate_up_exps.weight",
     LAYER(experts.gate_up),
     STACK,
     FUSED_EXPERTS,
     {EXPERTS, FFN_EXPERT_2, HIDDEN},
     false},
    {NULL, "ffn_gate_exps.weight", LAYER(experts.gate), STACK, SPLIT_EXPERTS, {EXPERTS, FFN_EXPERT, HIDDEN}, false},
    {NULL, "ffn_up_exps.weight", LAYER(experts.up), STACK, SPLIT_EXPERTS, {EXPERTS, FFN_EXPERT, HIDDEN}, false},
    {"experts.down_proj",
     "ffn_down_exps.weight",
     LAYER(experts.down),
     STACK,
     HAS_EXPERTS,
     {EXPERTS, HIDDEN, FFN_EXPERT},
     false},
};

#define COUNT(a) (sizeof(a) / sizeof *(a))

struct binder {
    struct gem_weights *w;
    const struct gem_hparams *h;
    const struct gem_archive *a;
    enum gem_role *roles;
    const char *prefix; /* of the text model's names in safetensors */
    size_t n_vector;    /* floats taken from w->vectors; in the first pass only counted */
    gem_error *err;
};

static uint64_t dim_size(const struct gem_hparams *h, uint32_t layer, enum dim d)
{
    const struct gem_layer_hparams *l = &h->layers[layer];

    switch (d) {
    case NONE: return 0;
    case ONE: return 1;
    case HIDDEN: return h->hidden;
    case VOCAB: return h->vocab;
    case FFN: return l->ffn;
    case HEAD: return l->head_dim;
    case Q_ROWS: return (uint64_t)h->n_heads * l->head_dim;
    case KV_ROWS: return (uint64_t)l->n_kv_heads * l->head_dim;
    case PLE: return h->ple;
    case PLE_ALL: return (uint64_t)h->ple * h->n_layers;
    case EXPERTS: return h->n_experts;
    case FFN_EXPERT: return h->ffn_expert;
    case FFN_EXPERT_2: return 2 * (uint64_t)h->ffn_expert;
    }
    return 0;
}

static bool is_needed(const struct binder *b, uint32_t layer, enum need need)
{
    const struct gem_hparams *h = b->h;
    char name[64];

    switch (need) {
    case ALWAYS: return true;
    case OWNS_CACHE: return layer < h->n_own;
    case OWNS_VALUE: return layer < h->n_own && !h->layers[layer].k_eq_v;
    case HAS_PLE: return h->ple > 0;
    case HAS_EXPERTS: return h->n_experts > 0;
    case HAS_SCALE: return h->layer_scalar;
    case FUSED_EXPERTS:
    case SPLIT_EXPERTS:
        snprintf(name, sizeof name, "blk.%u.ffn_gate_exps.weight", layer);
        return h->n_experts > 0 && (b->a->is_gguf && gem_archive_tensor(b->a, name)) == (need == SPLIT_EXPERTS);
    }
    return false;
}

static void full_name(const struct binder *b, const struct binding *bind, bool in_layer, uint32_t layer, char *out,
                      size_t cap)
{
    if (b->a->is_gguf)
        if (in_layer)
            snprintf(out, cap, "blk.%u.%s", layer, bind->gguf);
        else
            snprintf(out, cap, "%s", bind->gguf);
    else if (in_layer)
        snprintf(out, cap, "%slayers.%u.%s", b->prefix, layer, bind->hf);
    else
        snprintf(out, cap, "%s%s", b->prefix, bind->hf);
}

static gem_status misshapen(const struct gem_archive *a, const struct gem_tensor *t, const uint64_t *want, uint32_t n,
                            gem_error *err)
{
    char found[96] = "", expected[96] = "";
    size_t f = 0, e = 0;

    for (uint32_t i = 0; i < t->n_dims && f < sizeof found; i++)
        f += (size_t)snprintf(found + f, sizeof found - f, "%s%llu", i ? ", " : "", (unsigned long long)t->shape[i]);
    for (uint32_t i = 0; i < n && e < sizeof expected; i++)
        e += (size_t)snprintf(expected + e, sizeof expected - e, "%s%llu", i ? ", " : "", (unsigned long long)want[i]);
    return gem_fail(err, GEM_E_FORMAT, t->offset, "%s: tensor '%s' has shape [%s], expected [%s]", a->paths[t->file],
                    t->name, found, expected);
}

static uint32_t squeeze(const uint64_t *shape, uint32_t n, uint64_t out[4])
{
    uint32_t m = 0;

    for (uint32_t i = 0; i < n && i < 4; i++)
        if (shape[i] != 1) out[m++] = shape[i];
    return m;
}

/* Dimensions of 1 do not count: writers drop and add them as they like, and a scalar may have none at all. */
static bool same_shape(const struct gem_tensor *t, const uint64_t *want, uint32_t n)
{
    uint64_t found[4] = {0}, expected[4] = {0};

    return squeeze(t->shape, t->n_dims, found) == squeeze(want, n, expected) && !memcmp(found, expected, sizeof found);
}

/* Shape and type; it may lie in panels. */
static gem_status check_kind(const struct gem_archive *a, const struct gem_tensor *t, const uint64_t *want, uint32_t n,
                             gem_error *err)
{
    if (!same_shape(t, want, n)) return misshapen(a, t, want, n, err);
    if (gem_type_info(t->type)->decodes) return GEM_OK;
    return gem_fail(err, GEM_E_UNSUPPORTED, t->offset, "%s: tensor '%s' has type %s, which is not supported",
                    a->paths[t->file], t->name, t->type_name);
}

gem_status gem_tensor_check(const struct gem_archive *a, const struct gem_tensor *t, const uint64_t *want, uint32_t n,
                            gem_error *err)
{
    const gem_status st = check_kind(a, t, want, n, err);

    if (st || !t->layout) return st;
    return gem_fail(err, GEM_E_FORMAT, t->offset, "%s: tensor '%s' is in panels, but is read in rows",
                    a->paths[t->file], t->name);
}

gem_status gem_tensor_values(const struct gem_archive *a, const struct gem_tensor *t, float *out, size_t n,
                             gem_error *err)
{
    gem_decode_row(t->type, t->data, out, n);
    for (size_t i = 0; i < n; i++)
        if (!isfinite(out[i]))
            return gem_fail(err, GEM_E_NONFINITE, t->offset, "%s: tensor '%s' holds NaN or infinity at element %zu",
                            a->paths[t->file], t->name, i);
    return GEM_OK;
}

/* want [3]; returns the number of dimensions. */
static uint32_t wanted_shape(const struct binder *b, const struct binding *bind, uint32_t layer, uint64_t *want)
{
    uint32_t n = 0;

    for (; n < 3 && bind->dims[n] != NONE; n++) want[n] = dim_size(b->h, layer, bind->dims[n]);
    return n;
}

/* What is read row by row, or decoded once, must lie in rows. */
static bool may_be_in_panels(const struct binding *bind) { return bind->kind == MATRIX || bind->kind == STACK; }

static gem_status check_tensor(const struct binder *b, const struct gem_tensor *t, const struct binding *bind,
                               const uint64_t *want, uint32_t n)
{
    if (may_be_in_panels(bind)) return check_kind(b->a, t, want, n, b->err);
    return gem_tensor_check(b->a, t, want, n, b->err);
}

struct gem_matrix gem_tensor_matrix(const struct gem_tensor *t, uint64_t rows, uint64_t cols)
{
    const enum gem_pack_kind kind = gem_pack_kind_of(t->type);

    return (struct gem_matrix){.type = t->type,
                               .rows = (uint32_t)rows,
                               .cols = (uint32_t)cols,
                               .data = t->data,
                               .row_bytes =
                                   t->layout ? gem_panel_bytes(kind, cols) / GEM_PANEL : gem_row_bytes(t->type, cols),
                               .kind = kind,
                               .in_panels = t->layout != 0};
}

/* Of data, the last panel's padding included. */
static uint64_t matrix_bytes(const struct gem_matrix *m)
{
    return m->row_bytes * (m->in_panels ? gem_n_panels(m->rows) * GEM_PANEL : m->rows);
}

/* Decodes a vector into the storage of vectors. */
static gem_status take_vector(struct binder *b, const struct gem_tensor *t, const struct binding *bind, size_t n,
                              float **out)
{
    float *v = b->w->vectors + b->n_vector;
    const gem_status st = gem_tensor_values(b->a, t, v, n, b->err);

    for (size_t i = 0; i < n && bind->norm && b->h->norm_plus_one; i++) v[i] += 1;
    *out = v;
    return st;
}

static gem_status bind_tensor(struct binder *b, const struct gem_tensor *t, const struct binding *bind, uint32_t layer,
                              void *base)
{
    void *field = (char *)base + bind->offset;
    float *v = NULL;
    uint64_t want[3] = {1, 1, 1};
    gem_status st = check_tensor(b, t, bind, want, wanted_shape(b, bind, layer, want));

    if (st) return st;
    if (bind->kind == MATRIX) {
        *(struct gem_matrix *)field = gem_tensor_matrix(t, want[0], want[1]);
    } else if (bind->kind == TABLE) {
        *(struct gem_ple_table *)field = (struct gem_ple_table){.type = t->type,
                                                                .rows = (uint32_t)want[0],
                                                                .cols = (uint32_t)want[1],
                                                                .row_bytes = gem_row_bytes(t->type, want[1]),
                                                                .offset = t->offset,
                                                                .map = &b->a->maps[t->file],
                                                                .path = b->a->paths[t->file],
                                                                .data = t->data};
    } else if (bind->kind == STACK) {
        struct gem_matrix_stack *s = field;
        s->first = gem_tensor_matrix(t, want[1], want[2]);
        s->count = (uint32_t)want[0];
        s->data_stride = matrix_bytes(&s->first);
    } else if (!b->w->vectors) { /* first pass */
        b->n_vector += gem_align_up(want[0] * 4) / 4;
    } else {
        if ((st = take_vector(b, t, bind, (size_t)want[0], &v))) return st;
        if (bind->kind == SCALAR)
            *(float *)field = *v;
        else
            *(const float **)field = v;
        b->n_vector += gem_align_up(want[0] * 4) / 4;
    }
    return GEM_OK;
}

static gem_status bind_all(struct binder *b, const struct binding *table, size_t n, bool in_layer, uint32_t layer,
                           void *base)
{
    char name[256];
    gem_status st;

    for (size_t i = 0; i < n; i++) {
        const struct gem_tensor *t;
        const bool needed = is_needed(b, layer, table[i].need);

        if (!(b->a->is_gguf ? table[i].gguf : table[i].hf)) continue;
        full_name(b, &table[i], in_layer, layer, name, sizeof name);
        t = gem_archive_tensor(b->a, name);
        if (!t && needed) return gem_fail(b->err, GEM_E_FORMAT, 0, "%s: tensor '%s' is missing", b->a->paths[0], name);
        if (!t) continue;
        if (!needed && table[i].need != OWNS_CACHE && table[i].need != OWNS_VALUE) continue; /* unknown, said later */
        if (!needed && layer < b->h->n_own) continue; /* a v_proj where values are keys: unknown as well */
        b->roles[t - b->a->tensors] = needed ? GEM_ROLE_TEXT : GEM_ROLE_DEAD;
        if (needed && (st = bind_tensor(b, t, &table[i], layer, base))) return st;
    }
    return GEM_OK;
}

static gem_status bind_head(struct binder *b)
{
    static const char *const names[] = {"lm_head.weight", "language_model.lm_head.weight", "model.lm_head.weight"};
    static const struct binding head = {NULL, NULL, WHOLE(head), MATRIX, ALWAYS, {VOCAB, HIDDEN}, false};
    const struct gem_tensor *t = NULL;

    if (b->a->is_gguf) t = gem_archive_tensor(b->a, "output.weight");
    for (size_t i = 0; !b->a->is_gguf && !t && i < COUNT(names); i++) t = gem_archive_tensor(b->a, names[i]);
    if (b->h->tied) {
        b->w->head = b->w->table;
        if (t) b->roles[t - b->a->tensors] = GEM_ROLE_DEAD; /* a saved copy of the table */
        return GEM_OK;
    }
    if (!t)
        return gem_fail(b->err, GEM_E_FORMAT, 0, "%s: embeddings are not tied, but tensor '%s' is missing",
                        b->a->paths[0], b->a->is_gguf ? "output.weight" : names[0]);
    b->roles[t - b->a->tensors] = GEM_ROLE_TEXT;
    return bind_tensor(b, t, &head, 0, b->w);
}

static gem_status bind_pass(struct binder *b)
{
    struct gem_weights *w = b->w;
    gem_status st;

    b->n_vector = 0;
    if ((st = bind_all(b, whole_bindings, COUNT(whole_bindings), false, 0, w))) return st;
    if ((st = bind_head(b))) return st;
    for (uint32_t i = 0; i < b->h->n_layers; i++) {
        w->layers[i].scale = 1;
        if ((st = bind_all(b, layer_bindings, COUNT(layer_bindings), true, i, &w->layers[i]))) return st;
    }
    return GEM_OK;
}

/* Tensors of towers and the few of a text model that carry no weights of ours. */
static enum gem_role known_stranger(const char *name)
{
    static const struct {
        const char *prefix;
        enum gem_role role;
    } known[] = {
        {"model.vision_tower.", GEM_ROLE_VISION},
        {"model.embed_vision.", GEM_ROLE_VISION},
        {"model.vision_embedder.", GEM_ROLE_VISION},
        {"vision_tower.", GEM_ROLE_VISION},
        {"multi_modal_projector.", GEM_ROLE_VISION},
        {"model.multi_modal_projector.", GEM_ROLE_VISION},
        {"model.audio_tower.", GEM_ROLE_AUDIO},
        {"model.embed_audio.", GEM_ROLE_AUDIO},
        {"v.", GEM_ROLE_VISION},
        {"mm.a.", GEM_ROLE_AUDIO},
        {"mm.", GEM_ROLE_VISION},
        {"a.", GEM_ROLE_AUDIO},
        {"rope_freqs.weight", GEM_ROLE_DEAD}, /* read as a hyperparameter */
    };

    for (size_t i = 0; i < COUNT(known); i++)
        if (!strncmp(name, known[i].prefix, strlen(known[i].prefix))) return known[i].role;
    return GEM_ROLE_UNKNOWN;
}

static gem_status refuse_unknown(struct binder *b)
{
    for (size_t i = 0; i < b->a->n_tensors; i++) {
        const struct gem_tensor *t = &b->a->tensors[i];
        if (b->roles[i] == GEM_ROLE_UNKNOWN) b->roles[i] = known_stranger(t->name);
        if (b->roles[i] == GEM_ROLE_UNKNOWN)
            return gem_fail(b->err, GEM_E_FORMAT, t->offset, "%s: tensor '%s' is unknown in a %s model",
                            b->a->paths[t->file], t->name, b->h->architecture);
    }
    return GEM_OK;
}

static const char *find_prefix(const struct gem_archive *a)
{
    static const char *const prefixes[] = {"model.language_model.", "model.", "language_model.model.", ""};
    char name[64];

    if (a->is_gguf) return "";
    for (size_t i = 0; i < COUNT(prefixes); i++) {
        snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i]);
        if (gem_archive_tensor(a, name)) return prefixes[i];
    }
    return prefixes[0];
}

/* Attention multiplies scores by query_scale; folded into q_norm it costs nothing. The vectors are ours to change. */
static void fold_query_scale(struct gem_weights *w, const struct gem_hparams *h)
{
    for (uint32_t i = 0; i < h->n_layers && h->query_scale != 1; i++) {
        float *q_norm = w->vectors + (w->layers[i].q_norm - w->vectors);
        for (uint32_t d = 0; d < h->layers[i].head_dim; d++) q_norm[d] *= h->query_scale;
    }
}

/* Live parameters as spec 7.1 counts them; per token only the experts in use. */
static void count_parameters(struct gem_weights *w, const struct gem_hparams *h, const struct gem_archive *a,
                             const enum gem_role *roles)
{
    uint64_t experts = 0;

    for (size_t i = 0; i < a->n_tensors; i++) {
        const struct gem_tensor *t = &a->tensors[i];
        uint64_t n = 1;
        if (roles[i] != GEM_ROLE_TEXT) continue;
        for (uint32_t d = 0; d < t->n_dims; d++) n *= t->shape[d];
        w->n_parameters += n;
        if (t->n_dims == 3) experts += n;
        if (t->data != w->ple_table.data) w->mapped_bytes += t->n_bytes;
    }
    w->n_parameters_active = w->n_parameters - experts;
    if (h->n_experts) w->n_parameters_active += experts / h->n_experts * h->n_experts_used;
}

gem_status gem_weights_bind(struct gem_weights *w, const struct gem_hparams *h, const struct gem_archive *a,
                            enum gem_role *roles, gem_error *err)
{
    struct binder b = {.w = w, .h = h, .a = a, .roles = roles, .prefix = find_prefix(a), .err = err};
    gem_status st;

    *w = (struct gem_weights){.maps = a->maps, .paths = (const char *const *)a->paths, .n_maps = a->n_files};
    memset(roles, 0, a->n_tensors * sizeof *roles);
    w->layers = gem_calloc(h->n_layers, sizeof *w->layers, "layers", err);
    if (!w->layers) return GEM_E_NOMEM;
    if ((st = bind_pass(&b))) goto fail; /* checks shapes, counts vectors */
    if ((st = refuse_unknown(&b))) goto fail;
    st = GEM_E_NOMEM;
    if (!(w->vectors = gem_alloc_aligned(b.n_vector * sizeof(float), "norm weights", err))) goto fail;
    if ((st = bind_pass(&b))) goto fail;
    fold_query_scale(w, h);
    w->vector_bytes = b.n_vector * sizeof(float);
    count_parameters(w, h, a, roles);
    return GEM_OK;
fail:
    gem_weights_close(w);
    return st;
}

void gem_weights_close(struct gem_weights *w)
{
    gem_free(w->layers);
    gem_free(w->vectors);
    gem_free(w->packed);
    gem_coarse_close(w->coarse);
    *w = (struct gem_weights){0};
}

struct gem_matrix gem_matrix_at(const struct gem_matrix_stack *s, uint32_t i)
{
    struct gem_matrix m = s->first;

    m.data += i * s->data_stride;
    if (m.panels) m.panels += i * s->panel_stride;
    return m;
}

void gem_matrix_row(const struct gem_matrix *m, uint32_t row, float *out)
{
    if (m->in_panels)
        gem_unpack_row(m->type, m->data + row / GEM_PANEL * GEM_PANEL * m->row_bytes, row % GEM_PANEL, m->cols, out);
    else
        gem_decode_row(m->type, m->data + row * m->row_bytes, out, m->cols);
}

uint32_t gem_weights_map_of(const struct gem_weights *w, const uint8_t *data)
{
    uint32_t i = 0;

    while (data < w->maps[i].data || data >= w->maps[i].data + w->maps[i].n_bytes) i++;
    return i;
}

gem_status gem_matrix_read_row(const struct gem_weights *w, const struct gem_matrix *m, uint32_t row, void *scratch,
                               float *out, gem_error *err)
{
    const uint32_t file = gem_weights_map_of(w, m->data), first = m->in_panels ? row / GEM_PANEL * GEM_PANEL : row;
    const uint64_t n = m->row_bytes * (m->in_panels ? GEM_PANEL : 1);
    const uint64_t at = (uint64_t)(m->data - w->maps[file].data) + first * m->row_bytes;
    struct gem_matrix part = *m;
    gem_status st = gem_map_read(&w->maps[file], w->paths[file], at, scratch, (size_t)n, err);

    if (st) return st;
    part.data = scratch;
    gem_matrix_row(&part, row - first, out);
    return GEM_OK;
}

/* Elements at a time: a multiple of every block. */
enum { BLAME_STEP = 4096 };

/* Elements [at, at + n) of row `row`, in a tensor of `cols` columns and `rows` rows in each matrix. */
static void decode_part(const struct gem_tensor *t, uint64_t row, uint64_t at, size_t n, float *out)
{
    const uint64_t cols = t->n_dims ? t->shape[t->n_dims - 1] : 1, rows = t->n_dims > 1 ? t->shape[t->n_dims - 2] : 1;

    if (t->layout) {
        const enum gem_pack_kind kind = gem_pack_kind_of(t->type);
        const uint64_t panel = row / rows * ((rows - 1) / GEM_PANEL + 1) + row % rows / GEM_PANEL;
        gem_unpack_row(t->type, t->data + panel * gem_panel_bytes(kind, cols) + gem_panel_bytes(kind, at),
                       (size_t)(row % rows % GEM_PANEL), n, out);
    } else {
        gem_decode_row(t->type, t->data + row * gem_row_bytes(t->type, cols) + gem_row_bytes(t->type, at), out, n);
    }
}

static gem_status blame_tensor(const struct gem_archive *a, const struct gem_tensor *t, gem_error *err)
{
    const uint64_t cols = t->n_dims ? t->shape[t->n_dims - 1] : 1;
    float buffer[BLAME_STEP];
    uint64_t n_rows = 1;

    for (uint32_t d = 0; d + 1 < t->n_dims; d++) n_rows *= t->shape[d];
    for (uint64_t row = 0; row < n_rows; row++) {
        for (uint64_t at = 0; at < cols; at += BLAME_STEP) {
            const size_t n = cols - at < BLAME_STEP ? (size_t)(cols - at) : BLAME_STEP;
            decode_part(t, row, at, n, buffer);
            for (size_t j = 0; j < n; j++)
                if (!isfinite(buffer[j]))
                    return gem_fail(err, GEM_E_NONFINITE, t->offset,
                                    "%s: tensor '%s' holds NaN or infinity at element %llu", a->paths[t->file], t->name,
                                    (unsigned long long)(row * cols + at + j));
        }
    }
    return GEM_OK;
}

gem_status gem_weights_blame(const struct gem_archive *a, const enum gem_role *roles, gem_error *err)
{
    gem_status st = GEM_OK;

    for (size_t i = 0; i < a->n_tensors && !st; i++)
        if (roles[i] == GEM_ROLE_TEXT) st = blame_tensor(a, &a->tensors[i], err);
    if (st) return st;
    return gem_fail(err, GEM_E_NONFINITE, 0, "%s: the computation overflowed, though all weights are finite",
                    a->paths[0]);
}
