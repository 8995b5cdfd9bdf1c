/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/answer.h - one answer, generated and shown. */
#ifndef GEM_CLI_ANSWER_H
#define GEM_CLI_ANSWER_H

#include "engine.h"
#include "input.h"
#include "media.h"
#include "view.h"

/* How long an answer is, and what is told of it. All zero: until the model stops, and its text. */
struct gem_cli_answer_limits {
    size_t max_tokens, min_tokens;
    size_t thought_tokens;        /* 0: no limit */
    const gem_stop_string *stops; /* text at which to end; with a parser they are the parser's */
    size_t n_stops;
    uint32_t logprobs; /* of so many tokens at each place, in JSON; 0: none */
    bool prompt_logprobs;
};

struct gem_cli_answer {
    const struct gem_cli_engine *engine;
    const gem_sampling *sampling;
    struct gem_cli_answer_limits limits;
    gem_constraint *constraint;        /* NULL: any text */
    gem_chat_parser *parser;           /* NULL: plain text, nothing is hidden */
    const struct gem_cli_media *media; /* of the prompt; NULL: none */
    struct gem_cli_view *view;
    struct gem_cli_tokens *sequence; /* the prompt; what is generated comes behind it */
    gem_generate_stats stats;
    bool drawn; /* its tokens are known, and only shown */
    /* while it runs */
    gem_text_stream stream;
    double thought_began;
    int code;
};

/* Continues the sequence. Ends the line of the answer. Returns 0 also when it was interrupted (stats.finish says so),
 * else an exit code after saying what went wrong. */
int gem_cli_answer_run(struct gem_cli_answer *answer);

/* One of several answers to a prompt. Zero-initialised is none. */
struct gem_cli_sample {
    struct gem_cli_tokens tokens;
    size_t n_text;          /* of plain text: bytes there are to show */
    gem_chat_parser *watch; /* of a turn: reads along, for strings that end it; NULL: plain text */
    gem_generate_stats stats;
    int code;
};

/* n answers, computed together and not shown: the sequence stays the prompt. */
int gem_cli_answer_draw(const struct gem_cli_answer *answer, struct gem_cli_sample *samples, size_t n);
/* Shows one of them as gem_cli_answer_run would; answer->parser is its own. */
int gem_cli_answer_show(struct gem_cli_answer *answer, const struct gem_cli_sample *sample);
void gem_cli_samples_free(struct gem_cli_sample *samples, size_t n); /* of calloc; NULL is fine */

/* One line about speed on standard error. */
void gem_cli_answer_stats(const struct gem_cli_engine *engine, const gem_generate_stats *stats);

#endif
