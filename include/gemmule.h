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
 *   - A session's memory is taken when it is opened; advancing it cannot run out of memory, but for media, which say
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
    const char *cpu;           /* NULL: best this machine has; else "c", "avx2", "avxvnni", "avx512" or "avx512bf16" */
    gem_progress_fn *progress; /* may be NULL */
    void *progress_user;
    /* Ceiling, in bytes, for all that this model, its engines and its sessions hold in memory; 0: none. Weights that do
     * not fit beside the rest are streamed from the file in each pass, as far as they are mapped: those of a native
     * file, and those that are not quantised. What cannot be honoured is GEM_E_LIMIT, with the number that would do. */
    uint64_t ram;
    /* Open a native copy that lies beside the checkpoint instead of it: "NAME.gem" for NAME.gguf or the folder NAME.
     * Where there is none, or one of other files (sizes and times tell), it is written first, as gem_pack would. */
    bool packed_copy;
    /* Keep a copy of the output head in 8 bits (gem_model_info.two_stage_bytes more memory, made while opening), from
     * which gem_generate finds the few tokens whose logits matter: the same samples from about half the bytes of the
     * head, where it draws greedily or with top_k and nothing looks at all logits (a constraint, min_tokens,
     * penalties, DRY, on_logprobs). GEM_E_ARGUMENT where the head is quantised: a coarser copy of it does not pay. */
    bool two_stage_head;
    const char *mmproj;   /* NULL, or a GGUF file with towers (llama.cpp's mmproj); each replaces the model's own */
    uint64_t reserved[5]; /* zero */
} gem_model_options;

/* Opens a checkpoint: a native file (gem_pack), a Hugging Face folder (config.json, *.safetensors or an index of
 * shards, tokenizer.json, generation_config.json) or a GGUF file; of a split GGUF any part may be named.
 * Weights are mapped, and for GEM_PRECISION_FAST quantised ones are also repacked once into the layout that
 * the kernels want, in which a native file has them already. Every tensor is checked by name, type and shape: a
 * missing, an unknown or a misshapen one is an error. The files must not change while the model is open. */
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
    const char *cpu;                    /* kernels in use, named as in gem_model_options */
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
    uint64_t ram_bytes;           /* the least ceiling with which engine and session of default size can be opened */
    uint64_t token_bytes;         /* weights read to compute one token alone: the floor of decoding, caches apart */
    uint64_t two_stage_bytes;     /* of the copy that two_stage_head keeps, or would; 0: the head can have none */
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
    bool in_panels;   /* stored as the kernels want it: native files only */
} gem_tensor_info;

/* Walks all tensors of the files. false when index is past the last one. Strings live as long as the model. */
GEM_API bool gem_model_get_tensor(const gem_model *model, size_t index, gem_tensor_info *out);

/* ---- native files ------------------------------------------------------------------------------------ */

typedef struct gem_pack_options {
    /* NULL or "keep": number formats as they are. "q4_0", "q8_0", "bf16": of the weights that are float numbers in the
     * source; quantised ones stay as they are. "q4_0" takes Q8_0 where quality needs it: token table, output head,
     * per-layer embeddings. Norms, routers and towers are never changed. */
    const char *type;
    uint32_t n_threads; /* 0: one per physical core */
    gem_progress_fn *progress;
    void *progress_user;
    const char *mmproj;   /* NULL, or a GGUF file whose towers are stored too; the checkpoint is a GGUF file itself */
    uint64_t reserved[3]; /* zero */
} gem_pack_options;

/* Writes the checkpoint at `path` as one native file, `output` (".gem"): metadata, tokenizer and weights, laid out so
 * that opening it is mapping it. The file appears whole or not at all, in place of one of that name.
 * Errors: those of gem_model_open; GEM_E_IO the disk is full, ...; GEM_E_ARGUMENT an unknown type, or one for a source
 * whose weights are all quantised; GEM_E_NONFINITE a weight that the type cannot represent; GEM_E_CANCELLED. */
GEM_API gem_status gem_pack(const char *path, const char *output, const gem_pack_options *options, gem_error *err);

/* Reads all tensors of a native file and compares their checksums (those of its metadata were when it was opened).
 * GEM_E_FORMAT names the first that is damaged; GEM_E_UNSUPPORTED when the model is no native file. */
GEM_API gem_status gem_model_verify(const gem_model *model, gem_progress_fn *progress, void *progress_user,
                                    gem_error *err);

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
    uint32_t n_threads; /* 0: one per physical core; where there are cores of two sizes, per large one */
    uint32_t chunk;     /* most rows computed at once, 1 to 4096; 0: 256 */
    uint64_t ple_ram;   /* bytes of per-layer embeddings kept in memory, which else stay in the file; 0: 16 MiB */
    uint64_t media_cache_bytes; /* of soft tokens kept from one call to the next; 0: 256 MiB */
    uint64_t reserved[7];
} gem_engine_options;

GEM_API gem_status gem_engine_open(gem_engine **out, const gem_model *model, const gem_engine_options *options,
                                   gem_error *err);
/* Accepts NULL. Sessions of this engine must be closed before. */
GEM_API void gem_engine_close(gem_engine *engine);
/* Threads in use. */
GEM_API uint32_t gem_engine_threads(const gem_engine *engine);

/* Sums since the engine was opened. */
typedef struct gem_engine_stats {
    uint64_t ple_rows;  /* rows of per-layer embeddings that tokens needed */
    uint64_t ple_kept;  /* of these, found in memory */
    uint64_t ple_bytes; /* read from the file for the others */
    double ple_seconds; /* that this took, copies included */
    uint64_t n_batches; /* computed: each reads the weights once ... */
    uint64_t n_rows;    /* ... for all its rows, which are tokens of one or several sessions */
    /* Of the output head in two stages: rows of logits that it was tried for; of these, those that took the whole
     * product after all; and how many logits the others had computed from the table. */
    uint64_t head_rows, head_whole, head_computed;
    uint64_t reserved[3];
} gem_engine_stats;
GEM_API void gem_engine_get_stats(const gem_engine *engine, gem_engine_stats *out);

typedef struct gem_session_options {
    uint32_t context;     /* capacity in tokens; 0: 8192 or the model's trained context, whichever is less */
    uint32_t local_slack; /* tokens by which a session can be taken back without recomputing; 0: 1024 */
    /* Keys and values in 8 bits, with a scale for each position and head, instead of bfloat16: half the memory
     * for slightly other answers (docs/performance.md). GEM_E_ARGUMENT in the exact tier.
     */
    bool int8_cache;
    uint64_t reserved[7];
} gem_session_options;

/* GEM_E_LIMIT when the memory does not fit this machine, with the context that would, or not below the model's ceiling.
 */
GEM_API gem_status gem_session_open(gem_session **out, gem_engine *engine, const gem_session_options *options,
                                    gem_error *err);
GEM_API void gem_session_close(gem_session *session);

/* Bytes that gem_session_open would take for a context of n tokens (0: the default), and that
 * gem_engine_open takes. */
GEM_API uint64_t gem_session_bytes(const gem_model *model, const gem_session_options *options,
                                   const gem_engine_options *engine_options);
GEM_API uint64_t gem_engine_bytes(const gem_model *model, const gem_engine_options *options);

/* `to` forgets what it held and holds what `from` does, so that a common beginning is computed once. It can then be
 * taken back as far as its local_slack reaches. Neither may be advancing. GEM_E_LIMIT when it does not fit,
 * GEM_E_ARGUMENT sessions of different models, or of which one has an int8_cache. */
GEM_API gem_status gem_session_copy(gem_session *to, const gem_session *from, gem_error *err);

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
    uint32_t budget;     /* soft tokens at most: 70, 140, 280, 560 or 1120; 0: of a frame 70, of an image what the
                            checkpoint's processor_config.json says, else 280 */
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
    uint8_t digest[32];              /* of the content: alike for alike pixels or samples */
    uint64_t n_samples;              /* of a sound, 16000 in a second */
} gem_media_info;

GEM_API void gem_media_get_info(const gem_media *media, gem_media_info *out);

/* One of path, bytes and pcm is given. */
typedef struct gem_audio_source {
    const char *path;  /* a WAV file; with FFmpeg, what that reads, also a video, of which the sound is taken */
    const void *bytes; /* [n_bytes] such a file in memory */
    size_t n_bytes;
    const float *pcm; /* [n_frames, n_channels], full scale 1 */
    uint64_t n_frames;
    uint32_t n_channels; /* 0: 1 */
    uint32_t rate;       /* frames in a second, 4000 to 384000; 0: 16000 */
    const char *name;    /* for messages; NULL: the path, or "sound" */
    uint64_t reserved[4];
} gem_audio_source;

/* Decodes a sound, takes the mean of its channels and resamples it to 16 kHz. It becomes *n media items, each with its
 * own markers in a prompt, one behind the other: pieces of 30 s, as the encoder was trained on; for a model that has no
 * encoder (12B) always one. Nothing is cut off. The source is not needed afterwards. A piece of up to 10 ms takes no
 * soft tokens, only its markers. *media, [*n], is freed by gem_media_close_all.
 * GEM_E_ARGUMENT samples that are NaN, infinite or all 0 (nothing to hear); GEM_E_FORMAT a file that is damaged, cut or
 * empty; GEM_E_UNSUPPORTED another kind of file or rate, or a model that cannot hear; GEM_E_LIMIT more than 2.9 hours.
 * Method: spec/multimodal.md 4. */
GEM_API gem_status gem_media_open_audio(gem_media ***media, size_t *n, const gem_model *model,
                                        const gem_audio_source *source, gem_error *err);
/* Closes n items and frees the list. Accepts NULL. */
GEM_API void gem_media_close_all(gem_media **media, size_t n);
/* The log-mel features that the encoder sees of a sound, [*n_frames, 128]; none (0) for a model without encoder. For
 * comparison with other implementations. cap: frames that fit into `features`; 0: only counts. */
GEM_API gem_status gem_media_features(const gem_media *media, float *features, size_t cap, size_t *n_frames,
                                      gem_error *err);

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

/* GEM_E_UNSUPPORTED in a build without FFmpeg (CMake: GEM_FFMPEG); else as gem_media_open_image. What FFmpeg
 * decodes, images and sounds too, it decodes in a child process that can only read that file and answer. */
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
 * an image that must be computed together (before anything is computed); GEM_E_NONFINITE; GEM_E_CANCELLED; GEM_E_IO
 * a file that shrank or cannot be read any more. */
GEM_API gem_status gem_engine_advance(gem_engine *engine, gem_advance *items, size_t n_items, gem_progress_fn *progress,
                                      void *progress_user, gem_error *err);

/* ---- constraints ------------------------------------------------------------------------------------- */

/* Says which texts an answer may be. Compiled once, used by any number of generations and threads; what it works out
 * about the vocabulary is kept from one to the next. A constraint is never violated: at each place only tokens are
 * allowed after which the answer can still be completed within the tokens that are left. What cannot be honoured is an
 * error here, before anything is generated; messages name the part, in schemas the JSON pointer and the keyword. */
typedef struct gem_constraint gem_constraint;

typedef enum gem_thought {
    GEM_THOUGHT_NONE = 0,     /* the answer begins at once */
    GEM_THOUGHT_OPTIONAL = 1, /* the model may think first; the constraint begins behind the thought */
    GEM_THOUGHT_OPEN = 2      /* the prompt has opened a thought */
} gem_thought;

typedef struct gem_constraint_options {
    gem_thought thought;
    bool compact; /* JSON without white space; else a space or a line with indentation where they are usual */
    uint64_t reserved[4];
} gem_constraint_options;

/* JSON that satisfies a schema (draft 2020-12). docs/constraints.md has the keywords, and where the texts are fewer
 * than the schema allows. Errors of all four: GEM_E_FORMAT malformed, with the offset where there is one;
 * GEM_E_UNSUPPORTED cannot be guaranteed, no text at all, or a vocabulary without the tokens; GEM_E_LIMIT too large;
 * GEM_E_ARGUMENT. */
GEM_API gem_status gem_constraint_open_schema(gem_constraint **out, const gem_model *model, const char *schema,
                                              size_t n_bytes, const gem_constraint_options *options, gem_error *err);
/* Text that a regular expression (ECMA-262 without look-around, back references and word boundaries) matches whole. */
GEM_API gem_status gem_constraint_open_regex(gem_constraint **out, const gem_model *model, const char *pattern,
                                             size_t n_bytes, const gem_constraint_options *options, gem_error *err);
/* Text of a grammar in GBNF (llama.cpp's notation); the first rule is "root". */
GEM_API gem_status gem_constraint_open_grammar(gem_constraint **out, const gem_model *model, const char *grammar,
                                               size_t n_bytes, const gem_constraint_options *options, gem_error *err);

typedef enum gem_tool_choice {
    GEM_TOOL_AUTO = 0,     /* text, then calls or none */
    GEM_TOOL_REQUIRED = 1, /* calls only */
    GEM_TOOL_NONE = 2      /* text only */
} gem_tool_choice;

typedef struct gem_tool_options {
    gem_tool_choice choice;
    const char *name; /* not NULL: calls of this tool only, and at least one */
    size_t n_name;
    bool single; /* one call at most; else any number, one after the other */
} gem_tool_options;

/* Calls of declared tools in the model's own syntax, with arguments that satisfy their schemas.
 *   tools          [{"type": "function", "function": {"name", "parameters": JSON Schema}}, ...]
 *   tool_options   NULL: auto */
GEM_API gem_status gem_constraint_open_tools(gem_constraint **out, const gem_model *model, const char *tools,
                                             size_t n_bytes, const gem_tool_options *tool_options,
                                             const gem_constraint_options *options, gem_error *err);
/* Accepts NULL. Its matchers must be closed before, and the model after. */
GEM_API void gem_constraint_close(gem_constraint *constraint);

/* One text on its way, for programs that sample themselves; gem_generate needs only the constraint. One thread. */
typedef struct gem_matcher gem_matcher;

GEM_API gem_status gem_matcher_open(gem_matcher **out, gem_constraint *constraint, gem_error *err);
GEM_API void gem_matcher_close(gem_matcher *matcher); /* accepts NULL */
/* The tokens that may come next, of which and of what then must follow there are at most `budget`.
 *   allowed   out: bits, token t is bit t % 64 of word t / 64; the matcher's, until its next call
 *   may_end   out: the text may end here; stop tokens are not among the allowed ones
 * GEM_E_LIMIT when the budget does not suffice. */
GEM_API gem_status gem_matcher_mask(gem_matcher *matcher, size_t budget, const uint64_t **allowed, size_t *n_allowed,
                                    bool *may_end, gem_error *err);
/* Tokens that must come next, whatever the model says: at most cap. */
GEM_API gem_status gem_matcher_forced(gem_matcher *matcher, size_t budget, int32_t *tokens, size_t cap,
                                      size_t *n_tokens, gem_error *err);
/* Goes on by a token. GEM_E_ARGUMENT when it is not allowed; the matcher is then as it was. */
GEM_API gem_status gem_matcher_accept(gem_matcher *matcher, int32_t token, gem_error *err);
/* Tokens that surely suffice to complete the text from here. */
GEM_API size_t gem_matcher_least(const gem_matcher *matcher);

/* ---- sampling and generation ------------------------------------------------------------------------- */

typedef struct gem_logit_bias {
    int32_t token;
    float bias; /* added to the logit; -INFINITY forbids */
} gem_logit_bias;

/* Order: allowed, bias, penalties, DRY, temperature, top-k, top-p, min-p, typical, XTC, draw (Hugging Face's order, and
 * llama.cpp's for what Hugging Face has not). */
typedef struct gem_sampling {
    float temperature;     /* 0: greedy */
    uint32_t top_k;        /* 0: off */
    float top_p;           /* 0 or 1: off */
    float min_p;           /* 0: off */
    float typical_p;       /* 0 or 1: off; keeps tokens whose surprise is nearest the expected (Meister et al. 2022) */
    float xtc_probability; /* 0: off; with this probability all but the least likely of the tokens ... */
    float xtc_threshold;   /* ... that are at least this likely are left out ("exclude top choices") */
    float dry_multiplier;  /* 0: off ("don't repeat yourself"): a token that would make the end of the text repeat */
    float dry_base;        /* a sequence of n > dry_allowed seen tokens loses multiplier * base^(n - dry_allowed); */
    uint32_t dry_allowed;  /* 0: base 1.75, allowed 2 */
    uint32_t dry_window;   /* newest tokens that are looked at; 0: all */
    const int32_t *dry_breakers; /* tokens that no repeated sequence holds; borrowed */
    size_t n_dry_breakers;
    float repetition_penalty;   /* 0 or 1: off; divides positive, multiplies negative logits of seen tokens */
    float presence_penalty;     /* 0: off */
    float frequency_penalty;    /* 0: off */
    uint32_t penalty_window;    /* newest tokens that count as seen; 0: all */
    const gem_logit_bias *bias; /* borrowed */
    size_t n_bias;
    const uint64_t *allowed; /* bits of the tokens that may be drawn, as gem_matcher_mask gives them; NULL: all */
    uint64_t seed;           /* the same seed, tokens and tier give the same draws */
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
    GEM_FINISH_STOP = 0,     /* a stop token, which is not delivered; or a constraint's text is complete */
    GEM_FINISH_LENGTH = 1,   /* max_tokens */
    GEM_FINISH_CONTEXT = 2,  /* the session is full */
    GEM_FINISH_CANCELLED = 3 /* the callback returned false */
} gem_finish;

typedef struct gem_stop_string {
    const char *text;
    size_t n;
} gem_stop_string;

/* The next piece of text, valid during the call. Return false to stop. */
typedef bool gem_text_fn(void *user, const char *text, size_t n);

typedef struct gem_logprob {
    int32_t token;
    float logprob; /* natural logarithm of softmax over the model's logits, before bias, penalties and temperature */
} gem_logprob;

/* position: the token's index in the sequence. top [n_top]: the likeliest tokens there, best first. Valid during the
 * call. */
typedef void gem_logprobs_fn(void *user, size_t position, const gem_logprob *chosen, const gem_logprob *top,
                             size_t n_top);

typedef struct gem_generate_options {
    const gem_sampling *sampling; /* NULL: the checkpoint's */
    size_t max_tokens;            /* 0: until a stop token or the end of the context */
    const int32_t *stop;          /* NULL: the checkpoint's */
    size_t n_stop;
    bool ignore_stop; /* for measurements */
    gem_progress_fn *progress;
    void *progress_user;
    size_t min_tokens; /* stop tokens are not drawn before so many; a constraint's end comes when it comes */
    const gem_stop_string
        *stop_strings;            /* text at which to end, found across the borders of tokens. Not with a constraint */
    size_t n_stop_strings;        /* at most 64, of 1 to 1024 bytes; the first that is complete ends the text */
    gem_text_fn *on_text;         /* optional: the text as whole characters, without control tokens and stop strings */
    gem_logprobs_fn *on_logprobs; /* optional: told once of every generated token, in order */
    uint32_t top_logprobs;        /* alternatives that it is told of, 0 to 100 */
    bool prompt_logprobs;         /* of the prompt's tokens from the second on too; computes the prompt anew */
    size_t max_thought_tokens; /* 0: any. A thought of so many tokens is closed as the models were trained to close one,
                                  with a newline and <channel|>; they count as forced */
    gem_constraint *constraint; /* NULL: none. max_tokens, or the rest of the context, is its budget: GEM_E_LIMIT before
                                   anything is computed when that does not suffice. Tokens that the text forces are
                                   appended without sampling and computed together */
    const gem_media_at *media;  /* of the prompt; see gem_advance */
    size_t n_media;
    uint64_t reserved[4];
} gem_generate_options;

typedef struct gem_generate_stats {
    size_t n_prompt, n_kept, n_generated;
    size_t n_forced;         /* of n_generated: not sampled, since the constraint left no choice */
    double prompt_seconds;   /* until the first token is known */
    double generate_seconds; /* for the n_generated - 1 that follow */
    gem_finish finish;
    int32_t stop_token;  /* that ended it, or -1 */
    int32_t stop_string; /* index of the one that ended it, or -1 */
    uint64_t seed;       /* that it was drawn with */
} gem_generate_stats;

/* A new token, also one whose text a stop string takes back. Return false to stop. */
typedef bool gem_token_fn(void *user, int32_t token);

/* Continues `prompt` (the whole sequence; the session keeps what matches). Ends at a stop token, at
 * max_tokens, when the session is full, or when on_token returns false: all four are GEM_OK. The session then
 * holds the prompt and all delivered tokens but the last (and forced ones just before it).
 *   stats  may be NULL */
GEM_API gem_status gem_generate(gem_session *session, const int32_t *prompt, size_t n_prompt,
                                const gem_generate_options *options, gem_token_fn *on_token, void *user,
                                gem_generate_stats *stats, gem_error *err);

/* The same n times at once: the prompt is computed once, and all samples continue it together, so that weights are read
 * once for all. Each has a seed of its own (made of sampling->seed and its number; the first has the seed itself) and
 * gives what gem_generate gives with that seed. All but the first are in sessions of their own while it runs, with room
 * for the prompt and max_tokens.
 *   users  [n_samples] what the callbacks of a sample receive; NULL: NULL. Of the prompt only the first is told
 *   stats  [n_samples]; may be NULL */
GEM_API gem_status gem_generate_samples(gem_session *session, const int32_t *prompt, size_t n_prompt, size_t n_samples,
                                        const gem_generate_options *options, gem_token_fn *on_token, void *const *users,
                                        gem_generate_stats *stats, gem_error *err);

/* An answer on its way, for programs that generate many together. Its session, the prompt's media and what `options`
 * points to are borrowed until it is closed; the prompt is copied. */
typedef struct gem_generation gem_generation;

/* As gem_generate, but nothing is computed yet. */
GEM_API gem_status gem_generation_open(gem_generation **out, gem_session *session, const int32_t *prompt,
                                       size_t n_prompt, const gem_generate_options *options, gem_token_fn *on_token,
                                       void *user, gem_error *err);
/* The next token, and those that are forced behind it, of each that has not ended: what they need is computed in one
 * step, as gem_engine_advance would. Their sessions are of this engine, and different ones. After an error of the
 * engine all of them are to be closed.
 *   n_left  out: those that have not ended */
GEM_API gem_status gem_engine_generate(gem_engine *engine, gem_generation *const *items, size_t n_items, size_t *n_left,
                                       gem_error *err);
/* What is known so far; all of it when it has ended. Returns whether it has. */
GEM_API bool gem_generation_get_stats(const gem_generation *generation, gem_generate_stats *out);
GEM_API void gem_generation_close(gem_generation *generation); /* accepts NULL */

/* ---- conversations ----------------------------------------------------------------------------------- */

/* Messages and tools are JSON text in the form that OpenAI's chat completions made common:
 *   messages  [{"role": "system" | "developer" | "user" | "assistant" | "tool", "content": TEXT or PARTS, ...}, ...]
 *             PARTS: [{"type": "text", "text": TEXT} | {"type": "image" | "image_url" | "audio" | "input_audio" |
 *             "video", ...}, ...]. An assistant's message may have "reasoning" (or "reasoning_content") and
 *             "tool_calls": [{"id", "type": "function", "function": {"name", "arguments": object or JSON text}}];
 *             a tool's message has "tool_call_id" and its result as content: text, parts or any JSON value.
 *   tools     [{"type": "function", "function": {"name", "description", "parameters": JSON Schema}}, ...]
 * Text from messages and tools is encoded as text: control tokens spelled in it stay text.
 * Method: the chat templates published with Gemma 4 (spec/tokenizer-and-chat.md 2 and 3). */

typedef enum gem_chat_format {
    GEM_CHAT_NONE = 0,         /* the vocabulary has no turns: a base model */
    GEM_CHAT_GEMMA3 = 1,       /* plain turns: no tools, no thoughts, no media */
    GEM_CHAT_GEMMA4_SMALL = 2, /* E2B, E4B */
    GEM_CHAT_GEMMA4_LARGE = 3  /* 12B, 26B-A4B, 31B: without thinking, the prompt ends with an empty thought */
} gem_chat_format;

/* What the model's files say about conversations. Templates are compared, never executed. */
typedef struct gem_chat_info {
    gem_chat_format format; /* what is used */
    bool has_template;      /* the files carry a chat template */
    bool known_template;    /* it is, but for white space at its end, one that this version knows */
    char sha256[65];        /* of the template, in hexadecimal; "" without one */
    const char *note;       /* one line for people when the template is not known, else NULL. Static storage */
} gem_chat_info;

/* Lives as long as the model. */
GEM_API const gem_chat_info *gem_model_get_chat(const gem_model *model);

typedef struct gem_chat_options {
    bool thinking;          /* the model thinks before it answers */
    bool preserve_thinking; /* earlier turns that called tools keep their thoughts */
    bool history_only;      /* nothing that makes the model answer */
    bool reference;         /* byte for byte as the published template, also where that is wrong and where it takes
                               what should be refused (spec/tokenizer-and-chat.md 2.7) */
    gem_chat_format format; /* GEM_CHAT_NONE: the model's */
    const int32_t *seen;    /* tokens of this conversation so far: the last prompt and what followed it. Where they
                               spell the same text they are taken over, so that a session keeps its cache although a
                               model may have written a word in other tokens than encoding gives. NULL: none */
    size_t n_seen;
    uint64_t reserved[4];
} gem_chat_options;

typedef struct gem_chat_prompt gem_chat_prompt;

/* Renders a conversation. tools may be NULL: none.
 * Errors, naming the message: GEM_E_FORMAT not JSON, not UTF-8 (with the offset), a part that is not understood, an
 * unknown role, a tool's result without a call, arguments that are no JSON object, a tool's name that the format can
 * not carry, JSON deeper than 64; GEM_E_LIMIT more than 64 MiB of it; GEM_E_UNSUPPORTED what the format lacks. */
GEM_API gem_status gem_chat_render(gem_chat_prompt **out, const gem_model *model, const char *messages,
                                   size_t n_messages, const char *tools, size_t n_tools,
                                   const gem_chat_options *options, gem_error *err);
/* Accepts NULL. Parsers opened with it must be closed before. */
GEM_API void gem_chat_prompt_close(gem_chat_prompt *prompt);
/* These live as long as the prompt. In the text control tokens stand by name; it is for people. */
GEM_API size_t gem_chat_prompt_tokens(const gem_chat_prompt *prompt, const int32_t **tokens);
GEM_API size_t gem_chat_prompt_text(const gem_chat_prompt *prompt, const char **text);

/* Whether the answer may begin with a thought, or is in one: what a constraint of it must know. */
GEM_API gem_thought gem_chat_prompt_thought(const gem_chat_prompt *prompt);

/* An image, sound or video of the conversation: its placeholder is one token, to be expanded by who has the media. A
 * caller that has not must refuse the prompt. */
typedef struct gem_chat_media {
    const char *type;     /* "image", "audio" or "video" */
    size_t token;         /* index of the placeholder among the prompt's tokens */
    size_t message, part; /* where it came from: indices into messages and its content */
} gem_chat_media;
GEM_API size_t gem_chat_prompt_media(const gem_chat_prompt *prompt, const gem_chat_media **media);

typedef enum gem_chat_event_kind {
    GEM_CHAT_THOUGHT = 1,  /* text: the next piece of a thought */
    GEM_CHAT_TEXT = 2,     /* text: the next piece of the answer */
    GEM_CHAT_CALL = 3,     /* name: a tool; text: its arguments, whole, as a JSON object */
    GEM_CHAT_MALFORMED = 4 /* text: what the model wrote, control tokens by name; name: what is wrong with it */
} gem_chat_event_kind;

/* Valid during the call. Text comes as whole characters. */
typedef struct gem_chat_event {
    gem_chat_event_kind kind;
    const char *text, *name;
    size_t n_text, n_name;
} gem_chat_event;
typedef void gem_chat_event_fn(void *user, const gem_chat_event *event);

/* Reads what a model writes after a prompt. One thread at a time. */
typedef struct gem_chat_parser gem_chat_parser;

/* prompt: what came before; its tools give arguments their types. Borrowed until the parser is closed. */
GEM_API gem_status gem_chat_parser_open(gem_chat_parser **out, const gem_model *model, const gem_chat_prompt *prompt,
                                        gem_chat_event_fn *on_event, void *user, gem_error *err);
/* The next token; a stop token may be given too. Errors: GEM_E_NOMEM, GEM_E_LIMIT (an id out of range; a call of more
 * than 16 MiB). What a model may write is no error but an event. */
GEM_API gem_status gem_chat_parser_push(gem_chat_parser *parser, int32_t token, gem_error *err);
/* The same from text with control tokens by name, in pieces of any size. */
GEM_API gem_status gem_chat_parser_push_text(gem_chat_parser *parser, const char *text, size_t n, gem_error *err);
/* The end: what was held back comes out. */
GEM_API gem_status gem_chat_parser_finish(gem_chat_parser *parser, gem_error *err);
/* Ends the text of the answer, thoughts and calls apart, before one of these strings, wherever tokens cut it; nothing
 * is told behind it. To be called before the first token; the strings are borrowed until the parser is closed. At most
 * 64, of 1 to 1024 bytes. */
GEM_API gem_status gem_chat_parser_set_stop(gem_chat_parser *parser, const gem_stop_string *strings, size_t n,
                                            gem_error *err);
/* Index of the one that has come, so that nothing more needs to be generated; or -1. */
GEM_API int32_t gem_chat_parser_stop(const gem_chat_parser *parser);
/* Whether a thought is open, and how many tokens it has had since it began. */
GEM_API bool gem_chat_parser_thinking(const gem_chat_parser *parser, size_t *n_tokens);
/* After the end: the whole answer as a message for the history, JSON, with reasoning, content and tool_calls as far as
 * they occurred. Calls get the ids "call_1", ... counted on from first_call. Lives as long as the parser. */
GEM_API gem_status gem_chat_parser_message(gem_chat_parser *parser, size_t first_call, const char **json, size_t *n,
                                           gem_error *err);
GEM_API void gem_chat_parser_close(gem_chat_parser *parser); /* accepts NULL */

/* ---- is it as fast as it should be? ------------------------------------------------------------------ */

/* What a kernel cannot be faster than. */
typedef enum gem_limit {
    GEM_LIMIT_MEMORY, /* bytes that must come from memory, by how fast this machine reads it */
    GEM_LIMIT_CACHE,  /* bytes read from, or written to, the first-level cache, by how fast a core reads that */
    GEM_LIMIT_INT8,   /* multiplications and additions of 8-bit integers, by a loop of the best instruction for them */
    GEM_LIMIT_BF16,   /* of bfloat16; no limit where there is no instruction for them */
    GEM_LIMIT_F32     /* of float32 */
} gem_limit;
enum { GEM_N_LIMITS = 5 };

/* "memory", "cache", "int8", "bf16", "f32". Static storage; never NULL. */
GEM_API const char *gem_limit_name(gem_limit limit);

/* Bytes or operations per second, measured here and now; 0: there is no such instruction. A multiply-add is two. */
typedef struct gem_machine_speed {
    const char *cpu;                             /* instruction set, named as in gem_model_options */
    uint32_t n_threads;                          /* that "all" stands for */
    double one[GEM_N_LIMITS], all[GEM_N_LIMITS]; /* by gem_limit, of one thread and of all together */
} gem_machine_speed;

/* One kernel at work on one shape. Strings are static. */
typedef struct gem_kernel_speed {
    const char *kernel, *format; /* "gemm_packed", "Q4_0"; format "" where there is none */
    uint32_t rows, columns;      /* of weights, or positions and their dimensions; without weights 0 and the elements */
    uint32_t vectors;            /* activations or queries that are multiplied with them */
    uint32_t n_threads;          /* each does the work of its own */
    gem_limit limit;             /* the one that is nearest */
    double rate, peak;           /* reached, of what `limit` counts, and what the machine can: per second */
    double fraction;             /* of the peak; a little above 1 where something else disturbed measuring the peak */
    double seconds;              /* of one call */
} gem_kernel_speed;

/* Return false to cancel. */
typedef bool gem_kernel_speed_fn(void *user, const gem_kernel_speed *speed);

typedef struct gem_speed_options {
    const char *cpu;         /* as in gem_model_options */
    uint32_t n_threads;      /* 0: one per physical core */
    gem_kernel_speed_fn *fn; /* NULL: only the machine is measured, which takes half a second; else about 5 s */
    void *user;
    uint64_t reserved[4]; /* zero */
} gem_speed_options;

/* Times every kernel of an instruction set, on one thread and, where threads share what limits it, on all, and tells
 * `fn` of each as it comes: it answers whether this build is as fast as it should be on this machine. Takes 256 MiB, or
 * 16 MiB a thread where that is more. On a machine that does other work numbers are lower. machine may be NULL.
 * GEM_E_ARGUMENT an unknown cpu, GEM_E_UNSUPPORTED one that this machine lacks, GEM_E_NOMEM, GEM_E_CANCELLED. */
GEM_API gem_status gem_measure_speed(const gem_speed_options *options, gem_machine_speed *machine, gem_error *err);

#ifdef __cplusplus
}
#endif
#endif
