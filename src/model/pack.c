/* SPDX-License-Identifier: Apache-2.0
 *
 * Repacking of quantised matrices for the fast tier: one block of memory for all, filled by all threads. */
#include "model/weights.h"

#include "base/file.h"

#include <stdatomic.h>

/* One matrix, or each matrix of a stack. */
struct job {
    struct gem_matrix *m;
    uint32_t count;
    uint64_t data_stride;
    uint64_t *panel_stride; /* of a stack, else NULL */
};

enum { JOBS_PER_LAYER = 16 };

struct packer {
    struct job *jobs;
    size_t n_jobs;
    const struct job *job; /* the one being packed */
    uint8_t *dst;
};

static uint64_t n_panels(const struct gem_matrix *m) { return (m->rows + GEM_PANEL - 1) / GEM_PANEL; }

static uint64_t matrix_bytes(const struct gem_matrix *m) { return n_panels(m) * gem_panel_bytes(m->kind, m->cols); }

static void add(struct packer *p, struct gem_matrix *m)
{
    if (m->data && m->kind != GEM_PK_NONE) p->jobs[p->n_jobs++] = (struct job){.m = m, .count = 1};
}

static void add_stack(struct packer *p, struct gem_matrix_stack *s)
{
    if (s->first.data && s->first.kind != GEM_PK_NONE)
        p->jobs[p->n_jobs++] = (struct job){
            .m = &s->first, .count = s->count, .data_stride = s->data_stride, .panel_stride = &s->panel_stride};
}

static void list_jobs(struct packer *p, struct gem_weights *w, const struct gem_hparams *h)
{
    for (uint32_t i = 0; i < h->n_layers; i++) {
        struct gem_layer *l = &w->layers[i];
        struct gem_matrix *const matrices[] = {&l->q,  &l->k,    &l->v,        &l->o,        &l->gate,
                                               &l->up, &l->down, &l->ple_gate, &l->ple_proj, &l->experts.router};
        struct gem_matrix_stack *const stacks[] = {&l->experts.gate_up, &l->experts.gate, &l->experts.up,
                                                   &l->experts.down};

        for (size_t j = 0; j < sizeof matrices / sizeof *matrices; j++) add(p, matrices[j]);
        for (size_t j = 0; j < sizeof stacks / sizeof *stacks; j++) add_stack(p, stacks[j]);
    }
    add(p, &w->ple_proj);
    add(p, &w->head);
}

/* Item i is panel i % n of matrix i / n. */
static void pack_panels(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct packer *p = context;
    const struct gem_matrix *m = p->job->m;
    const uint64_t per_matrix = n_panels(m), panel_bytes = gem_panel_bytes(m->kind, m->cols);

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const uint64_t row = i % per_matrix * GEM_PANEL, left = m->rows - row;
        const uint8_t *src = m->data + i / per_matrix * p->job->data_stride + row * m->row_bytes;

        gem_pack_panel(m->type, src, (size_t)m->row_bytes, left < GEM_PANEL ? (size_t)left : GEM_PANEL, m->cols,
                       p->dst + i * panel_bytes);
    }
}

gem_status gem_weights_pack(struct gem_weights *w, const struct gem_hparams *h, struct gem_pool *pool,
                            gem_progress_fn *progress, void *user, gem_error *err)
{
    struct packer p = {0};
    uint64_t total = 0, done = 0;
    gem_status st = GEM_E_NOMEM;

    p.jobs = gem_calloc((size_t)h->n_layers * JOBS_PER_LAYER + 2, sizeof *p.jobs, "a list of matrices", err);
    if (!p.jobs) return st;
    list_jobs(&p, w, h);
    for (size_t i = 0; i < p.n_jobs; i++) total += p.jobs[i].count * matrix_bytes(p.jobs[i].m);
    if (total && !(w->packed = gem_alloc_aligned(total, "packed weights", err))) goto out;
    for (size_t i = 0; i < p.n_jobs; i++) {
        const struct job *job = p.job = &p.jobs[i];
        const uint64_t bytes = matrix_bytes(job->m), stack_bytes = job->m->row_bytes * job->m->rows * job->count;

        st = GEM_E_CANCELLED;
        if (progress && !progress(user, "packing weights", done, total)) {
            gem_fail(err, st, 0, "cancelled while packing weights");
            goto out;
        }
        gem_map_prefetch(job->m->data, stack_bytes);
        p.dst = w->packed + done;
        gem_pool_run(pool, (size_t)(n_panels(job->m) * job->count), 4, pack_panels, &p);
        gem_map_release(job->m->data, stack_bytes); /* of a tied head, rows come back as tokens need them */
        job->m->panels = p.dst;
        if (job->panel_stride) *job->panel_stride = bytes;
        done += bytes * job->count;
        w->mapped_bytes -= job->m == &w->head && h->tied ? 0 : stack_bytes;
    }
    if (progress) progress(user, "packing weights", total, total);
    w->packed_bytes = total;
    st = GEM_OK;
out:
    gem_free(p.jobs);
    return st;
}
