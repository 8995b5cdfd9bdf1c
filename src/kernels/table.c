/* SPDX-License-Identifier: Apache-2.0
 * src/kernels/table.c - which machine this is, and the table for it. */
#include "kernels/kernels.h"

const struct gem_kernel_tier gem_kernel_tiers[GEM_N_KERNEL_TIERS] = {
    {"c", 0},
    {"avx2", GEM_CPU_AVX2},
    {"avxvnni", GEM_CPU_AVX2 | GEM_CPU_VNNI256},
    {"avx512", GEM_CPU_AVX2 | GEM_CPU_AVX512},
    {"avx512bf16", GEM_CPU_AVX2 | GEM_CPU_AVX512 | GEM_CPU_BF16},
};

#if defined(__x86_64__) && !defined(GEM_C_ONLY)
#include <cpuid.h>

/* clang 14's __builtin_cpu_supports does not know F16C. */
static bool has_f16c(void)
{
    unsigned a, b, c = 0, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1);
}

/* Compilers of 2022 do not know its name. */
static bool has_avxvnni(void)
{
    unsigned a = 0, b, c, d;

    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

unsigned gem_cpu_flags(void)
{
    unsigned flags = 0;

    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c()) flags |= GEM_CPU_AVX2;
    if (flags && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni"))
        flags |= GEM_CPU_AVX512;
    if (flags && has_avxvnni()) flags |= GEM_CPU_VNNI256;
    if (flags & GEM_CPU_AVX512 && __builtin_cpu_supports("avx512bf16")) flags |= GEM_CPU_BF16;
    return flags;
}
#else
unsigned gem_cpu_flags(void) { return 0; }
#endif

void gem_kernels_init(struct gem_kernels *k, unsigned cpu)
{
    *k = (struct gem_kernels){.name = "c"};
    gem_kernels_float_c(k);
    gem_kernels_packed_c(k);
    gem_kernels_pairs_c(k);
#if (defined(__x86_64__) && !defined(GEM_C_ONLY)) || defined(GEM_SIMDE)
    if (cpu & (GEM_CPU_AVX2 | GEM_CPU_AVX512)) { /* AVX-512 keeps what it has no better function for */
        k->name = "avx2";
        gem_kernels_float_avx2(k);
        gem_kernels_packed_avx2(k);
    }
    if (cpu & GEM_CPU_VNNI256) {
        k->name = "avxvnni";
        gem_kernels_packed_avxvnni(k);
    }
    if (cpu & GEM_CPU_AVX512) {
        k->name = "avx512";
        gem_kernels_float_avx512(k);
        gem_kernels_packed_avx512(k);
    }
    if (cpu & GEM_CPU_BF16) {
        k->name = "avx512bf16";
        gem_kernels_gemm_avx512bf16(k);
        gem_kernels_attention_avx512bf16(k);
        gem_kernels_pairs_avx512bf16(k);
    }
#else
    (void)cpu;
#endif
}
