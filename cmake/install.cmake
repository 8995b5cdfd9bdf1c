# SPDX-License-Identifier: Apache-2.0
# The library, its header, the program with manual and completions, pkg-config and CMake package files.
include(CMakePackageConfigHelpers)

install(TARGETS gemmule EXPORT gemmuleTargets
    LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/gemmule.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES third_party/yyjson/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME LICENSE.yyjson)
install(FILES third_party/stb/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME LICENSE.stb)

# Whoever links an archive must link what it needs; a shared library brings that itself.
if(BUILD_SHARED_LIBS)
    set(GEM_PC_PRIVATE "-pthread -lm")
else()
    set(GEM_PC_LIBS "-pthread -lm")
    if(GEM_FFMPEG)
        set(GEM_PC_REQUIRES "libavformat libavcodec libswscale libavutil")
    endif()
endif()

set(cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/gemmule)
install(EXPORT gemmuleTargets NAMESPACE gemmule:: DESTINATION ${cmake_dir})
configure_package_config_file(cmake/gemmuleConfig.cmake.in gemmuleConfig.cmake INSTALL_DESTINATION ${cmake_dir}
    NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(gemmuleConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gemmuleConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/gemmuleConfigVersion.cmake
    DESTINATION ${cmake_dir})

# The file finds its prefix from where it lies, so that an installed tree can be moved.
file(RELATIVE_PATH GEM_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/gemmule.pc.in gemmule.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/gemmule.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

file(RELATIVE_PATH lib_from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(gemmule_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${lib_from_bin}")
install(DIRECTORY models/nano DESTINATION ${CMAKE_INSTALL_DATADIR}/gemmule)
install(TARGETS gemmule_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})

# The program writes its manual and completions from its own tables.
function(gem_generated file folder)
    set(out ${CMAKE_CURRENT_BINARY_DIR}/share/${file})
    add_custom_command(OUTPUT ${out}
        COMMAND gemmule_cli help ${ARGN} > ${out}.part
        COMMAND ${CMAKE_COMMAND} -E rename ${out}.part ${out}
        DEPENDS gemmule_cli VERBATIM)
    set_property(GLOBAL APPEND PROPERTY GEM_GENERATED ${out})
    install(FILES ${out} DESTINATION ${folder})
endfunction()

file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/share)
gem_generated(gemmule.1 ${CMAKE_INSTALL_MANDIR}/man1 --man)
gem_generated(gemmule ${CMAKE_INSTALL_DATADIR}/bash-completion/completions --completion bash)
gem_generated(_gemmule ${CMAKE_INSTALL_DATADIR}/zsh/site-functions --completion zsh)
gem_generated(gemmule.fish ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d --completion fish)
get_property(generated GLOBAL PROPERTY GEM_GENERATED)
add_custom_target(gemmule_pages ALL DEPENDS ${generated})
