/* SPDX-License-Identifier: Apache-2.0 */
#include "chat/chat.h"

#include <string.h>

#include "base/memory.h"
#include "base/sha256.h"

/* ---- formats ---------------------------------------------------------------------------------------------------- */

void gem_chat_find_ids(struct gem_chat_ids *ids, gem_chat_format format, const struct gem_tokenizer *t)
{
    for (size_t i = 0; i < GEM_CHAT_N_CONTROLS; i++) {
        const char *name = gem_chat_control_name(format, (enum gem_chat_control)i);

        ids->id[i] = name && t ? gem_tokenizer_find(t, name, strlen(name)) : -1;
        if (ids->id[i] >= 0 && !gem_tokenizer_is_control(t, ids->id[i])) ids->id[i] = -1;
    }
}

gem_chat_format gem_chat_detect(const struct gem_tokenizer *t, bool small)
{
    static const gem_chat_format formats[] = {GEM_CHAT_GEMMA4_SMALL, GEM_CHAT_GEMMA3};
    struct gem_chat_ids ids;

    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        gem_chat_find_ids(&ids, formats[i], t);
        if (ids.id[GEM_CHAT_TURN] < 0 || ids.id[GEM_CHAT_TURN_END] < 0) continue;
        return formats[i] == GEM_CHAT_GEMMA4_SMALL && !small ? GEM_CHAT_GEMMA4_LARGE : formats[i];
    }
    return GEM_CHAT_NONE;
}

/* Files carry a template with or without the newline at its end; the digests published are of those with one. */
static void digest(const char *s, size_t n, char *hex)
{
    struct gem_sha256 sha;

    while (n > 0 && (s[n - 1] == '\n' || s[n - 1] == '\r')) n--;
    gem_sha256_begin(&sha);
    gem_sha256_add(&sha, s, n);
    gem_sha256_add(&sha, "\n", 1);
    gem_digest_hex(gem_sha256_end(&sha), hex);
}

void gem_chat_compare_template(gem_chat_info *info, const char *template, size_t n)
{
    static const struct {
        const char *sha256;
        gem_chat_format format;
    } known[] = {
        /* published 2026-07-09 for 12B, 26B-A4B and 31B; for E2B and E4B */
        {"ae53464bf3be25802b3a5b37def7fd89667067d7577049b3b2d74c4d8de4c6d4", GEM_CHAT_GEMMA4_LARGE},
        {"0a2c8073c878ab1da004bee933a998606537bbb62016310352c7285c3f01c5b5", GEM_CHAT_GEMMA4_SMALL},
        /* nano's, which renders what that of E2B and E4B does (models/nano/README.md) */
        {"5116216ae5e60d3828543251233c9e5c0d7bb76583e39bd68cc00bbb6594b98d", GEM_CHAT_GEMMA4_SMALL},
    };
    static const char *const notes[] = {
        [GEM_CHAT_NONE] = "the model has a chat template, but no tokens for turns; the template is not used",
        [GEM_CHAT_GEMMA3] = "the model's chat template is not executed; Gemma 3's plain turns are used",
        [GEM_CHAT_GEMMA4_SMALL] =
            "the model's chat template is not a known one; that of E2B and E4B (2026-07-09) is used instead",
        [GEM_CHAT_GEMMA4_LARGE] =
            "the model's chat template is not a known one; that of 12B, 26B-A4B and 31B (2026-07-09) is used instead",
    };
    struct gem_sha256 sha;
    char hex[65];

    if (!template) return;
    info->has_template = true;
    gem_sha256_begin(&sha);
    gem_sha256_add(&sha, template, n);
    gem_digest_hex(gem_sha256_end(&sha), info->sha256);
    digest(template, n, hex);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(hex, known[i].sha256) || info->format < GEM_CHAT_GEMMA4_SMALL) continue;
        info->known_template = true;
        info->format = known[i].format;
    }
    if (!info->known_template) info->note = notes[info->format];
}

/* ---- prompts ---------------------------------------------------------------------------------------------------- */

static gem_status read_tools(struct gem_chat_prompt *p, const char *tools, size_t n, gem_error *err)
{
    yyjson_val *root;
    gem_status st;

    if (!tools) return GEM_OK;
    if ((st = gem_json_parse_raw(&p->tools, "tools", tools, n, GEM_CHAT_MAX_JSON, err))) return st;
    root = yyjson_doc_get_root(p->tools);
    if (!yyjson_is_arr(root) && !yyjson_is_null(root)) return gem_fail(err, GEM_E_FORMAT, 0, "tools: not an array");
    if (yyjson_arr_size(root) > 0) return GEM_OK;
    yyjson_doc_free(p->tools);
    p->tools = NULL;
    return GEM_OK;
}

gem_status gem_chat_prompt_open(struct gem_chat_prompt **out, const struct gem_tokenizer *t, gem_chat_format format,
                                const char *messages, size_t n_messages, const char *tools, size_t n_tools,
                                const gem_chat_options *options, gem_error *err)
{
    static const gem_chat_options defaults;
    const gem_chat_options *o = options ? options : &defaults;
    struct gem_chat_prompt *p;
    yyjson_doc *doc = NULL;
    gem_status st;

    *out = NULL;
    if (o->format != GEM_CHAT_NONE) format = o->format;
    if (format < GEM_CHAT_GEMMA3 || format > GEM_CHAT_GEMMA4_LARGE)
        return gem_fail(err, GEM_E_UNSUPPORTED, 0, "the vocabulary has no turns of a conversation");
    if (!(p = gem_calloc(1, sizeof *p, "a conversation", err))) return GEM_E_NOMEM;
    p->text.format = format;
    p->text.err = err;
    if ((st = read_tools(p, tools, n_tools, err))) goto fail;
    if ((st = gem_json_parse_raw(&doc, "messages", messages, n_messages, GEM_CHAT_MAX_JSON, err))) goto fail;
    if ((st = gem_chat_render_messages(p, yyjson_doc_get_root(doc), o, err))) goto fail;
    if (t && (st = gem_chat_encode(p, t, o->seen, o->n_seen, err))) goto fail;
    yyjson_doc_free(doc);
    p->text.err = NULL;
    *out = p;
    return GEM_OK;
fail:
    yyjson_doc_free(doc);
    gem_chat_prompt_close(p);
    return st;
}

void gem_chat_prompt_close(gem_chat_prompt *p)
{
    if (!p) return;
    gem_chat_text_close(&p->text);
    yyjson_doc_free(p->tools);
    gem_free(p->tokens);
    gem_free(p->media);
    gem_free(p);
}

size_t gem_chat_prompt_tokens(const gem_chat_prompt *p, const int32_t **tokens)
{
    *tokens = p->tokens;
    return p->n_tokens;
}

size_t gem_chat_prompt_text(const gem_chat_prompt *p, const char **text)
{
    *text = p->text.s;
    return p->text.n;
}

gem_thought gem_chat_prompt_thought(const gem_chat_prompt *p) { return p->thought; }

size_t gem_chat_prompt_media(const gem_chat_prompt *p, const gem_chat_media **media)
{
    *media = p->media;
    return p->n_media;
}
