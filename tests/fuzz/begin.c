/* Before the first input: to the folder that readers find files in. */
#include "tests/fuzz/fuzz.h"

#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *folder = getenv("RT_FUZZ_FOLDER");
    (void)argc;
    (void)argv;
    if (!folder || chdir(folder) != 0) {
        (void)fprintf(stderr, "RT_FUZZ_FOLDER names no folder to work in\n");
        exit(99);
    }
    return 0;
}
