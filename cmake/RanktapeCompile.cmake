# Flags for every target: strict floating point (the digest depends on it) and the warnings we keep clean.
add_library(ranktape_flags INTERFACE)
target_compile_definitions(ranktape_flags INTERFACE _POSIX_C_SOURCE=200809L _XOPEN_SOURCE=700 _DEFAULT_SOURCE
                           _FILE_OFFSET_BITS=64)
target_include_directories(ranktape_flags INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_options(ranktape_flags INTERFACE -ffp-contract=off -fno-math-errno -Wall -Wextra -Wpedantic
                       -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla)
# Messages and checks name files of the house, not of the machine it was built on.
target_compile_options(ranktape_flags INTERFACE -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=)
if(RANKTAPE_WERROR)
  target_compile_options(ranktape_flags INTERFACE -Werror)
endif()
if(RANKTAPE_CHECKS)
  target_compile_definitions(ranktape_flags INTERFACE RT_CHECKS=1)
endif()
# -O3 for Release; assert() is not used, rt_assert is.
set(CMAKE_C_FLAGS_RELEASE "-O3 -g")
