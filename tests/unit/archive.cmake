# SPDX-License-Identifier: Apache-2.0
gem_test(archive SOURCES unit/archive.c unit/allocations.c PARTS base tensor kernels files)
foreach(function malloc calloc realloc aligned_alloc free mmap munmap pthread_create pthread_join)
    target_link_options(test_archive PRIVATE -Wl,--wrap=${function})
endforeach()
gem_test(gem SOURCES unit/gem.c PARTS base tensor kernels files)
