# Debian packages by CPack: `cpack -G DEB`, after a build with -DCMAKE_INSTALL_PREFIX=/usr. Three, as Debian wants them: the
# program, the library, and what programs that use it are built with. What they depend on is read from the binaries.
set(CPACK_PACKAGE_NAME ranktape)
set(CPACK_PACKAGE_VENDOR ranktape)
set(CPACK_PACKAGE_CONTACT "ranktape maintainers <maintainers@ranktape.example>")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "") # each package has its own
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_RESOURCE_FILE_README ${PROJECT_SOURCE_DIR}/README.md)
set(CPACK_GENERATOR DEB)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL program)
if(TARGET libranktape)
  list(APPEND CPACK_COMPONENTS_ALL library development)
endif()

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(rt_library_package libranktape${PROJECT_VERSION_MAJOR})

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME ranktape)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS openmpi-bin)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SUGGESTS "bash-completion, slurm-client")
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "MPI program that builds and keeps vector indexes
A batch job that turns vectors into an inverted file with 1-bit codes, on
any number of ranks, and inserts, deletes, vacuums and searches.")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME ${rt_library_package})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/packaging/debian/triggers)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "searches vector indexes of ranktape (library)
Opens an index that ranktape has built and searches it from many threads,
without MPI.")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libranktape-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${rt_library_package} (= ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})")
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "searches vector indexes of ranktape (development files)
Header, pkg-config and CMake files to build programs with libranktape.")

# What Debian asks for beside what is installed elsewhere.
configure_file(packaging/debian/finish.cmake.in ${PROJECT_BINARY_DIR}/packaging/finish.cmake @ONLY)
set(CPACK_PRE_BUILD_SCRIPTS ${PROJECT_BINARY_DIR}/packaging/finish.cmake)
include(CPack)
