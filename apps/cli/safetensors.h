/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/safetensors.h - writing a safetensors file whose shapes are known before its data. The format: the length
 * of a JSON header (64 bits, little-endian), the header padded with blanks to a multiple of 8, then the data. */
#ifndef GEM_CLI_SAFETENSORS_H
#define GEM_CLI_SAFETENSORS_H

#include "output.h"

struct gem_cli_tensor {
    const char *name, *dtype; /* "F32" or "I32": 4 bytes an element */
    uint32_t n_dims;
    uint64_t shape[3];
    uint64_t offset; /* out: of its first byte in the file */
};

/* Writes the header and sets every offset; the data follow in the order of the table. 0 or an exit code. */
int gem_cli_safetensors_begin(struct gem_cli_output *output, struct gem_cli_tensor *tensors, size_t n_tensors);
/* Writes n elements of 4 bytes from element `first` on. */
int gem_cli_safetensors_write(struct gem_cli_output *output, const struct gem_cli_tensor *tensor, uint64_t first,
                              const void *data, size_t n);

#endif
