# What is installed, and where. Nothing in the tree names its own place, so that it can be moved as a whole. Components: `program`,
# `library` and `development` (each a package of packages.cmake), and `site`, what only a cluster wants.
include(CMakePackageConfigHelpers)

# Libraries are looked for beside the program first, then where they were found; what lies in the system's folders needs no word.
if(NOT CMAKE_INSTALL_PREFIX STREQUAL "/usr")
  file(RELATIVE_PATH rt_lib_from_bin /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_LIBDIR})
  set_target_properties(ranktape PROPERTIES INSTALL_RPATH "$ORIGIN/${rt_lib_from_bin}")
endif()
set_target_properties(ranktape PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)

install(TARGETS ranktape RUNTIME COMPONENT program)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program FILES_MATCHING PATTERN "*.md" PATTERN "*.svg")
install(DIRECTORY slurm DESTINATION ${CMAKE_INSTALL_DATADIR}/ranktape COMPONENT program USE_SOURCE_PERMISSIONS)
if(TARGET manual)
  install(DIRECTORY ${RT_MANUAL}/man1 DESTINATION ${CMAKE_INSTALL_MANDIR} COMPONENT program)
  install(DIRECTORY ${RT_MANUAL}/completions DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion COMPONENT program)
endif()

# The module sets paths from where it lies.
set(RANKTAPE_MODULES "" CACHE STRING "Modules that ranktape's own loads first, as in openmpi/4.1;hdf5/1.14")
set(rt_module_depends "")
foreach(module IN LISTS RANKTAPE_MODULES)
  string(APPEND rt_module_depends "depends_on(\"${module}\")\n")
endforeach()
configure_file(packaging/lmod/ranktape.lua.in ${PROJECT_BINARY_DIR}/packaging/${PROJECT_VERSION}.lua @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/packaging/${PROJECT_VERSION}.lua
        DESTINATION ${CMAKE_INSTALL_DATADIR}/modulefiles/ranktape COMPONENT site)

if(NOT TARGET libranktape)
  return()
endif()
set_target_properties(libranktape PROPERTIES EXPORT_NAME ranktape INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS libranktape EXPORT ranktapeTargets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development
        PUBLIC_HEADER DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
        INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

install(DIRECTORY api/example DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development)

set(rt_cmake_folder ${CMAKE_INSTALL_LIBDIR}/cmake/ranktape)
configure_package_config_file(packaging/cmake/ranktapeConfig.cmake.in ${PROJECT_BINARY_DIR}/packaging/ranktapeConfig.cmake
                              INSTALL_DESTINATION ${rt_cmake_folder})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/packaging/ranktapeConfigVersion.cmake COMPATIBILITY SameMajorVersion)
install(EXPORT ranktapeTargets NAMESPACE ranktape:: DESTINATION ${rt_cmake_folder} COMPONENT development)
install(FILES ${PROJECT_BINARY_DIR}/packaging/ranktapeConfig.cmake ${PROJECT_BINARY_DIR}/packaging/ranktapeConfigVersion.cmake
        DESTINATION ${rt_cmake_folder} COMPONENT development)

file(RELATIVE_PATH rt_prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" rt_prefix_from_pc "${rt_prefix_from_pc}")
configure_file(packaging/ranktape.pc.in ${PROJECT_BINARY_DIR}/packaging/ranktape.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/packaging/ranktape.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)
