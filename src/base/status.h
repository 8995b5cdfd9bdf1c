/* SPDX-License-Identifier: Apache-2.0
 * src/base/status.h - errors by value. The deepest failing call writes the message, for it knows the tensor
 * and the offset; callers pass it up untouched. */
#ifndef GEM_BASE_STATUS_H
#define GEM_BASE_STATUS_H

#include <gemmule.h>

#if defined(__GNUC__)
#define GEM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define GEM_PRINTF(fmt, args)
#endif

/* Writes the error (err may be NULL) and returns code, so that `return gem_fail(...)` reads well. Control
 * bytes that untrusted names bring along are replaced by '?'. */
gem_status gem_fail(gem_error *err, gem_status code, uint64_t offset, const char *format, ...) GEM_PRINTF(4, 5);

/* GEM_E_NOMEM with the number of bytes and what they were for. */
gem_status gem_fail_nomem(gem_error *err, uint64_t n_bytes, const char *what);

#ifdef __clang_analyzer__ /* it cannot see that a failure is never GEM_OK, and would follow paths that are not there   \
                           */
#define gem_fail(err, code, ...)           (gem_fail(err, code, __VA_ARGS__), (code))
#define gem_fail_nomem(err, n_bytes, what) (gem_fail_nomem(err, n_bytes, what), GEM_E_NOMEM)
#endif

#endif
