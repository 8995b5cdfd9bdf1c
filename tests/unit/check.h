/* SPDX-License-Identifier: Apache-2.0
 * tests/unit/check.h - the little that unit tests need: a check that says where it failed, and a table of tests. */
#ifndef GEM_TEST_CHECK_H
#define GEM_TEST_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_failures;

#define CHECK(cond)                                                                                                    \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #cond);                                                  \
            check_failures++;                                                                                          \
        }                                                                                                              \
    } while (0)

#define CHECK_EQ(a, b)                                                                                                 \
    do {                                                                                                               \
        const long long check_a = (long long)(a), check_b = (long long)(b);                                            \
        if (check_a != check_b) {                                                                                      \
            printf("%s:%d: %s is %lld, %s is %lld\n", __FILE__, __LINE__, #a, check_a, #b, check_b);                   \
            check_failures++;                                                                                          \
        }                                                                                                              \
    } while (0)

#define CHECK_STR(a, b)                                                                                                \
    do {                                                                                                               \
        const char *check_a = (a), *check_b = (b);                                                                     \
        if (strcmp(check_a, check_b)) {                                                                                \
            printf("%s:%d: %s is \"%s\", not \"%s\"\n", __FILE__, __LINE__, #a, check_a, check_b);                     \
            check_failures++;                                                                                          \
        }                                                                                                              \
    } while (0)

struct check_test {
    const char *name;
    void (*run)(void);
};

/* Runs all tests of a table, or those named on the command line. */
static inline int check_main(const struct check_test *tests, size_t n, int argc, char **argv)
{
    for (size_t i = 0; i < n; i++) {
        int wanted = argc < 2;
        const int before = check_failures;

        for (int a = 1; a < argc; a++) wanted |= !strcmp(argv[a], tests[i].name);
        if (!wanted) continue;
        tests[i].run();
        printf("%-6s %s\n", check_failures == before ? "ok" : "FAILED", tests[i].name);
    }
    return check_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
