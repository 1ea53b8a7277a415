/* How near the scan of codes comes to what one core of this machine can do: bench_scan DIM prints
 * one JSON object of bytes (codes and factors) a second. In the second cache the limit are the
 * shuffles that look rows' groups up (two for 64 bytes of codes), from memory reading the bytes.
 * Each is the best of several runs. */
#include "core/block.h"
#include "core/code.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHUNK 64u /* blocks of a call, as core/scan.c has it */
#define CACHED_BYTES ((size_t)512 << 10)
#define MEMORY_BYTES ((size_t)1 << 30) /* more than the last cache holds */
#define CACHED_RUNS 400
#define MEMORY_RUNS 5

struct work {
    struct rt_scan_table table;
    size_t n_blocks;
    size_t code_bytes, factor_bytes; /* of a block */
    uint8_t *codes;
    float *factors;
    float bounds[CHUNK * RT_BLOCK_ROWS];
    uint32_t kept[CHUNK];
    uint64_t told; /* so that the compiler leaves nothing out */
};

static double now(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void scan_blocks(struct work *w)
{
    const struct rt_scan_kernels *kernels = &rt_kernels()->scan;
    for (size_t b = 0; b < w->n_blocks; b += CHUNK) {
        size_t n = w->n_blocks - b < CHUNK ? w->n_blocks - b : CHUNK;
        kernels->scan(&w->table, w->codes + b * w->code_bytes,
                      w->factors + b * w->factor_bytes / sizeof(float), n, -INFINITY, w->bounds,
                      w->kept);
        w->told += w->kept[0];
    }
}

static uint64_t read_bytes(const void *bytes, size_t n)
{
    const uint64_t *words = bytes;
    uint64_t sum[8] = {0};
    for (size_t i = 0; i + 8 <= n / sizeof *words; i += 8)
        for (size_t k = 0; k < 8; k++)
            sum[k] |= words[i + k];
    return sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
}

static void read_blocks(struct work *w)
{
    w->told += read_bytes(w->codes, w->n_blocks * w->code_bytes);
    w->told += read_bytes(w->factors, w->n_blocks * w->factor_bytes);
}

#if defined(__x86_64__)
#include <immintrin.h>

/* What a scan cannot do without: the look-ups. Factors are only read. */
__attribute__((target("avx512f,avx512bw"))) static void shuffle_512(struct work *w)
{
    const size_t n = w->n_blocks * w->code_bytes / 64;
    __m512i found[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                        _mm512_setzero_si512()};
    const __m512i low = _mm512_loadu_si512(w->table.entries);
    const __m512i high = _mm512_loadu_si512(w->table.entries + 64);
    for (size_t i = 0; i + 4 <= n; i += 4)
        for (size_t k = 0; k < 4; k++) {
            __m512i code = _mm512_loadu_si512(w->codes + 64 * (i + k));
            found[k] = _mm512_ternarylogic_epi64(found[k], _mm512_shuffle_epi8(low, code),
                                                 _mm512_shuffle_epi8(high, code), 0x96);
        }
    found[0] = _mm512_xor_si512(found[0], found[1]);
    found[1] = _mm512_xor_si512(found[2], found[3]);
    w->told += (uint64_t)_mm512_reduce_add_epi64(_mm512_xor_si512(found[0], found[1]));
    w->told += read_bytes(w->factors, w->n_blocks * w->factor_bytes);
}

__attribute__((target("avx2"))) static void shuffle_256(struct work *w)
{
    const size_t n = w->n_blocks * w->code_bytes / 32;
    __m256i found[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    const __m256i low = _mm256_loadu_si256((const void *)w->table.entries);
    const __m256i high = _mm256_loadu_si256((const void *)(w->table.entries + 32));
    for (size_t i = 0; i < n; i++) {
        __m256i code = _mm256_loadu_si256((const void *)(w->codes + 32 * i));
        found[0] = _mm256_xor_si256(found[0], _mm256_shuffle_epi8(low, code));
        found[1] = _mm256_xor_si256(found[1], _mm256_shuffle_epi8(high, code));
    }
    w->told += (uint64_t)_mm256_extract_epi64(_mm256_xor_si256(found[0], found[1]), 0);
    w->told += read_bytes(w->factors, w->n_blocks * w->factor_bytes);
}

static void shuffle_blocks(struct work *w)
{
    (__builtin_cpu_supports("avx512bw") ? shuffle_512 : shuffle_256)(w);
}
#else
static void shuffle_blocks(struct work *w)
{
    read_blocks(w); /* no count of shuffles here: the limit is reading */
}
#endif

static double best_rate(struct work *w, void (*what)(struct work *w), int n_runs)
{
    double best = INFINITY;
    what(w);
    for (int i = 0; i < n_runs; i++) {
        double begin = now();
        what(w);
        best = fmin(best, now() - begin);
    }
    return (double)(w->n_blocks * (w->code_bytes + w->factor_bytes)) / best;
}

static void fill(struct work *w, uint32_t dim, size_t bytes, struct rt_error *err)
{
    w->code_bytes = rt_block_code_bytes(dim);
    w->factor_bytes = rt_code_n_factors(RT_L2) * RT_BLOCK_ROWS * sizeof(float);
    w->n_blocks = bytes / (w->code_bytes + w->factor_bytes);
    uint8_t *entries = NULL;
    size_t n_entries = w->code_bytes + 128;
    if (rt_array_new(w->n_blocks, w->code_bytes, &w->codes, err) != RT_OK ||
        rt_array_new(w->n_blocks, w->factor_bytes, &w->factors, err) != RT_OK ||
        rt_array_zero(n_entries, 1, &entries, err) != RT_OK) {
        (void)fprintf(stderr, "bench_scan: %s\n", err->text);
        exit(1);
    }
    for (size_t i = 0; i < w->n_blocks * w->code_bytes; i++)
        w->codes[i] = (uint8_t)(i * 2654435761u >> 13);
    for (size_t i = 0; i < w->n_blocks * w->factor_bytes / sizeof(float); i++)
        w->factors[i] = 1;
    for (size_t i = 0; i < w->code_bytes; i++)
        entries[i] = (uint8_t)(i * 40503u >> 7);
    w->table = (struct rt_scan_table){.entries = entries,
                                      .n_groups = rt_block_groups(dim),
                                      .n_factors = rt_code_n_factors(RT_L2),
                                      .scale = 1,
                                      .width = 1};
}

int main(int argc, char **argv)
{
    int dim = argc == 2 ? atoi(argv[1]) : 0;
    struct rt_error err;
    static struct work cached, memory;
    if (dim < 1 || dim > 65536) {
        (void)fprintf(stderr, "usage: bench_scan DIM\n");
        return 2;
    }
    fill(&cached, (uint32_t)dim, CACHED_BYTES, &err);
    fill(&memory, (uint32_t)dim, MEMORY_BYTES, &err);
    double from_cache = best_rate(&cached, scan_blocks, CACHED_RUNS);
    double shuffles = best_rate(&cached, shuffle_blocks, CACHED_RUNS);
    double from_memory = best_rate(&memory, scan_blocks, MEMORY_RUNS);
    double reads = best_rate(&memory, read_blocks, MEMORY_RUNS);
    (void)printf("{\"kernel\": \"%s\", \"cached_bytes\": %.4g, \"shuffle_limit\": %.4g, "
                 "\"memory_bytes\": %.4g, \"read_limit\": %.4g, \"told\": %d}\n",
                 rt_isa_name(rt_kernels()->isa), from_cache, shuffles, from_memory, reads,
                 (int)((cached.told + memory.told) % 2));
    return 0;
}
