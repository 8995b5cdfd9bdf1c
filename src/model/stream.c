/* SPDX-License-Identifier: Apache-2.0 */
#include "model/stream.h"

static uint64_t product_bytes(const struct gem_product *p)
{
    if (p->m->in_panels) return gem_product_panel_bytes(p);
    return p->count * p->m->rows * p->m->row_bytes;
}

/* Whether a pass reads the product from its file. */
static bool is_mapped(const struct gem_product *p, bool packs)
{
    return !packs || p->m->in_panels || p->m->kind == GEM_PK_NONE;
}

static uint32_t unit_of(const struct gem_product *p, const struct gem_weights *w, const struct gem_hparams *h)
{
    if (p->layer < h->n_layers) return p->layer + 1;
    return p->m == &w->head ? h->n_layers + 1 : 0;
}

static uint64_t min_bytes(uint64_t a, uint64_t b) { return a < b ? a : b; }

/* Products come unit after unit. */
static void add_product(struct gem_stream *s, const struct gem_product *p, uint32_t unit)
{
    struct gem_stream_unit *u = &s->units[unit];
    const uint64_t n = product_bytes(p);

    if (p->data_stride) {
        s->n_experts_bytes += n;
        u->expert_bytes += *p->data_stride;
        return;
    }
    s->ranges[u->first + u->n++] =
        (struct gem_stream_range){&s->w->maps[gem_weights_map_of(s->w, p->m->data)], p->m->data, n};
    u->n_bytes += n;
    s->n_bytes += n;
}

static void find_floor(struct gem_stream *s)
{
    for (uint32_t i = 0; i < s->n_units; i++) {
        const struct gem_stream_unit *u = &s->units[i];
        const uint64_t n =
            i + 1 < s->n_units ? u->n_bytes + 2 * u->expert_bytes : min_bytes(u->n_bytes, GEM_STREAM_SLICE);
        if (n > s->floor) s->floor = n;
    }
    s->floor = min_bytes(s->floor, s->n_bytes + s->n_experts_bytes);
}

gem_status gem_stream_open(struct gem_stream *s, const struct gem_weights *weights, const struct gem_hparams *h,
                           bool packs, gem_error *err)
{
    struct gem_weights copy = *weights, *w = &copy; /* listed, not changed */
    const size_t most = (size_t)h->n_layers * GEM_PRODUCTS_PER_LAYER + GEM_PRODUCTS_MORE;
    struct gem_product *products = gem_calloc(most, sizeof *products, "a list of matrices", err);
    gem_status st = GEM_E_NOMEM;
    size_t n;

    *s = (struct gem_stream){.w = weights, .n_units = h->n_layers + 2};
    s->ranges = gem_calloc(most, sizeof *s->ranges, "a list of weights", err);
    if (s->ranges) s->units = gem_calloc(s->n_units, sizeof *s->units, "a list of weights", err);
    if (!products || !s->ranges || !s->units) goto out;
    n = gem_weights_products(w, h, products);
    for (size_t i = 0; i < n; i++) {
        const uint32_t unit = unit_of(&products[i], w, h);
        if (!is_mapped(&products[i], packs)) continue;
        if (s->units[unit].n == 0) s->units[unit].first = (uint32_t)i;
        add_product(s, &products[i], unit);
    }
    find_floor(s);
    s->n_kept = s->n_units;
    st = GEM_OK;
out:
    gem_free(products);
    if (st) gem_stream_close(s);
    return st;
}

void gem_stream_close(struct gem_stream *s)
{
    gem_free(s->ranges);
    gem_free(s->units);
    *s = (struct gem_stream){0};
}

void gem_stream_plan(struct gem_stream *s, uint64_t n_bytes)
{
    uint64_t left = n_bytes > s->floor ? n_bytes - s->floor : 0;

    s->n_kept = s->n_units;
    if (s->n_bytes + s->n_experts_bytes <= n_bytes) return;
    for (s->n_kept = 0; s->n_kept + 1 < s->n_units && s->units[s->n_kept].n_bytes <= left; s->n_kept++)
        left -= s->units[s->n_kept].n_bytes;
}

void gem_stream_enter(const struct gem_stream *s, uint32_t unit)
{
    const uint32_t next = unit + 1 < s->n_units ? unit + 1 : 0;

    for (uint32_t i = 0; gem_stream_drops(s, next) && i < s->units[next].n; i++) {
        const struct gem_stream_range *r = &s->ranges[s->units[next].first + i];
        gem_map_prefetch(r->data, r->n_bytes);
    }
}

void gem_stream_leave(const struct gem_stream *s, uint32_t unit)
{
    for (uint32_t i = 0; gem_stream_drops(s, unit) && i < s->units[unit].n; i++) {
        const struct gem_stream_range *r = &s->ranges[s->units[unit].first + i];
        gem_map_release_around(r->map, r->data, r->n_bytes);
    }
}

void gem_stream_drop(const struct gem_stream *s, const uint8_t *data, uint64_t n_bytes)
{
    gem_map_release_around(&s->w->maps[gem_weights_map_of(s->w, data)], data, n_bytes);
}

static void prefetch(const struct gem_stream *s, const uint8_t *data, uint64_t n_bytes)
{
    (void)s;
    gem_map_prefetch(data, n_bytes);
}

static void advise_expert(const struct gem_stream *s, const struct gem_experts *e, uint32_t expert,
                          void (*advise)(const struct gem_stream *s, const uint8_t *data, uint64_t n_bytes))
{
    const struct gem_matrix_stack *const stacks[] = {&e->gate_up, &e->gate, &e->up, &e->down};

    if (s->n_kept >= s->n_units) return; /* all fits, or there is no ceiling */
    for (size_t i = 0; i < sizeof stacks / sizeof *stacks; i++) {
        const struct gem_matrix_stack *k = stacks[i];
        if (k->first.data && (!k->first.panels || k->first.panels == k->first.data))
            advise(s, k->first.data + expert * k->data_stride, k->data_stride);
    }
}

void gem_stream_want_expert(const struct gem_stream *s, const struct gem_experts *e, uint32_t i)
{
    advise_expert(s, e, i, prefetch);
}

void gem_stream_drop_expert(const struct gem_stream *s, const struct gem_experts *e, uint32_t i)
{
    advise_expert(s, e, i, gem_stream_drop);
}
