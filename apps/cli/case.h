/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/case.h - the cases that gemmule probe computes. */
#ifndef GEM_CLI_CASE_H
#define GEM_CLI_CASE_H

#include "input.h"

/* An image, a frame of a video, or a sound. */
struct gem_cli_case_media {
    char *path; /* beside the case */
    gem_media_kind kind;
    uint32_t budget; /* 0: not said */
    size_t *at;      /* [n_at] where it stands; a long sound is several pieces */
    size_t n_at;
};

/* Zero-initialised is empty. */
struct gem_cli_case {
    struct gem_cli_tokens tokens;
    struct gem_cli_case_media *media;
    size_t n_media;
};

/* Reads CASE.json: {"tokens": [2, ...], "media": [{"kind": "image", "file": "a.png", "budget": 70, "at": 7}, {"kind":
 * "video", "frames": ["b.png", ...], "budget": 70, "at": [9, ...]}, {"kind": "audio", "file": "c.wav", "at": 80 or [80,
 * ...] for each 30 s}], ...}. Other keys ("greedy": what the reference
 * chose) are results and not needed. 0 or an exit code after saying what is wrong. */
int gem_cli_case_read(struct gem_cli_case *c, const char *path);
void gem_cli_case_free(struct gem_cli_case *c);

/* Chooses which of n_tokens rows are kept, in rising order. which: "all"; "16": the last 16; NULL: all up to 64 tokens,
 * else the choice of the reference cases: every (n / 16)th and the last 8. */
int gem_cli_case_rows(struct gem_cli_tokens *rows, size_t n_tokens, const char *which);

#endif
