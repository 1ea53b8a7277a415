/* Reads a byte too far for an input that begins with two letters: this must be found. */
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    volatile uint8_t byte = 0;
    if (size >= 2 && data[0] == 'r' && data[1] == 't')
        byte = data[size];
    (void)byte;
    return 0;
}
