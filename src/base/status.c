/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

#undef gem_fail /* macros for the analyzer only */
#undef gem_fail_nomem

gem_status gem_fail(gem_error *err, gem_status code, uint64_t offset, const char *format, ...)
{
    va_list args;

    if (!err) return code;
    err->code = code;
    err->offset = offset;
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    for (char *p = err->message; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
    return code;
}

gem_status gem_fail_nomem(gem_error *err, uint64_t n_bytes, const char *what)
{
    return gem_fail(err, GEM_E_NOMEM, 0, "out of memory: %llu bytes for %s", (unsigned long long)n_bytes, what);
}

const char *gem_status_name(gem_status status)
{
    static const char *const names[] = {"ok",    "memory",   "io",        "format",   "unsupported",
                                        "limit", "argument", "cancelled", "nonfinite"};

    return (unsigned)status < sizeof names / sizeof *names ? names[status] : "unknown";
}

#define STRING2(x) #x
#define STRING(x)  STRING2(x)

const char *gem_version(void)
{
    return STRING(GEM_VERSION_MAJOR) "." STRING(GEM_VERSION_MINOR) "." STRING(GEM_VERSION_PATCH);
}
