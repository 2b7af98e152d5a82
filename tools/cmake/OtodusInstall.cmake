# Install rules: the programs, the runtime library with its headers, and what lets a
# program find them (a CMake package and a pkg-config file). Targets that this
# configuration does not build (OTODUS_COMPILER=OFF) are left out.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/THIRD_PARTY_NOTICES.md
        DESTINATION ${CMAKE_INSTALL_DOCDIR})

foreach(tool otodus otodus-opt otodus-lsp-server)
  foreach(target ${tool} ${tool}-tool)
    if(TARGET ${target})
      get_target_property(kind ${target} TYPE)
      if(kind STREQUAL EXECUTABLE)
        # Debian's LLVM 22 lies outside of the loader's path.
        set_target_properties(${target} PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
        install(TARGETS ${target} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
      endif()
    endif()
  endforeach()
endforeach()

# The simulator of GPUs, which the runtime loads when a sim target asks for it.
if(TARGET otodus-sim)
  install(TARGETS otodus-sim LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()

# The runtime as one shared library without undefined symbols of ours: libotodus.so.
# The program `otodus` has that target name already, hence the library's other one.
set(OTODUS_LIBRARY "")
foreach(target libotodus OtodusShared OtodusC)
  if(TARGET ${target} AND NOT OTODUS_LIBRARY)
    set(OTODUS_LIBRARY ${target})
  endif()
endforeach()

if(OTODUS_LIBRARY)
  install(TARGETS ${OTODUS_LIBRARY} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
          FILES_MATCHING PATTERN "otodus.h")
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/otodus/ABI
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/otodus
          FILES_MATCHING PATTERN "*.h" PATTERN "*.def")

  set(OTODUS_LIBRARY_DIR ${CMAKE_INSTALL_LIBDIR})
  set(OTODUS_INCLUDE_DIR ${CMAKE_INSTALL_INCLUDEDIR})
  set(OTODUS_PLUGIN_INCLUDES "\"\${PACKAGE_PREFIX_DIR}/${CMAKE_INSTALL_INCLUDEDIR}\"")
  configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/tools/cmake/otodus-config.cmake.in
    ${PROJECT_BINARY_DIR}/otodus-config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/otodus
    PATH_VARS OTODUS_LIBRARY_DIR OTODUS_INCLUDE_DIR)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/otodus-config-version.cmake
                                   COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/otodus-config.cmake
                ${PROJECT_BINARY_DIR}/otodus-config-version.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/otodus)

  # The same package for the build tree: -Dotodus_DIR=build/package.
  set(OTODUS_LIBRARY_DIR ${CMAKE_LIBRARY_OUTPUT_DIRECTORY})
  set(OTODUS_INCLUDE_DIR ${PROJECT_SOURCE_DIR}/include)
  set(OTODUS_PLUGIN_INCLUDES
      "\"${PROJECT_SOURCE_DIR}/dialects\" \"${PROJECT_BINARY_DIR}/dialects\"")
  configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/tools/cmake/otodus-config.cmake.in
    ${PROJECT_BINARY_DIR}/package/otodus-config.cmake
    INSTALL_DESTINATION ${PROJECT_BINARY_DIR}/package INSTALL_PREFIX ${PROJECT_BINARY_DIR}
    PATH_VARS OTODUS_LIBRARY_DIR OTODUS_INCLUDE_DIR)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/otodus-config-version.cmake
                                   COMPATIBILITY SameMinorVersion)

  # The dialect's headers, for passes that the programs load.
  if(OTODUS_COMPILER)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/dialects/mega ${PROJECT_BINARY_DIR}/dialects/mega
            DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
            FILES_MATCHING PATTERN "*.h" PATTERN "*.td" PATTERN "*.h.inc"
            PATTERN CMakeFiles EXCLUDE PATTERN OpHelpers.h EXCLUDE)
  endif()

  # Relative, so that `cmake --install --prefix` and moved trees work.
  file(RELATIVE_PATH OTODUS_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
       ${CMAKE_INSTALL_PREFIX})
  configure_file(${PROJECT_SOURCE_DIR}/tools/cmake/otodus.pc.in ${PROJECT_BINARY_DIR}/otodus.pc
                 @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/otodus.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
