/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/gem.c - native files: what was written is read back, and no damage goes unnoticed. That whole models give
 * the same logits from them is tested in tests/e2e/pack.py. */
#include "unit/check.h"

#include "fuzz/archive_walk.h"

#include "base/memory.h"
#include "files/gem.h"
#include "kernels/kernels.h"

#include <sys/stat.h>
#include <unistd.h>

enum { ROWS = 20, COLS = 64 }; /* two panels, the second one padded */

/* ---- a small file ------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/gemmule-gem-XXXXXX";
static char path[64];

static const char config[] = "{\"model_type\": \"none\"}";
static const float vector[3] = {1.5f, -2, 3e-9f};
static uint8_t q8_rows[ROWS * COLS / 32 * 34], q8_panels[2 * COLS / 32 * 544], odd[7] = "strange";

static const struct gem_blob blobs[] = {
    {"config.json", (const uint8_t *)config, sizeof config - 1},
    {"empty.json", (const uint8_t *)"", 0},
};
static const struct gem_tensor tensors[] = {
    {.name = "norm", .type = GEM_F32, .n_dims = 1, .shape = {3, 1, 1, 1}, .n_bytes = 12},
    {.name = "rows", .type = GEM_Q8_0, .n_dims = 2, .shape = {ROWS, COLS, 1, 1}, .n_bytes = sizeof q8_rows},
    {.name = "panels",
     .type = GEM_Q8_0,
     .n_dims = 2,
     .shape = {ROWS, COLS, 1, 1},
     .n_bytes = sizeof q8_panels,
     .layout = GEM_PK_Q8},
    {.name = "of a tower",
     .type = GEM_TYPE_OTHER,
     .type_name = "F8_E4M3",
     .n_dims = 1,
     .shape = {7, 1, 1, 1},
     .n_bytes = 7},
    {.name = "nothing", .type = GEM_BF16, .n_dims = 2, .shape = {0, 5, 1, 1}},
};
static const void *const contents[] = {vector, q8_rows, q8_panels, odd, NULL};
enum { N_BLOBS = 2, N_TENSORS = 5 };

static void fill(void)
{
    for (size_t i = 0; i < sizeof q8_rows; i++) q8_rows[i] = (uint8_t)(i % 34 == 1 ? 0x20 : i * 37 % 34 + i / 34);
    for (size_t p = 0; p < 2; p++)
        gem_pack_panel(GEM_Q8_0, q8_rows + p * 16 * 68, 68, p ? ROWS - 16 : 16, COLS, q8_panels + p * COLS / 32 * 544);
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/small.gem", folder);
}

/* Writes the file in pieces of at most `piece` bytes. */
static gem_status write_file(uint32_t source, size_t piece, gem_error *err)
{
    const struct gem_native_plan plan = {source, blobs, N_BLOBS, tensors, N_TENSORS};
    struct gem_native_writer w;
    gem_status st = gem_native_begin(&w, path, &plan, err);

    for (size_t i = 0; i < N_TENSORS && !st; i++) {
        const uint64_t n = tensors[i].n_bytes;
        for (uint64_t at = 0; at < n && !st; at += piece)
            st = gem_native_write(&w, (const uint8_t *)contents[i] + at, n - at < piece ? n - at : piece, err);
    }
    if (!st) {
        CHECK(!gem_path_exists(path));
        st = gem_native_commit(&w, err);
    }
    gem_native_close(&w);
    return st;
}

static uint8_t *read_all(size_t *n)
{
    uint8_t *p = calloc(1 << 20, 1);
    FILE *f = fopen(path, "rb");

    *n = f && p ? fread(p, 1, 1 << 20, f) : 0;
    if (f) fclose(f);
    unlink(path);
    return p;
}

static uint8_t *small_file(size_t *n)
{
    gem_error err = {0};

    CHECK_EQ(write_file(GEM_NATIVE_FROM_FOLDER, 1000, &err), GEM_OK);
    return read_all(n);
}

static bool same_bits(const void *a, const void *b, size_t n) { return !memcmp(a, b, n); }

/* ---- reading back ------------------------------------------------------------------------------------------- */

static void test_round_trip(void)
{
    static const size_t pieces[] = {1, 7, 1 << 20};
    uint8_t *first = NULL;
    gem_error err = {0};
    size_t n = 0;

    for (size_t p = 0; p < 3; p++) {
        struct gem_archive a;
        size_t size;
        uint8_t *data;
        float row[COLS], want[COLS];

        CHECK_EQ(write_file(GEM_NATIVE_FROM_FOLDER, pieces[p], &err), GEM_OK);
        CHECK_EQ(gem_native_open(&a, path, &err), GEM_OK);
        CHECK(a.is_native && !a.is_gguf && a.n_blobs == N_BLOBS && a.n_tensors == N_TENSORS);
        archive_walk(&a);
        CHECK(gem_archive_blob(&a, "config.json")->n_bytes == sizeof config - 1);
        CHECK(!memcmp(gem_archive_blob(&a, "config.json")->data, config, sizeof config - 1));
        CHECK(gem_archive_blob(&a, "empty.json")->n_bytes == 0 && !gem_archive_blob(&a, "config"));
        for (size_t i = 0; i < N_TENSORS; i++) {
            const struct gem_tensor *t = gem_archive_tensor(&a, tensors[i].name);
            CHECK(t && t->type == tensors[i].type && t->n_dims == tensors[i].n_dims && t->layout == tensors[i].layout);
            CHECK(t && !memcmp(t->shape, tensors[i].shape, sizeof t->shape) && t->n_bytes == tensors[i].n_bytes);
            CHECK(t && (uintptr_t)t->data % GEM_NATIVE_ALIGN == 0);
            CHECK(t && t->n_bytes ? !memcmp(t->data, contents[i], (size_t)t->n_bytes) : true);
            CHECK(t && t->checksum == gem_hash_of(contents[i], (size_t)t->n_bytes));
        }
        CHECK_STR(gem_archive_tensor(&a, "of a tower")->type_name, "F8_E4M3");
        for (size_t i = 0; i < ROWS; i++) { /* rows come out of panels as they went in */
            gem_unpack_row(GEM_Q8_0, gem_archive_tensor(&a, "panels")->data + i / 16 * COLS / 32 * 544, i % 16, COLS,
                           row);
            gem_decode_row(GEM_Q8_0, q8_rows + i * 68, want, COLS);
            CHECK(same_bits(row, want, sizeof row));
        }
        gem_archive_close(&a);
        data = read_all(&size);
        if (p == 0) first = data, n = size;
        CHECK(size == n && !memcmp(data, first, n)); /* the same, however it was written */
        if (p) free(data);
    }
    free(first);
}

/* The definition in gem.h, by the letter, so that both sides cannot be wrong together. */
static void test_bytes_are_those_of_the_definition(void)
{
    static const uint8_t begin[] = {0x89, 0x47, 0x45, 0x4d, 0x0d, 0x0a, 0x1a, 0x0a, 4, 3, 2, 1, 1, 0, 0, 0};
    const size_t names = 11 + 10 + 4 + 4 + 6 + 10 + 7 + 7, directory = 2 * 32 + 5 * 80 + names;
    uint64_t u64;
    uint32_t u32;
    size_t n;
    uint8_t *p = small_file(&n);

    CHECK(!memcmp(p, begin, sizeof begin));
    memcpy(&u64, p + 16, 8);
    CHECK_EQ(u64, n);
    memcpy(&u64, p + 24, 8);
    CHECK_EQ(u64, directory);
    memcpy(&u32, p + 32, 4);
    CHECK_EQ(u32, 2);
    memcpy(&u32, p + 36, 4);
    CHECK_EQ(u32, 5);
    memcpy(&u32, p + 40, 4);
    CHECK_EQ(u32, 2);
    memcpy(&u64, p + 48, 8);
    CHECK(u64 == gem_hash_of(p + 64, directory));
    memcpy(&u64, p + 56, 8);
    CHECK(u64 == gem_hash_of(p, 56));
    CHECK(!memcmp(p + 64 + 2 * 32 + 5 * 80, "config.jsonempty.jsonnormrowspanelsof a towerF8_E4M3nothing", names));
    memcpy(&u64, p + 64 + 64 + 2 * 80, 8); /* the third tensor: offset, layout, version */
    CHECK(u64 % 64 == 0 && !memcmp(p + u64, q8_panels, sizeof q8_panels));
    memcpy(&u32, p + 64 + 64 + 2 * 80 + 64, 4);
    CHECK_EQ(u32, GEM_PK_Q8);
    memcpy(&u32, p + 64 + 64 + 2 * 80 + 68, 4);
    CHECK_EQ(u32, 1);
    free(p);
}

/* ---- damage ------------------------------------------------------------------------------------------------- */

static gem_status parse(const uint8_t *p, size_t n, gem_error *err)
{
    struct gem_archive a;
    gem_status st;

    *err = (gem_error){0};
    st = gem_native_parse(&a, "small.gem", p, n, err);
    if (!st) archive_walk(&a);
    CHECK(st == GEM_OK || (err->code == st && strstr(err->message, "small.gem") && err->offset <= n + 64));
    gem_archive_close(&a);
    return st;
}

static void put_u64(uint8_t *p, uint64_t x)
{
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)(x >> 8 * i);
}

/* Checksums of header and directory for what they say now. */
static void mend(uint8_t *p, size_t directory)
{
    put_u64(p + 48, gem_hash_of(p + 64, directory));
    put_u64(p + 56, gem_hash_of(p, 56));
}

static size_t directory_of(const uint8_t *p) { return p[24] | (size_t)p[25] << 8; }

static void test_every_flipped_bit_is_noticed(void) /* in header, directory, metadata */
{
    gem_error err;
    size_t n;
    uint8_t *p = small_file(&n);
    const size_t end = 64 + directory_of(p), blob = (end + 63) / 64 * 64;

    CHECK_EQ(parse(p, n, &err), GEM_OK);
    for (size_t i = 0; i < blob + sizeof config - 1; i++) {
        if (i >= end && i < blob) continue; /* padding, which nothing reads */
        for (int bit = 0; bit < 8; bit++) {
            p[i] ^= (uint8_t)(1 << bit);
            CHECK(parse(p, n, &err) != GEM_OK);
            p[i] ^= (uint8_t)(1 << bit);
        }
    }
    free(p);
}

static void test_every_length_is_noticed(void)
{
    gem_error err;
    size_t n;
    uint8_t *p = small_file(&n), *longer = malloc(n + 1);

    for (size_t i = 0; i < n; i++) {
        uint8_t *part = malloc(i ? i : 1); /* of its own, so that a sanitizer sees a step beyond */
        memcpy(part, p, i);
        CHECK_EQ(parse(part, i, &err), GEM_E_FORMAT);
        if (i >= 64) CHECK(strstr(err.message, "truncated") && err.offset == i);
        free(part);
    }
    memcpy(longer, p, n);
    longer[n] = 0;
    CHECK_EQ(parse(longer, n + 1, &err), GEM_E_FORMAT);
    free(longer);
    free(p);
}

static void test_lies_with_right_checksums(void) /* whatever numbers say, nothing outside the file is touched */
{
    static const uint8_t values[] = {0, 1, 0x7f, 0x80, 0xff};
    gem_error err;
    size_t n, refused = 0;
    uint8_t *p = small_file(&n);
    const size_t directory = directory_of(p);

    for (size_t i = 8; i < 64 + directory; i++) {
        const uint8_t was = p[i];
        for (size_t v = 0; v < sizeof values; v++) {
            p[i] = values[v];
            mend(p, directory);
            refused += parse(p, n, &err) != GEM_OK;
        }
        p[i] = was;
    }
    CHECK(refused > 1000);
    mend(p, directory);
    CHECK_EQ(parse(p, n, &err), GEM_OK);
    free(p);
}

/* A change with right checksums, and what must be said of it. */
static void test_messages(void)
{
    enum { BLOB = 64, TENSOR = 64 + 2 * 32 }; /* the first entries */
    static const struct {
        size_t place;
        uint8_t value;
        gem_status status;
        const char *says;
    } cases[] = {
        {0, 'G', GEM_E_FORMAT, "not a native file"},
        {8, 1, GEM_E_FORMAT, "byte-order"},
        {12, 2, GEM_E_UNSUPPORTED, "version 2, this program reads 1: use a newer one"},
        {12, 0, GEM_E_UNSUPPORTED, "pack the model again"},
        {16, 99, GEM_E_FORMAT, "its header says"},
        {27, 99, GEM_E_FORMAT, "size of the directory"},
        {34, 1, GEM_E_FORMAT, "number of blobs"},
        {38, 1, GEM_E_FORMAT, "number of tensors"},
        {40, 3, GEM_E_FORMAT, "kind of source"},
        {40, 1, GEM_E_FORMAT, "no 'metadata.gguf'"},
        {BLOB, 1, GEM_E_FORMAT, "'config.json' is said to lie"},
        {BLOB + 15, 1, GEM_E_FORMAT, "'config.json' is said to lie"},
        {BLOB + 16, 1, GEM_E_FORMAT, "checksum of 'config.json'"},
        {BLOB + 24, 0, GEM_E_FORMAT, "name"},
        {TENSOR + 7, 1, GEM_E_FORMAT, "tensor 'norm' is said to lie"},
        {TENSOR + 8, 13, GEM_E_FORMAT, "'norm': shape, type F32, layout 0 and 13 bytes"},
        {TENSOR + 24, 4, GEM_E_FORMAT, "'norm': shape"},
        {TENSOR + 32, 2, GEM_E_FORMAT, "shape"},
        {TENSOR + 56, 5, GEM_E_FORMAT, "'norm': shape"},
        {TENSOR + 60, 4, GEM_E_FORMAT, "number format"},
        {TENSOR + 60, 200, GEM_E_FORMAT, "number format"},
        {TENSOR + 64, 77, GEM_E_UNSUPPORTED, "'norm' has layout 77 of version 1"},
        {TENSOR + 64, 1, GEM_E_FORMAT, "layout 1"},
        {TENSOR + 68, 9, GEM_E_UNSUPPORTED, "version 9"},
        {TENSOR + 72, 3, GEM_E_FORMAT, "names that nothing has"},
        {TENSOR + 73, 99, GEM_E_FORMAT, "name"},
        {TENSOR + 2 * 80 + 64, GEM_PK_Q4, GEM_E_FORMAT, "'panels': shape, type Q8_0, layout 1"},
    };
    gem_error err;
    size_t n;
    uint8_t *p = small_file(&n);
    const size_t directory = directory_of(p);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const uint8_t was = p[cases[i].place];
        p[cases[i].place] = cases[i].value;
        mend(p, directory);
        CHECK_EQ(parse(p, n, &err), cases[i].status);
        if (!strstr(err.message, cases[i].says)) printf("%s\n", err.message);
        CHECK(strstr(err.message, cases[i].says) != NULL);
        p[cases[i].place] = was;
    }
    for (int i = 0; i < 4; i++) p[8 + i] = (uint8_t)(1 + i);
    CHECK_EQ(parse(p, n, &err), GEM_E_UNSUPPORTED);
    CHECK(strstr(err.message, "byte order") && strstr(err.message, "pack the model again"));
    free(p);
}

static void test_overlaps_and_twins(void)
{
    gem_error err;
    size_t n;
    uint8_t *p = small_file(&n);
    const size_t directory = directory_of(p), tensor = 64 + 2 * 32, names = tensor + 5 * 80;

    memcpy(p + tensor + 80, p + tensor + 2 * 80, 8); /* the second where the third is */
    mend(p, directory);
    CHECK_EQ(parse(p, n, &err), GEM_E_FORMAT);
    CHECK(strstr(err.message, "inside another") != NULL);
    free(p);
    p = small_file(&n);
    memcpy(p + names + 21, "rows", 4); /* instead of "norm" */
    mend(p, directory);
    CHECK_EQ(parse(p, n, &err), GEM_E_FORMAT);
    CHECK(strstr(err.message, "'rows'") != NULL);
    free(p);
    p = small_file(&n);
    memcpy(p + names + 21, "no\0m", 4);
    mend(p, directory);
    CHECK_EQ(parse(p, n, &err), GEM_E_FORMAT);
    free(p);
}

static void test_an_abandoned_file_is_gone(void)
{
    const struct gem_native_plan plan = {GEM_NATIVE_FROM_FOLDER, blobs, N_BLOBS, tensors, N_TENSORS};
    struct gem_native_writer w;
    gem_error err = {0};

    CHECK_EQ(gem_native_begin(&w, path, &plan, &err), GEM_OK);
    CHECK_EQ(gem_native_write(&w, vector, 12, &err), GEM_OK);
    gem_native_close(&w);
    CHECK_EQ(rmdir(folder), 0); /* nothing is left in it */
    CHECK(mkdir(folder, 0700) == 0);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"round_trip", test_round_trip},
        {"definition", test_bytes_are_those_of_the_definition},
        {"flipped", test_every_flipped_bit_is_noticed},
        {"lengths", test_every_length_is_noticed},
        {"lies", test_lies_with_right_checksums},
        {"messages", test_messages},
        {"overlaps", test_overlaps_and_twins},
        {"abandoned", test_an_abandoned_file_is_gone},
    };
    int code;

    fill();
    code = check_main(tests, sizeof tests / sizeof *tests, argc, argv);
    rmdir(folder);
    return code;
}
