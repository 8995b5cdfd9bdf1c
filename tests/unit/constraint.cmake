# SPDX-License-Identifier: Apache-2.0
# What tools/lab/judge_*.py drive.
add_executable(constraint_stdin unit/constraint_stdin.c $<TARGET_OBJECTS:yyjson>)
foreach(part base tensor kernels files tokenizer generate)
    target_sources(constraint_stdin PRIVATE $<TARGET_OBJECTS:gem_${part}>)
endforeach()
target_include_directories(constraint_stdin PRIVATE ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src
    ${PROJECT_SOURCE_DIR}/tests)
target_link_libraries(constraint_stdin PRIVATE gem_flags yyjson_headers Threads::Threads m)
gem_test(constraint SOURCES unit/constraint.c PARTS base tensor kernels files tokenizer generate LABELS threads)
gem_test(generate SOURCES unit/generate.c PARTS ${GEM_PARTS})

# Random schemas and random draws, judged by Python's jsonschema. The real vocabulary is for tools/lab. Not for
# another machine: the script starts the program itself.
if(NOT CMAKE_CROSSCOMPILING)
    add_test(NAME constraint_schemas
        COMMAND python3 ${PROJECT_SOURCE_DIR}/tools/lab/judge_schema.py $<TARGET_FILE:constraint_stdin>
            ${PROJECT_SOURCE_DIR}/tests/golden/models/e2b/model/tokenizer.json --n 250)
    set_tests_properties(constraint_schemas PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600 ENVIRONMENT "${GEM_SANITIZER_ENV}")
endif()
