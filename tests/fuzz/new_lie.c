/* How libFuzzer comes by new inputs of fuzz_index: three times in four a whole new lie, else as it
 * does with any bytes. */
#include "core/random.h"
#include "tests/fuzz/fuzz.h"

#define HEAD 2 /* bytes before the first lie */
#define LIE 14
#define MOST_LIES 3

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    size_t n = size < HEAD ? 0 : (size - HEAD) / LIE;
    if (seed % 4 == 0 || size < HEAD || max_size < HEAD + (n + 1) * LIE)
        return LLVMFuzzerMutate(data, size, max_size);
    size_t most = n < MOST_LIES ? n + 1 : n; /* of those there are, or one more */
    size_t at = rt_random_below(rt_random(seed, RT_RANDOM_TEST, 0, 0, 0), most);
    for (size_t i = 0; i < LIE; i++)
        data[HEAD + at * LIE + i] = (uint8_t)rt_random(seed, RT_RANDOM_TEST, 1, i, 0);
    data[0] = (uint8_t)(seed / 4); /* before any job */
    return HEAD + (at < n ? n : n + 1) * LIE;
}
