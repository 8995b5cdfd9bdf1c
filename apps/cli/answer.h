/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/answer.h - one answer, generated and streamed to standard output. */
#ifndef GEM_CLI_ANSWER_H
#define GEM_CLI_ANSWER_H

#include "engine.h"
#include "input.h"
#include "prompt.h"

struct gem_cli_answer {
    const struct gem_cli_engine *engine;
    const struct gem_cli_dialect *dialect; /* NULL: plain text, nothing is hidden */
    const gem_sampling *sampling;
    const struct gem_cli_media *media; /* of the prompt; NULL: none */
    size_t max_tokens;                 /* 0: until the model stops */
    struct gem_cli_tokens tokens;      /* what came out; freed by the caller */
    gem_generate_stats stats;
    /* while it runs */
    gem_text_stream stream;
    bool thinking;  /* inside a thought, which is not part of the answer */
    bool open_line; /* text was written and its last character was no newline */
    int code;
};

/* Continues prompt. Ends the line of the answer. Returns 0 also when it was interrupted (stats.finish says so), else
 * an exit code after saying what went wrong. */
int gem_cli_answer_run(struct gem_cli_answer *answer, const struct gem_cli_tokens *prompt);

/* One line about speed, as a note. */
void gem_cli_answer_stats(const struct gem_cli_answer *answer);

#endif
