# Debian's cross compiler and qemu: core and its unit tests on another CPU, -DRANKTAPE_CORE_ONLY=ON -DRANKTAPE_BLAS=OFF.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH /usr/aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
# xxHash is one header without a word of its CPU; alone, since the host's other headers must stay out of sight.
file(COPY /usr/include/xxhash.h DESTINATION ${CMAKE_BINARY_DIR}/host-headers)
set(XXHASH_INCLUDE ${CMAKE_BINARY_DIR}/host-headers CACHE PATH "")
