# SPDX-License-Identifier: Apache-2.0
# Every allocation of an operation fails once.
gem_test(oom SOURCES unit/oom.c unit/allocations.c PARTS ${GEM_PARTS} LABELS threads)
foreach(function malloc calloc realloc aligned_alloc free mmap munmap pthread_create pthread_join)
    target_link_options(test_oom PRIVATE -Wl,--wrap=${function})
endforeach()
