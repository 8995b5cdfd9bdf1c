/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/safetensors.c - the writer of probe's results. */
#include "safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they lie in memory");

enum { ELEMENT_BYTES = 4, HEADER_MAX = 1024 };

static uint64_t tensor_bytes(const struct gem_cli_tensor *tensor)
{
    uint64_t n = ELEMENT_BYTES;

    for (uint32_t d = 0; d < tensor->n_dims; d++) n *= tensor->shape[d];
    return n;
}

/* Appends ,"name":{"dtype":...,"shape":[...],"data_offsets":[begin,end]}. Names are the program's own and need no
 * escapes. Returns the new length. */
static size_t describe(char *header, size_t n, const struct gem_cli_tensor *tensor, uint64_t begin)
{
    n += (size_t)snprintf(header + n, HEADER_MAX - n, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", n > 1 ? "," : "",
                          tensor->name, tensor->dtype);
    for (uint32_t d = 0; d < tensor->n_dims; d++)
        n += (size_t)snprintf(header + n, HEADER_MAX - n, "%s%" PRIu64, d ? "," : "", tensor->shape[d]);
    n += (size_t)snprintf(header + n, HEADER_MAX - n, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                          begin + tensor_bytes(tensor));
    return n;
}

int gem_cli_safetensors_begin(struct gem_cli_output *output, struct gem_cli_tensor *tensors, size_t n_tensors)
{
    char header[HEADER_MAX] = "{"; /* probe's four tensors take under 400 bytes */
    size_t n = 1;
    uint64_t begin = 0, length;
    int code;

    for (size_t i = 0; i < n_tensors; i++) {
        n = describe(header, n, &tensors[i], begin);
        tensors[i].offset = begin;
        begin += tensor_bytes(&tensors[i]);
    }
    header[n++] = '}';
    while (n % 8) header[n++] = ' ';
    for (size_t i = 0; i < n_tensors; i++) tensors[i].offset += sizeof length + n;
    length = n;
    if ((code = gem_cli_output_write(output, &length, sizeof length, 0))) return code;
    return gem_cli_output_write(output, header, n, sizeof length);
}

int gem_cli_safetensors_write(struct gem_cli_output *output, const struct gem_cli_tensor *tensor, uint64_t first,
                              const void *data, size_t n)
{
    return gem_cli_output_write(output, data, n * ELEMENT_BYTES, tensor->offset + first * ELEMENT_BYTES);
}
