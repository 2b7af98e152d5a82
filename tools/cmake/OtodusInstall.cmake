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
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/otodus FILES_MATCHING PATTERN "*.h")

  configure_package_config_file(
    ${PROJECT_SOURCE_DIR}/tools/cmake/otodus-config.cmake.in
    ${PROJECT_BINARY_DIR}/otodus-config.cmake
    INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/otodus
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
  write_basic_package_version_file(${PROJECT_BINARY_DIR}/otodus-config-version.cmake
                                   COMPATIBILITY SameMinorVersion)
  install(FILES ${PROJECT_BINARY_DIR}/otodus-config.cmake
                ${PROJECT_BINARY_DIR}/otodus-config-version.cmake
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/otodus)

  # Relative, so that `cmake --install --prefix` and moved trees work.
  file(RELATIVE_PATH OTODUS_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
       ${CMAKE_INSTALL_PREFIX})
  configure_file(${PROJECT_SOURCE_DIR}/tools/cmake/otodus.pc.in ${PROJECT_BINARY_DIR}/otodus.pc
                 @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/otodus.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
