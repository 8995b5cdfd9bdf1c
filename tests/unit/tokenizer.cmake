# SPDX-License-Identifier: Apache-2.0
gem_test(tokenizer SOURCES unit/tokenizer.c unit/allocations.c PARTS base tensor kernels files tokenizer)
foreach(function malloc calloc realloc aligned_alloc free mmap munmap pthread_create pthread_join)
    target_link_options(test_tokenizer PRIVATE -Wl,--wrap=${function})
endforeach()

function(gem_tokenizer_program name)
    add_executable(${name} ${ARGN} $<TARGET_OBJECTS:gem_base> $<TARGET_OBJECTS:gem_tensor> $<TARGET_OBJECTS:gem_kernels>
        $<TARGET_OBJECTS:gem_files> $<TARGET_OBJECTS:gem_tokenizer> $<TARGET_OBJECTS:yyjson>)
    target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src
        ${PROJECT_SOURCE_DIR}/tests)
    target_link_libraries(${name} PRIVATE gem_flags yyjson_headers Threads::Threads m)
endfunction()

# The released tokenizer, where GEM_SHARED names the shared folder.
gem_tokenizer_program(test_tokenizer_real unit/tokenizer_real.c)
add_test(NAME tokenizer_real
    COMMAND ${PROJECT_SOURCE_DIR}/tests/unit/tokenizer_real.sh $<TARGET_FILE:test_tokenizer_real>
        ${CMAKE_CURRENT_BINARY_DIR}/tokenizer_real ${PROJECT_SOURCE_DIR}/tools/make_tokenizer_gguf.py
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/tests)
set_tests_properties(tokenizer_real PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)

gem_tokenizer_program(tokenizer_stdin unit/tokenizer_stdin.c) # what tools/check_tokenizer.py drives
gem_tokenizer_program(bench_tokenize ${PROJECT_SOURCE_DIR}/bench/tokenize.c)
