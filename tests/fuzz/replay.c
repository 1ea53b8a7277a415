/* replay FILE..: a fuzz target over inputs that are kept, for compilers without libFuzzer. */
#include "core/memory.h"
#include "tests/fuzz/fuzz.h"

#define MOST_BYTES ((size_t)256 << 20) /* as run.sh allows */

int main(int argc, char **argv)
{
    (void)LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        (void)fprintf(stderr, "%s\n", argv[i]);
        FILE *file = fopen(argv[i], "rb");
        size_t size = 0;
        if (!file || fseek(file, 0, SEEK_END) != 0 || ftell(file) < 0) {
            perror(argv[i]);
            return 1;
        }
        size = (size_t)ftell(file);
        rewind(file);
        uint8_t *data = malloc(size + 1); /* of its own size, so that sanitizers see its end */
        if (!data || fread(data, 1, size, file) != size || fclose(file) != 0)
            return 1;
        (void)LLVMFuzzerTestOneInput(data, size);
        FUZZ_CHECK(rt_memory_peak() < MOST_BYTES);
        free(data);
    }
    return argc < 2;
}
