/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/output.h - a file that appears whole or not at all: written under a temporary name in the same folder,
 * synchronised, then renamed. Functions say what went wrong and return 0 or an exit code. */
#ifndef GEM_CLI_OUTPUT_H
#define GEM_CLI_OUTPUT_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is closed. */
struct gem_cli_output {
    const char *path; /* as the user gave it */
    char *target;     /* where it goes: path with symbolic links resolved */
    char *temporary;  /* NULL: target is a device or pipe and is written directly */
    int fd;           /* + 1 */
};

int gem_cli_output_open(struct gem_cli_output *output, const char *path);
int gem_cli_output_write(struct gem_cli_output *output, const void *data, size_t n, uint64_t offset);
/* Makes the file appear, and closes. */
int gem_cli_output_commit(struct gem_cli_output *output);
/* Leaves nothing behind unless it was committed. Accepts the closed state. */
void gem_cli_output_close(struct gem_cli_output *output);

#endif
