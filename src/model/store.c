/* SPDX-License-Identifier: Apache-2.0
 *
 * Every tensor that is kept becomes an entry: where it comes from, what it is to be. Then one after the other is made
 * by all threads, a buffer at a time, and written. */
#include "model/store.h"

#include "base/file.h"

#include <stdatomic.h>

/* What a tensor is used for, as far as its number format depends on it. */
enum use { COPIED, MULTIPLIED, FINE, ROUTED, LOOKED_UP };

struct entry {
    const struct gem_tensor *from;
    enum use use;
};

/* AS_IS: as the source has it. */
#define AS_IS GEM_TYPE_OTHER
static const int target_types[GEM_N_STORE_TYPES][LOOKED_UP + 1] = {
    /* COPIED, MULTIPLIED, FINE, ROUTED, LOOKED_UP */
    [GEM_STORE_KEEP] = {AS_IS, AS_IS, AS_IS, AS_IS, AS_IS},
    [GEM_STORE_BF16] = {AS_IS, GEM_BF16, GEM_BF16, AS_IS, GEM_BF16},
    [GEM_STORE_Q8_0] = {AS_IS, GEM_Q8_0, GEM_Q8_0, AS_IS, GEM_Q8_0},
    [GEM_STORE_Q4_0] = {AS_IS, GEM_Q4_0, GEM_Q8_0, AS_IS, GEM_Q8_0},
};

static bool is_float(enum gem_type type) { return type == GEM_F32 || type == GEM_F16 || type == GEM_BF16; }

static uint64_t cols_of(const struct gem_tensor *t) { return t->n_dims ? t->shape[t->n_dims - 1] : 1; }
static uint64_t rows_of(const struct gem_tensor *t) /* of one matrix */
{
    return t->n_dims > 1 ? t->shape[t->n_dims - 2] : 1;
}
static uint64_t count_of(const struct gem_tensor *t) { return t->n_dims > 2 ? t->shape[t->n_dims - 3] : 1; }

/* ---- the plan ---------------------------------------------------------------------------------------------- */

struct plan {
    const struct gem_store *s;
    struct entry *entries;
    struct gem_tensor *tensors; /* what entries become */
    bool *taken;                /* by tensor of the archive */
    size_t n;
    gem_error *err;
};

/* The tensor whose data a matrix has. */
static size_t find_tensor(const struct gem_archive *a, const uint8_t *data)
{
    size_t i = 0;

    while (a->tensors[i].data != data || a->tensors[i].n_bytes == 0) i++;
    return i;
}

static void add(struct plan *p, size_t i, enum use use)
{
    if (p->taken[i]) return;
    p->taken[i] = true;
    p->entries[p->n++] = (struct entry){.from = &p->s->a->tensors[i], .use = use};
}

static enum use use_of(const struct plan *p, const struct gem_product *product)
{
    const struct gem_weights *w = p->s->w;
    const uint32_t l = product->layer;

    if (l == p->s->h->n_layers) return FINE; /* the head, the projection of per-layer embeddings */
    if (product->m == &w->layers[l].experts.router) return ROUTED;
    return product->m == &w->layers[l].ple_gate || product->m == &w->layers[l].ple_proj ? FINE : MULTIPLIED;
}

static bool is_stored(const struct gem_store *s, size_t i)
{
    if (s->roles[i] == GEM_ROLE_VISION && s->replaces[0]) return false;
    if (s->roles[i] == GEM_ROLE_AUDIO && s->replaces[1]) return false;
    return s->roles[i] != GEM_ROLE_DEAD || !strcmp(s->a->tensors[i].name, "rope_freqs.weight");
}

/* In order of use: small vectors, what is multiplied from the first layer to the head, tables, towers. */
static gem_status list_entries(struct plan *p)
{
    const struct gem_store *s = p->s;
    const struct gem_archive *a = s->a;
    struct gem_product *products = gem_calloc((size_t)s->h->n_layers * GEM_PRODUCTS_PER_LAYER + GEM_PRODUCTS_MORE,
                                              sizeof *products, "a list of matrices", p->err);
    const size_t n = products ? gem_weights_products(s->w, s->h, products) : 0;
    bool *is_large = gem_calloc(a->n_tensors, sizeof *is_large, "a list of tensors", p->err);

    if (products && is_large) {
        for (size_t i = 0; i < n; i++) is_large[find_tensor(a, products[i].m->data)] = true;
        is_large[find_tensor(a, s->w->table.data)] = true;
        if (s->w->ple_table.data) is_large[find_tensor(a, s->w->ple_table.data)] = true;
        for (size_t i = 0; i < a->n_tensors; i++)
            if (s->roles[i] == GEM_ROLE_TEXT && !is_large[i]) add(p, i, COPIED);
        for (size_t i = 0; i < n; i++) add(p, find_tensor(a, products[i].m->data), use_of(p, &products[i]));
        add(p, find_tensor(a, s->w->table.data), LOOKED_UP);
        if (s->w->ple_table.data) add(p, find_tensor(a, s->w->ple_table.data), LOOKED_UP);
        for (size_t i = 0; i < a->n_tensors; i++) /* of the dead, one is a hyperparameter */
            if (is_stored(s, i)) add(p, i, COPIED);
        for (size_t i = 0; s->towers && i < s->towers->n_tensors; i++)
            p->entries[p->n++] = (struct entry){.from = &s->towers->tensors[i], .use = COPIED};
    }
    gem_free(is_large);
    gem_free(products);
    return products && is_large ? GEM_OK : GEM_E_NOMEM;
}

/* Number format, layout and size of what an entry becomes. */
static void make_target(const struct plan *p, const struct entry *e, struct gem_tensor *to)
{
    const int type = target_types[p->s->type][e->use];

    *to = *e->from;
    if (to->layout || e->use == COPIED) return;
    if (type != AS_IS && is_float(to->type) && cols_of(to) % gem_type_info((uint32_t)type)->block == 0) {
        to->type = (enum gem_type)type;
        to->type_name = gem_type_info(to->type)->name;
    }
    if (e->use != LOOKED_UP) to->layout = (uint32_t)gem_pack_kind_of(to->type);
    if (to->layout && gem_native_bytes(to, &to->n_bytes)) return;
    to->layout = 0;                           /* a matrix of a shape that panels do not have */
    (void)gem_native_bytes(to, &to->n_bytes); /* not more than in the source, where it had a size */
}

static gem_status make_plan(struct plan *p)
{
    const size_t n = p->s->a->n_tensors + (p->s->towers ? p->s->towers->n_tensors : 0);
    size_t n_typed = 0;
    gem_status st = GEM_E_NOMEM;

    if (!(p->entries = gem_calloc(n, sizeof *p->entries, "a list of tensors", p->err))) return st;
    if (!(p->tensors = gem_calloc(n, sizeof *p->tensors, "a list of tensors", p->err))) return st;
    if (!(p->taken = gem_calloc(n, sizeof *p->taken, "a list of tensors", p->err))) return st;
    if ((st = list_entries(p))) return st;
    for (size_t i = 0; i < p->n; i++) {
        const struct entry *e = &p->entries[i];
        make_target(p, e, &p->tensors[i]);
        n_typed += is_float(e->from->type) && (int)p->tensors[i].type == target_types[p->s->type][e->use];
    }
    if (p->s->type == GEM_STORE_KEEP || n_typed) return GEM_OK;
    return gem_fail(p->err, GEM_E_ARGUMENT, 0,
                    "%s: its weights are quantised already (%s) and are not quantised again: keep them as they are",
                    p->s->a->paths[0], gem_type_info(p->s->w->table.type)->name);
}

static void free_plan(struct plan *p)
{
    gem_free(p->entries);
    gem_free(p->tensors);
    gem_free(p->taken);
}

/* ---- one tensor -------------------------------------------------------------------------------------------- */

enum { BUFFER = 16 << 20 };

/* Items are panels, or groups of GEM_PANEL rows; those of a matrix come before those of the next. */
struct maker {
    const struct gem_tensor *from, *to;
    uint64_t cols, rows, per_matrix, item_bytes; /* item_bytes: of a whole one; the last group of a matrix has less */
    uint64_t first;                              /* item that the buffer begins with */
    uint8_t *buffer, *scratch;                   /* scratch: scratch_bytes for each thread */
    uint64_t scratch_bytes;
    atomic_bool bad; /* a value that the number format does not have */
};

/* Rows of the source as float32, then as rows of the target. */
static void convert_rows(struct maker *k, uint64_t row, uint64_t n, uint8_t *dst, float *one)
{
    const uint64_t from_bytes = gem_row_bytes(k->from->type, k->cols), to_bytes = gem_row_bytes(k->to->type, k->cols);

    for (uint64_t i = 0; i < n; i++) {
        gem_decode_row(k->from->type, k->from->data + (row + i) * from_bytes, one, (size_t)k->cols);
        if (!gem_encode_row(k->to->type, one, dst + i * to_bytes, (size_t)k->cols)) atomic_store(&k->bad, true);
    }
}

static uint64_t item_place(const struct maker *k, uint64_t item)
{
    if (k->to->layout) return item * k->item_bytes;
    return (item / k->per_matrix * k->rows + item % k->per_matrix * GEM_PANEL) * (k->item_bytes / GEM_PANEL);
}

static void make_items(void *context, size_t begin, size_t end, unsigned thread)
{
    struct maker *k = context;
    float *one = (float *)(void *)(k->scratch + thread * k->scratch_bytes);
    uint8_t *rows = (uint8_t *)one + gem_align_up(k->cols * sizeof *one);
    const bool same = k->from->type == k->to->type;
    const uint64_t row_bytes = gem_row_bytes(k->to->type, k->cols);

    for (uint64_t item = k->first + begin; item < k->first + end; item++) {
        const uint64_t in_matrix = item % k->per_matrix * GEM_PANEL, left = k->rows - in_matrix;
        const uint64_t row = item / k->per_matrix * k->rows + in_matrix, n = left < GEM_PANEL ? left : GEM_PANEL;
        uint8_t *dst = k->buffer + (item_place(k, item) - item_place(k, k->first));

        if (!k->to->layout) {
            convert_rows(k, row, n, dst, one);
            continue;
        }
        if (!same) convert_rows(k, row, n, rows, one);
        gem_pack_panel(k->to->type, same ? k->from->data + row * row_bytes : rows, (size_t)row_bytes, (size_t)n,
                       (size_t)k->cols, dst);
    }
}

struct writing {
    const struct gem_store *s;
    struct gem_native_writer out;
    uint64_t done, total;
    gem_error *err;
};

static gem_status report(struct writing *w)
{
    if (!w->s->progress || w->s->progress(w->s->user, "packing", w->done, w->total)) return GEM_OK;
    return gem_fail(w->err, GEM_E_CANCELLED, 0, "cancelled while packing");
}

static gem_status write_part(struct writing *w, const void *data, uint64_t n)
{
    gem_status st = report(w);

    if (!st) st = gem_native_write(&w->out, data, n, w->err);
    w->done += n;
    return st;
}

static gem_status copy_tensor(struct writing *w, const struct gem_tensor *t)
{
    gem_status st = GEM_OK;

    for (uint64_t at = 0, n; at < t->n_bytes && !st; at += n) {
        n = t->n_bytes - at < BUFFER ? t->n_bytes - at : BUFFER;
        st = write_part(w, t->data + at, n);
        gem_map_release(t->data + at, n);
    }
    return st;
}

static gem_status make_tensor(struct writing *w, struct maker *k)
{
    const uint64_t n_items = count_of(k->to) * k->per_matrix, most = BUFFER / k->item_bytes;
    gem_status st = GEM_OK;

    for (uint64_t n; k->first < n_items && !st; k->first += n) {
        const uint64_t left = n_items - k->first;
        n = left < most ? left : most ? most : 1;
        gem_pool_run(w->s->pool, (size_t)n, 4, make_items, k);
        if (atomic_load(&k->bad))
            return gem_fail(w->err, GEM_E_NONFINITE, k->from->offset,
                            "%s: tensor '%s' holds a value that %s cannot represent: NaN, infinity or too large",
                            w->s->a->paths[k->from->file], k->from->name, k->to->type_name);
        st = write_part(w, k->buffer, item_place(k, k->first + n) - item_place(k, k->first));
    }
    gem_map_release(k->from->data, k->from->n_bytes);
    return st;
}

static gem_status write_tensor(struct writing *w, const struct gem_tensor *from, const struct gem_tensor *to)
{
    struct maker k = {.from = from, .to = to, .cols = cols_of(to), .rows = rows_of(to)};
    const unsigned n_threads = gem_pool_threads(w->s->pool);
    gem_status st = GEM_E_NOMEM;

    if (from->type == to->type && from->layout == to->layout) return copy_tensor(w, from);
    k.per_matrix = gem_n_panels((size_t)k.rows);
    k.item_bytes = to->layout ? gem_panel_bytes((enum gem_pack_kind)to->layout, (size_t)k.cols)
                              : GEM_PANEL * gem_row_bytes(to->type, k.cols);
    k.scratch_bytes = gem_align_up(k.cols * sizeof(float)) + gem_align_up(GEM_PANEL * gem_row_bytes(to->type, k.cols));
    k.buffer = gem_alloc_aligned(k.item_bytes > BUFFER ? k.item_bytes : BUFFER, "a packing buffer", w->err);
    k.scratch = gem_alloc_aligned(k.scratch_bytes * n_threads, "a packing buffer", w->err);
    if (k.buffer && k.scratch) st = make_tensor(w, &k);
    gem_free(k.buffer);
    gem_free(k.scratch);
    return st;
}

/* ---- the file ---------------------------------------------------------------------------------------------- */

static uint32_t source_of(const struct gem_archive *a)
{
    return a->is_gguf ? GEM_NATIVE_FROM_GGUF : GEM_NATIVE_FROM_FOLDER;
}

static gem_status write_plan(struct writing *w, const struct plan *p, const char *path)
{
    const struct gem_native_plan plan = {.source = source_of(p->s->a),
                                         .blobs = p->s->blobs,
                                         .n_blobs = p->s->n_blobs,
                                         .tensors = p->tensors,
                                         .n_tensors = p->n};
    gem_status st = gem_native_begin(&w->out, path, &plan, w->err);

    for (size_t i = 0; i < p->n; i++) w->total += p->tensors[i].n_bytes;
    for (size_t i = 0; i < p->n && !st; i++) st = write_tensor(w, p->entries[i].from, &p->tensors[i]);
    if (!st) st = gem_archive_check(p->s->a, w->err);
    if (!st && p->s->towers) st = gem_archive_check(p->s->towers, w->err);
    if (!st) st = report(w);
    if (!st) st = gem_native_commit(&w->out, w->err);
    gem_native_close(&w->out);
    return st;
}

gem_status gem_store_write(const struct gem_store *s, const char *path, gem_error *err)
{
    struct plan p = {.s = s, .err = err};
    struct writing w = {.s = s, .err = err};
    gem_status st = make_plan(&p);

    if (!st) st = write_plan(&w, &p, path);
    free_plan(&p);
    return st;
}
