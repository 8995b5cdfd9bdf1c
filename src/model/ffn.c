/* SPDX-License-Identifier: Apache-2.0
 *
 * Feed-forward networks (spec/text-model.md 2.6, 2.7) and per-layer embeddings (2.2, 2.3). */
#include "model/forward.h"

#include <math.h>

struct gelu_job {
    const struct gem_forward *f;
    float *gate;
    const float *up;
    size_t ld_gate, ld_up; /* from row to row */
    size_t n, pieces;      /* of a row */
};

enum { GELU_PIECE = 1024 };

static void gelu_pieces(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct gelu_job *j = context;

    (void)thread;
    for (size_t i = begin; i < end; i++) {
        const size_t row = i / j->pieces, at = i % j->pieces * GELU_PIECE, left = j->n - at;
        j->f->kern->gelu_mul(j->gate + row * j->ld_gate + at, j->up + row * j->ld_up + at,
                             left < GELU_PIECE ? left : GELU_PIECE);
    }
}

/* gate [m, n] = gelu_tanh(gate) * up */
static void gelu_mul(struct gem_forward *f, float *gate, size_t ld_gate, const float *up, size_t ld_up, size_t m,
                     size_t n)
{
    struct gelu_job job = {.f = f, .gate = gate, .up = up, .ld_gate = ld_gate, .ld_up = ld_up, .n = n};

    job.pieces = (n + GELU_PIECE - 1) / GELU_PIECE;
    gem_pool_run(f->pool, m * job.pieces, 2, gelu_pieces, &job);
}

void gem_feed_forward(struct gem_forward *f, const struct gem_matrix *gate, const struct gem_matrix *up,
                      const struct gem_matrix *down)
{
    const uint32_t n = gate->rows;
    struct gem_act in = gem_act_of(f, f->norm, f->h->hidden, f->n_rows, f->h->hidden);
    struct gem_act mid = gem_act_of(f, f->gate, n, f->n_rows, n);

    in.twice = mid.twice = false; /* most of the work, and not what the error comes from (struct gem_act) */
    gem_linear(f, f->gate, n, gate, &in);
    gem_linear(f, f->up, n, up, &in);
    gelu_mul(f, f->gate, n, f->up, n, f->n_rows, n);
    gem_linear(f, f->out, f->h->hidden, down, &mid);
}

/* ---- mixture of experts ------------------------------------------------------------------------------------------ */

struct job {
    struct gem_forward *f;
    const struct gem_experts *w;
};

/* The `used` largest probabilities, largest first, the lower index on ties; weights renormalised, then scaled. */
static void choose(const struct gem_forward *f, const struct gem_experts *w, size_t row)
{
    const uint32_t n = f->h->n_experts, used = f->h->n_experts_used;
    float *p = f->experts.probs + row * n, *weight = f->experts.weight + row * used, sum = 0;
    uint32_t *chosen = f->experts.chosen + row * used;

    for (uint32_t s = 0; s < used; s++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < n; e++)
            if (p[e] > p[best]) best = e;
        chosen[s] = best;
        weight[s] = p[best];
        sum += p[best];
        p[best] = -1; /* taken */
    }
    for (uint32_t s = 0; s < used; s++) weight[s] = weight[s] / sum * w->expert_scale[chosen[s]];
}

/* Router input: the raw residual, normalised without weight, times router.scale / sqrt(hidden) (spec 2.7, step 2). */
static void router_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;
    const size_t n = f->h->hidden;
    const float root = (float)(1 / sqrt((double)n));

    (void)thread;
    for (size_t row = begin; row < end; row++) {
        float *z = f->out + row * n;
        f->kern->rms_norm(z, f->x + row * n, NULL, n, f->h->eps);
        for (size_t i = 0; i < n; i++) z[i] = z[i] * j->w->router_scale[i] * root;
    }
}

static void choose_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;

    (void)thread;
    for (size_t row = begin; row < end; row++) {
        float *p = f->experts.probs + row * f->h->n_experts, top;
        const float sum = f->kern->softmax(p, f->h->n_experts, &top);
        for (uint32_t e = 0; e < f->h->n_experts; e++) p[e] /= sum;
        choose(f, j->w, row);
    }
}

static void route(struct gem_forward *f, const struct gem_experts *w)
{
    struct job job = {.f = f, .w = w};
    struct gem_act act = gem_act_of(f, f->out, f->h->hidden, f->n_rows, f->h->hidden);

    gem_pool_run(f->pool, f->n_rows, 8, router_rows, &job);
    gem_linear(f, f->experts.probs, f->h->n_experts, &w->router, &act);
    gem_pool_run(f->pool, f->n_rows, 8, choose_rows, &job);
}

/* Counting sort of the slots (row * used + s) by expert, so that each expert's weights are read once. */
static void sort_by_expert(struct gem_forward *f)
{
    struct gem_expert_scratch *e = &f->experts;
    const uint32_t n_slots = f->n_rows * f->h->n_experts_used, n = f->h->n_experts;

    memset(e->start, 0, (n + 1) * sizeof *e->start);
    for (uint32_t i = 0; i < n_slots; i++) e->start[e->chosen[i] + 1]++;
    for (uint32_t i = 0; i < n; i++) e->start[i + 1] += e->start[i];
    for (uint32_t i = 0; i < n_slots; i++) e->order[e->start[e->chosen[i]]++] = i;
    for (uint32_t i = n; i > 0; i--) e->start[i] = e->start[i - 1];
    e->start[0] = 0;
}

/* Rows of one expert: result [m, hidden] = down(gelu(gate in) * up in), at the expert's place in sorted order. */
static void run_expert(struct gem_forward *f, const struct gem_experts *w, uint32_t expert)
{
    struct gem_expert_scratch *e = &f->experts;
    const uint32_t begin = e->start[expert], m = e->start[expert + 1] - begin;
    const uint32_t hidden = f->h->hidden, ffn = f->h->ffn_expert;
    float *mid = e->gate_up + (size_t)begin * 2 * ffn;
    struct gem_act in = {
        .x = e->in + (size_t)begin * hidden, .ldx = hidden, .m = m, .k = hidden, .other = e->act, .wide = f->wide};
    struct gem_act out = {.x = mid, .ldx = 2 * (size_t)ffn, .m = m, .k = ffn, .other = e->act, .wide = f->wide};

    if (m == 0) return;
    if (w->gate_up.first.data) {
        const struct gem_matrix both = gem_matrix_at(&w->gate_up, expert);
        gem_linear(f, mid, 2 * (size_t)ffn, &both, &in);
    } else {
        const struct gem_matrix gate = gem_matrix_at(&w->gate, expert), up = gem_matrix_at(&w->up, expert);
        gem_linear(f, mid, 2 * (size_t)ffn, &gate, &in);
        gem_linear(f, mid + ffn, 2 * (size_t)ffn, &up, &in);
    }
    gelu_mul(f, mid, 2 * (size_t)ffn, mid + ffn, 2 * (size_t)ffn, m, ffn);
    const struct gem_matrix down = gem_matrix_at(&w->down, expert);
    gem_linear(f, e->result + (size_t)begin * hidden, hidden, &down, &out);
}

static void gather_slots(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;
    const size_t n = f->h->hidden;

    (void)thread;
    for (size_t i = begin; i < end; i++)
        memcpy(f->experts.in + i * n, f->norm + f->experts.order[i] / f->h->n_experts_used * n, n * sizeof(float));
}

/* norm row = sum over the row's slots, in order of slot, of weight * result. */
static void combine_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct job *j = context;
    const struct gem_forward *f = j->f;
    const uint32_t used = f->h->n_experts_used;
    const size_t n = f->h->hidden;
    const uint32_t *place = f->experts.order; /* by now: where each slot's result lies */

    (void)thread;
    for (size_t row = begin; row < end; row++) {
        float *sum = f->norm + row * n;
        memset(sum, 0, n * sizeof *sum);
        for (uint32_t s = 0; s < used; s++) {
            const float *y = f->experts.result + place[row * used + s] * n, w = f->experts.weight[row * used + s];
            for (size_t i = 0; i < n; i++) sum[i] += w * y[i];
        }
    }
}

/* Turns `order` (sorted place -> slot) into its inverse, using `chosen`, which is no longer needed. */
static void invert_order(struct gem_forward *f)
{
    struct gem_expert_scratch *e = &f->experts;
    const uint32_t n_slots = f->n_rows * f->h->n_experts_used;

    for (uint32_t i = 0; i < n_slots; i++) e->chosen[e->order[i]] = i;
    memcpy(e->order, e->chosen, n_slots * sizeof *e->order);
}

void gem_experts_layer(struct gem_forward *f, uint32_t layer)
{
    const struct gem_layer *l = &f->w->layers[layer];
    const struct gem_experts *w = &l->experts;
    const size_t hidden = f->h->hidden;
    struct job job = {.f = f, .w = w};

    route(f, w);
    sort_by_expert(f);
    gem_norm_rows(f, f->norm, f->x, w->norm, hidden);
    gem_pool_run(f->pool, (size_t)f->n_rows * f->h->n_experts_used, 8, gather_slots, &job);
    for (uint32_t e = 0; e < f->h->n_experts; e++) /* all that are used are asked for before the first is waited for */
        if (f->experts.start[e + 1] > f->experts.start[e]) gem_stream_want_expert(&f->stream, w, e);
    for (uint32_t e = 0; e < f->h->n_experts; e++) {
        run_expert(f, w, e);
        if (f->experts.start[e + 1] > f->experts.start[e]) gem_stream_drop_expert(&f->stream, w, e);
    }

    gem_norm_rows(f, f->norm, f->x, l->ffn_norm, hidden);
    gem_feed_forward(f, &l->gate, &l->up, &l->down); /* the dense branch -> out */
    gem_norm_rows(f, f->out, f->out, w->post_norm_dense, hidden);

    invert_order(f);
    gem_pool_run(f->pool, f->n_rows, 4, combine_rows, &job);
    gem_norm_rows(f, f->norm, f->norm, w->post_norm_experts, hidden);
    f->kern->add(f->out, f->norm, f->n_rows * hidden);
}

/* ---- per-layer embeddings ------------------------------------------------------------------------------------------
 */

static void ple_rows(void *context, size_t begin, size_t end, unsigned thread)
{
    const struct gem_forward *f = context;
    const uint32_t p = f->h->ple, n = p * f->h->n_layers;
    const float token_scale = gem_bf16_to_f32(gem_f32_to_bf16(sqrtf((float)p)));
    const float project_scale = (float)(1 / sqrt((double)f->h->hidden)), both_scale = (float)sqrt(0.5);
    float *token = f->threads[thread].tile;

    for (size_t row = begin; row < end; row++) {
        float *ple = f->ple + row * n;
        gem_ple_row(&f->ple_rows, (uint32_t)row, token);
        for (uint32_t i = 0; i < n; i++) ple[i] *= project_scale;
        for (uint32_t l = 0; l < f->h->n_layers; l++)
            f->kern->rms_norm(ple + (size_t)l * p, ple + (size_t)l * p, f->w->ple_norm, p, f->h->eps);
        for (uint32_t i = 0; i < n; i++) ple[i] = (ple[i] + token_scale * token[i]) * both_scale;
    }
}

void gem_ple_rows(struct gem_forward *f)
{
    struct gem_act act = gem_act_of(f, f->x, f->h->hidden, f->n_rows, f->h->hidden);

    gem_linear(f, f->ple, (size_t)f->h->ple * f->h->n_layers, &f->w->ple_proj, &act);
    gem_pool_run(f->pool, f->n_rows, 2, ple_rows, f);
}

void gem_ple_layer(struct gem_forward *f, uint32_t layer)
{
    const struct gem_layer *l = &f->w->layers[layer];
    const uint32_t p = f->h->ple;
    struct gem_act in = gem_act_of(f, f->x, f->h->hidden, f->n_rows, f->h->hidden);
    struct gem_act mid = gem_act_of(f, f->ple_gate, p, f->n_rows, p);

    gem_linear(f, f->ple_gate, p, &l->ple_gate, &in);
    gelu_mul(f, f->ple_gate, p, f->ple + (size_t)layer * p, (size_t)p * f->h->n_layers, f->n_rows, p);
    gem_linear(f, f->out, f->h->hidden, &l->ple_proj, &mid);
    gem_join_branch(f, l->ple_norm);
}
