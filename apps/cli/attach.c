/* SPDX-License-Identifier: Apache-2.0 */
#include "attach.h"
#include "json_out.h"
#include "terminal.h"

#include <stdlib.h>
#include <string.h>

/* Where the bytes of a part are. */
struct source {
    const char *path;
    uint8_t *bytes; /* where there is no path; free it */
    size_t n;
    const char *type; /* "image", "video" or "audio" */
};

/* ---- base64, RFC 4648 -------------------------------------------------------------------------------------------- */

static int digit_of(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* out [n / 4 * 3]. false: no base64. */
static bool decode_base64(const char *text, size_t n, uint8_t *out, size_t *n_out)
{
    const size_t padding = n > 0 && text[n - 1] == '=' ? 1 + (n > 1 && text[n - 2] == '=') : 0;
    uint32_t bits = 0;
    size_t used = 0;

    if (n == 0 || n % 4) return false;
    for (size_t i = 0; i < n - padding; i++) {
        const int digit = digit_of(text[i]);

        if (digit < 0) return false;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4) out[used++] = (uint8_t)(bits >> (6 - i % 4 * 2)); /* 4, 2 and 0 bits wait for the next digit */
    }
    *n_out = used;
    return true;
}

/* ---- what a part names ------------------------------------------------------------------------------------------- */

static int refuse(const char *what)
{
    gem_cli_error("a part of a message %s", what);
    return GEM_CLI_EXIT_FILE;
}

static int take_data(struct source *s, const char *text, size_t n)
{
    if (!(s->bytes = malloc(n ? n : 1))) return gem_cli_out_of_memory();
    return decode_base64(text, n, s->bytes, &s->n) ? 0 : refuse("has data that is no base64");
}

/* A path, file://PATH, or data:TYPE;base64,... */
static int take_url(struct source *s, yyjson_mut_val *value)
{
    const char *text = yyjson_mut_get_str(value), *comma;
    const size_t n = yyjson_mut_get_len(value);

    if (!text) return refuse("names no file");
    if (memchr(text, 0, n)) return refuse("names a file with a zero byte in its name");
    if (!strncmp(text, "http://", 7) || !strncmp(text, "https://", 8))
        return refuse("names something on the network, which is not fetched: name a file");
    if (!strncmp(text, "data:", 5)) {
        if (!(comma = strstr(text, ";base64,"))) return refuse("has a data: URL without base64");
        comma += strlen(";base64,");
        return take_data(s, comma, n - (size_t)(comma - text));
    }
    s->path = strncmp(text, "file://", 7) ? text : text + 7;
    return 0;
}

static int find_source(struct source *s, yyjson_mut_val *part)
{
    static const struct {
        const char *type, *means, *inside; /* inside: the object that has the "url" or "data" */
    } types[] = {{"image", "image", NULL},
                 {"image_url", "image", "image_url"},
                 {"audio", "audio", NULL},
                 {"input_audio", "audio", "input_audio"},
                 {"video", "video", NULL}};
    yyjson_mut_val *type = yyjson_mut_obj_get(part, "type"), *inner, *value;

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (!yyjson_mut_equals_str(type, types[i].type)) continue;
        s->type = types[i].means;
        inner = types[i].inside ? yyjson_mut_obj_get(part, types[i].inside) : NULL;
        if ((value = yyjson_mut_obj_get(inner, "data")) && yyjson_mut_is_str(value))
            return take_data(s, yyjson_mut_get_str(value), yyjson_mut_get_len(value));
        if (!(value = yyjson_mut_obj_get(part, "path")) && !(value = yyjson_mut_obj_get(inner, "url")) &&
            !(value = yyjson_mut_obj_get(part, "url")) && !(value = yyjson_mut_obj_get(part, s->type)))
            value = inner;
        return take_url(s, value);
    }
    return refuse("is neither an image nor a video nor a sound");
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static int open_source(struct gem_cli_media *media, const gem_model *model, const struct gem_cli_showing *how,
                       const struct source *s, const void *part)
{
    if (!strcmp(s->type, "image")) {
        const gem_image_source image = {.path = s->path, .bytes = s->bytes, .n_bytes = s->n, .budget = how->budget};
        return gem_cli_media_add(media, model, &image, part);
    }
    if (!strcmp(s->type, "video")) {
        const gem_video_source video = {.path = s->path,
                                        .bytes = s->bytes,
                                        .n_bytes = s->n,
                                        .budget = how->budget,
                                        .n_frames = how->frames,
                                        .fps = how->fps};
        return gem_cli_media_add_video(media, model, &video, part);
    }
    const gem_audio_source audio = {.path = s->path, .bytes = s->bytes, .n_bytes = s->n};
    return gem_cli_media_add_audio(media, model, &audio, part);
}

int gem_cli_attach_path(struct gem_cli_media *media, const gem_model *model, const struct gem_cli_showing *how,
                        const char *type, const char *path, const void *part)
{
    const struct source s = {.path = path, .type = type};

    return open_source(media, model, how, &s, part);
}

int gem_cli_attach(struct gem_cli_media *media, const gem_model *model, const struct gem_cli_showing *how,
                   yyjson_mut_val *part)
{
    struct source s = {0};
    int code;

    if (gem_cli_media_has(media, part)) return 0;
    if (!(code = find_source(&s, part))) code = open_source(media, model, how, &s, part);
    free(s.bytes);
    return code;
}

yyjson_mut_val *gem_cli_attach_file(yyjson_mut_doc *doc, const char *type, const char *path)
{
    yyjson_mut_val *part = yyjson_mut_obj(doc);

    if (!part || !yyjson_mut_obj_add_str(doc, part, "type", type)) return NULL;
    return yyjson_mut_obj_add_strcpy(doc, part, "path", path) ? part : NULL;
}
