/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/pairs.c - bfloat16 times bfloat16 (kernels.h, PAIRS): the definitions, and the product with a matrix that
 * is packed on the way. */
#include "kernels/kernels.h"

static uint16_t narrow(enum gem_type type, const uint8_t *row, size_t i)
{
    float x;
    uint16_t h;

    if (type == GEM_F32) {
        memcpy(&x, row + i * sizeof x, sizeof x);
        return gem_f32_to_bf16(x);
    }
    memcpy(&h, row + i * sizeof h, sizeof h);
    return type == GEM_F16 ? gem_f32_to_bf16(gem_f16_to_f32(h)) : h;
}

static void pack_pairs(uint16_t *panel, const void *rows, enum gem_type type, size_t row_bytes, size_t n_rows, size_t k)
{
    memset(panel, 0, gem_pairs_bytes(k));
    for (size_t i = 0; i < n_rows; i++)
        for (size_t j = 0; j < k; j++)
            panel[gem_pairs_at(i, j)] = narrow(type, (const uint8_t *)rows + i * row_bytes, j);
}

static void gemm_pairs(const uint16_t *panels, size_t n_rows, const uint16_t *x, size_t ldx, size_t m, float *y,
                       size_t ldy, size_t k, bool adds)
{
    for (size_t j = 0; j < m; j++)
        for (size_t i = 0; i < n_rows; i++) {
            const uint16_t *panel = panels + i / GEM_PANEL * (gem_pairs_bytes(k) / sizeof *panels);
            double sum = adds ? (double)y[j * ldy + i] : 0.0;

            for (size_t c = 0; c < k; c++)
                sum += (double)gem_bf16_to_f32(panel[gem_pairs_at(i % GEM_PANEL, c)]) *
                       (double)gem_bf16_to_f32(x[j * ldx + c]);
            y[j * ldy + i] = (float)sum;
        }
}

void gem_kernels_pairs_c(struct gem_kernels *k)
{
    k->pack_pairs = pack_pairs;
    k->gemm_pairs = gemm_pairs;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

void gem_block_row(const struct gem_kernels *kern, uint16_t *blocks, const float *row, size_t r, size_t m, size_t k)
{
    for (size_t at = 0; at < k; at += GEM_BLOCK_COLUMNS)
        kern->to_bf16(blocks + gem_block_at(r, at, m, k), row + at, least(k - at, GEM_BLOCK_COLUMNS));
    if (k % 2) blocks[gem_block_at(r, k - 1, m, k) + 1] = 0;
}

/* ---- a matrix that is packed on the way ---------------------------------------------------------------------- */

/* Rows of the matrix and its columns that are packed at a time: 32 KiB, most of the first-level cache. Activations go
 * past them in blocks, and with each comes a share of what is packed next: memory alone took a tenth of the time. */
enum { ROWS = 4 * GEM_PANEL, COLUMNS = GEM_BLOCK_COLUMNS, BLOCK = 48, LINE = 64 };

struct piece {
    const char *at;
    size_t row_bytes, n_rows, n_bytes; /* of a row */
};

/* Asks for rows r, r + step, ... */
static void prefetch(const struct piece *p, size_t r, size_t step)
{
    for (; r < p->n_rows; r += step)
        for (size_t i = 0; i < p->n_bytes; i += LINE) __builtin_prefetch(p->at + r * p->row_bytes + i, 0, 2);
}

static void pack_piece(const struct gem_kernels *kern, uint16_t *panels, const struct piece *p, enum gem_type type,
                       size_t k)
{
    for (size_t r = 0; r < p->n_rows; r += GEM_PANEL, panels += gem_pairs_bytes(k) / sizeof *panels)
        kern->pack_pairs(panels, p->at + r * p->row_bytes, type, p->row_bytes,
                         p->n_rows - r < GEM_PANEL ? p->n_rows - r : GEM_PANEL, k);
}

void gem_gemm_rows(const struct gem_kernels *kern, const void *w, enum gem_type type, size_t row_bytes, size_t n_rows,
                   const uint16_t *blocks, size_t m, float *y, size_t ldy, size_t k, bool adds)
{
    const size_t size = type == GEM_F32 ? sizeof(float) : sizeof(uint16_t), n_parts = (m + BLOCK - 1) / BLOCK;
    _Alignas(LINE) uint16_t panels[ROWS * COLUMNS];

    for (size_t i = 0; i < n_rows; i += ROWS)
        for (size_t at = 0; at < k; at += COLUMNS) {
            const size_t columns = least(k - at, COLUMNS);
            const struct piece p = {(const char *)w + i * row_bytes + at * size, row_bytes, least(n_rows - i, ROWS),
                                    columns * size};
            struct piece next = p;

            next.at += at + columns < k ? p.n_bytes : ROWS * row_bytes - at * size; /* perhaps of another thread */
            pack_piece(kern, panels, &p, type, columns);
            for (size_t part = 0; part < n_parts; part++) {
                const size_t j = part * BLOCK;
                prefetch(&next, part, n_parts);
                kern->gemm_pairs(panels, p.n_rows, blocks + gem_block_at(j, at, m, k), gem_even(columns),
                                 least(m - j, BLOCK), y + j * ldy + i, ldy, columns, adds || at > 0);
            }
        }
}
