/* SPDX-License-Identifier: Apache-2.0
 * src/model/weights.h - tensors bound by name to a typed structure. A tensor that is missing, misshapen or unknown is
 * refused by name. Names: spec/text-model.md 4.1 and 4.4, docs/gemma3.md. */
#ifndef GEM_MODEL_WEIGHTS_H
#define GEM_MODEL_WEIGHTS_H

#include "base/file.h"
#include "base/memory.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "model/hparams.h"

/* y = M x, M [rows, cols]. `data` is the mapped tensor: rows, or panels where a native file has them (in_panels).
 * `panels` is what the fast tier multiplies with, `data` itself or a packed copy; or NULL: then the products run on
 * rows with float32 activations. A zero type with NULL data: absent. */
struct gem_matrix {
    enum gem_type type;
    uint32_t rows, cols;
    const uint8_t *data;
    uint64_t row_bytes; /* of data; in_panels: a sixteenth of a panel, so that whole panels can be stepped over */
    enum gem_pack_kind kind;
    bool in_panels;
    const uint8_t *panels;
};

/* `count` matrices of one shape, one after the other: the experts. */
struct gem_matrix_stack {
    struct gem_matrix first;
    uint32_t count;
    uint64_t data_stride, panel_stride; /* bytes from one to the next */
};

struct gem_experts {
    struct gem_matrix router;                                /* [n_experts, hidden] */
    const float *router_scale;                               /* [hidden] */
    const float *expert_scale;                               /* [n_experts] */
    const float *norm, *post_norm_dense, *post_norm_experts; /* [hidden] */
    struct gem_matrix_stack gate_up;  /* [2 * ffn_expert, hidden] each, gate rows first; absent when split */
    struct gem_matrix_stack gate, up; /* [ffn_expert, hidden] each, when the file has them apart */
    struct gem_matrix_stack down;     /* [hidden, ffn_expert] each */
};

struct gem_layer {
    const float *attn_norm, *post_attn_norm, *ffn_norm, *post_ffn_norm; /* [hidden] */
    const float *q_norm;                                                /* [head_dim]; the query scale is folded in */
    const float *k_norm;                                                /* [head_dim]; layers that own a cache */
    struct gem_matrix q, k, v, o;
    struct gem_matrix gate, up, down;
    struct gem_matrix ple_gate, ple_proj; /* [ple, hidden], [hidden, ple] */
    const float *ple_norm;                /* [hidden] */
    float scale;                          /* of the whole residual stream; 1 where the family has none */
    struct gem_experts experts;
};

/* [rows = vocab, cols = n_layers * ple], read from its file row by row (model/ple.h). Zero: absent. */
struct gem_ple_table {
    enum gem_type type;
    uint32_t rows, cols;
    uint64_t row_bytes, offset;
    const struct gem_map *map; /* the archive's */
    const char *path;
    const uint8_t *data; /* mapped, though only pack reads it there */
};

struct gem_weights {
    const struct gem_map *maps; /* [n_maps] the archive's: where mapped data lies */
    const char *const *paths;   /* [n_maps] */
    uint32_t n_maps;
    struct gem_matrix table; /* [vocab, hidden] token embeddings */
    struct gem_matrix head;  /* the same matrix when tied */
    const float *norm;       /* [hidden] */
    struct gem_ple_table ple_table;
    struct gem_matrix ple_proj; /* [n_layers * ple, hidden] */
    const float *ple_norm;      /* [ple] */
    struct gem_layer *layers;   /* [n_layers] */

    struct gem_coarse *coarse; /* of the head (coarse.h); NULL: none was asked for */

    float *vectors;  /* storage of all norms and scales, float32 */
    uint8_t *packed; /* storage of all panels */
    uint64_t vector_bytes, mapped_bytes, packed_bytes;
    uint64_t n_parameters, n_parameters_active;
};

/* A matrix, or a stack of `count`, that gem_linear multiplies with. */
struct gem_product {
    struct gem_matrix *m;
    uint32_t count;
    uint64_t *data_stride, *panel_stride; /* of a stack, else NULL */
    uint32_t layer;                       /* n_layers: of no layer */
};
enum { GEM_PRODUCTS_PER_LAYER = 16, GEM_PRODUCTS_MORE = 2 };

enum gem_role { GEM_ROLE_UNKNOWN, GEM_ROLE_TEXT, GEM_ROLE_DEAD, GEM_ROLE_VISION, GEM_ROLE_AUDIO };

/* Binds the tensors of `a`. roles [a->n_tensors] receives what each tensor is for. */
gem_status gem_weights_bind(struct gem_weights *w, const struct gem_hparams *h, const struct gem_archive *a,
                            enum gem_role *roles, gem_error *err);
/* All products in the order of a forward pass; out [n_layers * GEM_PRODUCTS_PER_LAYER + GEM_PRODUCTS_MORE]. Returns
 * how many there are. */
size_t gem_weights_products(struct gem_weights *w, const struct gem_hparams *h, struct gem_product *out);
/* Bytes that products read for one row: of a mixture, the experts that it uses. */
gem_status gem_weights_token_bytes(struct gem_weights *w, const struct gem_hparams *h, uint64_t *n, gem_error *err);
/* Bytes of a product's panels. */
uint64_t gem_product_panel_bytes(const struct gem_product *p);

/* Bytes that gem_weights_pack will take. */
gem_status gem_weights_packed_bytes(struct gem_weights *w, const struct gem_hparams *h, uint64_t *n, gem_error *err);
/* Gives every quantised matrix its panels for the fast tier: those of the file, or a copy that is packed here. `a`
 * stays mapped for table rows. */
gem_status gem_weights_pack(struct gem_weights *w, const struct gem_hparams *h, struct gem_pool *pool,
                            gem_progress_fn *progress, void *user, gem_error *err);
void gem_weights_close(struct gem_weights *w);

/* A matrix's panels, of kind, or of pairs where that is GEM_PK_NONE: bytes; and made from its rows at dst, 64-byte
 * aligned, by all threads of the pool. The pages of the rows are given back. kern serves pairs, else it may be NULL. */
uint64_t gem_matrix_panel_bytes(const struct gem_matrix *m);
void gem_matrix_pack(const struct gem_matrix *m, const struct gem_kernels *kern, uint8_t *dst, struct gem_pool *pool);

/* For those who bind tensors by tables of their own: the towers. Shape, a type that decodes, and rows, not panels;
 * values of a vector, refusing those that would poison every computation; the whole as a matrix. */
gem_status gem_tensor_check(const struct gem_archive *a, const struct gem_tensor *t, const uint64_t *want, uint32_t n,
                            gem_error *err);
gem_status gem_tensor_values(const struct gem_archive *a, const struct gem_tensor *t, float *out, size_t n,
                             gem_error *err);
struct gem_matrix gem_tensor_matrix(const struct gem_tensor *t, uint64_t rows, uint64_t cols);

/* Matrix i of a stack. */
struct gem_matrix gem_matrix_at(const struct gem_matrix_stack *s, uint32_t i);
/* out [cols] = row of the matrix, decoded. */
void gem_matrix_row(const struct gem_matrix *m, uint32_t row, float *out);
/* The same by reading the file, so that nothing of the matrix becomes resident; scratch as large as GEM_PANEL rows of
 * floats. GEM_E_IO when the file cannot be read any more. */
gem_status gem_matrix_read_row(const struct gem_weights *w, const struct gem_matrix *m, uint32_t row, void *scratch,
                               float *out, gem_error *err);
/* The file that mapped data lies in. */
uint32_t gem_weights_map_of(const struct gem_weights *w, const uint8_t *data);

/* Looks for a tensor that holds NaN or infinity and names it: slow, for the message after a computation went
 * wrong. GEM_E_NONFINITE always. */
gem_status gem_weights_blame(const struct gem_archive *a, const enum gem_role *roles, gem_error *err);

#endif
