# SPDX-License-Identifier: Apache-2.0
# Flags of our own code, not of third_party and not of those who link the library.
# -ffp-contract=off: a fused multiply-add only where the source says so, or the same sum would differ between compilers.
add_library(gem_flags INTERFACE)
target_compile_options(gem_flags INTERFACE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wcast-qual -Wvla -ffp-contract=off -fno-math-errno -fvisibility=hidden)
if(GEM_WERROR)
    target_compile_options(gem_flags INTERFACE -Werror)
endif()
if(BUILD_SHARED_LIBS)
    target_compile_definitions(gem_flags INTERFACE GEM_BUILD_SHARED)
endif()

add_library(yyjson_headers INTERFACE)
target_include_directories(yyjson_headers SYSTEM INTERFACE third_party/yyjson)

# Sanitizers and fuzzing instrument everything, third_party too.
if(GEM_SANITIZE)
    add_compile_options(-fsanitize=${GEM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${GEM_SANITIZE})
endif()
# Sanitizers end the program where malloc would return NULL; here that is an error like any other.
set(GEM_SANITIZER_ENV "ASAN_OPTIONS=allocator_may_return_null=1" "TSAN_OPTIONS=allocator_may_return_null=1"
    "UBSAN_OPTIONS=print_stacktrace=1")
if(GEM_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID STREQUAL "Clang")
        message(FATAL_ERROR "GEM_FUZZ needs clang or afl-clang-fast: cmake -DCMAKE_C_COMPILER=clang ... "
                            "(gcc replays the seeds without it: ctest -L fuzz)")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Instruction sets of src/kernels/*_avx*.c. Fuzzing does without: their unrolled tiles take a fuzzer's
# instrumentation minutes to compile, and no parser calls them.
if(GEM_FUZZ)
    target_compile_definitions(gem_flags INTERFACE GEM_C_ONLY)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    set(GEM_X86 ON)
    set(GEM_AVX2 -mavx2 -mfma -mf16c)
    set(GEM_AVX512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni ${GEM_AVX2})
    if(GEM_SANITIZE)
        # Checking every access of fully unrolled tiles costs clang minutes; guard pages in tests/kernels see overreads.
        list(APPEND GEM_AVX2 -fno-sanitize=all)
        list(APPEND GEM_AVX512 -fno-sanitize=all)
    endif()
endif()
