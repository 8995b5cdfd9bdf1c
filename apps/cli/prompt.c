/* SPDX-License-Identifier: Apache-2.0
 * apps/cli/prompt.c - turns as tokens. The format is that of the template published with the models (2026-07-09);
 * in particular
 *
 *   <bos> <|turn>system\n TEXT <turn|> \n <|turn>user\n TEXT <turn|> \n <|turn>model\n
 *
 * and, for the sizes that would think unasked (12B, 26B-A4B, 31B: those without per-layer embeddings), an empty
 * thought behind it. The small ones narrate their reasoning when given one, so they get none. */
#include "prompt.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

static int32_t token_id(const gem_model *model, const char *piece)
{
    return gem_model_token_id(model, piece, strlen(piece));
}

bool gem_cli_dialect_find(struct gem_cli_dialect *dialect, const gem_model *model)
{
    static const struct {
        const char *open, *close, *thought, *thought_end;
        bool system_turn;
    } known[] = {
        {"<|turn>", "<turn|>", "<|channel>", "<channel|>", true},
        {"<start_of_turn>", "<end_of_turn>", NULL, NULL, false},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        *dialect = (struct gem_cli_dialect){
            .open = token_id(model, known[i].open),
            .close = token_id(model, known[i].close),
            .thought = known[i].thought ? token_id(model, known[i].thought) : -1,
            .thought_end = known[i].thought ? token_id(model, known[i].thought_end) : -1,
            .system_turn = known[i].system_turn,
        };
        if (dialect->open < 0 || dialect->close < 0) continue;
        dialect->empty_thought =
            dialect->thought >= 0 && dialect->thought_end >= 0 && gem_model_get_info(model)->ple == 0;
        return true;
    }
    return false;
}

int gem_cli_prompt_begin(struct gem_cli_tokens *tokens, const gem_model *model)
{
    const int32_t bos = gem_model_bos(model);

    return bos < 0 ? 0 : gem_cli_tokens_push(tokens, bos);
}

static int encode_words(struct gem_cli_tokens *tokens, const gem_model *model, const char *words)
{
    return gem_cli_tokens_encode(tokens, model, words, strlen(words), false);
}

/* role, newline and text are encoded as one piece, as the reference does: the newline could join what follows. */
int gem_cli_prompt_turn(struct gem_cli_tokens *tokens, const gem_model *model, const struct gem_cli_dialect *dialect,
                        const char *role, const char *lead, const char *text, size_t n)
{
    const char *body = text;
    const size_t n_body = gem_cli_strip(&body, n), n_role = strlen(role), n_lead = lead ? strlen(lead) : 0;
    char *piece = malloc(n_role + n_lead + n_body + 3), *end = piece;
    int code;

    if (!piece) return gem_cli_out_of_memory();
    memcpy(end, role, n_role);
    end += n_role;
    *end++ = '\n';
    if (lead) {
        memcpy(end, lead, n_lead);
        end += n_lead;
        *end++ = '\n';
        *end++ = '\n';
    }
    memcpy(end, body, n_body);
    end += n_body;
    if (!(code = gem_cli_tokens_push(tokens, dialect->open)) &&
        !(code = gem_cli_tokens_encode(tokens, model, piece, (size_t)(end - piece), false)) &&
        !(code = gem_cli_tokens_push(tokens, dialect->close)))
        code = encode_words(tokens, model, "\n");
    free(piece);
    return code;
}

int gem_cli_prompt_media_turn(struct gem_cli_tokens *tokens, const gem_model *model,
                              const struct gem_cli_dialect *dialect, struct gem_cli_media *media, const char *text,
                              size_t n)
{
    const char *body = text;
    const size_t n_body = gem_cli_strip(&body, n);
    int code;

    if (media->n == 0) return gem_cli_prompt_turn(tokens, model, dialect, "user", NULL, text, n);
    if ((code = gem_cli_tokens_push(tokens, dialect->open))) return code;
    for (size_t i = 0; i < media->n && !code; i++)
        code = gem_cli_media_write(media, i, model, i == 0 ? "user\n" : "", tokens);
    if (code || (code = gem_cli_tokens_encode(tokens, model, body, n_body, false))) return code;
    if ((code = gem_cli_tokens_push(tokens, dialect->close))) return code;
    return encode_words(tokens, model, "\n");
}

int gem_cli_prompt_answer(struct gem_cli_tokens *tokens, const gem_model *model, const struct gem_cli_dialect *dialect)
{
    int code;

    if ((code = gem_cli_tokens_push(tokens, dialect->open))) return code;
    if ((code = encode_words(tokens, model, "model\n")) || !dialect->empty_thought) return code;
    if ((code = gem_cli_tokens_push(tokens, dialect->thought))) return code;
    if ((code = encode_words(tokens, model, "thought\n"))) return code;
    return gem_cli_tokens_push(tokens, dialect->thought_end);
}

/* The model must not see its earlier thoughts again. The rest stays as it was generated rather than encoded anew, so
 * that the session can keep what it has computed. */
int gem_cli_prompt_history(struct gem_cli_tokens *tokens, const gem_model *model, const struct gem_cli_dialect *dialect,
                           const struct gem_cli_tokens *answer)
{
    bool thinking = false;
    int code;

    if ((code = gem_cli_tokens_push(tokens, dialect->open)) || (code = encode_words(tokens, model, "model\n")))
        return code;
    for (size_t i = 0; i < answer->n && !code; i++) {
        const int32_t id = answer->ids[i];

        if (id == dialect->thought && id >= 0) thinking = true;
        if (!thinking && id != dialect->thought_end) code = gem_cli_tokens_push(tokens, id);
        if (id == dialect->thought_end) thinking = false;
    }
    if (code || (code = gem_cli_tokens_push(tokens, dialect->close))) return code;
    return encode_words(tokens, model, "\n");
}

/* ---- white space -------------------------------------------------------------------------------------------- */

static const char *const spaces[] = {
    "\t",           "\n",           "\v",           "\f",           "\r",
    "\x1c",         "\x1d",         "\x1e",         "\x1f",         " ",
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
    "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
    "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
    "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
};

/* Bytes of the white space that text [n] begins, or ends, with; 0: none. */
static size_t space_at(const char *text, size_t n, bool end)
{
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++) {
        const size_t size = strlen(spaces[i]);

        if (size <= n && !memcmp(end ? text + n - size : text, spaces[i], size)) return size;
    }
    return 0;
}

size_t gem_cli_strip(const char **text, size_t n)
{
    size_t size;

    while ((size = space_at(*text, n, false))) {
        *text += size;
        n -= size;
    }
    while ((size = space_at(*text, n, true))) n -= size;
    return n;
}
