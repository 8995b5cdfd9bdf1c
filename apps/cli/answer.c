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
    gem_error err;

    if (gem_chat_parser_push(a->parser, token, &err)) return gem_cli_fail(&err);
    return a->view->code;
}

static bool on_token(void *user, int32_t token)
{
    struct gem_cli_answer *a = user;

    gem_cli_progress_end();
    a->code = gem_cli_tokens_push(a->sequence, token);
    if (!a->code) a->code = a->parser ? put_parsed(a, token) : put_plain(a, token);
    return !a->code && !gem_cli_interrupted();
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

static gem_status generate(struct gem_cli_answer *a, gem_error *err)
{
    const gem_generate_options options = {
        .sampling = a->sampling,
        .max_tokens = a->max_tokens,
        .max_thought_tokens = a->thought_tokens,
        .constraint = a->constraint,
        .progress = gem_cli_progress,
        .media = a->media ? a->media->at : NULL,
        .n_media = a->media ? a->media->n_at : 0,
    };
    struct gem_cli_tokens prompt = {0};
    gem_status status;

    a->code = gem_cli_tokens_append(&prompt, a->sequence->ids, a->sequence->n); /* the sequence moves as it grows */
    if (a->code) return GEM_OK;
    status = gem_generate(a->engine->session, prompt.ids, prompt.n, &options, on_token, a, &a->stats, err);
    gem_cli_tokens_free(&prompt);
    return status;
}

int gem_cli_answer_run(struct gem_cli_answer *a)
{
    bool thinking;
    gem_error err;
    gem_status status;
    int code;

    gem_cli_view_begin(a->view);
    status = generate(a, &err);
    gem_cli_progress_end();
    if (a->code) return a->code;
    if (status == GEM_E_CANCELLED && gem_cli_interrupted()) { /* during the prompt: there is no answer yet */
        a->stats.finish = GEM_FINISH_CANCELLED;
        return 0;
    }
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
