/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/case.h - the cases that gemmule probe computes. */
#ifndef GEM_CLI_CASE_H
#define GEM_CLI_CASE_H

#include "input.h"

/* Reads the tokens of CASE.json: {"tokens": [2, ...], "media": [], ...}. Media are refused, for this version has no
 * vision and no audio. Other keys ("greedy": what the reference chose) are results and not needed. 0 or an exit code
 * after saying what is wrong. */
int gem_cli_case_read(struct gem_cli_tokens *tokens, const char *path);

/* Chooses which of n_tokens rows are kept, in rising order. which: "all"; "16": the last 16; NULL: all up to 64 tokens,
 * else the choice of the reference cases: every (n / 16)th and the last 8. */
int gem_cli_case_rows(struct gem_cli_tokens *rows, size_t n_tokens, const char *which);

#endif
