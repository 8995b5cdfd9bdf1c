# SPDX-License-Identifier: Apache-2.0
gem_test(chat SOURCES unit/chat.c PARTS base tensor kernels files tokenizer chat)
gem_test(chat_random SOURCES unit/chat_random.c PARTS base tensor kernels files tokenizer chat)
gem_test(chat_turns SOURCES unit/chat_turns.c PARTS ${GEM_PARTS})

# The released tokenizer, where GEM_SHARED names the shared folder.
add_executable(test_chat_real unit/chat_real.c $<TARGET_OBJECTS:gem_base> $<TARGET_OBJECTS:gem_tensor>
    $<TARGET_OBJECTS:gem_kernels>
    $<TARGET_OBJECTS:gem_files> $<TARGET_OBJECTS:gem_tokenizer> $<TARGET_OBJECTS:gem_chat> $<TARGET_OBJECTS:yyjson>)
target_include_directories(test_chat_real PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src
    ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(test_chat_real PRIVATE gem_flags yyjson_headers Threads::Threads m)
add_test(NAME chat_real
    COMMAND ${PROJECT_SOURCE_DIR}/tests/unit/chat_real.sh $<TARGET_FILE:test_chat_real>
        ${CMAKE_CURRENT_BINARY_DIR}/chat_real
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}/tests)
set_tests_properties(chat_real PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
