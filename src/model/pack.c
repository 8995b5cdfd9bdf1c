/* SPDX-License-Identifier: Apache-2.0
 *
 * Repacking of quantised matrices for the fast tier: one block of memory for all, filled by all threads. */
#include "model/weights.h"

#include "base/file.h"

/* ---- what is multiplied ------------------------------------------------------------------------------------ */

static uint64_t n_panels(const struct gem_matrix *m) { return ((uint64_t)m->rows + GEM_PANEL - 1) / GEM_PANEL; }

uint64_t gem_product_panel_bytes(const struct gem_product *p)
{
    return p->count * n_panels(p->m) * gem_panel_bytes(p->m->kind, p->m->cols);
}

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
    const struct gem_product *product;
    uint8_t *dst;
};

/* Item i is panel i % n of matrix i / n. */
static void pack_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct packer *p = context;
    const struct gem_matrix *m = p->product->m;
    const uint64_t per_matrix = n_panels(m), panel_bytes = gem_panel_bytes(m->kind, m->cols);
    const uint64_t stride = p->product->data_stride ? *p->product->data_stride : 0;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const uint64_t row = i % per_matrix * GEM_PANEL, left = m->rows - row;

        gem_pack_panel(m->type, m->data + i / per_matrix * stride + row * m->row_bytes, (size_t)m->row_bytes,
                       left < GEM_PANEL ? (size_t)left : GEM_PANEL, m->cols, p->dst + i * panel_bytes);
    }
}

static bool is_to_pack(const struct gem_product *p) { return p->m->kind != GEM_PK_NONE && !p->m->in_panels; }

/* The panels of a file that has them. */
static void use_panels(const struct gem_product *p)
{
    p->m->panels = p->m->data;
    if (p->panel_stride) *p->panel_stride = *p->data_stride;
}

static void pack_product(struct gem_weights *w, const struct gem_product *product, uint8_t *dst, struct gem_pool *pool)
{
    struct packer p = {.product = product, .dst = dst};
    struct gem_matrix *m = product->m;
    const uint64_t stack_bytes = m->row_bytes * m->rows * product->count;

    gem_map_prefetch(m->data, stack_bytes);
    gem_pool_run(pool, (size_t)(n_panels(m) * product->count), 4, pack_panels, &p);
    gem_map_release(m->data, stack_bytes); /* of a tied head, rows come back as tokens need them */
    m->panels = dst;
    if (product->panel_stride) *product->panel_stride = n_panels(m) * gem_panel_bytes(m->kind, m->cols);
    w->mapped_bytes -= m == &w->head && m->data == w->table.data ? 0 : stack_bytes;
}

gem_status gem_weights_pack(struct gem_weights *w, const struct gem_hparams *h, struct gem_pool *pool,
                            gem_progress_fn *progress, void *user, gem_error *err)
{
    struct gem_product *products;
    uint64_t total = 0, done = 0;
    gem_status st = GEM_E_NOMEM;
    size_t n;

    products = gem_calloc((size_t)h->n_layers * GEM_PRODUCTS_PER_LAYER + GEM_PRODUCTS_MORE, sizeof *products,
                          "a list of matrices", err);
    if (!products) return st;
    n = gem_weights_products(w, h, products);
    for (size_t i = 0; i < n; i++) total += is_to_pack(&products[i]) ? gem_product_panel_bytes(&products[i]) : 0;
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
