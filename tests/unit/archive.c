/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/archive.c - checkpoint files. What files hold is compared with listings that other people's readers made
 * (tools/make_files_golden.py); what is wrong with damaged ones, with messages whose offsets the builders below know.
 *
 *   test_archive                  all tests
 *   test_archive NAME ...         some
 *   test_archive --list FILE ...  listings as the tool writes them: compare the two where one differs */
#include "unit/check.h"

#include "fuzz/archive_walk.h"
#include "unit/allocations.h"

#include <dirent.h>
#include <stdarg.h>
#include <unistd.h>

#define GOLDEN "golden/files/"

/* ---- bytes and files ---------------------------------------------------------------------------------------- */

struct bytes {
    uint8_t *p;
    size_t n, cap;
};

static void put(struct bytes *b, const void *data, size_t n)
{
    if (b->n + n > b->cap) {
        b->cap = 2 * (b->n + n);
        b->p = realloc(b->p, b->cap);
        if (!b->p) abort();
    }
    if (n) memcpy(b->p + b->n, data, n);
    b->n += n;
}

static void drop(struct bytes *b)
{
    free(b->p);
    *b = (struct bytes){0};
}

static struct bytes load(const char *path)
{
    struct bytes b = {0};
    FILE *f = fopen(path, "rb");
    uint8_t block[4096];
    size_t n;

    if (!f) printf("%s: cannot be read\n", path), check_failures++;
    while (f && (n = fread(block, 1, sizeof block, f)) > 0) put(&b, block, n);
    if (f) fclose(f);
    return b;
}

static void store(const char *path, const void *data, size_t n)
{
    FILE *f = fopen(path, "wb");

    if (!f || fwrite(data, 1, n, f) != n) printf("%s: cannot be written\n", path), check_failures++;
    if (f) fclose(f);
}

/* A folder for files that a test makes. */
static char folder[] = "/tmp/gemmule-archive-XXXXXX";

static const char *in_folder(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof *paths, "%s/%s", folder, name);
    return path;
}

static void begin_folder(void)
{
    strcpy(strrchr(folder, '-'), "-XXXXXX");
    if (!mkdtemp(folder)) abort();
}

static void end_folder(void)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) unlink(in_folder(entry->d_name));
    if (dir) closedir(dir);
    CHECK_EQ(rmdir(folder), 0);
}

static void copy(const char *from, const char *name)
{
    struct bytes b = load(from);

    store(in_folder(name), b.p, b.n);
    drop(&b);
}

/* ---- listings ----------------------------------------------------------------------------------------------- */

static uint32_t crc32(const void *data, uint64_t n) /* the one of zlib */
{
    static uint32_t table[256];
    const uint8_t *p = data;
    uint32_t crc = UINT32_MAX;

    for (uint32_t i = 0; i < 256 && !table[255]; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
        table[i] = c;
    }
    for (uint64_t i = 0; i < n; i++) crc = crc >> 8 ^ table[(crc ^ p[i]) & 255];
    return ~crc;
}

static const char *kv_name(enum gem_kv_type type)
{
    static const char *const names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
    return names[type];
}

/* Numbers joined by commas, strings as length:bytes. */
static void print_values(FILE *f, const struct gem_kv *kv)
{
    uint64_t cursor = 0;
    const char *s;
    size_t n;

    if (kv->element == GEM_KV_STRING) {
        while (gem_kv_next_string(kv, &cursor, &s, &n)) fprintf(f, "%zu:", n), fwrite(s, 1, n, f);
        return;
    }
    for (uint64_t i = 0; i < kv->n; i++) {
        uint64_t u;
        if (i) fputc(',', f);
        if (kv->element == GEM_KV_F32 || kv->element == GEM_KV_F64) {
            fprintf(f, "%.17g", gem_kv_float(kv, i));
        } else if (kv->element == GEM_KV_U64) {
            memcpy(&u, kv->data + 8 * i, 8);
            fprintf(f, "%llu", (unsigned long long)u);
        } else {
            fprintf(f, "%lld", (long long)gem_kv_int(kv, i));
        }
    }
}

static void list_kv(FILE *f, const struct gem_kv *kv)
{
    char *text = NULL;
    size_t n = 0;
    FILE *values = open_memstream(&text, &n);

    print_values(values, kv);
    fclose(values);
    fprintf(f, "K %s %s%s %llu %08x\n", kv->key, kv->type == GEM_KV_ARRAY ? "array:" : "", kv_name(kv->element),
            (unsigned long long)kv->n, crc32(text, n));
    (free)(text); /* the C library's own */
}

static void list_tensor(FILE *f, const struct gem_tensor *t)
{
    fprintf(f, "T %s %s ", t->name, t->type_name);
    for (uint32_t i = 0; i < t->n_dims; i++) fprintf(f, "%s%llu", i ? "x" : "", (unsigned long long)t->shape[i]);
    fprintf(f, "%s %u:%llu %llu %08x\n", t->n_dims ? "" : "-", t->file, (unsigned long long)t->offset,
            (unsigned long long)t->n_bytes, crc32(t->data, t->n_bytes));
}

static bool is_gguf(const char *path)
{
    const size_t n = strlen(path);

    return n > 5 && !strcmp(path + n - 5, ".gguf");
}

/* The listing of a file or folder, to be freed; *lines its number of lines. NULL after a complaint. */
static char *listing(const char *path, size_t *lines)
{
    struct gem_archive a;
    gem_error err = {0};
    char *text = NULL;
    size_t n = 0;
    FILE *f;

    if (is_gguf(path) ? gem_gguf_open(&a, path, &err) : gem_safetensors_open(&a, path, &err)) {
        printf("%s\n", err.message);
        check_failures++;
        return NULL;
    }
    f = open_memstream(&text, &n);
    for (size_t i = 0; i < a.n_kv; i++) list_kv(f, &a.kv[i]);
    for (size_t i = 0; i < a.n_tensors; i++) list_tensor(f, &a.tensors[i]);
    fclose(f);
    *lines = a.n_kv + a.n_tensors;
    archive_walk(&a);
    gem_archive_close(&a);
    return text;
}

static void check_listing(const char *path, const char *golden)
{
    struct bytes expected = load(golden);
    size_t lines;
    char *text = listing(path, &lines);

    put(&expected, "", 1);
    if (text) CHECK_STR(text, (const char *)expected.p);
    free(text);
    drop(&expected);
}

static void test_one_file(void)
{
    check_listing(GOLDEN "tiny.gguf", GOLDEN "tiny.gguf.txt");
    check_listing(GOLDEN "tiny-v2.gguf", GOLDEN "tiny-v2.gguf.txt");
    check_listing(GOLDEN "tiny.safetensors", GOLDEN "tiny.safetensors.txt");
}

static void test_split(void) /* whichever part is named, all are opened, in order */
{
    for (int i = 1; i <= 3; i++) {
        char path[100];
        snprintf(path, sizeof path, GOLDEN "tiny-split-%05d-of-00003.gguf", i);
        check_listing(path, GOLDEN "tiny-split.gguf.txt");
    }
}

static void test_shards(void) { check_listing(GOLDEN "sharded", GOLDEN "sharded.txt"); }

static void test_models(void) /* every file of the reference models: 23 of them, as the Python packages read them */
{
    const char *shared = getenv("GEM_SHARED");
    FILE *f = fopen(GOLDEN "models.txt", "r");
    char name[200], path[4096];
    unsigned lines, crc, n_files = 0;

    CHECK(f != NULL);
    if (!shared) printf("       skipped: GEM_SHARED is not set\n");
    while (f && shared && fscanf(f, "%199s %u %x", name, &lines, &crc) == 3) {
        size_t n = 0;
        char *text;
        snprintf(path, sizeof path, "%s/%s", shared, name);
        text = listing(path, &n);
        if (!text) continue;
        if (n != lines || crc32(text, strlen(text)) != crc)
            printf("%s: the listing differs: test_archive --list, make_files_golden.py --list\n", path),
                check_failures++;
        free(text);
        n_files++;
    }
    CHECK(!shared || n_files == 23);
    if (f) fclose(f);
}

/* ---- GGUF by hand ------------------------------------------------------------------------------------------- */

/* Each returns where it wrote. */
static size_t put_u32(struct bytes *b, uint32_t v)
{
    const uint8_t le[4] = {(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)};

    put(b, le, 4);
    return b->n - 4;
}

static size_t put_u64(struct bytes *b, uint64_t v)
{
    put_u32(b, (uint32_t)v);
    put_u32(b, (uint32_t)(v >> 32));
    return b->n - 8;
}

static size_t put_string(struct bytes *b, const char *s)
{
    const size_t at = put_u64(b, strlen(s));

    put(b, s, strlen(s));
    return at;
}

static void put_header(struct bytes *b, uint32_t version, uint64_t n_tensors, uint64_t n_kv)
{
    b->n = 0;
    put(b, "GGUF", 4);
    put_u32(b, version);
    put_u64(b, n_tensors);
    put_u64(b, n_kv);
}

static void put_key(struct bytes *b, const char *key, uint32_t type)
{
    put_string(b, key);
    put_u32(b, type);
}

static size_t put_kv_u32(struct bytes *b, const char *key, uint32_t v)
{
    put_key(b, key, GEM_KV_U32);
    return put_u32(b, v);
}

/* Dimensions innermost first, as in the file; *type_at and *offset_at may be NULL. */
struct info {
    const char *name;
    uint32_t n_dims;
    uint64_t ne[4];
    uint32_t type;
    uint64_t offset;
};

struct places {
    size_t dims, type, offset;
};

static struct places put_tensor(struct bytes *b, const struct info *t)
{
    struct places at;

    put_string(b, t->name);
    at.dims = put_u32(b, t->n_dims);
    for (uint32_t i = 0; i < t->n_dims; i++) put_u64(b, t->ne[i % 4]);
    at.type = put_u32(b, t->type);
    at.offset = put_u64(b, t->offset);
    return at;
}

static size_t align(struct bytes *b, size_t alignment)
{
    while (b->n % alignment) put(b, "", 1);
    return b->n;
}

typedef gem_status parse_fn(struct gem_archive *a, const char *name, const uint8_t *data, uint64_t n, gem_error *err);

/* Parses a copy of exactly n bytes; refused with this code, offset and message. */
static void check_refused(parse_fn *parse, const struct bytes *b, gem_status code, uint64_t offset, const char *format,
                          va_list args)
{
    char expected[512];
    struct gem_archive a;
    gem_error err = {0};
    uint8_t *exact = malloc(b->n ? b->n : 1);

    if (b->n) memcpy(exact, b->p, b->n);
    vsnprintf(expected, sizeof expected, format, args);
    CHECK_EQ(parse(&a, "dir/x.bin", exact, b->n, &err), code);
    CHECK_STR(err.message, expected);
    CHECK_EQ(err.code, code);
    CHECK_EQ(err.offset, offset);
    CHECK(!a.n_files && !a.tensors && !a.index);
    gem_archive_close(&a);
    free(exact);
}

static void refused(const struct bytes *b, gem_status code, uint64_t offset, const char *format, ...) GEM_PRINTF(4, 5);
static void refused(const struct bytes *b, gem_status code, uint64_t offset, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    check_refused(gem_gguf_parse, b, code, offset, format, args);
    va_end(args);
}

static void accepted(struct gem_archive *a, const struct bytes *b)
{
    gem_error err = {0};

    CHECK_EQ(gem_gguf_parse(a, "x.gguf", b->p, b->n, &err), GEM_OK);
    if (err.code)
        printf("%s\n", err.message);
    else
        archive_walk(a);
}

static void test_gguf_header(void)
{
    struct bytes b = {0};

    refused(&b, GEM_E_FORMAT, 0, "x.bin: the file is empty");
    put(&b, "ELF", 3);
    refused(&b, GEM_E_FORMAT, 0, "x.bin: not a GGUF file: it does not begin with 'GGUF'");
    b.n = 0;
    put(&b, "version https://git-lfs.github.com/spec/v1\noid", 46);
    refused(&b, GEM_E_FORMAT, 0, "x.bin: a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'");
    b.n = 0;
    put(&b, "<!DOCTYPE html>", 15);
    refused(&b, GEM_E_FORMAT, 0, "x.bin: a web page or XML, not a checkpoint: the download went wrong");
    put_header(&b, 1, 0, 0);
    refused(&b, GEM_E_UNSUPPORTED, 4,
            "x.bin: GGUF version 1, which nobody writes any more: convert the model again with a current llama.cpp "
            "(versions 2 and 3 are read)");
    put_header(&b, 0x03000000, 0, 0);
    refused(&b, GEM_E_UNSUPPORTED, 4,
            "x.bin: big-endian GGUF (version 3): only little-endian is read; convert it with gguf-py's "
            "gguf-convert-endian");
    put_header(&b, 4, 0, 0);
    refused(&b, GEM_E_UNSUPPORTED, 4, "x.bin: GGUF version 4 at byte 4: versions 2 and 3 are read");
    put_header(&b, 3, 1, 0);
    refused(&b, GEM_E_FORMAT, 8,
            "x.bin: truncated or damaged: 1 tensors at byte 8, but the file's 24 bytes cannot hold them");
    put_header(&b, 3, 0, UINT64_MAX);
    refused(&b, GEM_E_FORMAT, 16,
            "x.bin: truncated or damaged: 18446744073709551615 metadata keys at byte 16, but the file's 24 bytes "
            "cannot hold them");
    drop(&b);
}

static void test_gguf_keys(void)
{
    struct bytes b = {0};
    char *long_key = calloc(1, 65537);
    size_t at, first;

    put_header(&b, 3, 0, 1);
    put_key(&b, "", GEM_KV_U32);
    put_u64(&b, 0);
    refused(&b, GEM_E_FORMAT, 24, "x.bin: metadata key at byte 24 has 0 bytes, not 1 to 65535");

    memset(long_key, 'k', 65536);
    put_header(&b, 3, 0, 1);
    put_kv_u32(&b, long_key, 1);
    refused(&b, GEM_E_FORMAT, 24, "x.bin: metadata key at byte 24 has 65536 bytes, not 1 to 65535");

    put_header(&b, 3, 0, 1);
    put_kv_u32(&b, "a\xc3\xa4", 1);
    refused(&b, GEM_E_FORMAT, 24, "x.bin: metadata key at byte 24 is not ASCII text: byte 0xc3");

    put_header(&b, 3, 0, 2);
    put_kv_u32(&b, "first.key", 1);
    at = put_u64(&b, 1000);
    put_u64(&b, 0);
    refused(&b, GEM_E_FORMAT, at + 8,
            "x.bin: truncated or damaged: after 'first.key': the key at byte %zu needs 1000 bytes but the file has %zu",
            at + 8, b.n);

    put_header(&b, 3, 0, 2);
    first = put_kv_u32(&b, "twice", 1);
    at = put_kv_u32(&b, "twice", 1);
    refused(&b, GEM_E_FORMAT, at, "x.bin: metadata key 'twice' twice: values at bytes %zu and %zu", first, at);
    free(long_key);
    drop(&b);
}

static void test_gguf_values(void)
{
    struct bytes b = {0};
    size_t at;

    put_header(&b, 3, 0, 1);
    put_string(&b, "k");
    at = put_u32(&b, 13);
    put_u64(&b, 0);
    refused(&b, GEM_E_FORMAT, at, "x.bin: metadata key 'k': value type 13 at byte %zu is none of 0 to 12", at);

    put_header(&b, 3, 0, 1);
    put_key(&b, "k", GEM_KV_ARRAY);
    at = put_u32(&b, 77);
    put_u64(&b, 0);
    refused(&b, GEM_E_FORMAT, at, "x.bin: metadata key 'k': value type 77 at byte %zu is none of 0 to 12", at);

    put_header(&b, 3, 0, 1);
    put_key(&b, "k", GEM_KV_ARRAY);
    at = put_u32(&b, GEM_KV_ARRAY);
    put_u64(&b, 0);
    refused(&b, GEM_E_UNSUPPORTED, at, "x.bin: metadata key 'k' at byte %zu is an array of arrays, which is not read",
            at);

    put_header(&b, 3, 0, 1);
    put_key(&b, "k", GEM_KV_BOOL);
    at = b.n;
    put(&b, "\x02", 1);
    refused(&b, GEM_E_FORMAT, at, "x.bin: metadata key 'k' at byte %zu: a bool of 0x02, not 0 or 1", at);

    put_header(&b, 3, 0, 1);
    put_key(&b, "k", GEM_KV_ARRAY);
    put_u32(&b, GEM_KV_U64);
    put_u64(&b, 1ull << 61); /* times 8 is 0, modulo 2^64 */
    refused(&b, GEM_E_FORMAT, b.n,
            "x.bin: truncated or damaged: metadata key 'k': the value at byte %zu needs 18446744073709551615 bytes but "
            "the file has %zu",
            b.n, b.n);

    put_header(&b, 3, 0, 1);
    put_key(&b, "tokens", GEM_KV_ARRAY);
    put_u32(&b, GEM_KV_STRING);
    put_u64(&b, 2);
    put_string(&b, "fine");
    put_u64(&b, UINT64_MAX - 3);
    refused(&b, GEM_E_FORMAT, b.n,
            "x.bin: truncated or damaged: metadata key 'tokens': the string at byte %zu needs %llu bytes but the file "
            "has %zu",
            b.n, (unsigned long long)UINT64_MAX - 3, b.n);
    drop(&b);
}

static void test_gguf_alignment(void) /* every power of two up to 64 KiB; the rest refused */
{
    static const uint32_t bad[] = {0, 3, 48, 128 * 1024, 0x80000000u};
    struct bytes b = {0};
    struct gem_archive a;
    size_t at;

    for (uint32_t n = 1; n <= 64 * 1024; n *= 2) {
        size_t base;
        put_header(&b, 3, 2, 1);
        put_kv_u32(&b, "general.alignment", n);
        put_tensor(&b, &(struct info){"p", 1, {1}, GEM_I8, 0});
        put_tensor(&b, &(struct info){"q", 1, {2}, GEM_I8, n});
        base = align(&b, n);
        put(&b, "P", 1);
        align(&b, n);
        put(&b, "QR", 2);
        accepted(&a, &b);
        CHECK_EQ(gem_archive_tensor(&a, "q")->offset, base + n);
        CHECK(!memcmp(gem_archive_tensor(&a, "p")->data, "P", 1) &&
              !memcmp(gem_archive_tensor(&a, "q")->data, "QR", 2));
        gem_archive_close(&a);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_header(&b, 3, 0, 1);
        at = put_kv_u32(&b, "general.alignment", bad[i]);
        refused(&b, GEM_E_FORMAT, at,
                "x.bin: metadata key 'general.alignment' at byte %zu is %u, not a power of two up to 65536", at,
                bad[i]);
    }
    put_header(&b, 3, 0, 1);
    put_key(&b, "general.alignment", GEM_KV_STRING);
    at = put_string(&b, "32");
    refused(&b, GEM_E_FORMAT, at,
            "x.bin: metadata key 'general.alignment' at byte %zu: expected an integer from 0 to 4294967295, found a "
            "string",
            at);
    drop(&b);
}

static void test_gguf_tensors(void)
{
    struct bytes b = {0};
    struct places at;

    put_header(&b, 3, 1, 0);
    at = put_tensor(&b, &(struct info){"t", 5, {1, 1, 1, 1}, GEM_F32, 0});
    refused(&b, GEM_E_FORMAT, at.dims, "x.bin: tensor 't' at byte %zu has 5 dimensions, at most 4 expected", at.dims);

    put_header(&b, 3, 1, 0);
    at = put_tensor(&b, &(struct info){"t", 3, {1ull << 31, 1ull << 31, 4}, GEM_I8, 0});
    refused(&b, GEM_E_FORMAT, at.dims, "x.bin: tensor 't' at byte %zu: its dimensions multiply to more than 2^63",
            at.dims);

    put_header(&b, 3, 1, 0); /* nothing in it, but a reader who multiplies the other two would overflow */
    at = put_tensor(&b, &(struct info){"t", 3, {1ull << 62, 4, 0}, GEM_I8, 0});
    refused(&b, GEM_E_FORMAT, at.dims, "x.bin: tensor 't' at byte %zu: its dimensions multiply to more than 2^63",
            at.dims);

    put_header(&b, 3, 1, 0);
    at = put_tensor(&b, &(struct info){"t", 1, {INT64_MAX}, GEM_F64, 0});
    refused(&b, GEM_E_FORMAT, at.type,
            "x.bin: tensor 't' at byte %zu: 9223372036854775807 elements of F64 are too many", at.type);

    put_header(&b, 3, 1, 0);
    at = put_tensor(&b, &(struct info){"blk.7.new", 1, {32}, 99, 0});
    refused(&b, GEM_E_UNSUPPORTED, at.type,
            "x.bin: tensor 'blk.7.new': type number 99 at byte %zu is not one that is read", at.type);

    put_header(&b, 3, 1, 0);
    at = put_tensor(&b, &(struct info){"t", 2, {48, 2}, GEM_Q4_0, 0});
    refused(&b, GEM_E_FORMAT, at.type, "x.bin: tensor 't' at byte %zu: rows of 48 elements, but Q4_0 has blocks of 32",
            at.type);

    put_header(&b, 3, 1, 0);
    at = put_tensor(&b, &(struct info){"t", 0, {0}, GEM_Q8_0, 0});
    refused(&b, GEM_E_FORMAT, at.type, "x.bin: tensor 't' at byte %zu: rows of 1 elements, but Q8_0 has blocks of 32",
            at.type);

    put_header(&b, 3, 1, 0);
    at = put_tensor(&b, &(struct info){"t", 1, {1}, GEM_F32, 33});
    refused(&b, GEM_E_FORMAT, at.offset, "x.bin: tensor 't': offset 33 at byte %zu is not a multiple of 32", at.offset);
    drop(&b);
}

static void test_gguf_names(void)
{
    struct bytes b = {0};
    struct places at;
    size_t base;

    put_header(&b, 3, 1, 0);
    put_u64(&b, 3);
    put(&b, "a\0b", 3);
    put(&b, (uint8_t[24]){0}, 24);
    refused(&b, GEM_E_FORMAT, 24,
            "x.bin: tensor name at byte 24: 3 bytes (at most 65535), none of them zero, expected");

    put_header(&b, 3, 2, 0);
    put_tensor(&b, &(struct info){"same", 1, {1}, GEM_F32, 0});
    put_tensor(&b, &(struct info){"same", 1, {1}, GEM_F32, 32});
    base = align(&b, 32);
    put(&b, (uint8_t[36]){0}, 36);
    refused(&b, GEM_E_FORMAT, base + 32, "x.bin: tensor 'same' at byte %zu is also in this file at byte %zu", base + 32,
            base);

    put_header(&b, 3, 2, 0);
    put_tensor(&b, &(struct info){"whole", 1, {1}, GEM_F32, 0});
    at = put_tensor(&b, &(struct info){"cut", 1, {1}, GEM_F32, 32});
    b.n = at.offset + 4;
    refused(&b, GEM_E_FORMAT, at.offset,
            "x.bin: truncated or damaged: tensor 'cut': the offset at byte %zu needs 8 bytes but the file has %zu",
            at.offset, b.n);
    b.n = 24 + 2 * 24 - 1; /* no two tensors fit into that */
    refused(&b, GEM_E_FORMAT, 8,
            "x.bin: truncated or damaged: 2 tensors at byte 8, but the file's %zu bytes cannot hold them", b.n);
    drop(&b);
}

static void test_gguf_layout(void)
{
    struct bytes b = {0};
    struct gem_archive a;
    size_t base;

    put_header(&b, 3, 3, 0); /* in any order, with gaps, with an empty one, with bytes after the end */
    put_tensor(&b, &(struct info){"late", 2, {3, 2}, GEM_I16, 96});
    put_tensor(&b, &(struct info){"empty", 2, {0, 4}, GEM_F32, 96});
    put_tensor(&b, &(struct info){"early", 1, {9}, GEM_I8, 32});
    base = align(&b, 32);
    put(&b, (uint8_t[200]){0}, 200);
    accepted(&a, &b);
    CHECK_EQ(a.tensors[0].offset, base + 96);
    CHECK_EQ(a.tensors[0].shape[0], 2);
    CHECK_EQ(a.tensors[0].shape[1], 3);
    CHECK_EQ(a.tensors[1].n_bytes, 0);
    gem_archive_close(&a);

    put_header(&b, 3, 2, 0);
    put_tensor(&b, &(struct info){"a", 1, {40}, GEM_I8, 0});
    put_tensor(&b, &(struct info){"b", 1, {1}, GEM_I8, 32});
    base = align(&b, 32);
    put(&b, (uint8_t[64]){0}, 64);
    refused(&b, GEM_E_FORMAT, base + 32, "x.bin: tensor 'b' begins at byte %zu, inside another that ends at %zu",
            base + 32, base + 40);

    put_header(&b, 3, 2, 0);
    put_tensor(&b, &(struct info){"whole", 1, {32}, GEM_I8, 0});
    put_tensor(&b, &(struct info){"blk.3.ffn_up.weight", 1, {10}, GEM_F32, 32});
    base = align(&b, 32);
    put(&b, (uint8_t[71]){0}, 71);
    refused(&b, GEM_E_FORMAT, b.n,
            "x.bin: truncated: tensor 'blk.3.ffn_up.weight' ends at byte %zu but the file has %zu (whole: %zu)",
            base + 72, b.n, base + 72);

    put_header(&b, 3, 1, 0);
    put_tensor(&b, &(struct info){"t", 1, {1}, GEM_F32, UINT64_MAX - 31});
    base = align(&b, 32);
    refused(&b, GEM_E_FORMAT, base, "x.bin: tensor 't': offset or size overflows");
    drop(&b);
}

static void test_many_tensors(void) /* found by name, whatever their order; the arrays have to grow */
{
    enum { N = 5000 };
    struct bytes b = {0};
    struct gem_archive a;
    char name[32];

    put_header(&b, 3, N, 0);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "blk.%u.weight", (i * 7919) % N);
        put_tensor(&b, &(struct info){name, 1, {i % 3}, GEM_I8, 32 * i});
    }
    align(&b, 32);
    put(&b, (uint8_t[1]){0}, 1);
    for (uint32_t i = 0; i < N; i++) put(&b, (uint8_t[32]){0}, 32);
    accepted(&a, &b);
    for (uint32_t i = 0; i < N; i++) {
        snprintf(name, sizeof name, "blk.%u.weight", (i * 7919) % N);
        CHECK(gem_archive_tensor(&a, name) == &a.tensors[i]);
    }
    CHECK(!gem_archive_tensor(&a, "blk.5000.weight") && !gem_archive_tensor(&a, "") && !gem_archive_kv(&a, "k"));
    gem_archive_close(&a);
    drop(&b);
}

/* ---- metadata ----------------------------------------------------------------------------------------------- */

static void test_values(void) /* the values that make_files_golden.py gave to gguf-py */
{
    static const double floats[] = {0.5, -0.25};
    struct gem_archive a;
    uint32_t u = 1, several[5] = {0};
    float f = 0;
    bool yes = false;
    const char *s = "";
    size_t n = 0;
    gem_error err = {0};

    CHECK_EQ(gem_gguf_open(&a, GOLDEN "tiny.gguf", &err), GEM_OK);
    CHECK_EQ(gem_kv_get_u32(&a, "test.u32", true, &u, &err), GEM_OK);
    CHECK_EQ(u, 4000000000u);
    CHECK_EQ(gem_kv_get_u32(&a, "test.u8", true, &u, &err), GEM_OK); /* integers convert */
    CHECK_EQ(u, 200);
    CHECK_EQ(gem_kv_get_f32(&a, "test.f32", true, &f, &err), GEM_OK);
    CHECK(f == 1e-6f);
    CHECK_EQ(gem_kv_get_bool(&a, "test.bool", true, &yes, &err), GEM_OK);
    CHECK(yes);
    CHECK_EQ(gem_kv_get_string(&a, "test.string", true, &s, &n, &err), GEM_OK);
    CHECK(n == 8 && !memcmp(s,
                            "gr\xc3\xb6\xc3\x9f"
                            "er",
                            8));
    CHECK_EQ(gem_kv_get_u32s(&a, "test.array.i32", true, several, 5, &err), GEM_OK);
    for (int i = 0; i < 5; i++) CHECK_EQ(several[i], 7);
    CHECK_EQ(gem_kv_get_u32s(&a, "test.array.bool", true, several, 3, &err), GEM_OK);
    CHECK(several[0] == 1 && several[1] == 0 && several[2] == 1 && several[3] == 7);
    CHECK_EQ(gem_kv_get_u32s(&a, "test.u16", true, several, 5, &err), GEM_OK); /* one for all */
    for (int i = 0; i < 5; i++) CHECK_EQ(several[i], 60000);
    CHECK_EQ(gem_kv_int(gem_archive_kv(&a, "test.i8"), 0), -100);
    CHECK_EQ(gem_kv_int(gem_archive_kv(&a, "test.i16"), 0), -30000);
    CHECK_EQ(gem_kv_int(gem_archive_kv(&a, "test.i32"), 0), -2000000000);
    CHECK_EQ(gem_kv_int(gem_archive_kv(&a, "test.i64"), 0), INT64_MIN);
    CHECK_EQ(gem_kv_int(gem_archive_kv(&a, "test.u64"), 0), INT64_MAX);
    CHECK(gem_kv_float(gem_archive_kv(&a, "test.u64"), 0) == 0x1p64);
    CHECK(gem_kv_float(gem_archive_kv(&a, "test.f64"), 0) == 1e300);
    for (int i = 0; i < 2; i++) CHECK(gem_kv_float(gem_archive_kv(&a, "test.array.f32"), i) == floats[i]);
    gem_archive_close(&a);
}

static void test_absent_keys(void)
{
    struct gem_archive a;
    uint32_t u = 17, several[2] = {18, 19};
    float f = 2.5f;
    bool yes = true;
    const char *s = "default";
    size_t n = 7;
    gem_error err = {0};

    CHECK_EQ(gem_gguf_open(&a, GOLDEN "tiny.gguf", &err), GEM_OK);
    CHECK_EQ(gem_kv_get_u32(&a, "no.key", false, &u, &err), GEM_OK);
    CHECK_EQ(gem_kv_get_f32(&a, "no.key", false, &f, &err), GEM_OK);
    CHECK_EQ(gem_kv_get_bool(&a, "no.key", false, &yes, &err), GEM_OK);
    CHECK_EQ(gem_kv_get_string(&a, "no.key", false, &s, &n, &err), GEM_OK);
    CHECK_EQ(gem_kv_get_u32s(&a, "no.key", false, several, 2, &err), GEM_OK);
    CHECK(u == 17 && f == 2.5f && yes && n == 7 && !strcmp(s, "default") && several[0] == 18 && several[1] == 19);
    CHECK_EQ(gem_kv_get_u32(&a, "no.key", true, &u, &err), GEM_E_FORMAT);
    CHECK_STR(err.message, "tiny.gguf: metadata key 'no.key' is missing");
    CHECK_EQ(gem_kv_get_string(&a, "no.key", true, &s, &n, NULL), GEM_E_FORMAT);
    gem_archive_close(&a);
}

static void test_wrong_types(void)
{
    static const struct {
        const char *key, *expected;
        char getter;
    } cases[] = {
        {"test.i8", "an integer from 0 to 4294967295, found i8 -100", 'u'},
        {"test.u64", "an integer from 0 to 4294967295, found u64 9223372036854775807", 'u'},
        {"test.f32", "an integer from 0 to 4294967295, found f32 1e-06", 'u'},
        {"test.bool", "an integer from 0 to 4294967295, found a bool", 'u'},
        {"test.array.u8", "an integer from 0 to 4294967295, found an array of 2 u8", 'u'},
        {"test.u32", "an f32, found u32 4000000000", 'f'},
        {"test.f64", "a number that float32 can hold, found f64 1e+300", 'f'},
        {"test.u8", "a bool, found u8 200", 'b'},
        {"test.array.bool", "a bool, found an array of 3 bool", 'b'},
        {"test.array.string", "a string, found an array of 4 string", 's'},
        {"test.array.i32", "an integer from 0 to 4294967295, or an array of 2, found an array of 5 i32", 'a'},
        {"test.array.f32", "an integer from 0 to 4294967295, or an array of 2, found an array of 2 f32", 'a'},
        {"test.array.i64", "an integer from 0 to 4294967295, or an array of 2, found an array of 2 i64", 'a'},
        {"test.string", "an integer from 0 to 4294967295, or an array of 2, found a string", 'a'},
    };
    struct gem_archive a;
    uint32_t u[2] = {17, 18};
    float f;
    bool yes;
    const char *s;
    size_t n;
    gem_error err;

    CHECK_EQ(gem_gguf_open(&a, GOLDEN "tiny.gguf", &err), GEM_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *key = cases[i].key;
        const struct gem_kv *kv = gem_archive_kv(&a, key);
        char expected[256];
        gem_status st = GEM_OK;
        switch (cases[i].getter) {
        case 'u': st = gem_kv_get_u32(&a, key, false, u, &err); break;
        case 'f': st = gem_kv_get_f32(&a, key, false, &f, &err); break;
        case 'b': st = gem_kv_get_bool(&a, key, false, &yes, &err); break;
        case 's': st = gem_kv_get_string(&a, key, false, &s, &n, &err); break;
        default: st = gem_kv_get_u32s(&a, key, false, u, 2, &err); break;
        }
        CHECK_EQ(st, GEM_E_FORMAT);
        snprintf(expected, sizeof expected, "tiny.gguf: metadata key '%s' at byte %llu: expected %s", key,
                 (unsigned long long)kv->offset, cases[i].expected);
        CHECK_STR(err.message, expected);
        CHECK_EQ(err.offset, kv->offset);
    }
    CHECK(u[0] == 17 && u[1] == 18); /* nothing was written */
    gem_archive_close(&a);
}

/* ---- split GGUF --------------------------------------------------------------------------------------------- */

static void open_refused(gem_status open(struct gem_archive *, const char *, gem_error *), const char *name,
                         gem_status code, const char *message)
{
    struct gem_archive a;
    gem_error err = {0};

    CHECK_EQ(open(&a, in_folder(name), &err), code);
    CHECK_STR(err.message, message);
    CHECK(!a.n_files && !a.index);
    gem_archive_close(&a);
}

static void copy_parts(void)
{
    copy(GOLDEN "tiny-split-00001-of-00003.gguf", "m-00001-of-00003.gguf");
    copy(GOLDEN "tiny-split-00002-of-00003.gguf", "m-00002-of-00003.gguf");
    copy(GOLDEN "tiny-split-00003-of-00003.gguf", "m-00003-of-00003.gguf");
}

static void test_split_missing(void)
{
    begin_folder();
    copy_parts();
    unlink(in_folder("m-00002-of-00003.gguf"));
    open_refused(gem_gguf_open, "m-00001-of-00003.gguf", GEM_E_IO, "m-00002-of-00003.gguf: part 2 of 3 is missing");
    open_refused(gem_gguf_open, "m-00003-of-00003.gguf", GEM_E_IO, "m-00002-of-00003.gguf: part 2 of 3 is missing");
    rename(in_folder("m-00001-of-00003.gguf"), in_folder("renamed.gguf"));
    open_refused(
        gem_gguf_open, "renamed.gguf", GEM_E_FORMAT,
        "renamed.gguf: is part 1 of 3, but its name does not end in -00001-of-00003.gguf: the others are found "
        "by name");
    open_refused(gem_gguf_open, "m-00003-of-00003.gguf", GEM_E_IO, "m-00001-of-00003.gguf: part 1 of 3 is missing");
    end_folder();
}

static void test_split_mixed_up(void)
{
    struct bytes b;
    struct gem_archive a;
    gem_error err = {0};

    begin_folder();
    copy_parts();
    copy(GOLDEN "tiny-split-00003-of-00003.gguf", "m-00002-of-00003.gguf"); /* the same part twice */
    open_refused(gem_gguf_open, "m-00001-of-00003.gguf", GEM_E_FORMAT,
                 "m-00002-of-00003.gguf: says it is part 3 of 3 with 5 tensors in all; 2 of 3 with 5 expected");
    open_refused(gem_gguf_open, "m-00002-of-00003.gguf", GEM_E_FORMAT,
                 "m-00002-of-00003.gguf: is part 3 of 3, but its name does not end in -00003-of-00003.gguf: the others "
                 "are found by name");
    copy(GOLDEN "tiny.gguf", "m-00002-of-00003.gguf"); /* no part at all */
    open_refused(gem_gguf_open, "m-00001-of-00003.gguf", GEM_E_FORMAT,
                 "m-00002-of-00003.gguf: says it is part 1 of 0 with 0 tensors in all; 2 of 3 with 5 expected");

    copy_parts(); /* and a good third part that differs in one name only: that the folder was not to blame */
    b = load(in_folder("m-00003-of-00003.gguf"));
    for (size_t i = 0; i + 3 < b.n; i++)
        if (!memcmp(b.p + i, "ids", 3)) b.p[i + 2] = 'x';
    store(in_folder("m-00003-of-00003.gguf"), b.p, b.n);
    drop(&b);
    CHECK_EQ(gem_gguf_open(&a, in_folder("m-00001-of-00003.gguf"), &err), GEM_OK);
    CHECK(gem_archive_tensor(&a, "idx") && gem_archive_tensor(&a, "idx")->file == 2);
    gem_archive_close(&a);
    end_folder();
}

/* A part with the three split keys, `extra` under the key "model.id", and one tensor. */
static void put_part(struct bytes *b, uint32_t no, uint32_t count, uint32_t n_tensors, uint32_t extra, const char *name)
{
    put_header(b, 3, 1, 4);
    put_kv_u32(b, "model.id", extra);
    put_kv_u32(b, "split.no", no);
    put_kv_u32(b, "split.count", count);
    put_kv_u32(b, "split.tensors.count", n_tensors);
    put_tensor(b, &(struct info){name, 1, {1}, GEM_F32, 0});
    align(b, 32);
    put(b, "abcd", 4);
}

static void store_parts(uint32_t total, uint32_t second_id, const char *second_name)
{
    struct bytes b = {0};

    put_part(&b, 0, 2, total, 5, "t");
    store(in_folder("p-00001-of-00002.gguf"), b.p, b.n);
    put_part(&b, 1, 2, total, second_id, second_name);
    store(in_folder("p-00002-of-00002.gguf"), b.p, b.n);
    drop(&b);
}

static void test_split_disagrees(void)
{
    struct gem_archive a;
    struct bytes b = {0};
    gem_error err = {0};
    uint32_t id = 0;

    begin_folder();
    store_parts(2, 5, "u"); /* a key that parts repeat is kept once */
    CHECK_EQ(gem_gguf_open(&a, in_folder("p-00002-of-00002.gguf"), &err), GEM_OK);
    CHECK_EQ(a.n_kv, 4);
    CHECK_EQ(gem_kv_get_u32(&a, "model.id", true, &id, &err), GEM_OK);
    CHECK_EQ(id, 5);
    CHECK_EQ(gem_kv_get_u32(&a, "split.no", true, &id, &err), GEM_OK);
    CHECK_EQ(id, 0);
    gem_archive_close(&a);

    store_parts(2, 6, "u");
    open_refused(
        gem_gguf_open, "p-00001-of-00002.gguf", GEM_E_FORMAT,
        "p-00002-of-00002.gguf: metadata key 'model.id' at byte 44 differs from p-00001-of-00002.gguf: parts of "
        "different files");
    store_parts(3, 5, "u");
    open_refused(gem_gguf_open, "p-00001-of-00002.gguf", GEM_E_FORMAT,
                 "p-00001-of-00002.gguf: its 2 parts hold 2 tensors, but metadata key 'split.tensors.count' says 3");
    store_parts(2, 5, "u");
    put_part(&b, 1, 2, 7, 5, "u");
    store(in_folder("p-00002-of-00002.gguf"), b.p, b.n);
    open_refused(gem_gguf_open, "p-00001-of-00002.gguf", GEM_E_FORMAT,
                 "p-00002-of-00002.gguf: says it is part 2 of 2 with 7 tensors in all; 2 of 2 with 2 expected");
    drop(&b);
    store_parts(2, 5, "t");
    open_refused(gem_gguf_open, "p-00001-of-00002.gguf", GEM_E_FORMAT,
                 "p-00002-of-00002.gguf: tensor 't' at byte 192 is also in p-00001-of-00002.gguf at byte 192");
    end_folder();
}

/* ---- safetensors by hand ------------------------------------------------------------------------------------ */

static void put_json(struct bytes *b, const char *json, size_t n_data)
{
    b->n = 0;
    put_string(b, json); /* a u64 and the text: the same as in GGUF */
    for (size_t i = 0; i < n_data; i++) put(b, "d", 1);
}

static void st_refused(const char *json, size_t n_data, gem_status code, uint64_t offset, const char *format, ...)
    GEM_PRINTF(5, 6);
static void st_refused(const char *json, size_t n_data, gem_status code, uint64_t offset, const char *format, ...)
{
    struct bytes b = {0};
    va_list args;

    put_json(&b, json, n_data);
    va_start(args, format);
    check_refused(gem_safetensors_parse, &b, code, offset, format, args);
    va_end(args);
    drop(&b);
}

static void raw_refused(const void *data, size_t n, uint64_t offset, const char *format, ...) GEM_PRINTF(4, 5);
static void raw_refused(const void *data, size_t n, uint64_t offset, const char *format, ...)
{
    struct bytes b = {0};
    va_list args;

    put(&b, data, n);
    va_start(args, format);
    check_refused(gem_safetensors_parse, &b, GEM_E_FORMAT, offset, format, args);
    va_end(args);
    drop(&b);
}

static void test_safetensors_header(void)
{
    raw_refused("", 0, 0, "x.bin: the file is empty");
    raw_refused("\x02\0\0", 3, 0, "x.bin: truncated: not even the 8 bytes of the header's length");
    raw_refused("{\"weight_map\": {}}", 18, 0,
                "x.bin: JSON, not a checkpoint: of a model with an index name the folder");
    raw_refused("GGUF\3\0\0\0", 8, 0, "x.bin: a GGUF file, not a safetensors file");
    raw_refused("version https://git-lfs.github.com/spec/v1", 42, 0,
                "x.bin: a Git LFS pointer, not the file itself: fetch it with 'git lfs pull'");
    raw_refused("PK\3\4\x14\0\0\0\0\0", 10, 0,
                "x.bin: a ZIP archive (a PyTorch checkpoint?): use the model's safetensors or GGUF files");
    raw_refused("\x01\xe1\xf5\x05\0\0\0\0{}", 10, 0, /* 100,000,001 */
                "x.bin: not a safetensors file: the header's length at byte 0 is above 100 MB");
    raw_refused("\x00\xe1\xf5\x05\0\0\0\0{}", 10, 10,
                "x.bin: truncated: the header ends at byte 100000008 but the file has 10");
    raw_refused("\0\0\0\0\0\0\0\0", 8, 8, "x.bin: header at byte 8: empty, not JSON");
    st_refused("[]", 0, GEM_E_FORMAT, 8, "x.bin: the header at byte 8 is no JSON object");
    st_refused("{}", 1, GEM_E_FORMAT, 10, "x.bin: the last tensor ends at byte 10 but the file has 11 bytes");
}

static void test_safetensors_entries(void)
{
    static const struct {
        const char *json, *problem;
    } cases[] = {
        {"{\"t\":1}", "no dtype that is a string"},
        {"{\"t\":{\"dtype\":7,\"shape\":[],\"data_offsets\":[0,4]}}", "no dtype that is a string"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":1,\"data_offsets\":[0,4]}}", "no shape that is an array"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1]}}", "no data_offsets that is an array of two"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,2,4]}}",
         "no data_offsets that is an array of two"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}",
         "dtype, shape or data_offsets twice"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", "a dimension that is no whole number"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", "a dimension that is no whole number"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}",
         "dimensions multiply to more than 2^63"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}",
         "data_offsets are not two ascending whole numbers"},
        {"{\"t\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\"4\"]}}",
         "data_offsets are not two ascending whole numbers"},
        {"{\"t\\u0000u\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "a zero byte in its name"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        st_refused(cases[i].json, 4, GEM_E_FORMAT, 8, "x.bin: header at byte 8: tensor 't': %s", cases[i].problem);
    st_refused("{\"t\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, GEM_E_UNSUPPORTED, 8,
               "x.bin: header at byte 8: tensor 't' has 5 dimensions, at most 4 are read");
}

#define ENTRY(name, dtype, shape, begin, end)                                                                          \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

static void test_safetensors_layout(void)
{
    const char *json = "{" ENTRY("a", "F32", "2", 0, 8) "," ENTRY("b", "U8", "3", 8, 11) "}";
    const char *huge = "{" ENTRY("t", "NEW", "1", 0, 18446744073709551615) "}";
    const size_t base = 8 + strlen(json); /* the texts of most cases are of one length */

    st_refused(json, 10, GEM_E_FORMAT, base + 10,
               "x.bin: truncated: tensor 'b' ends at byte %zu but the file has %zu (whole: %zu)", base + 11, base + 10,
               base + 11);
    st_refused(json, 12, GEM_E_FORMAT, base + 11, "x.bin: the last tensor ends at byte %zu but the file has %zu bytes",
               base + 11, base + 12);
    st_refused("{" ENTRY("a", "F32", "2", 0, 8) "," ENTRY("b", "U8", "3", 9, 12) "}", 12, GEM_E_FORMAT, base + 8,
               "x.bin: tensor 'b' begins at byte %zu, %zu expected: a hole", base + 9, base + 8);
    st_refused("{" ENTRY("a", "F32", "2", 0, 8) "," ENTRY("b", "U8", "3", 7, 10) "}", 10, GEM_E_FORMAT, base + 7,
               "x.bin: tensor 'b' begins at byte %zu, inside another that ends at %zu", base + 7, base + 8);
    st_refused("{" ENTRY("a", "F32", "2", 0, 7) "," ENTRY("b", "U8", "3", 7, 10) "}", 10, GEM_E_FORMAT, base,
               "x.bin: tensor 'a': 2 elements of F32 do not take the 7 bytes of its data_offsets");
    st_refused("{" ENTRY("a", "U8", "1", 0, 1) "," ENTRY("a", "U8", "1", 1, 2) "}", 2, GEM_E_FORMAT,
               base - 1, /* two digits less */
               "x.bin: tensor 'a' at byte %zu is also in this file at byte %zu", base - 1, base - 2);
    st_refused("{" ENTRY("t", "U8", "18446744073709551615", 0, 18446744073709551615) "}", 0, GEM_E_FORMAT, 8,
               "x.bin: header at byte 8: tensor 't': dimensions multiply to more than 2^63");
    st_refused(huge, 0, GEM_E_FORMAT, 8 + strlen(huge), "x.bin: tensor 't': offset or size overflows");
}

static void test_safetensors_other_types(void) /* they must not stand in the way of those that are read */
{
    struct bytes b = {0};
    struct gem_archive a;
    gem_error err = {0};

    put_json(
        &b,
        "{" ENTRY("f8", "F8_E4M3", "2,2", 0, 4) "," ENTRY("f4", "F4", "4", 4, 6) "," ENTRY(
            "u8", "U8", "", 6, 7) "," ENTRY("new", "Q1_X", "9", 7, 10) "," ENTRY("bf", "BF16", "1,1", 10, 12) "}  ",
        12);
    CHECK_EQ(gem_safetensors_parse(&a, "x", b.p, b.n, &err), GEM_OK);
    archive_walk(&a);
    CHECK_EQ(gem_archive_tensor(&a, "f8")->type, GEM_TYPE_OTHER);
    CHECK_STR(gem_archive_tensor(&a, "f8")->type_name, "F8_E4M3");
    CHECK_STR(gem_archive_tensor(&a, "new")->type_name, "Q1_X");
    CHECK_EQ(gem_archive_tensor(&a, "u8")->n_dims, 0);
    CHECK_EQ(gem_archive_tensor(&a, "bf")->type, GEM_BF16);
    CHECK(!gem_type_info(GEM_TYPE_OTHER)->name);
    gem_archive_close(&a);
    drop(&b);
}

/* ---- folders of safetensors --------------------------------------------------------------------------------- */

static void copy_shards(void)
{
    copy(GOLDEN "sharded/model.safetensors.index.json", "model.safetensors.index.json");
    copy(GOLDEN "sharded/model-00001-of-00003.safetensors", "model-00001-of-00003.safetensors");
    copy(GOLDEN "sharded/model-00002-of-00003.safetensors", "model-00002-of-00003.safetensors");
    copy(GOLDEN "sharded/model-00003-of-00003.safetensors", "model-00003-of-00003.safetensors");
}

static void test_folder(void)
{
    char message[256];

    begin_folder();
    snprintf(message, sizeof message,
             "%s/: no model.safetensors, model.safetensors.index.json or other *.safetensors file in it", folder);
    open_refused(gem_safetensors_open, "", GEM_E_IO, message);
    copy(GOLDEN "tiny.safetensors", "weights.safetensors");
    check_listing(folder, GOLDEN "tiny.safetensors.txt"); /* the only one */
    copy(GOLDEN "tiny.safetensors", "another.safetensors");
    snprintf(message, sizeof message,
             "%s/: 2 safetensors files and no model.safetensors.index.json: another.safetensors, weights.safetensors",
             folder);
    open_refused(gem_safetensors_open, "", GEM_E_FORMAT, message);
    copy_shards();
    check_listing(folder, GOLDEN "sharded.txt");
    copy(GOLDEN "tiny.safetensors", "model.safetensors");
    check_listing(folder, GOLDEN "tiny.safetensors.txt"); /* goes before the index */
    end_folder();
}

static void store_index(const char *map)
{
    char text[2048];

    snprintf(text, sizeof text, "{\"weight_map\": %s}", map);
    store(in_folder("model.safetensors.index.json"), text, strlen(text));
}

#define SHARD(n) "\"model-0000" #n "-of-00003.safetensors\""
#define FIRST_FOUR                                                                                                     \
    "{\"model.layers.0.weight\":" SHARD(1) ",\"model.layers.1.weight\":" SHARD(1) ",\"model.layers.2.weight\":" SHARD( \
        2) ",\"model.layers.3.weight\":" SHARD(2)

static void test_index(void)
{
    static const struct {
        const char *map, *message;
    } cases[] = {
        {"[]", "model.safetensors.index.json: key 'weight_map' is not an object with tensors"},
        {FIRST_FOUR "}", "SAME"}, /* the third shard is then not opened, which is as it should be */
        {"{\"model.layers.0.weight\":" SHARD(1) "}",
         "model-00001-of-00003.safetensors: tensor 'model.layers.1.weight' is not in model.safetensors.index.json"},
        {FIRST_FOUR ",\"model.layers.4.weight\":" SHARD(2) "}",
         "model.safetensors.index.json: tensor 'model.layers.4.weight' is not in shard "
         "'model-00002-of-00003.safetensors'"},
        {FIRST_FOUR ",\"model.layers.3.weight\":" SHARD(2) "}",
         "model.safetensors.index.json: tensor 'model.layers.3.weight' is listed twice"},
        {"{\"model.layers.4.weight\":" SHARD(3) ",\"model.layers.3.weight\":" SHARD(
             3) ",\"model.layers.2.weight\":" SHARD(2) "}",
         "model.safetensors.index.json: tensor 'model.layers.3.weight' is not in shard "
         "'model-00003-of-00003.safetensors'"},
        {FIRST_FOUR ",\"absent\":" SHARD(2) "}",
         "model.safetensors.index.json: tensor 'absent' is not in shard 'model-00002-of-00003.safetensors'"},
        {"{\"t\": \"../secret.safetensors\"}",
         "model.safetensors.index.json: tensor 't': its shard '../secret.safetensors' is not the plain name of a file"},
        {"{\"t\": \"/etc/passwd\"}",
         "model.safetensors.index.json: tensor 't': its shard '/etc/passwd' is not the plain name of a file"},
        {"{\"t\": 3}",
         "model.safetensors.index.json: tensor 't': its shard '(no string)' is not the plain name of a file"},
        {"{\"t\": \"gone.safetensors\"}", "model.safetensors.index.json: shard 1 of 1 is missing: gone.safetensors"},
    };

    begin_folder();
    copy_shards();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gem_archive a;
        gem_error err = {.message = "SAME"};
        gem_status st;
        store_index(cases[i].map);
        st = gem_safetensors_open(&a, folder, &err);
        CHECK_EQ(!st, !strcmp(cases[i].message, "SAME"));
        CHECK_STR(err.message, cases[i].message);
        gem_archive_close(&a);
    }
    copy_shards();
    copy(GOLDEN "sharded/model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors");
    open_refused(gem_safetensors_open, "", GEM_E_FORMAT,
                 "model-00002-of-00003.safetensors: tensor 'model.layers.0.weight' at byte 200 is also in "
                 "model-00001-of-00003.safetensors at byte 200");
    end_folder();
}

/* ---- damage ------------------------------------------------------------------------------------------------- */

/* Parses a copy of exactly n bytes, so that a sanitizer sees every step beyond; true when it was accepted. */
static bool survives(parse_fn *parse, const uint8_t *data, size_t n)
{
    struct gem_archive a;
    gem_error err = {0};
    uint8_t *exact = malloc(n ? n : 1);
    const bool ok = (n ? memcpy(exact, data, n) : exact) && !parse(&a, "x", exact, n, &err);

    if (ok)
        archive_walk(&a);
    else
        CHECK(err.code && !strncmp(err.message, "x: ", 3) && !a.n_files);
    gem_archive_close(&a);
    free(exact);
    return ok;
}

static void test_every_prefix(void)
{
    struct bytes gguf = load(GOLDEN "tiny.gguf"), st = load(GOLDEN "tiny.safetensors");
    struct gem_archive a;
    uint64_t end = 0;

    accepted(&a, &gguf);
    for (size_t i = 0; i < a.n_tensors; i++)
        if (a.tensors[i].offset + a.tensors[i].n_bytes > end) end = a.tensors[i].offset + a.tensors[i].n_bytes;
    gem_archive_close(&a);
    CHECK(end > 1000 && end < gguf.n);
    for (size_t n = 0; n <= gguf.n; n++) CHECK_EQ(survives(gem_gguf_parse, gguf.p, n), n >= end); /* padding may miss */
    for (size_t n = 0; n <= st.n; n++) CHECK_EQ(survives(gem_safetensors_parse, st.p, n), n == st.n);
    drop(&gguf);
    drop(&st);
}

static uint64_t next_random(uint64_t *state) /* xorshift64, Marsaglia 2003 */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Both kinds of answers must occur: flips in data are not seen, flips in headers are. */
static void check_flips(parse_fn *parse, const char *path, uint64_t random)
{
    enum { N = 10000 };
    struct bytes b = load(path);
    int n_accepted = 0;

    for (int i = 0; i < N && b.n; i++) {
        struct bytes damaged = {0};
        put(&damaged, b.p, b.n);
        for (uint64_t flips = 1 + next_random(&random) % 3; flips > 0; flips--)
            damaged.p[next_random(&random) % b.n] ^= (uint8_t)(1 + next_random(&random) % 255);
        n_accepted += survives(parse, damaged.p, damaged.n);
        drop(&damaged);
    }
    printf("       %s: %d of %d accepted\n", path, n_accepted, N);
    CHECK(n_accepted > 0 && n_accepted < N);
    drop(&b);
}

static void test_flips(void)
{
    check_flips(gem_gguf_parse, GOLDEN "tiny.gguf", 1);
    check_flips(gem_gguf_parse, GOLDEN "tiny-split-00002-of-00003.gguf", 2);
    check_flips(gem_safetensors_parse, GOLDEN "tiny.safetensors", 3);
    check_flips(gem_safetensors_parse, GOLDEN "sharded/model-00003-of-00003.safetensors", 4);
}

static void test_files(void)
{
    struct gem_archive a;
    gem_error err = {0};
    char expected[256];

    begin_folder();
    snprintf(expected, sizeof expected, "%s/none.gguf: No such file or directory", folder);
    open_refused(gem_gguf_open, "none.gguf", GEM_E_IO, expected);
    snprintf(expected, sizeof expected, "%s/none.safetensors: No such file or directory", folder);
    open_refused(gem_safetensors_open, "none.safetensors", GEM_E_IO, expected);
    copy(GOLDEN "tiny.gguf", "shrinks.gguf");
    CHECK_EQ(gem_gguf_open(&a, in_folder("shrinks.gguf"), &err), GEM_OK);
    CHECK_EQ(gem_archive_check(&a, &err), GEM_OK);
    CHECK_EQ(truncate(in_folder("shrinks.gguf"), 100), 0);
    CHECK_EQ(gem_archive_check(&a, &err), GEM_E_IO);
    CHECK(strstr(err.message, "shrinks.gguf") && strstr(err.message, "100"));
    gem_archive_close(&a);
    gem_archive_close(&a); /* closed is a state like any other */
    end_folder();
}

/* Every allocation and mapping refused once: an error, and all given back. */
static void check_refusals(const char *path)
{
    size_t n = 1;

    for (size_t i = 0; i <= n; i++) {
        struct gem_archive a;
        gem_error err = {0};
        struct allocations count;
        gem_status st;
        allocations_begin(i ? i - 1 : SIZE_MAX, false);
        st = is_gguf(path) ? gem_gguf_open(&a, path, &err) : gem_safetensors_open(&a, path, &err);
        gem_archive_close(&a);
        count = allocations_end();
        if (i == 0) n = count.n_requests;
        CHECK(i ? count.n_refused == 1 && (st == GEM_E_NOMEM || st == GEM_E_IO) && err.code == st : st == GEM_OK);
        CHECK(count.n_blocks == 0 && count.n_maps == 0);
    }
    printf("       %s: %zu requests\n", path, n);
    CHECK(n > 8);
}

static void test_no_memory(void)
{
    check_refusals(GOLDEN "tiny.gguf");
    check_refusals(GOLDEN "tiny-split-00002-of-00003.gguf");
    check_refusals(GOLDEN "tiny.safetensors");
    check_refusals(GOLDEN "sharded");
}

/* ------------------------------------------------------------------------------------------------------------- */

static int list(int argc, char **argv)
{
    for (int i = 2; i < argc; i++) {
        size_t n;
        char *text = listing(argv[i], &n);
        if (text) fputs(text, stdout);
        free(text);
    }
    return check_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"one-file", test_one_file},
        {"split", test_split},
        {"shards", test_shards},
        {"models", test_models},
        {"gguf-header", test_gguf_header},
        {"gguf-keys", test_gguf_keys},
        {"gguf-values", test_gguf_values},
        {"gguf-alignment", test_gguf_alignment},
        {"gguf-tensors", test_gguf_tensors},
        {"gguf-names", test_gguf_names},
        {"gguf-layout", test_gguf_layout},
        {"many-tensors", test_many_tensors},
        {"values", test_values},
        {"absent-keys", test_absent_keys},
        {"wrong-types", test_wrong_types},
        {"split-missing", test_split_missing},
        {"split-mixed-up", test_split_mixed_up},
        {"split-disagrees", test_split_disagrees},
        {"safetensors-header", test_safetensors_header},
        {"safetensors-entries", test_safetensors_entries},
        {"safetensors-layout", test_safetensors_layout},
        {"safetensors-other-types", test_safetensors_other_types},
        {"folder", test_folder},
        {"index", test_index},
        {"every-prefix", test_every_prefix},
        {"flips", test_flips},
        {"files", test_files},
        {"no-memory", test_no_memory},
    };

    if (argc > 2 && !strcmp(argv[1], "--list")) return list(argc, argv);
    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
