# One line a test. A test whose libraries are not built is left out; its label is the name of the folder it is added in.
#
#   rt_add_unit_test(NAME area.behaviour SOURCES test_x.c [LIBS ..] [ARGS ..] [LABELS ..] [TIMEOUT s] [ENVIRONMENT A=b ..])
#   rt_add_mpi_test(NAME area.behaviour SOURCES test_x.c RANKS 1 2 3 [LIBS ..] [ARGS ..] [LABELS ..] [TIMEOUT s] [ENVIRONMENT ..])
#   rt_add_script_test(NAME area.behaviour SCRIPT x.sh|x.py [RANKS most] [ARGS ..] [LABELS ..] [TIMEOUT s] [ENVIRONMENT ..])
#
# The program built is named after its first source (test_x) and built once, however many tests run it with other ARGS.
# An MPI test becomes one ctest for each number of ranks, area.behaviour.npN. Scripts get RANKTAPE (the program), MPIEXEC
# (launcher and its flags; add -n N), PYTHON, SOURCE_DIR and BUILD_DIR in the environment, and run in an empty folder of
# their own. A script that exits 77 counts as skipped.

set(RT_TEST_TIMEOUT 60 CACHE STRING "Seconds a test may take unless it says otherwise")
set(RT_TEST_TIMEOUT_SCALE 1 CACHE STRING "Factor on every timeout, for sanitizers and emulators")

# Debian's python has the h5py and numpy of the distribution; a pyenv in PATH has not.
find_program(RT_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT RT_PYTHON)
  find_program(RT_PYTHON python3 REQUIRED)
endif()

# mpirun reads stdin to its end, so every test gets none. More ranks than cores must yield, not spin; two ranks bound to one
# core each would starve their threads; the quiet copy mechanism spares a warning in containers; UCX would complain on stdout where
# there is no /sys.
set(rt_mpi_environment OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_mpi_yield_when_idle=1
    OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl_vader_single_copy_mechanism=none
    OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
    PRTE_MCA_hwloc_default_binding_policy=none OPENBLAS_NUM_THREADS=1 UCX_LOG_LEVEL=fatal)

# Open MPI's plugins are gone before leaks are reported; with the fast unwinder the suppressions would not match them. The
# search for leaks dies in thread-local memory that it has intercepted itself (gcc 12, glibc 2.36).
if(CMAKE_C_FLAGS MATCHES "-fsanitize=[a-z,-]*address")
  set(rt_sanitizer_environment ASAN_OPTIONS=fast_unwind_on_malloc=0:detect_stack_use_after_return=1:intercept_tls_get_addr=0
      LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0
      UBSAN_OPTIONS=print_stacktrace=1)
endif()

set(rt_no_stdin /bin/sh -c "exec \"$@\" </dev/null" sh)

# Sets OUT to the launcher with its flags. Open MPI ends by itself after TIMEOUT seconds, before ctest would.
function(rt_launcher out timeout)
  if(NOT DEFINED CACHE{RT_LAUNCHER_IS_OPENMPI})
    execute_process(COMMAND ${MPIEXEC_EXECUTABLE} --version OUTPUT_VARIABLE version ERROR_VARIABLE version)
    string(REGEX MATCH "Open MPI|OpenRTE|PRTE|prte" is_openmpi "${version}")
    set(RT_LAUNCHER_IS_OPENMPI "${is_openmpi}" CACHE INTERNAL "Non-empty if mpiexec is Open MPI's")
  endif()
  if(RT_LAUNCHER_IS_OPENMPI)
    set(${out} ${MPIEXEC_EXECUTABLE} --oversubscribe --timeout ${timeout} PARENT_SCOPE)
  else()
    set(${out} ${MPIEXEC_EXECUTABLE} PARENT_SCOPE)
  endif()
endfunction()

macro(rt_parse_test)
  cmake_parse_arguments(T "" "NAME;TIMEOUT;SCRIPT" "SOURCES;LIBS;ARGS;LABELS;ENVIRONMENT;RANKS" ${ARGN})
  if(T_UNPARSED_ARGUMENTS OR NOT T_NAME)
    message(FATAL_ERROR "test '${T_NAME}': not understood: ${T_UNPARSED_ARGUMENTS}")
  endif()
  get_filename_component(rt_folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT ${RT_TEST_TIMEOUT})
  endif()
  math(EXPR T_TIMEOUT "${T_TIMEOUT} * ${RT_TEST_TIMEOUT_SCALE}")
endmacro()

# Sets OUT to the target that runs the test, empty if a library of it is not built.
function(rt_test_program out)
  list(GET T_SOURCES 0 source)
  get_filename_component(target ${source} NAME_WE)
  set(missing "")
  foreach(library IN LISTS T_LIBS)
    if(library MATCHES "^ranktape_" AND NOT TARGET ${library})
      set(missing ${library})
    endif()
  endforeach()
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    message(FATAL_ERROR "test ${T_NAME}: no ${source}")
  elseif(missing)
    message(STATUS "test ${T_NAME} left out: no ${missing}")
    set(target "")
  elseif(NOT TARGET ${target})
    add_executable(${target} ${T_SOURCES})
    target_link_libraries(${target} PRIVATE ranktape_flags ${T_LIBS})
    if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR STREQUAL "aarch64")
      target_compile_options(${target} PRIVATE -fno-tree-vectorize) # gcc 12 stops with an internal error on one of them
    endif()
  endif()
  set(${out} "${target}" PARENT_SCOPE)
endfunction()

function(rt_test_properties name ranks ctest_timeout)
  set_tests_properties(${name} PROPERTIES LABELS "${rt_folder};${T_LABELS}" TIMEOUT ${ctest_timeout} PROCESSORS ${ranks}
                       SKIP_RETURN_CODE 77
                       ENVIRONMENT "${rt_mpi_environment};${rt_sanitizer_environment};${T_ENVIRONMENT}")
endfunction()

function(rt_add_unit_test)
  rt_parse_test(${ARGN})
  rt_test_program(target)
  if(target)
    add_test(NAME ${T_NAME} COMMAND ${target} ${T_ARGS})
    rt_test_properties(${T_NAME} 1 ${T_TIMEOUT})
  endif()
endfunction()

function(rt_add_mpi_test)
  rt_parse_test(${ARGN})
  rt_test_program(target)
  if(target)
    target_link_libraries(${target} PRIVATE MPI::MPI_C)
    rt_launcher(launcher ${T_TIMEOUT})
    math(EXPR ctest_timeout "${T_TIMEOUT} + 15")
    foreach(ranks IN LISTS T_RANKS)
      add_test(NAME ${T_NAME}.np${ranks}
               COMMAND ${rt_no_stdin} ${launcher} -n ${ranks} $<TARGET_FILE:${target}> ${T_ARGS})
      rt_test_properties(${T_NAME}.np${ranks} ${ranks} ${ctest_timeout})
    endforeach()
  endif()
endfunction()

function(rt_add_script_test)
  rt_parse_test(${ARGN})
  set(script ${CMAKE_CURRENT_SOURCE_DIR}/${T_SCRIPT})
  if(NOT EXISTS ${script})
    message(FATAL_ERROR "test ${T_NAME}: no ${T_SCRIPT}")
  endif()
  if(NOT T_RANKS)
    set(T_RANKS 1)
  endif()
  if(T_SCRIPT MATCHES "[.]py$")
    set(interpreter ${RT_PYTHON} -B)
  else()
    set(interpreter bash)
  endif()
  rt_launcher(launcher ${T_TIMEOUT})
  list(JOIN launcher " " launcher)
  list(APPEND T_ENVIRONMENT "MPIEXEC=${launcher}" PYTHON=${RT_PYTHON} SOURCE_DIR=${PROJECT_SOURCE_DIR}
       BUILD_DIR=${PROJECT_BINARY_DIR})
  if(TARGET ranktape)
    list(APPEND T_ENVIRONMENT RANKTAPE=$<TARGET_FILE:ranktape>)
  endif()
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/run/${T_NAME})
  add_test(NAME ${T_NAME} COMMAND /bin/sh -c "rm -rf \"$1\" && mkdir -p \"$1\" && cd \"$1\" && shift && exec \"$@\" </dev/null"
           sh ${folder} ${interpreter} ${script} ${T_ARGS})
  math(EXPR ctest_timeout "${T_TIMEOUT} + 15")
  rt_test_properties(${T_NAME} ${T_RANKS} ${ctest_timeout})
endfunction()
