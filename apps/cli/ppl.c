/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/ppl.c - gemmule ppl: perplexity of a text. The method is llama-perplexity's, so that numbers compare: the
 * text is encoded once behind <bos>, cut into windows, the first token of each window replaced by <bos>, and the tokens
 * of a window's second half scored. */
#include "commands.h"
#include "engine.h"
#include "input.h"
#include "json_out.h"
#include "terminal.h"

#include <math.h>
#include <stdio.h>

struct args {
    struct gem_cli_common common;
    const char *model, *file;
    uint32_t window, stride;
    uint64_t tokens;
    bool json;
    struct gem_cli_engine_args engine;
};

static const struct gem_cli_option options[] = {
    {.name = "window",
     .letter = 'w',
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, window),
     .min = 4,
     .max = 1 << 20,
     .value = "N",
     .fallback = "512",
     .help = "tokens of a window, of which the second half is scored"},
    {.name = "stride",
     .kind = GEM_CLI_U32,
     .offset = offsetof(struct args, stride),
     .min = 1,
     .max = 1 << 20,
     .value = "N",
     .fallback_shown = "the window",
     .help = "tokens from the start of one window to that of the next"},
    {.name = "tokens",
     .letter = 'n',
     .kind = GEM_CLI_U64,
     .offset = offsetof(struct args, tokens),
     .value = "N",
     .fallback_shown = "all",
     .help = "use only the first N tokens of the text, <bos> counted"},
    {.name = "json",
     .kind = GEM_CLI_FLAG,
     .offset = offsetof(struct args, json),
     .help = "the result as a JSON object"},
};

struct score {
    const int32_t *window; /* tokens of the window being scored */
    double sum, sum2;      /* of -log p and its square */
    uint64_t n;
    uint64_t n_windows, n_windows_begun;
};

/* -log softmax(logits)[token]. Sums in double: a quarter of a million terms. */
static double surprise(const float *logits, size_t vocab, int32_t token)
{
    double top = (double)logits[0], sum = 0;

    for (size_t i = 1; i < vocab; i++) top = (double)logits[i] > top ? (double)logits[i] : top;
    for (size_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - top);
    return log(sum) + top - (double)logits[token];
}

static bool on_logits(void *user, uint32_t position, const float *logits, size_t vocab)
{
    struct score *score = user;
    const double v = surprise(logits, vocab, score->window[position + 1]);

    score->sum += v;
    score->sum2 += v * v;
    score->n++;
    return !gem_cli_interrupted();
}

static double perplexity(const struct score *score) { return exp(score->sum / (double)score->n); }

/* Standard error of the perplexity, from that of the mean by the delta rule. */
static double uncertainty(const struct score *score)
{
    const double n = (double)score->n, mean = score->sum / n, variance = score->sum2 / n - mean * mean;

    return score->n > 1 && variance > 0 ? sqrt(variance / (n - 1)) * perplexity(score) : 0;
}

static bool on_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    const struct score *score = user;

    (void)what, (void)done, (void)total;
    if (score->n)
        gem_cli_progress_line("window %llu of %llu: perplexity %.4f", (unsigned long long)score->n_windows_begun,
                              (unsigned long long)score->n_windows, perplexity(score));
    return !gem_cli_interrupted();
}

/* tokens [window], the first of them already replaced. The last token is only scored, so it need not be computed. */
static int score_window(struct gem_cli_engine *engine, struct score *score, const int32_t *tokens, uint32_t window)
{
    gem_advance item = {
        .session = engine->session,
        .tokens = tokens,
        .n_tokens = window - 1,
        .on_logits = on_logits,
        .logits_from = window / 2,
        .user = score,
    };
    gem_error err;

    score->window = tokens;
    score->n_windows_begun++;
    if (gem_engine_advance(engine->engine, &item, 1, on_progress, score, &err)) return gem_cli_fail(&err);
    return 0;
}

static int score_text(const struct args *args, struct gem_cli_engine *engine, struct score *score,
                      struct gem_cli_tokens *tokens)
{
    const uint64_t stride = args->stride ? args->stride : args->window;
    const int32_t bos = gem_model_bos(engine->model);

    score->n_windows = (tokens->n - args->window) / stride + 1;
    for (uint64_t i = 0; i < score->n_windows; i++) {
        int32_t *window = tokens->ids + i * stride, first = window[0];

        if (bos >= 0) window[0] = bos;
        const int code = score_window(engine, score, window, args->window);
        window[0] = first; /* with a stride it is scored in another window */
        if (code) return code;
        on_progress(score, NULL, 0, 0);
    }
    gem_cli_progress_end();
    return 0;
}

static int read_tokens(const struct args *args, const gem_model *model, struct gem_cli_tokens *tokens,
                       const struct gem_cli_text *text)
{
    const int32_t bos = gem_model_bos(model);
    int code = bos < 0 ? 0 : gem_cli_tokens_push(tokens, bos);

    if (code || (code = gem_cli_tokens_encode(tokens, model, text->data, text->n, false))) return code;
    if (args->tokens && args->tokens < tokens->n) tokens->n = args->tokens;
    if (tokens->n >= args->window) return 0;
    gem_cli_error("%s: %zu tokens are fewer than one window of %u", args->file, tokens->n, args->window);
    return GEM_CLI_EXIT_LIMIT;
}

static int print_json(const struct args *args, const gem_model *model, const struct score *score, size_t n_tokens)
{
    const gem_model_info *info = gem_model_get_info(model);
    yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *root = yyjson_mut_obj(doc);
    const bool ok = root && gem_cli_json_add_text(doc, root, "model", args->model) &&
                    gem_cli_json_add_text(doc, root, "file", args->file) &&
                    yyjson_mut_obj_add_str(doc, root, "precision", gem_cli_precision_name(info->precision)) &&
                    yyjson_mut_obj_add_strcpy(doc, root, "cpu", info->cpu) &&
                    yyjson_mut_obj_add_uint(doc, root, "window", args->window) &&
                    yyjson_mut_obj_add_uint(doc, root, "stride", args->stride ? args->stride : args->window) &&
                    yyjson_mut_obj_add_uint(doc, root, "n_tokens", n_tokens) &&
                    yyjson_mut_obj_add_uint(doc, root, "n_scored", score->n) &&
                    yyjson_mut_obj_add_real(doc, root, "mean_nll", score->sum / (double)score->n) &&
                    yyjson_mut_obj_add_real(doc, root, "perplexity", perplexity(score)) &&
                    yyjson_mut_obj_add_real(doc, root, "uncertainty", uncertainty(score));

    yyjson_mut_doc_set_root(doc, root);
    return gem_cli_json_print(doc, ok, true);
}

static int run(const void *arguments)
{
    const struct args *args = arguments;
    struct gem_cli_text text = {0};
    struct gem_cli_tokens tokens = {0};
    struct gem_cli_engine engine = {0};
    struct score score = {0};
    int code = gem_cli_read(&text, args->file);

    if (code || (code = gem_cli_model_open(&engine, args->model, &args->engine))) goto done;
    if ((code = read_tokens(args, engine.model, &tokens, &text))) goto done;
    if ((code = gem_cli_session_open(&engine, &args->engine, args->window))) goto done;
    if ((code = score_text(args, &engine, &score, &tokens))) goto done;
    if (args->json)
        code = print_json(args, engine.model, &score, tokens.n);
    else
        printf("perplexity %.4f +- %.4f over %llu tokens\n", perplexity(&score), uncertainty(&score),
               (unsigned long long)score.n);
done:
    gem_cli_engine_close(&engine);
    gem_cli_tokens_free(&tokens);
    gem_cli_text_free(&text);
    return code;
}

static const char *const examples[] = {"gemmule ppl --window 2048 MODEL book.txt", NULL};

const struct gem_cli_command gem_cli_ppl = {
    .name = "ppl",
    .summary = "perplexity of a text",
    .details = "The text is encoded once with <bos> before it (control tokens spelled in it stay text) and cut into "
               "windows. The first token of each window is replaced by <bos>, and the second half of each window is "
               "scored: tokens N/2+1 to N-1 of 0 to N-1. What is left behind the last whole window is not used. The "
               "result is exp of the mean of -log p, and its standard error. This is what llama-perplexity of "
               "llama.cpp does, so the numbers compare.",
    .examples = examples,
    .operands = {{"MODEL", false, GEM_CLI_FILE, offsetof(struct args, model),
                  "a native or GGUF file, or a Hugging Face folder"},
                 {"FILE", false, GEM_CLI_FILE, offsetof(struct args, file), "the text, or \"-\" for standard input"}},
    .n_operands = 2,
    .groups = {GEM_CLI_GROUP("Options", options, 0),
               GEM_CLI_GROUP("Computing", gem_cli_fast_options, offsetof(struct args, engine)), GEM_CLI_COMMON_GROUP},
    .n_groups = 3,
    .args_size = sizeof(struct args),
    .run = run,
};
