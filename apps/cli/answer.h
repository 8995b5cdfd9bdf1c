/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/answer.h - one answer, generated and shown. */
#ifndef GEM_CLI_ANSWER_H
#define GEM_CLI_ANSWER_H

#include "engine.h"
#include "input.h"
#include "view.h"

struct gem_cli_answer {
    const struct gem_cli_engine *engine;
    const gem_sampling *sampling;
    size_t max_tokens;          /* 0: until the model stops */
    size_t thought_tokens;      /* 0: no limit */
    gem_constraint *constraint; /* NULL: any text */
    gem_chat_parser *parser;    /* NULL: plain text, nothing is hidden */
    struct gem_cli_view *view;
    struct gem_cli_tokens *sequence; /* the prompt; what is generated comes behind it */
    gem_generate_stats stats;
    /* while it runs */
    gem_text_stream stream;
    int code;
};

/* Continues the sequence. Ends the line of the answer. Returns 0 also when it was interrupted (stats.finish says so),
 * else an exit code after saying what went wrong. */
int gem_cli_answer_run(struct gem_cli_answer *answer);

/* One line about speed on standard error. */
void gem_cli_answer_stats(const struct gem_cli_engine *engine, const gem_generate_stats *stats, uint64_t seed);

#endif
