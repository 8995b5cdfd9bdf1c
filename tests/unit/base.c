/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/base.c - src/base: errors, memory, arenas, files, JSON. The pool of threads: pool.c. */
#include "unit/check.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/output.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- errors ------------------------------------------------------------------------------------------ */

static void test_fail_cleans_what_untrusted_names_bring(void) /* or a tensor's name could drive the terminal */
{
    gem_error err = {0};

    CHECK_EQ(gem_fail(&err, GEM_E_FORMAT, 77, "%s: bad", "a\nb\x1b[31mc\x7f\td"), GEM_E_FORMAT);
    CHECK_EQ(err.code, GEM_E_FORMAT);
    CHECK_EQ(err.offset, 77);
    CHECK_STR(err.message, "a?b?[31mc??d: bad");
}

static void test_fail_cuts_long_messages(void)
{
    char name[1000];
    gem_error err;

    memset(&err, 0xee, sizeof err);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    gem_fail(&err, GEM_E_IO, 0, "%s", name);
    CHECK_EQ(strlen(err.message), sizeof err.message - 1);
    CHECK_EQ(gem_fail(NULL, GEM_E_LIMIT, 0, "%s", name), GEM_E_LIMIT); /* no error wanted is no crash */
}

static void test_status_names_are_all_there(void)
{
    CHECK_STR(gem_status_name(GEM_OK), "ok");
    CHECK_STR(gem_status_name(GEM_E_NONFINITE), "nonfinite"); /* the last: one forgotten in the middle shifts it */
    CHECK_STR(gem_status_name((gem_status)9), "unknown");
    CHECK_STR(gem_status_name((gem_status)-1), "unknown");
}

static void test_version_agrees_with_the_header(void)
{
    char expected[32];

    snprintf(expected, sizeof expected, "%d.%d.%d", GEM_VERSION_MAJOR, GEM_VERSION_MINOR, GEM_VERSION_PATCH);
    CHECK_STR(gem_version(), expected);
}

/* ---- memory ------------------------------------------------------------------------------------------ */

static void test_products_that_overflow_are_refused(void)
{
    gem_error err = {0};

    CHECK(gem_calloc(SIZE_MAX / 2, 3, "a table", &err) == NULL);
    CHECK_EQ(err.code, GEM_E_NOMEM);
    CHECK(strstr(err.message, "a table") != NULL);
    CHECK(gem_realloc(NULL, SIZE_MAX / 4, 8, "a list", &err) == NULL);
    CHECK(strstr(err.message, "a list") != NULL);
    CHECK(gem_alloc_aligned(UINT64_MAX, "rows", &err) == NULL); /* rounding up wraps to 0 */
    CHECK(strstr(err.message, "rows") != NULL);
    CHECK(gem_alloc_aligned((uint64_t)PTRDIFF_MAX + 1, "rows", &err) == NULL);
}

static void test_nothing_is_still_a_block(void) /* NULL would read as a failure */
{
    void *a = gem_calloc(0, 8, "nothing", NULL), *b = gem_alloc_aligned(0, "nothing", NULL);
    void *c = gem_realloc(NULL, 0, 4, "nothing", NULL);
    char *s = gem_strndup(NULL, 0, NULL);

    CHECK(a && b && c && s);
    CHECK_EQ((uintptr_t)b % GEM_ALIGN, 0);
    if (s) CHECK_STR(s, "");
    gem_free(a);
    gem_free(b);
    gem_free(c);
    gem_free(s);
    gem_free(NULL);
}

static void test_strndup_takes_exactly_n(void)
{
    char *s = gem_strndup("abcdef", 3, NULL);

    CHECK(s != NULL);
    if (s) CHECK_STR(s, "abc");
    gem_free(s);
}

static void test_arena_aligns_and_remembers_its_peak(void)
{
    struct gem_arena a;
    size_t mark;
    uint8_t *p, *q, *r;

    CHECK_EQ(gem_arena_open(&a, 3 * GEM_ALIGN, "scratch", NULL), GEM_OK);
    p = gem_arena_take(&a, 1);
    mark = gem_arena_mark(&a);
    q = gem_arena_take(&a, GEM_ALIGN + 1);
    CHECK_EQ((uintptr_t)p % GEM_ALIGN, 0);
    CHECK_EQ(q - p, GEM_ALIGN);
    memset(q, 1, GEM_ALIGN + 1);
    gem_arena_rewind(&a, mark);
    r = gem_arena_take(&a, 8);
    CHECK(r == q); /* the same place again */
#ifndef NDEBUG
    CHECK_EQ(r[0], 0xff); /* poisoned: stale scratch reads as NaN */
#endif
    CHECK_EQ(a.peak, 3 * GEM_ALIGN);
    CHECK_EQ(a.used, 2 * GEM_ALIGN);
    gem_arena_close(&a);
    gem_arena_close(&a); /* the closed state is closed */
    CHECK(a.base == NULL && a.cap == 0);
}

static void test_arena_too_large_is_an_error(void)
{
    struct gem_arena a;
    gem_error err = {0};

    CHECK_EQ(gem_arena_open(&a, UINT64_MAX - 3, "scratch memory", &err), GEM_E_NOMEM);
    CHECK(strstr(err.message, "scratch memory") != NULL);
    CHECK(a.base == NULL);
    gem_arena_close(&a);
}

#ifndef NDEBUG
/* Whether fn ends by an assertion. A child takes the fall. */
static bool asserts(void (*fn)(void))
{
    int status = 0;
    const pid_t child = fork();

    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, STDERR_FILENO);
        fn();
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void take_too_much(void)
{
    struct gem_arena a;

    if (gem_arena_open(&a, 100, "scratch", NULL)) return;
    gem_arena_take(&a, 64);
    gem_arena_take(&a, 64); /* 128 are there */
    gem_arena_take(&a, 1);
}

static void rewind_forward(void)
{
    struct gem_arena a;

    if (gem_arena_open(&a, 100, "scratch", NULL)) return;
    gem_arena_rewind(&a, 64);
}

static void test_arena_misuse_asserts(void)
{
    CHECK(asserts(take_too_much));
    CHECK(asserts(rewind_forward));
}
#endif

/* ---- files ------------------------------------------------------------------------------------------- */

/* A fresh file with these bytes; the caller unlinks and frees its path. */
static char *file_of(const void *data, size_t n)
{
    char *path = strdup("/tmp/gemmule-base-XXXXXX");
    const int fd = mkstemp(path);

    if (fd < 0 || write(fd, data, n) != (ssize_t)n) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    close(fd);
    return path;
}

static void remove_file(char *path)
{
    unlink(path);
    free(path);
}

static void test_map_shows_the_file(void)
{
    char *path = file_of("hello", 5);
    struct gem_map map;

    CHECK_EQ(gem_map_open(&map, path, NULL), GEM_OK);
    CHECK_EQ(map.n_bytes, 5);
    CHECK(map.data && !memcmp(map.data, "hello", 5));
    gem_map_prefetch(map.data, map.n_bytes);
    gem_map_release(map.data, map.n_bytes); /* less than a page: nothing, and no harm */
    CHECK(!memcmp(map.data, "hello", 5));
    gem_map_close(&map);
    gem_map_close(&map);
    CHECK(map.data == NULL && map.n_bytes == 0 && map.fd == 0);
    remove_file(path);
}

static void test_map_of_an_empty_file_is_empty(void) /* mmap refuses 0 bytes */
{
    char *path = file_of("", 0);
    struct gem_map map;

    CHECK_EQ(gem_map_open(&map, path, NULL), GEM_OK);
    CHECK(map.data == NULL && map.n_bytes == 0);
    CHECK_EQ(gem_map_check(&map, path, NULL), GEM_OK);
    gem_map_close(&map);
    remove_file(path);
}

static void test_map_names_the_file_it_cannot_open(void)
{
    struct gem_map map;
    gem_error err = {0};

    CHECK_EQ(gem_map_open(&map, "/nowhere/model.gguf", &err), GEM_E_IO);
    CHECK(strstr(err.message, "/nowhere/model.gguf") != NULL);
    CHECK_EQ(gem_map_open(&map, "/tmp", &err), GEM_E_IO); /* a folder is not a file */
    CHECK(strstr(err.message, "regular") != NULL);
    CHECK_EQ(gem_map_open(&map, "/dev/null", &err), GEM_E_IO);
    CHECK(map.data == NULL && map.fd == 0);
}

static void test_map_notices_a_file_that_shrinks(void) /* touching it would be SIGBUS */
{
    char data[10000] = {1}, *path = file_of(data, sizeof data);
    struct gem_map map;
    gem_error err = {0};

    CHECK_EQ(gem_map_open(&map, path, NULL), GEM_OK);
    CHECK_EQ(gem_map_check(&map, path, &err), GEM_OK);
    CHECK_EQ(truncate(path, 4000), 0);
    CHECK_EQ(gem_map_check(&map, path, &err), GEM_E_IO);
    CHECK_EQ(err.offset, 4000);
    CHECK(strstr(err.message, path) && strstr(err.message, "10000") && strstr(err.message, "4000"));
    CHECK_EQ(truncate(path, 20000), 0); /* growing is harmless */
    CHECK_EQ(gem_map_check(&map, path, &err), GEM_OK);
    gem_map_close(&map);
    remove_file(path);
}

static void test_borrowed_memory_is_not_unmapped(void)
{
    const uint8_t bytes[3] = {1, 2, 3};
    struct gem_map map = {.data = bytes, .n_bytes = sizeof bytes};

    CHECK_EQ(gem_map_check(&map, "memory", NULL), GEM_OK);
    gem_map_close(&map);
    CHECK(map.data == NULL);
    CHECK_EQ(bytes[2], 3);
}

static void check_base(const char *path, const char *expected)
{
    size_t n = 99;
    const char *s = gem_path_base(path, &n);

    CHECK_EQ(n, strlen(expected));
    CHECK(!strncmp(s, expected, n));
}

static void test_paths(void)
{
    char *joined = gem_path_join("a/b", "c", NULL);

    CHECK(joined != NULL);
    if (joined) CHECK_STR(joined, "a/b/c");
    gem_free(joined);
    check_base("model.gguf", "model.gguf");
    check_base("/a/b/gemma", "gemma");
    check_base("/a/b/gemma///", "gemma");
    check_base("", "");
    check_base("/", "");
    CHECK(gem_path_is_directory("/tmp") && !gem_path_is_directory("/dev/null"));
    CHECK(gem_path_exists("/dev/null") && !gem_path_exists("/nowhere/at/all"));
}

/* ---- JSON -------------------------------------------------------------------------------------------- */

static gem_status parse(const char *json, size_t ceiling, gem_error *err)
{
    yyjson_doc *doc = NULL;
    const gem_status st = gem_json_parse(&doc, "config.json", json, strlen(json), ceiling, err);

    CHECK((st == GEM_OK) == (doc != NULL));
    yyjson_doc_free(doc);
    return st;
}

static void test_json_reads_what_is_there(void)
{
    static const char json[] = "{\"a\": [1, 2.5, \"\\u00e9\"]}";
    yyjson_doc *doc;
    yyjson_val *a;

    CHECK_EQ(gem_json_parse(&doc, "config.json", json, sizeof json - 1, 1000, NULL), GEM_OK);
    a = yyjson_obj_get(yyjson_doc_get_root(doc), "a");
    CHECK_EQ(yyjson_get_int(yyjson_arr_get(a, 0)), 1);
    CHECK_STR(yyjson_get_str(yyjson_arr_get(a, 2)), "\xc3\xa9");
    yyjson_doc_free(doc);
}

static void test_json_errors_name_file_and_byte(void)
{
    gem_error err = {0};

    CHECK_EQ(parse("{\"a\": 1, }", 1000, &err), GEM_E_FORMAT); /* a comma too many: strict */
    CHECK_EQ(err.offset, 7);
    CHECK(strstr(err.message, "config.json") && strstr(err.message, "byte 7"));
    CHECK_EQ(parse("{\"a\": \"\xff\"}", 1000, &err), GEM_E_FORMAT); /* not UTF-8 */
    CHECK_EQ(parse("{\"a\": NaN}", 1000, &err), GEM_E_FORMAT);
    CHECK_EQ(parse("{} {}", 1000, &err), GEM_E_FORMAT);
    CHECK_EQ(parse("// comment\n{}", 1000, &err), GEM_E_FORMAT);
    CHECK_EQ(parse("", 1000, &err), GEM_E_FORMAT);
    CHECK(strstr(err.message, "empty") != NULL);
}

static void test_json_ceiling(void)
{
    gem_error err = {0};

    CHECK_EQ(parse("[1,2,3]", 7, &err), GEM_OK);
    CHECK_EQ(parse("[1,2,3]", 6, &err), GEM_E_LIMIT);
    CHECK(strstr(err.message, "config.json") && strstr(err.message, "6"));
}

/* depth brackets around `core`; the caller frees. */
static char *nested(size_t depth, const char *core)
{
    const size_t n = strlen(core);
    char *s = malloc(2 * depth + n + 1);

    memset(s, '[', depth);
    memcpy(s + depth, core, n);
    memset(s + depth + n, ']', depth);
    s[2 * depth + n] = 0;
    return s;
}

static void test_json_depth(void) /* what walks the values may recurse */
{
    static const struct {
        size_t depth;
        const char *core;
        gem_status expected;
    } cases[] = {
        {64, "1", GEM_OK},
        {65, "1", GEM_E_FORMAT},
        {64, "\"[[[[{{{{\"", GEM_OK},     /* brackets in a string are not nesting */
        {64, "\"\\\"[\", \"[\"", GEM_OK}, /* nor after an escaped quote */
        {63, "[],[],[],[]", GEM_OK},      /* siblings do not add up */
        {63, "{\"a\":[]}", GEM_E_FORMAT},
        {100000, "1", GEM_E_FORMAT},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *json = nested(cases[i].depth, cases[i].core);
        gem_error err = {0};
        CHECK_EQ(parse(json, 1 << 20, &err), cases[i].expected);
        if (cases[i].depth == 65) CHECK_EQ(err.offset, 64);
        free(json);
    }
}

static void test_json_from_a_file(void)
{
    char *path = file_of("{\"x\": 7}", 8), *bad = file_of("{\"x\": 7", 7);
    yyjson_doc *doc;
    gem_error err = {0};

    CHECK_EQ(gem_json_load(&doc, path, 100, NULL), GEM_OK);
    CHECK_EQ(yyjson_get_int(yyjson_obj_get(yyjson_doc_get_root(doc), "x")), 7);
    yyjson_doc_free(doc);
    CHECK_EQ(gem_json_load(&doc, bad, 100, &err), GEM_E_FORMAT);
    CHECK(doc == NULL && strstr(err.message, bad));
    CHECK_EQ(gem_json_load(&doc, "/nowhere/config.json", 100, &err), GEM_E_IO);
    CHECK(doc == NULL && strstr(err.message, "/nowhere/config.json"));
    remove_file(path);
    remove_file(bad);
}

static void test_hash_equals_xxh64(void) /* values of the reference library's Python package, of (167 i + 13) & 255 */
{
    static const struct {
        size_t n;
        uint64_t hash;
    } cases[] = {
        {0, 0xef46db3751d8e999},   {1, 0x2078e1ad38ad738b},    {3, 0x634d95fc01a189cd},  {4, 0xeed340908a1ac6c6},
        {7, 0x0da493621d6dc898},   {8, 0x76f916c7bb523126},    {14, 0x6977612789023e44}, {31, 0x65c5feb01da7464d},
        {32, 0x7665c921c9bf2ec7},  {33, 0xb5a9d9ef259ae821},   {63, 0xb0289cd9324034f0}, {64, 0xfff2525c99bf2005},
        {100, 0x74e502db362efd4c}, {1000, 0x626443c8029d0542},
    };
    uint8_t data[1000];

    for (size_t i = 0; i < sizeof data; i++) data[i] = (uint8_t)(i * 167 + 13);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK(gem_hash_of(data, cases[i].n) == cases[i].hash);
        for (size_t cut = 0; cut <= cases[i].n; cut += 1 + cut / 7) { /* pieces make no difference */
            struct gem_hash h;
            gem_hash_begin(&h);
            gem_hash_add(&h, data, cut);
            gem_hash_add(&h, data + cut, (cases[i].n - cut) / 2);
            gem_hash_add(&h, data + cut + (cases[i].n - cut) / 2, cases[i].n - cut - (cases[i].n - cut) / 2);
            CHECK(gem_hash_end(&h) == cases[i].hash);
        }
    }
}

static void test_map_read_needs_no_mapping(void)
{
    char *path = file_of("0123456789", 10), text[11] = "";
    struct gem_map map, borrowed = {.data = (const uint8_t *)"abcdef", .n_bytes = 6};
    gem_error err = {0};

    CHECK_EQ(gem_map_open(&map, path, &err), GEM_OK);
    gem_map_will_read(&map, 2, 5);
    CHECK_EQ(gem_map_read(&map, path, 2, text, 5, &err), GEM_OK);
    CHECK_STR(text, "23456");
    CHECK_EQ(gem_map_read(&map, path, 10, text, 0, &err), GEM_OK);
    CHECK_EQ(truncate(path, 4), 0);
    CHECK_EQ(gem_map_read(&map, path, 2, text, 5, &err), GEM_E_IO); /* where a mapping would raise SIGBUS */
    CHECK(strstr(err.message, path) && strstr(err.message, "shrank") && err.offset == 4);
    CHECK_EQ(gem_map_read(&borrowed, "", 1, text, 3, &err), GEM_OK);
    CHECK(!memcmp(text, "bcd", 3));
    gem_map_close(&map);
    remove_file(path);
}

/* ---- output -------------------------------------------------------------------------------------------- */

static size_t count_entries(const char *folder)
{
    DIR *dir = opendir(folder);
    size_t n = 0;

    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n - 2; /* . and .. */
}

static bool holds(const char *path, const char *text)
{
    struct gem_map map;
    const bool yes = gem_map_open(&map, path, NULL) == GEM_OK && map.n_bytes == strlen(text) &&
                     !memcmp(map.data, text, strlen(text));

    gem_map_close(&map);
    return yes;
}

static void test_output_appears_whole_or_not_at_all(void)
{
    char folder[] = "/tmp/gemmule-output-XXXXXX", path[64], other[64];
    struct gem_output o;
    gem_error err = {0};

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other, sizeof other, "%s/link", folder);
    CHECK_EQ(gem_output_open(&o, path, 6, &err), GEM_OK);
    CHECK_EQ(gem_output_write(&o, "def", 3, 3, &err), GEM_OK);
    CHECK(!gem_path_exists(path));
    gem_output_close(&o); /* given up */
    CHECK_EQ(count_entries(folder), 0);

    CHECK_EQ(gem_output_open(&o, path, 6, &err), GEM_OK);
    CHECK_EQ(gem_output_write(&o, "def", 3, 3, &err), GEM_OK);
    CHECK_EQ(gem_output_write(&o, "abc", 3, 0, &err), GEM_OK);
    CHECK_EQ(gem_output_commit(&o, &err), GEM_OK);
    CHECK(holds(path, "abcdef") && count_entries(folder) == 1);
    gem_output_close(&o);

    CHECK_EQ(symlink("file", other), 0); /* replaced is what a link leads to, not the link */
    CHECK_EQ(gem_output_open(&o, other, 2, &err), GEM_OK);
    CHECK_EQ(gem_output_write(&o, "xy", 2, 0, &err), GEM_OK);
    CHECK(holds(path, "abcdef"));
    CHECK_EQ(gem_output_commit(&o, &err), GEM_OK);
    CHECK(holds(path, "xy") && holds(other, "xy") && count_entries(folder) == 2);

    unlink(other);
    unlink(path);
    CHECK_EQ(rmdir(folder), 0);
}

static void test_output_says_what_is_wrong(void)
{
    const struct rlimit small = {4096, RLIM_INFINITY};
    char folder[] = "/tmp/gemmule-output-XXXXXX", path[64];
    struct rlimit before;
    struct gem_output o;
    gem_error err = {0};

    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/file", folder);
    CHECK_EQ(gem_output_open(&o, folder, 1, &err), GEM_E_IO);
    CHECK(strstr(err.message, folder) && strstr(err.message, "folder"));
    CHECK_EQ(gem_output_open(&o, "/nowhere/file", 1, &err), GEM_E_IO);
    CHECK(strstr(err.message, "/nowhere/file") != NULL);
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small); /* as good as a full disk, and said at the beginning */
    CHECK_EQ(gem_output_open(&o, path, 1 << 20, &err), GEM_E_IO);
    CHECK(strstr(err.message, path) != NULL);
    setrlimit(RLIMIT_FSIZE, &before);
    CHECK_EQ(count_entries(folder), 0);
    CHECK_EQ(rmdir(folder), 0);
}

int main(int argc, char **argv)
{
    static const struct check_test tests[] = {
        {"fail_cleans", test_fail_cleans_what_untrusted_names_bring},
        {"fail_cuts", test_fail_cuts_long_messages},
        {"status_names", test_status_names_are_all_there},
        {"version", test_version_agrees_with_the_header},
        {"overflow", test_products_that_overflow_are_refused},
        {"nothing", test_nothing_is_still_a_block},
        {"strndup", test_strndup_takes_exactly_n},
        {"arena", test_arena_aligns_and_remembers_its_peak},
        {"arena_too_large", test_arena_too_large_is_an_error},
#ifndef NDEBUG
        {"arena_misuse", test_arena_misuse_asserts},
#endif
        {"map", test_map_shows_the_file},
        {"map_empty", test_map_of_an_empty_file_is_empty},
        {"map_errors", test_map_names_the_file_it_cannot_open},
        {"map_shrinks", test_map_notices_a_file_that_shrinks},
        {"map_borrowed", test_borrowed_memory_is_not_unmapped},
        {"map_read", test_map_read_needs_no_mapping},
        {"hash", test_hash_equals_xxh64},
        {"output", test_output_appears_whole_or_not_at_all},
        {"output_errors", test_output_says_what_is_wrong},
        {"paths", test_paths},
        {"json", test_json_reads_what_is_there},
        {"json_errors", test_json_errors_name_file_and_byte},
        {"json_ceiling", test_json_ceiling},
        {"json_depth", test_json_depth},
        {"json_file", test_json_from_a_file},
    };

    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
