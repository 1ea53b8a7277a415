#!/usr/bin/env bash
# Every C file is as clang-format leaves it. To mend: clang-format -i FILE.
set -euo pipefail
command -v clang-format >/dev/null || { echo 'no clang-format'; exit 77; }
for room in core mpi io kmeans jobs api man tests; do
    [[ ! -d $SOURCE_DIR/$room ]] || find "$SOURCE_DIR/$room" -name '*.[ch]' -o -name '*.cpp'
done >list
mapfile -t files <list
printf 'int  main( void ) {return 0;}\n' >bad.c
cp "$SOURCE_DIR/.clang-format" .
! clang-format --dry-run -Werror bad.c 2>/dev/null || { echo 'this test finds nothing'; exit 1; }
clang-format --dry-run -Werror "${files[@]}"
