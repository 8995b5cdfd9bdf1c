/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/answer.c - generates an answer and hands what comes to its parser and view. */
#include "answer.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- showing ---------------------------------------------------------------------------------------------------- */

/* Without a format: whole characters, as they come. */
static int show_plain(struct gem_cli_answer *a, const char *text, size_t n)
{
    const gem_chat_event event = {.kind = GEM_CHAT_TEXT, .text = text, .n_text = n};

    if (n > 0) gem_cli_view_event(a->view, &event);
    return a->view->code;
}

/* How long the model has been thinking. */
static void follow_thought(struct gem_cli_answer *a)
{
    size_t n;

    if (!gem_chat_parser_thinking(a->parser, &n)) {
        a->thought_began = 0;
        return;
    }
    a->view->n_thought = n;
    if (a->drawn) return;
    if (a->thought_began == 0) a->thought_began = gem_cli_seconds();
    a->view->thought_seconds = gem_cli_seconds() - a->thought_began;
}

static int put_parsed(struct gem_cli_answer *a, int32_t token)
{
    gem_error err;

    if (gem_chat_parser_push(a->parser, token, &err)) return gem_cli_fail(&err);
    follow_thought(a);
    return a->view->code;
}

static int finish_text(struct gem_cli_answer *a)
{
    gem_error err;

    if (a->parser && gem_chat_parser_finish(a->parser, &err)) return gem_cli_fail(&err);
    return gem_cli_view_end(a->view);
}

static void say_how_it_ended(const struct gem_cli_answer *a, bool thinking)
{
    if (a->stats.finish == GEM_FINISH_CONTEXT)
        gem_cli_note("the context of %u tokens is full, so the answer ends here; --ctx makes it larger",
                     gem_session_context(a->engine->session));
    if (thinking && a->view->thoughts != GEM_CLI_THOUGHTS_SHOW)
        gem_cli_note("the answer ended inside a thought, which is not shown");
}

static int check_room(const struct gem_cli_answer *a)
{
    const uint32_t context = gem_session_context(a->engine->session);

    if (a->sequence->n <= context) return 0;
    gem_cli_error("the prompt has %zu tokens, the context has room for %u; --ctx makes it larger", a->sequence->n,
                  context);
    return GEM_CLI_EXIT_LIMIT;
}

/* ---- one -------------------------------------------------------------------------------------------------------- */

/* parser: NULL is fine. */
static bool has_stopped(const gem_chat_parser *parser) { return parser && gem_chat_parser_stop(parser) >= 0; }

static bool on_token(void *user, int32_t token)
{
    struct gem_cli_answer *a = user;

    gem_cli_progress_end();
    if (!a->code) a->code = gem_cli_tokens_push(a->sequence, token);
    if (!a->code && a->parser) a->code = put_parsed(a, token);
    return !a->code && !gem_cli_interrupted() && !has_stopped(a->parser);
}

static bool on_text(void *user, const char *text, size_t n)
{
    struct gem_cli_answer *a = user;

    if (!a->code) a->code = show_plain(a, text, n);
    return !a->code;
}

/* tell: what receives the text; NULL where a parser has the text, and stops at strings in what is neither thought nor
 * call. */
static gem_generate_options options_of(const struct gem_cli_answer *a, gem_text_fn *tell)
{
    return (gem_generate_options){
        .on_text = tell,
        .stop_strings = tell ? a->limits.stops : NULL,
        .n_stop_strings = tell ? a->limits.n_stops : 0,
        .sampling = a->sampling,
        .max_tokens = a->limits.max_tokens,
        .min_tokens = a->limits.min_tokens,
        .max_thought_tokens = a->limits.thought_tokens,
        .constraint = a->constraint,
        .progress = gem_cli_progress,
        .media = a->media ? a->media->at : NULL,
        .n_media = a->media ? a->media->n_at : 0,
    };
}

static void on_logprobs(void *user, size_t position, const gem_logprob *chosen, const gem_logprob *top, size_t n_top)
{
    struct gem_cli_answer *a = user;
    const int code = gem_cli_view_logprobs(a->view, a->engine->model, position, chosen, top, n_top);

    if (!a->code) a->code = code;
}

static gem_status generate(struct gem_cli_answer *a, gem_error *err)
{
    gem_generate_options options = options_of(a, a->parser ? NULL : on_text);
    struct gem_cli_tokens prompt = {0};
    gem_status status;

    a->code = gem_cli_tokens_append(&prompt, a->sequence->ids, a->sequence->n); /* the sequence moves as it grows */
    if (a->code) return GEM_OK;
    if (a->limits.logprobs > 0) options.on_logprobs = on_logprobs;
    options.top_logprobs = a->limits.logprobs;
    options.prompt_logprobs = a->limits.prompt_logprobs;
    status = gem_generate(a->engine->session, prompt.ids, prompt.n, &options, on_token, a, &a->stats, err);
    if (has_stopped(a->parser)) a->stats.finish = GEM_FINISH_STOP;
    gem_cli_tokens_free(&prompt);
    return status;
}

/* Ends the text after the last token. */
static int end_answer(struct gem_cli_answer *a)
{
    const bool thinking = a->parser && gem_chat_parser_thinking(a->parser, NULL);
    const int code = finish_text(a);

    if (!code) say_how_it_ended(a, thinking);
    return code;
}

int gem_cli_answer_run(struct gem_cli_answer *a)
{
    gem_error err;
    gem_status status;
    int code = check_room(a);

    if (code) return code;
    gem_cli_view_begin(a->view);
    status = generate(a, &err);
    gem_cli_progress_end();
    if (a->code) return a->code;
    if (status == GEM_E_CANCELLED && gem_cli_interrupted()) { /* during the prompt: there is no answer yet */
        a->stats.finish = GEM_FINISH_CANCELLED;
        return 0;
    }
    if (status) {
        code = finish_text(a);
        return code ? code : gem_cli_fail(&err);
    }
    return end_answer(a);
}

/* ---- several ---------------------------------------------------------------------------------------------------- */

static bool on_sample_token(void *user, int32_t token)
{
    struct gem_cli_sample *sample = user;
    gem_error err;

    gem_cli_progress_end();
    sample->code = gem_cli_tokens_push(&sample->tokens, token);
    if (!sample->code && sample->watch && gem_chat_parser_push(sample->watch, token, &err))
        sample->code = gem_cli_fail(&err);
    return !sample->code && !gem_cli_interrupted() && !has_stopped(sample->watch);
}

static bool on_sample_text(void *user, const char *text, size_t n)
{
    struct gem_cli_sample *sample = user;

    (void)text;
    sample->n_text += n;
    return true;
}

int gem_cli_answer_draw(const struct gem_cli_answer *a, struct gem_cli_sample *samples, size_t n)
{
    const gem_generate_options options = options_of(a, samples->watch ? NULL : on_sample_text);
    void **users = calloc(n, sizeof *users);
    gem_generate_stats *stats = calloc(n, sizeof *stats);
    gem_status status;
    gem_error err;
    int code = check_room(a);

    if (code) goto done;
    if (!users || !stats) {
        code = gem_cli_out_of_memory();
        goto done;
    }
    for (size_t i = 0; i < n; i++) users[i] = &samples[i];
    status = gem_generate_samples(a->engine->session, a->sequence->ids, a->sequence->n, n, &options, on_sample_token,
                                  users, stats, &err);
    gem_cli_progress_end();
    if (status) code = gem_cli_fail(&err);
    for (size_t i = 0; i < n && !code; i++) {
        samples[i].stats = stats[i];
        if (has_stopped(samples[i].watch)) samples[i].stats.finish = GEM_FINISH_STOP;
        code = samples[i].code;
    }
done:
    free(users);
    free(stats);
    return code;
}

/* The text of a token, as far as the n_left bytes go that come before a stop string. */
static int put_plain(struct gem_cli_answer *a, int32_t token, size_t *n_left)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;
    gem_error err;

    if (gem_text_stream_push(a->engine->model, &a->stream, token, text, &n, &err)) return gem_cli_fail(&err);
    if (n > *n_left) n = *n_left;
    *n_left -= n;
    return show_plain(a, text, n);
}

/* What the last tokens left of a character. */
static void finish_plain(struct gem_cli_answer *a, size_t n_left)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;

    gem_text_stream_finish(&a->stream, text, &n);
    (void)show_plain(a, text, n < n_left ? n : n_left); /* ending the view says what went wrong */
}

int gem_cli_answer_show(struct gem_cli_answer *a, const struct gem_cli_sample *sample)
{
    size_t n_left = sample->n_text;
    int code = 0;

    a->drawn = true;
    a->stats = sample->stats;
    gem_cli_view_begin(a->view);
    for (size_t i = 0; i < sample->tokens.n && !code; i++)
        code = a->parser ? put_parsed(a, sample->tokens.ids[i]) : put_plain(a, sample->tokens.ids[i], &n_left);
    if (!code && !a->parser) finish_plain(a, n_left);
    return code ? code : end_answer(a);
}

void gem_cli_samples_free(struct gem_cli_sample *samples, size_t n)
{
    for (size_t i = 0; samples && i < n; i++) {
        gem_cli_tokens_free(&samples[i].tokens);
        gem_chat_parser_close(samples[i].watch);
    }
    free(samples);
}

/* ----------------------------------------------------------------------------------------------------------------- */

static double rate(size_t n, double seconds) { return seconds > 0 ? (double)n / seconds : 0; }

void gem_cli_answer_stats(const struct gem_cli_engine *engine, const gem_generate_stats *stats)
{
    static const char *const finishes[] = {"stop token", "length", "context full", "interrupted"};
    const size_t n_computed = stats->n_prompt - stats->n_kept;
    const size_t n_more = stats->n_generated ? stats->n_generated - 1 : 0;
    gem_engine_stats done;

    fprintf(stderr,
            "open %.2f s; prompt %zu tokens (%zu kept), %.2f s, %.1f tokens/s; answer %zu tokens, %.2f s, "
            "%.1f tokens/s; end: %s; seed %llu\n",
            engine->open_seconds, stats->n_prompt, stats->n_kept, stats->prompt_seconds,
            rate(n_computed, stats->prompt_seconds), stats->n_generated, stats->generate_seconds,
            rate(n_more, stats->generate_seconds), finishes[stats->finish & 3], (unsigned long long)stats->seed);
    gem_engine_get_stats(engine->engine, &done);
    if (done.head_rows)
        fprintf(stderr, "head in two stages: %llu rows, %llu of them whole, else %.1f logits computed\n",
                (unsigned long long)done.head_rows, (unsigned long long)done.head_whole,
                rate(done.head_computed, (double)(done.head_rows - done.head_whole)));
}
