#include "core/memory.h"
#include "tests/rt_test.h"

#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

RT_TEST("arrays are aligned, zeroed where asked for, and may be empty")
{
    struct rt_error err;
    for (size_t n = 0; n < 200; n += 13) {
        uint32_t *a = NULL;
        uint32_t *zero = NULL;
        REQUIRE(rt_array_new(n, sizeof *a, &a, &err) == RT_OK);
        REQUIRE(rt_array_zero(n, sizeof *zero, &zero, &err) == RT_OK);
        CHECK(a && (uintptr_t)a % 64 == 0);
        CHECK(zero && (uintptr_t)zero % 64 == 0);
        for (size_t i = 0; i < n; i++)
            CHECK(zero[i] == 0);
        rt_array_free(a);
        rt_array_free(zero);
    }
    rt_array_free(NULL);
}

RT_TEST("sizes beyond the address space are refused by name")
{
    struct rt_error err;
    char *a = (char *)&err;
    char *before = a;
    CHECK(rt_array_new(SIZE_MAX, 2, &a, &err) == RT_NOMEM);
    CHECK(strstr(err.text, "beyond the address space") != NULL);
    CHECK(rt_array_new(SIZE_MAX / 2 + 1, 1, &a, &err) == RT_NOMEM);
    CHECK(rt_array_zero(SIZE_MAX / 16, 1024, &a, &err) == RT_NOMEM);
    CHECK(a == before);
}

RT_TEST("an array that grows or shrinks keeps its contents; one that cannot stays as it is")
{
    struct rt_error err;
    uint64_t *a = NULL;
    REQUIRE(rt_array_resize(10, sizeof *a, &a, &err) == RT_OK);
    for (uint64_t i = 0; i < 10; i++)
        a[i] = i * i;
    REQUIRE(rt_array_resize(1000, sizeof *a, &a, &err) == RT_OK);
    for (uint64_t i = 0; i < 10; i++)
        CHECK(a[i] == i * i);
    uint64_t *before = a;
    CHECK(rt_array_resize(SIZE_MAX, sizeof *a, &a, &err) == RT_NOMEM);
    CHECK(a == before && a[9] == 81);
    REQUIRE(rt_array_resize(3, sizeof *a, &a, &err) == RT_OK);
    CHECK(a[0] == 0 && a[1] == 1 && a[2] == 4);
    rt_array_free(a);
}

RT_TEST("bytes held and their peak are counted")
{
    struct rt_error err;
    char *a = NULL;
    char *b = NULL;
    size_t begin = rt_memory_now();
    rt_memory_reset_peak();
    REQUIRE(rt_array_new(1000, 1, &a, &err) == RT_OK);
    REQUIRE(rt_array_new(500, 4, &b, &err) == RT_OK);
    CHECK(rt_memory_now() == begin + 3000);
    rt_array_free(a);
    CHECK(rt_memory_now() == begin + 2000);
    CHECK(rt_memory_peak() == begin + 3000);
    rt_memory_reset_peak();
    CHECK(rt_memory_peak() == begin + 2000);
    CHECK(rt_memory_most() >= begin + 3000); /* resets do not lower it */
    rt_array_free(b);
    CHECK(rt_memory_now() == begin);
}

#ifndef __SANITIZE_ADDRESS__ /* where nothing is kept */
#define MIB ((size_t)1 << 20)

static long page_faults(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_minflt;
}

/* What is mapped to be written: unlike what is resident, without an emulator's own books. */
static size_t bytes_mapped(void)
{
    char line[512];
    size_t sum = 0;
    FILE *f = fopen("/proc/self/maps", "r");
    while (f && fgets(line, sizeof line, f)) {
        unsigned long long from = 0;
        unsigned long long to = 0;
        char mode[5] = "";
        if (sscanf(line, "%llx-%llx %4s", &from, &to, mode) == 3 && mode[1] == 'w')
            sum += (size_t)(to - from);
    }
    CHECK(sum > 0);
    if (f)
        fclose(f);
    return sum;
}

static char *filled(size_t bytes, char with)
{
    struct rt_error err;
    char *array = NULL;
    CHECK(rt_array_new(bytes, 1, &array, &err) == RT_OK);
    if (array)
        memset(array, with, bytes);
    return array;
}

RT_TEST("pages of freed arrays serve the next ones, larger or smaller")
{
    size_t mapped = bytes_mapped();
    rt_memory_keep(true);
    rt_array_free(filled(64 * MIB, 1));
    long before = page_faults();
    char *small = filled(24 * MIB, 2);
    char *other = filled(38 * MIB, 3);
    long reused = page_faults() - before;
    CHECK(small[24 * MIB - 1] == 2 && other[0] == 3);
    rt_array_free(small);
    rt_array_free(other);
    before = page_faults();
    char *grown = filled(80 * MIB, 4);
    long added = page_faults() - before;
    rt_array_free(grown);
    rt_memory_keep(false);
    CHECK(bytes_mapped() < mapped + 2 * MIB);
    before = page_faults();
    rt_array_free(filled(64 * MIB, 5));
    long fresh = page_faults() - before;
    CHECK(reused < fresh / 16);
    CHECK(added < fresh);
    CHECK(added >= 16 * 16); /* a page at least of 64 KiB each, if pages are so large */
}

RT_TEST("what is kept and what is held are no more than was held at once, and nothing in the end")
{
    uint64_t seed = 7;
    enum { N = 12 };
    char *arrays[N] = {NULL};
    size_t sizes[N] = {0};
    rt_memory_reset_peak();
    size_t begin = rt_memory_now();
    size_t mapped = bytes_mapped();
    rt_memory_keep(true);
    for (int step = 0; step < 400; step++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        size_t i = (size_t)(seed >> 33) % N;
        for (size_t j = 0; j < sizes[i]; j += 4096)
            CHECK(arrays[i][j] == (char)i);
        rt_array_free(arrays[i]);
        sizes[i] = MIB + (size_t)(seed >> 40) % (5 * MIB);
        arrays[i] = filled(sizes[i], (char)i);
        CHECK(bytes_mapped() < mapped + rt_memory_peak() - begin + 2 * MIB);
    }
    for (size_t i = 0; i < N; i++)
        rt_array_free(arrays[i]);
    rt_memory_keep(false);
    CHECK(bytes_mapped() < mapped + 2 * MIB);
}
#endif

RT_TEST("sums and products tell where they overflow")
{
    uint64_t out = 0;
    CHECK(rt_mul_u64(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &out));
    CHECK(out == UINT64_MAX - UINT32_MAX);
    CHECK(!rt_mul_u64(UINT64_C(1) << 32, UINT64_C(1) << 32, &out));
    CHECK(rt_add_u64(UINT64_MAX, 0, &out) && out == UINT64_MAX);
    CHECK(!rt_add_u64(UINT64_MAX, 1, &out));
}

RT_TEST("a number that no int holds is told")
{
    struct rt_error err;
    int out = 0;
    CHECK(rt_to_int(INT_MAX, &out, &err) == RT_OK && out == INT_MAX);
    CHECK(rt_to_int((uint64_t)INT_MAX + 1, &out, &err) == RT_USAGE);
    CHECK(out == INT_MAX);
    CHECK(strstr(err.text, "2147483648") != NULL);
}

RT_TEST_MAIN()
