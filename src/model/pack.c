/* SPDX-License-Identifier: Apache-2.0
 *
 * Repacking of quantised matrices for the fast tier: one block of memory for all, filled by all threads. */
#include "model/weights.h"

#include "base/file.h"

/* ---- what is multiplied ------------------------------------------------------------------------------------ */

/* Bytes of one of its panels. */
static uint64_t panel_bytes(const struct gem_matrix *m)
{
    return m->kind == GEM_PK_NONE ? gem_pairs_bytes(m->cols) : gem_panel_bytes(m->kind, m->cols);
}

uint64_t gem_matrix_panel_bytes(const struct gem_matrix *m) { return gem_n_panels(m->rows) * panel_bytes(m); }

uint64_t gem_product_panel_bytes(const struct gem_product *p) { return p->count * gem_matrix_panel_bytes(p->m); }

static size_t add(struct gem_product *out, struct gem_matrix *m, uint32_t layer)
{
    if (!m->data) return 0;
    *out = (struct gem_product){.m = m, .count = 1, .layer = layer};
    return 1;
}

static size_t add_stack(struct gem_product *out, struct gem_matrix_stack *s, uint32_t layer)
{
    if (!s->first.data) return 0;
    *out = (struct gem_product){.m = &s->first,
                                .count = s->count,
                                .data_stride = &s->data_stride,
                                .panel_stride = &s->panel_stride,
                                .layer = layer};
    return 1;
}

size_t gem_weights_products(struct gem_weights *w, const struct gem_hparams *h, struct gem_product *out)
{
    size_t n = add(out, &w->ple_proj, h->n_layers);

    for (uint32_t i = 0; i < h->n_layers; i++) {
        struct gem_layer *l = &w->layers[i];
        struct gem_matrix *const matrices[] = {&l->k,    &l->v,  &l->q,    &l->o,        &l->experts.router,
                                               &l->gate, &l->up, &l->down, &l->ple_gate, &l->ple_proj};
        struct gem_matrix_stack *const stacks[] = {&l->experts.gate_up, &l->experts.gate, &l->experts.up,
                                                   &l->experts.down};

        for (size_t j = 0; j < sizeof matrices / sizeof *matrices; j++) n += add(out + n, matrices[j], i);
        for (size_t j = 0; j < sizeof stacks / sizeof *stacks; j++) n += add_stack(out + n, stacks[j], i);
    }
    return n + add(out + n, &w->head, h->n_layers);
}

/* ---- packing ----------------------------------------------------------------------------------------------- */

struct packer {
    const struct gem_matrix *m;
    uint64_t stride; /* bytes from one matrix of a stack to the next */
    const struct gem_kernels *kern;
    uint8_t *dst;
    size_t first; /* the panel that item 0 is */
};

/* Item i is panel (first + i) % n of matrix (first + i) / n. */
static void pack_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct packer *p = context;
    const struct gem_matrix *m = p->m;
    const size_t per_matrix = gem_n_panels(m->rows), row_bytes = (size_t)m->row_bytes;
    const uint64_t bytes = panel_bytes(m);

    (void)thread;
    for (size_t i = p->first + begin; i < p->first + end; i++) {
        const size_t row = i % per_matrix * GEM_PANEL, left = m->rows - row, n = left < GEM_PANEL ? left : GEM_PANEL;
        const uint8_t *rows = m->data + i / per_matrix * p->stride + row * m->row_bytes;
        uint8_t *dst = p->dst + i * bytes;

        if (m->kind == GEM_PK_NONE)
            p->kern->pack_pairs((uint16_t *)(void *)dst, rows, m->type, row_bytes, n, m->cols);
        else
            gem_pack_panel(m->type, rows, row_bytes, n, m->cols, dst);
    }
}

static bool is_to_pack(const struct gem_product *p) { return p->m->kind != GEM_PK_NONE && !p->m->in_panels; }

/* The panels of a file that has them. */
static void use_panels(const struct gem_product *p)
{
    gem_map_advise_huge(p->m->data, gem_product_panel_bytes(p));
    p->m->panels = p->m->data;
    if (p->panel_stride) *p->panel_stride = *p->data_stride;
}

/* Source pages are given back slice by slice, so that a tensor is never in memory twice as a whole. (Those of an
 * expert that a slice ends in go with the slice: they come back.) */
static void pack_all(struct packer *p, uint32_t count, struct gem_pool *pool)
{
    enum { SLICE = 32 << 20 };
    const struct gem_matrix *m = p->m;
    const size_t n = gem_n_panels(m->rows) * count;
    const uint64_t source_bytes = m->row_bytes * m->rows * count, per_panel = source_bytes / n + 1;

    for (size_t step = SLICE / per_panel + 1; p->first < n; p->first += step) {
        const size_t here = n - p->first < step ? n - p->first : step;
        const uint64_t at = p->first * (source_bytes / n);

        gem_map_prefetch(m->data + at, here * per_panel);
        gem_pool_run(pool, here, 4, pack_panels, p);
        gem_map_release(m->data + at, here * (source_bytes / n));
    }
    gem_map_release(m->data, source_bytes);
}

void gem_matrix_pack(const struct gem_matrix *m, const struct gem_kernels *kern, uint8_t *dst, struct gem_pool *pool)
{
    pack_all(&(struct packer){.m = m, .kern = kern, .dst = dst}, 1, pool);
}

static void pack_product(struct gem_weights *w, const struct gem_product *product, uint8_t *dst, struct gem_pool *pool)
{
    struct gem_matrix *m = product->m;

    pack_all(&(struct packer){.m = m, .stride = product->data_stride ? *product->data_stride : 0, .dst = dst},
             product->count, pool);
    m->panels = dst;
    if (product->panel_stride) *product->panel_stride = gem_matrix_panel_bytes(m);
    w->mapped_bytes -= m == &w->head && m->data == w->table.data ? 0 : m->row_bytes * m->rows * product->count;
}

/* The list of products; gem_free it. */
static gem_status list_products(struct gem_weights *w, const struct gem_hparams *h, struct gem_product **out, size_t *n,
                                gem_error *err)
{
    *out = gem_calloc((size_t)h->n_layers * GEM_PRODUCTS_PER_LAYER + GEM_PRODUCTS_MORE, sizeof **out,
                      "a list of matrices", err);
    if (!*out) return GEM_E_NOMEM;
    *n = gem_weights_products(w, h, *out);
    return GEM_OK;
}

static uint64_t packed_bytes(const struct gem_product *products, size_t n)
{
    uint64_t total = 0;

    for (size_t i = 0; i < n; i++) total += is_to_pack(&products[i]) ? gem_product_panel_bytes(&products[i]) : 0;
    return total;
}

gem_status gem_weights_packed_bytes(struct gem_weights *w, const struct gem_hparams *h, uint64_t *n, gem_error *err)
{
    struct gem_product *products;
    size_t n_products;
    gem_status st = list_products(w, h, &products, &n_products, err);

    if (!st) *n = packed_bytes(products, n_products);
    gem_free(products);
    return st;
}

gem_status gem_weights_token_bytes(struct gem_weights *w, const struct gem_hparams *h, uint64_t *n, gem_error *err)
{
    struct gem_product *products;
    size_t n_products;
    gem_status st = list_products(w, h, &products, &n_products, err);

    *n = 0;
    for (size_t i = 0; !st && i < n_products; i++) {
        const struct gem_product *p = &products[i];
        const uint64_t all = p->m->panels ? gem_product_panel_bytes(p) : p->m->row_bytes * p->m->rows * p->count;
        *n += p->panel_stride ? all / p->count * h->n_experts_used : all;
    }
    gem_free(products);
    return st;
}

gem_status gem_weights_pack(struct gem_weights *w, const struct gem_hparams *h, struct gem_pool *pool,
                            gem_progress_fn *progress, void *user, gem_error *err)
{
    struct gem_product *products;
    uint64_t total, done = 0;
    size_t n;
    gem_status st = list_products(w, h, &products, &n, err);

    if (st) return st;
    total = packed_bytes(products, n);
    st = GEM_E_NOMEM;
    if (total && !(w->packed = gem_alloc_aligned(total, "packed weights", err))) goto out;
    for (size_t i = 0; i < n; i++) {
        if (products[i].m->in_panels) use_panels(&products[i]);
        if (!is_to_pack(&products[i])) continue;
        st = GEM_E_CANCELLED;
        if (progress && !progress(user, "packing weights", done, total)) {
            gem_fail(err, st, 0, "cancelled while packing weights");
            goto out;
        }
        pack_product(w, &products[i], w->packed + done, pool);
        done += gem_product_panel_bytes(&products[i]);
    }
    if (progress && total) progress(user, "packing weights", total, total);
    w->packed_bytes = total;
    st = GEM_OK;
out:
    gem_free(products);
    return st;
}
