/* SPDX-License-Identifier: Apache-2.0
 *
 * gemmule.h - run Gemma 4 (and Gemma 3 text) models on a CPU.
 *
 *   gem_model    a checkpoint: weights, hyperparameters, tokenizer. Immutable once open; any number of
 *                threads and engines may share it.
 *   gem_engine   threads, kernels and scratch memory that advance sessions of one model. One call at a
 *                time per engine.
 *   gem_session  one sequence of tokens with its key/value cache. Used through the engine that made it.
 *
 *   gem_model *model; gem_engine *engine; gem_session *session; gem_error err;
 *   if (gem_model_open(&model, "gemma-4-E2B-it.gguf", NULL, &err)) { puts(err.message); ... }
 *   gem_engine_open(&engine, model, NULL, &err);
 *   gem_session_open(&session, engine, NULL, &err);
 *   gem_generate(session, tokens, n_tokens, NULL, on_token, user, NULL, &err);
 *
 * Rules for all of it:
 *   - The library never prints, exits or aborts and holds no global state. Every function that can fail
 *     returns a gem_status and, when `err` is not NULL, writes one line that names the file, tensor, key or
 *     option at fault. `err` is written on failure only.
 *   - A pointer that a function returns through `out` is NULL on failure.
 *   - Structures of options: all zero (or a NULL pointer) is a good default.
 *   - Text is UTF-8, given with its length; no function needs a terminating zero unless it says so.
 *   - Same bits: for one precision and instruction set, the logits of a token sequence do not depend on the
 *     number of threads, the size of prefill chunks, what a session had kept, or which other sessions were
 *     computed in the same call.
 *   - A session's memory is taken when it is opened; advancing it cannot run out of memory, but for images, which say
 * so before anything is computed. Compiles alone as C11 and as C++17. */
#ifndef GEMMULE_H
#define GEMMULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(GEM_BUILD_SHARED) && defined(__GNUC__)
#define GEM_API __attribute__((visibility("default")))
#else
#define GEM_API
#endif

#define GEM_VERSION_MAJOR 0
#define GEM_VERSION_MINOR 1
#define GEM_VERSION_PATCH 0

/* The version of the library that is linked, "0.1.0". Static storage. */
GEM_API const char *gem_version(void);

/* ---- errors ------------------------------------------------------------------------------------------ */

/* Values are ABI: append, never renumber. */
typedef enum gem_status {
    GEM_OK = 0,
    GEM_E_NOMEM = 1,       /* memory could not be had */
    GEM_E_IO = 2,          /* the system refused: a file missing, unreadable, shrunk, a full disk */
    GEM_E_FORMAT = 3,      /* a file is damaged or contradicts itself */
    GEM_E_UNSUPPORTED = 4, /* a valid file or request that this version does not handle */
    GEM_E_LIMIT = 5,       /* does not fit: context, ceiling, id out of range */
    GEM_E_ARGUMENT = 6,    /* an option or argument has no meaning */
    GEM_E_CANCELLED = 7,   /* the caller's callback asked to stop */
    GEM_E_NONFINITE = 8    /* a computation gave NaN or infinity: damaged weights */
} gem_status;

typedef struct gem_error {
    gem_status code;
    uint64_t offset;   /* bytes into the offending input; 0 where that means nothing */
    char message[256]; /* one line, no newline */
} gem_error;

/* A short name such as "format". Static storage; never NULL. */
GEM_API const char *gem_status_name(gem_status status);

/* ---- model ------------------------------------------------------------------------------------------- */

typedef struct gem_model gem_model;
typedef struct gem_engine gem_engine;
typedef struct gem_session gem_session;

typedef enum gem_precision {
    GEM_PRECISION_FAST = 0, /* int8 activations where weights are quantised, 16-bit cache */
    GEM_PRECISION_EXACT = 1 /* float32 activations and cache: the definition */
} gem_precision;

/* Told of work that takes long. done counts up to total. Return false to cancel. */
typedef bool gem_progress_fn(void *user, const char *what, uint64_t done, uint64_t total);

typedef struct gem_model_options {
    gem_precision precision;
    bool metadata_only;        /* read and check headers, tokenizer and shapes; no session can be made */
    uint32_t n_threads;        /* used while opening; 0: one per physical core */
    const char *cpu;           /* NULL: best this machine has; else "c", "avx2" or "avx512" */
    gem_progress_fn *progress; /* may be NULL */
    void *progress_user;
    const char *mmproj;   /* NULL, or a GGUF file with the towers (llama.cpp's mmproj); they replace the model's own */
    uint64_t reserved[7]; /* zero */
} gem_model_options;

/* Opens a checkpoint: a Hugging Face folder (config.json, *.safetensors or an index of shards,
 * tokenizer.json, generation_config.json) or a GGUF file; of a split GGUF any part may be named.
 * Weights are mapped, and for GEM_PRECISION_FAST quantised ones are also repacked once into the layout that
 * the kernels of this machine want. Every tensor is checked by name, type and shape: a missing, an unknown or
 * a misshapen one is an error. The files must not change while the model is open. */
GEM_API gem_status gem_model_open(gem_model **out, const char *path, const gem_model_options *options, gem_error *err);

/* Accepts NULL. Engines of this model must be closed before. */
GEM_API void gem_model_close(gem_model *model);

typedef enum gem_family { GEM_FAMILY_GEMMA3 = 3, GEM_FAMILY_GEMMA4 = 4 } gem_family;

typedef struct gem_model_info {
    gem_family family;
    gem_precision precision;
    const char *architecture;           /* as the file names it: "gemma4", "gemma3_text", ... */
    const char *name;                   /* general.name or the folder's name; "" when unknown */
    const char *size_label;             /* "E2B", "E4B", "12B", "26B-A4B", "31B", "270M", ...; "" when none fits */
    const char *cpu;                    /* kernels in use: "c", "avx2", "avx512" */
    uint32_t n_layers, n_layers_shared; /* shared: layers that own no key/value cache */
    uint32_t hidden, vocab, context;    /* context: trained length in tokens */
    uint32_t n_heads, n_kv_heads, n_kv_heads_global, head_dim, head_dim_global;
    uint32_t ffn, ffn_shared; /* feed-forward width; of layers with shared cache */
    uint32_t window;          /* of local layers */
    uint32_t n_experts, n_experts_used, ffn_expert;
    uint32_t ple;               /* width of per-layer embeddings, or 0 */
    bool has_vision, has_audio; /* towers found in the files */
    bool has_tokenizer;
    uint64_t n_parameters;        /* live text parameters (spec/text-model.md 7.1); dead ones not counted */
    uint64_t n_parameters_active; /* the same with only the experts that one token uses */
    uint64_t file_bytes;          /* of all files */
    uint64_t mapped_bytes;        /* weights used straight from the mapped files */
    uint64_t packed_bytes;        /* weights repacked in memory */
} gem_model_info;

/* Lives as long as the model. */
GEM_API const gem_model_info *gem_model_get_info(const gem_model *model);

typedef struct gem_tensor_info {
    const char *name;
    const char *type; /* "F32", "BF16", "Q4_0", ... */
    uint32_t n_dims;
    uint64_t shape[4]; /* row-major, outermost first */
    uint64_t bytes;
    const char *role; /* "text", "vision", "audio", "drafter", "dead" (never read) */
} gem_tensor_info;

/* Walks all tensors of the files. false when index is past the last one. Strings live as long as the model. */
GEM_API bool gem_model_get_tensor(const gem_model *model, size_t index, gem_tensor_info *out);

/* ---- text -------------------------------------------------------------------------------------------- */

/* Encodes text. At most `cap` ids are written to `tokens`; *n_tokens is the number there are, which may be
 * larger. tokens may be NULL when cap is 0.
 *   control  true: control tokens spelled in the text ("<|turn>") become control tokens. false: they stay
 *            text; use this for anything a user typed.
 * Adds no <bos>: see gem_model_bos(). Invalid UTF-8 becomes byte tokens.
 * GEM_E_UNSUPPORTED when the model has no tokenizer, or one of a kind that is not supported: the message says why. */
GEM_API gem_status gem_tokenize(const gem_model *model, const char *text, size_t n_bytes, bool control, int32_t *tokens,
                                size_t cap, size_t *n_tokens, gem_error *err);

/* Decodes tokens; at most cap bytes are written, *n_bytes is the number there are. No terminating zero.
 * Control tokens are left out unless `control`. Byte tokens that do not form UTF-8 become U+FFFD. */
GEM_API gem_status gem_detokenize(const gem_model *model, const int32_t *tokens, size_t n_tokens, bool control,
                                  char *text, size_t cap, size_t *n_bytes, gem_error *err);

/* Streaming decode: bytes come out only as whole characters. Zero-initialise. */
typedef struct gem_text_stream {
    uint8_t pending[8];
    uint32_t n_pending;
    bool control; /* write control tokens by name; set by the caller */
} gem_text_stream;

enum { GEM_TEXT_STREAM_MAX = 512 }; /* bytes that one push or finish can give at most */

/* Adds a token; text [GEM_TEXT_STREAM_MAX] receives *n_bytes bytes, whole UTF-8 characters, perhaps none. */
GEM_API gem_status gem_text_stream_push(const gem_model *model, gem_text_stream *stream, int32_t token, char *text,
                                        size_t *n_bytes, gem_error *err);
/* The end: an incomplete character becomes U+FFFD, one per byte. */
GEM_API void gem_text_stream_finish(gem_text_stream *stream, char *text, size_t *n_bytes);

/* The token that every sequence begins with, or -1. */
GEM_API int32_t gem_model_bos(const gem_model *model);
/* Stop tokens of the file ([1, 106, 50] in released instruction-tuned models). Returns how many; *ids lives
 * as long as the model. */
GEM_API size_t gem_model_stop_tokens(const gem_model *model, const int32_t **ids);
/* The id of a piece by its exact spelling ("<|turn>"), or -1. */
GEM_API int32_t gem_model_token_id(const gem_model *model, const char *piece, size_t n_bytes);
/* The piece of an id as the vocabulary spells it; *n_bytes its length. NULL when there is none. */
GEM_API const char *gem_model_piece(const gem_model *model, int32_t token, size_t *n_bytes);

/* ---- engine and session ------------------------------------------------------------------------------ */

typedef struct gem_engine_options {
    uint32_t n_threads;         /* 0: one per physical core */
    uint32_t chunk;             /* most rows computed at once, 1 to 4096; 0: 256 */
    uint64_t media_cache_bytes; /* of soft tokens kept from one call to the next; 0: 256 MiB */
    uint64_t reserved[7];
} gem_engine_options;

GEM_API gem_status gem_engine_open(gem_engine **out, const gem_model *model, const gem_engine_options *options,
                                   gem_error *err);
/* Accepts NULL. Sessions of this engine must be closed before. */
GEM_API void gem_engine_close(gem_engine *engine);
/* Threads in use. */
GEM_API uint32_t gem_engine_threads(const gem_engine *engine);

typedef struct gem_session_options {
    uint32_t context;     /* capacity in tokens; 0: 8192 or the model's trained context, whichever is less */
    uint32_t local_slack; /* tokens by which a session can be taken back without recomputing; 0: 1024 */
    uint64_t reserved[8];
} gem_session_options;

/* GEM_E_LIMIT when the memory does not fit this machine; the message has the context that would. */
GEM_API gem_status gem_session_open(gem_session **out, gem_engine *engine, const gem_session_options *options,
                                    gem_error *err);
GEM_API void gem_session_close(gem_session *session);

/* Bytes that gem_session_open would take for a context of n tokens (0: the default), and that
 * gem_engine_open takes. */
GEM_API uint64_t gem_session_bytes(const gem_model *model, const gem_session_options *options,
                                   const gem_engine_options *engine_options);
GEM_API uint64_t gem_engine_bytes(const gem_model *model, const gem_engine_options *options);

/* Tokens that the session holds. The pointer is valid until the session advances. */
GEM_API size_t gem_session_tokens(const gem_session *session, const int32_t **tokens);
GEM_API uint32_t gem_session_context(const gem_session *session);

/* ---- media ------------------------------------------------------------------------------------------- */

/* An image, a frame of a video, or a piece of sound, ready to be encoded. A sequence has it as a run of placeholder
 * tokens of one id, between markers: begin, n_tokens placeholders, end. Immutable; any number of threads, engines and
 * sessions of its model may share it. */
typedef struct gem_media gem_media;

/* Values index the placeholder ids and are ABI. */
typedef enum gem_media_kind { GEM_MEDIA_IMAGE = 0, GEM_MEDIA_FRAME = 1, GEM_MEDIA_AUDIO = 2 } gem_media_kind;

/* One of path, bytes and rgb is given. */
typedef struct gem_image_source {
    const char *path;  /* a PNG or JPEG file; with FFmpeg, what that reads */
    const void *bytes; /* [n_bytes] such a file in memory */
    size_t n_bytes;
    const uint8_t *rgb; /* [height, width, 3] sRGB, 8 bits, upright; rows `stride` bytes apart */
    uint32_t width, height;
    size_t stride;       /* 0: 3 * width */
    gem_media_kind kind; /* GEM_MEDIA_IMAGE or GEM_MEDIA_FRAME */
    uint32_t budget;     /* soft tokens at most: 70, 140, 280, 560 or 1120; 0: 280, of a frame 70 */
    const char *name;    /* for messages; NULL: the path, or "image" */
    uint64_t reserved[4];
} gem_image_source;

/* Decodes the file as far as it must, turns it upright (EXIF) and resizes it: bicubic, bit for bit what Pillow does.
 * The source is not needed afterwards. Alpha is dropped. At most 100 million pixels and 256 MiB of file.
 * GEM_E_ARGUMENT a budget that does not exist (the message lists those that do); GEM_E_FORMAT a file that is damaged,
 * cut, or empty; GEM_E_UNSUPPORTED another kind of file, or a model that cannot see; GEM_E_LIMIT. */
GEM_API gem_status gem_media_open_image(gem_media **out, const gem_model *model, const gem_image_source *source,
                                        gem_error *err);
/* Accepts NULL. No call that was given it may be running. */
GEM_API void gem_media_close(gem_media *media);

typedef struct gem_media_info {
    gem_media_kind kind;
    uint32_t n_tokens;               /* placeholders that it takes */
    int32_t placeholder, begin, end; /* token ids; -1 where the model has none */
    uint32_t width, height;          /* of an image, after resizing */
    uint8_t digest[32];              /* of the content: alike for alike pixels */
} gem_media_info;

GEM_API void gem_media_get_info(const gem_media *media, gem_media_info *out);

/* A video as frames: chosen evenly over its length, each with the time that stands before it in a prompt. */
typedef struct gem_video gem_video;

typedef struct gem_video_source {
    const char *path; /* or the file in memory: */
    const void *bytes;
    size_t n_bytes;
    uint32_t n_frames; /* at most 4096; 0: 32. A shorter video gives all it has */
    float fps;         /* instead of n_frames: so many a second, at least one frame */
    uint32_t budget;   /* of a frame; 0: 70 */
    const char *name;  /* for messages; NULL: the path, or "video" */
    uint64_t reserved[4];
} gem_video_source;

/* GEM_E_UNSUPPORTED in a build without FFmpeg (CMake: GEM_FFMPEG); else as gem_media_open_image. FFmpeg's own messages
 * are turned off for the whole process. */
GEM_API gem_status gem_video_open(gem_video **out, const gem_model *model, const gem_video_source *source,
                                  gem_error *err);
GEM_API void gem_video_close(gem_video *video); /* accepts NULL */
GEM_API size_t gem_video_frames(const gem_video *video);
/* Frame i, the video's; stamp receives its time, "mm:ss". In a prompt frames are stamp, space, begin, placeholders,
 * end, with a space between frames. */
GEM_API gem_media *gem_video_frame(const gem_video *video, size_t i, char stamp[16]);

/* Where a sequence has a media item: tokens[at] is the first of its n_tokens placeholders. */
typedef struct gem_media_at {
    const gem_media *media; /* borrowed during the call */
    size_t at;
} gem_media_at;

/* Soft tokens of an item, [n_tokens, hidden] float32: what takes the place of its placeholders' embeddings. From the
 * engine's cache where it has them. *soft is the engine's, valid until its next call. */
GEM_API gem_status gem_engine_encode(gem_engine *engine, const gem_media *media, const float **soft, gem_error *err);

/* ---- advancing --------------------------------------------------------------------------------------- */

/* Logits of the row at `position`: [vocab] float32 after the soft-cap, valid during the call.
 * Return false to cancel. */
typedef bool gem_logits_fn(void *user, uint32_t position, const float *logits, size_t vocab);
/* State of one row: layer 0 is the input of the first layer, then the output of each; the last one comes
 * after the final norm. x [hidden] float32, valid during the call. */
typedef void gem_hidden_fn(void *user, uint32_t layer, uint32_t position, const float *x, size_t hidden);

/* One session's part of a step. */
typedef struct gem_advance {
    gem_session *session;
    const int32_t *tokens;    /* the whole sequence from its first token on; borrowed during the call */
    size_t n_tokens;          /* at least 1 */
    bool no_logits;           /* only fill the cache: the cheapest prefill */
    gem_logits_fn *on_logits; /* optional: called for every position from logits_from on, in order */
    uint32_t logits_from;
    gem_hidden_fn *on_hidden; /* optional: all layers then run for all rows */
    void *user;
    /* The media of the sequence, in order. When there are any, every placeholder among the tokens must belong to one;
     * without, placeholders read as padding, as in the reference. What has been computed for the same content before is
     * kept like any other token. */
    const gem_media_at *media;
    size_t n_media;
    /* results */
    size_t n_kept;       /* leading tokens whose cache was reused */
    size_t n_encoded;    /* media that had to be encoded: neither kept nor in the engine's cache */
    const float *logits; /* [vocab] of the last token, or NULL with no_logits; the session's, valid until it
                            advances again */
} gem_advance;

/* Advances several sessions together: each keeps what it has in common with the given tokens and computes the
 * rest; weights are read once for all. All sessions must belong to `engine`, each at most once.
 *   progress  called between chunks, may be NULL; returning false cancels
 * On failure or cancellation every session holds a prefix of its tokens that is as if nothing else had been
 * asked, and results are unspecified.
 * Errors: GEM_E_LIMIT an id out of range or a sequence longer than its session's context (nothing is
 * computed); GEM_E_ARGUMENT media and placeholders that do not match; GEM_E_NOMEM for soft tokens, or for the rows of
 * an image that must be computed together (before anything is computed); GEM_E_NONFINITE; GEM_E_CANCELLED. */
GEM_API gem_status gem_engine_advance(gem_engine *engine, gem_advance *items, size_t n_items, gem_progress_fn *progress,
                                      void *progress_user, gem_error *err);

/* ---- sampling and generation ------------------------------------------------------------------------- */

typedef struct gem_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY forbids */
} gem_logit_bias;

/* Order: bias, penalties, temperature, top-k, top-p, min-p, draw (Hugging Face's order). */
typedef struct gem_sampling {
    float temperature;          /* 0: greedy */
    uint32_t top_k;             /* 0: off */
    float top_p;                /* 0 or 1: off */
    float min_p;                /* 0: off */
    float repetition_penalty;   /* 0 or 1: off; divides positive, multiplies negative logits of seen tokens */
    float presence_penalty;     /* 0: off */
    float frequency_penalty;    /* 0: off */
    uint32_t penalty_window;    /* newest tokens that count as seen; 0: all */
    const gem_logit_bias *bias; /* borrowed */
    size_t n_bias;
    uint64_t seed; /* the same seed, tokens and tier give the same draws */
} gem_sampling;

/* What the checkpoint recommends (generation_config.json or GGUF general.sampling.*); greedy when it says
 * nothing. Includes the file's suppress_tokens as bias, owned by the model. */
GEM_API void gem_sampling_default(const gem_model *model, gem_sampling *out);

/* Draws from logits [vocab]. `seen` [n_seen] are the tokens so far (for penalties; may be NULL); n_drawn
 * numbers the draw, so that a draw depends only on (logits, seen, sampling, n_drawn).
 * Errors: GEM_E_ARGUMENT for a setting out of range, named; GEM_E_NONFINITE when no token is possible. */
GEM_API gem_status gem_sample(const gem_sampling *sampling, const float *logits, size_t vocab, const int32_t *seen,
                              size_t n_seen, uint64_t n_drawn, int32_t *token, gem_error *err);

typedef enum gem_finish {
    GEM_FINISH_STOP = 0,     /* a stop token; it is not delivered */
    GEM_FINISH_LENGTH = 1,   /* max_tokens */
    GEM_FINISH_CONTEXT = 2,  /* the session is full */
    GEM_FINISH_CANCELLED = 3 /* the callback returned false */
} gem_finish;

typedef struct gem_generate_options {
    const gem_sampling *sampling; /* NULL: the checkpoint's */
    size_t max_tokens;            /* 0: until a stop token or the end of the context */
    const int32_t *stop;          /* NULL: the checkpoint's */
    size_t n_stop;
    bool ignore_stop; /* for measurements */
    gem_progress_fn *progress;
    void *progress_user;
    const gem_media_at *media; /* of the prompt; see gem_advance */
    size_t n_media;
    uint64_t reserved[2];
} gem_generate_options;

typedef struct gem_generate_stats {
    size_t n_prompt, n_kept, n_generated;
    double prompt_seconds;   /* until the first token is known */
    double generate_seconds; /* for the n_generated - 1 that follow */
    gem_finish finish;
    int32_t stop_token; /* with GEM_FINISH_STOP, else -1 */
} gem_generate_stats;

/* A new token. Return false to stop. */
typedef bool gem_token_fn(void *user, int32_t token);

/* Continues `prompt` (the whole sequence; the session keeps what matches). Ends at a stop token, at
 * max_tokens, when the session is full, or when on_token returns false: all four are GEM_OK. The session then
 * holds the prompt and all delivered tokens but the last.
 *   stats  may be NULL */
GEM_API gem_status gem_generate(gem_session *session, const int32_t *prompt, size_t n_prompt,
                                const gem_generate_options *options, gem_token_fn *on_token, void *user,
                                gem_generate_stats *stats, gem_error *err);

#ifdef __cplusplus
}
#endif
#endif
