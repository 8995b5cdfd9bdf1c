/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/answer.c - generates an answer and hands what comes to its parser and view. */
#include "answer.h"
#include "terminal.h"

#include <stdio.h>

/* Without a format: whole characters, as they come. */
static int show_plain(struct gem_cli_answer *a, const char *text, size_t n)
{
    const gem_chat_event event = {.kind = GEM_CHAT_TEXT, .text = text, .n_text = n};

    if (n > 0) gem_cli_view_event(a->view, &event);
    return a->view->code;
}

static int put_plain(struct gem_cli_answer *a, int32_t token)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;
    gem_error err;

    if (gem_text_stream_push(a->engine->model, &a->stream, token, text, &n, &err)) return gem_cli_fail(&err);
    return show_plain(a, text, n);
}

static int put_parsed(struct gem_cli_answer *a, int32_t token)
{
    size_t n_thought;
    gem_error err;

    if (gem_chat_parser_push(a->parser, token, &err)) return gem_cli_fail(&err);
    a->out_of_thought =
        a->thought_tokens && gem_chat_parser_thinking(a->parser, &n_thought) && n_thought >= a->thought_tokens;
    return a->view->code;
}

static bool on_token(void *user, int32_t token)
{
    struct gem_cli_answer *a = user;

    gem_cli_progress_end();
    a->code = gem_cli_tokens_push(a->sequence, token);
    if (!a->code) a->code = a->parser ? put_parsed(a, token) : put_plain(a, token);
    return !a->code && !gem_cli_interrupted() && !a->out_of_thought;
}

static int finish_text(struct gem_cli_answer *a)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;
    gem_error err;

    if (a->parser && gem_chat_parser_finish(a->parser, &err)) return gem_cli_fail(&err);
    if (!a->parser) {
        gem_text_stream_finish(&a->stream, text, &n);
        (void)show_plain(a, text, n); /* ending the view says what went wrong */
    }
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

static void add_stats(gem_generate_stats *sum, const gem_generate_stats *part, size_t n_before)
{
    const gem_generate_stats first = *sum;

    *sum = *part;
    if (first.n_prompt == 0) return;
    sum->n_prompt = first.n_prompt;
    sum->n_kept = first.n_kept;
    sum->prompt_seconds = first.prompt_seconds;
    sum->n_generated = n_before - first.n_prompt + part->n_generated;
    sum->generate_seconds += first.generate_seconds + part->prompt_seconds;
}

/* The thought has had its tokens: it is closed as the model would close it. */
static int close_thought(struct gem_cli_answer *a)
{
    int32_t tokens[8];
    size_t n = 0;
    gem_error err;

    a->out_of_thought = false;
    if (gem_chat_parser_close_thought(a->parser, tokens, &n, &err)) return gem_cli_fail(&err);
    return gem_cli_tokens_append(a->sequence, tokens, n);
}

/* Generates until the answer, or a thought's tokens, end. */
static gem_status generate(struct gem_cli_answer *a, size_t n_done, gem_error *err)
{
    gem_sampling sampling = *a->sampling;
    const gem_generate_options options = {
        .sampling = &sampling,
        .max_tokens = a->max_tokens ? a->max_tokens - n_done : 0,
        .progress = gem_cli_progress,
    };
    const struct gem_cli_tokens prompt = *a->sequence;
    gem_generate_stats stats = {0};
    struct gem_cli_tokens copy = {0};
    gem_status status;

    sampling.seed += n_done;                                      /* the draws are counted anew */
    a->code = gem_cli_tokens_append(&copy, prompt.ids, prompt.n); /* the sequence moves as it grows */
    if (a->code) return GEM_OK;
    status = gem_generate(a->engine->session, copy.ids, copy.n, &options, on_token, a, &stats, err);
    gem_cli_tokens_free(&copy);
    if (!status) add_stats(&a->stats, &stats, prompt.n);
    return status;
}

int gem_cli_answer_run(struct gem_cli_answer *a)
{
    const size_t n_prompt = a->sequence->n;
    bool thinking;
    gem_error err;
    gem_status status = GEM_OK;
    int code;

    gem_cli_view_begin(a->view);
    do {
        a->code = a->out_of_thought ? close_thought(a) : 0;
        if (a->code) return a->code;
        if (a->max_tokens && a->sequence->n - n_prompt >= a->max_tokens) {
            a->stats.finish = GEM_FINISH_LENGTH;
            break;
        }
        status = generate(a, a->sequence->n - n_prompt, &err);
        gem_cli_progress_end();
        if (a->code) return a->code;
        if (status == GEM_E_CANCELLED && gem_cli_interrupted()) { /* during the prompt: there is no answer yet */
            a->stats.finish = GEM_FINISH_CANCELLED;
            return 0;
        }
    } while (!status && a->out_of_thought && !gem_cli_interrupted());
    thinking = a->parser && gem_chat_parser_thinking(a->parser, NULL);
    if ((code = finish_text(a))) return code;
    if (status) return gem_cli_fail(&err);
    say_how_it_ended(a, thinking);
    return 0;
}

static double rate(size_t n, double seconds) { return seconds > 0 ? (double)n / seconds : 0; }

void gem_cli_answer_stats(const struct gem_cli_engine *engine, const gem_generate_stats *stats, uint64_t seed)
{
    static const char *const finishes[] = {"stop token", "length", "context full", "interrupted"};
    const size_t n_computed = stats->n_prompt - stats->n_kept;
    const size_t n_more = stats->n_generated ? stats->n_generated - 1 : 0;

    fprintf(stderr,
            "open %.2f s; prompt %zu tokens (%zu kept), %.2f s, %.1f tokens/s; answer %zu tokens, %.2f s, "
            "%.1f tokens/s; end: %s; seed %llu\n",
            engine->open_seconds, stats->n_prompt, stats->n_kept, stats->prompt_seconds,
            rate(n_computed, stats->prompt_seconds), stats->n_generated, stats->generate_seconds,
            rate(n_more, stats->generate_seconds), finishes[stats->finish & 3], (unsigned long long)seed);
}
