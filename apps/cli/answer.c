/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/answer.c - streams what the model says, whole characters at a time. */
#include "answer.h"
#include "terminal.h"

#include <stdio.h>

static int put(struct gem_cli_answer *answer, const char *text, size_t n)
{
    if (!n) return 0;
    gem_cli_put_text(text, n);
    answer->open_line = text[n - 1] != '\n';
    return gem_cli_flush();
}

/* Thoughts are told by token, not by text, so an answer may speak of their markers. */
static int put_token(struct gem_cli_answer *answer, int32_t token)
{
    const struct gem_cli_dialect *dialect = answer->dialect;
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;
    gem_error err;

    if (dialect && token == dialect->thought) answer->thinking = true;
    if (!answer->thinking) {
        if (gem_text_stream_push(answer->engine->model, &answer->stream, token, text, &n, &err))
            return gem_cli_fail(&err);
    }
    if (dialect && token == dialect->thought_end) answer->thinking = false;
    return put(answer, text, n);
}

static bool on_token(void *user, int32_t token)
{
    struct gem_cli_answer *answer = user;

    gem_cli_progress_end();
    answer->code = gem_cli_tokens_push(&answer->tokens, token);
    if (!answer->code) answer->code = put_token(answer, token);
    return !answer->code && !gem_cli_interrupted();
}

static int finish_text(struct gem_cli_answer *answer)
{
    char text[GEM_TEXT_STREAM_MAX];
    size_t n = 0;
    int code;

    gem_text_stream_finish(&answer->stream, text, &n);
    if ((code = put(answer, text, n))) return code;
    return answer->open_line ? put(answer, "\n", 1) : 0;
}

static void say_how_it_ended(const struct gem_cli_answer *answer)
{
    if (answer->stats.finish == GEM_FINISH_CONTEXT)
        gem_cli_note("the context of %u tokens is full, so the answer ends here; --ctx makes it larger",
                     gem_session_context(answer->engine->session));
    if (answer->thinking) gem_cli_note("the answer ended inside a thought, which is not shown");
}

int gem_cli_answer_run(struct gem_cli_answer *answer, const struct gem_cli_tokens *prompt)
{
    const gem_generate_options options = {
        .sampling = answer->sampling,
        .max_tokens = answer->max_tokens,
        .progress = gem_cli_progress,
        .media = answer->media ? answer->media->at : NULL,
        .n_media = answer->media ? answer->media->n : 0,
    };
    gem_error err;
    gem_status status;
    int code;

    status =
        gem_generate(answer->engine->session, prompt->ids, prompt->n, &options, on_token, answer, &answer->stats, &err);
    gem_cli_progress_end();
    if (answer->code) return answer->code;
    if (status == GEM_E_CANCELLED && gem_cli_interrupted()) { /* during the prompt: there is no answer yet */
        answer->stats.finish = GEM_FINISH_CANCELLED;
        return 0;
    }
    if ((code = finish_text(answer))) return code;
    if (status) return gem_cli_fail(&err);
    say_how_it_ended(answer);
    return 0;
}

static double rate(size_t n, double seconds) { return seconds > 0 ? (double)n / seconds : 0; }

void gem_cli_answer_stats(const struct gem_cli_answer *answer)
{
    static const char *const finishes[] = {"stop token", "length", "context full", "interrupted"};
    const gem_generate_stats *stats = &answer->stats;
    const size_t n_computed = stats->n_prompt - stats->n_kept;
    const size_t n_more = stats->n_generated ? stats->n_generated - 1 : 0;

    fprintf(stderr,
            "open %.2f s; prompt %zu tokens (%zu kept), %.2f s, %.1f tokens/s; answer %zu tokens, %.2f s, "
            "%.1f tokens/s; end: %s; seed %llu\n",
            answer->engine->open_seconds, stats->n_prompt, stats->n_kept, stats->prompt_seconds,
            rate(n_computed, stats->prompt_seconds), stats->n_generated, stats->generate_seconds,
            rate(n_more, stats->generate_seconds), finishes[stats->finish & 3],
            (unsigned long long)answer->sampling->seed);
}
