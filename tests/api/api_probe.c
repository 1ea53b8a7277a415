/* Calls libranktape as a program of others does, through ranktape.h and nothing else.
 *   api_probe calls INDEX QUERIES.fbin            wrong calls, filters, structs of other sizes,
 * modes api_probe load INDEX QUERIES.fbin THREADS     threads search and one refreshes until a file
 * 'stop' is there; all answers must be those of the start */
#include "api/ranktape.h"

#include <fenv.h>
#include <hdf5.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define K 10u
#define MOST_THREADS 64

static atomic_int failures;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "FAILED %s:%d: %s\n", __FILE__, __LINE__, #condition);           \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

static char error[RANKTAPE_ERROR_BYTES];

struct queries {
    uint32_t n, dim;
    float *values;
};

static struct queries read_queries(const char *path)
{
    uint32_t header[2] = {0, 0};
    struct queries queries = {0, 0, NULL};
    FILE *file = fopen(path, "rb");
    if (file && fread(header, sizeof header, 1, file) == 1) {
        queries = (struct queries){header[0], header[1], NULL};
        queries.values = malloc((size_t)header[0] * header[1] * sizeof(float));
    }
    if (!queries.values ||
        fread(queries.values, sizeof(float) * header[1], header[0], file) != header[0]) {
        (void)fprintf(stderr, "cannot read '%s'\n", path);
        exit(2);
    }
    (void)fclose(file);
    return queries;
}

/* ---- no call after the first allocates: counted by malloc itself ---- */

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 1
static atomic_ulong n_allocations;
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t n, size_t bytes);
extern void *__libc_realloc(void *old, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);
void *malloc(size_t bytes)
{
    n_allocations++;
    return __libc_malloc(bytes);
}
void *calloc(size_t n, size_t bytes)
{
    n_allocations++;
    return __libc_calloc(n, bytes);
}
void *realloc(void *old, size_t bytes)
{
    n_allocations++;
    return __libc_realloc(old, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes)
{
    n_allocations++;
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    n_allocations++;
    *out = __libc_memalign(alignment, bytes);
    return *out ? 0 : 12;
}
#endif

static void check_allocations(struct ranktape_index *index, const struct queries *queries)
{
#ifdef COUNTS_ALLOCATIONS
    uint64_t ids[K];
    float distances[K];
    unsigned long before = n_allocations;
    void *volatile counted = malloc(1);
    free(counted);
    CHECK(n_allocations == before + 1);
    for (uint32_t q = 0; q < queries->n; q++) { /* the first pass grows what must grow */
        CHECK(!ranktape_search(index, NULL, queries->values + (size_t)q * queries->dim, 1, ids,
                               distances, NULL, error));
        if (q == queries->n / 2)
            before = n_allocations;
    }
    CHECK(n_allocations == before);
#else
    (void)index, (void)queries;
#endif
}

/* ---- calls ---- */

static enum ranktape_status search_with(struct ranktape_index *index,
                                        struct ranktape_search_options options, const float *query)
{
    uint64_t ids[4 * K];
    error[0] = '\0';
    return ranktape_search(index, &options, query, 1, ids, NULL, NULL, error);
}

static void check_wrong_calls(struct ranktape_index *index, const struct queries *queries)
{
    struct ranktape_search_options good = RANKTAPE_SEARCH_DEFAULTS;
    struct ranktape_search_options bad = good;
    struct ranktape_index *none = NULL;
    const uint64_t zero = 0;
    const uint64_t many[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const float *query = queries->values;
    float *odd = malloc(queries->dim * sizeof(float));
    CHECK(search_with(index, good, query) == RANKTAPE_OK && error[0] == '\0');
    bad.k = 0;
    CHECK(search_with(index, bad, query) == RANKTAPE_USAGE && strstr(error, "k is 0"));
    bad.k = 1u << 20 | 1;
    CHECK(search_with(index, bad, query) == RANKTAPE_USAGE && strstr(error, "1048576"));
    bad = good;
    bad.epsilon = -1;
    CHECK(search_with(index, bad, query) == RANKTAPE_USAGE && strstr(error, "epsilon"));
    bad.epsilon = NAN;
    CHECK(search_with(index, bad, query) == RANKTAPE_USAGE);
    bad = good;
    bad.probes = &zero;
    bad.n_probes = 1;
    CHECK(search_with(index, bad, query) == RANKTAPE_USAGE && strstr(error, "0 probes"));
    bad.probes = many;
    bad.n_probes = 5;
    CHECK(search_with(index, bad, query) == RANKTAPE_USAGE && strstr(error, "levels"));
    bad.n_probes = 9;
    CHECK(search_with(index, bad, query) == RANKTAPE_USAGE);
    bad.probes = NULL;
    CHECK(search_with(index, bad, query) == RANKTAPE_USAGE);
    memcpy(odd, query, queries->dim * sizeof(float));
    odd[queries->dim - 1] = NAN;
    CHECK(search_with(index, good, odd) == RANKTAPE_INPUT && strstr(error, "query 0"));
    CHECK(ranktape_search(index, NULL, odd, 1, NULL, NULL, NULL, NULL) == RANKTAPE_INPUT);
    CHECK(ranktape_search(index, NULL, NULL, 0, NULL, NULL, NULL, error) == RANKTAPE_OK);
    CHECK(ranktape_open("no/such/index", NULL, &none, error) == RANKTAPE_USAGE && !none);
    CHECK(strstr(error, "no/such/index") != NULL);
    ranktape_close(NULL);
    free(odd);
}

/* Structs as older and newer programs know them. */
static void check_sizes(struct ranktape_index *index, const struct queries *queries)
{
    struct {
        struct ranktape_info info;
        uint64_t newer[4];
    } wide;
    struct ranktape_info *info = malloc(sizeof *info);
    memset(&wide, 0x5a, sizeof wide);
    memset(info, 0x5a, sizeof *info);
    info->size = offsetof(struct ranktape_info, dim);
    ranktape_get_info(index, info);
    CHECK(info->rows > 0 && info->dim == 0x5a5a5a5a);
    wide.info.size = sizeof wide;
    ranktape_get_info(index, &wide.info);
    CHECK(wide.info.dim == queries->dim && wide.newer[0] == 0x5a5a5a5a5a5a5a5a);
    CHECK(wide.info.rows == info->rows && strlen(wide.info.digest) == 32);
    struct ranktape_search_options options = RANKTAPE_SEARCH_DEFAULTS;
    uint64_t ids[2 * K];
    options.k = 3;
    options.epsilon = NAN; /* beyond what this caller knows */
    options.size = offsetof(struct ranktape_search_options, epsilon);
    ids[3] = 7;
    CHECK(!ranktape_search(index, &options, queries->values, 1, ids, NULL, NULL, error));
    CHECK(ids[2] != RANKTAPE_NO_ID && ids[3] == 7);
    free(info);
}

static int is_odd(void *context, uint64_t id)
{
    ++*(unsigned long *)context;
    return id % 2 == 1;
}

static void check_filter(struct ranktape_index *index, const struct queries *queries)
{
    struct ranktape_search_options options = RANKTAPE_SEARCH_DEFAULTS;
    unsigned long n_asked = 0;
    uint64_t ids[K];
    float distances[K];
    struct ranktape_cost cost;
    options.filter = is_odd;
    options.filter_context = &n_asked;
    for (uint32_t q = 0; q < queries->n; q++) {
        CHECK(!ranktape_search(index, &options, queries->values + (size_t)q * queries->dim, 1, ids,
                               distances, &cost, error));
        for (uint32_t i = 0; i < K; i++)
            CHECK(ids[i] % 2 == 1 && (i == 0 || distances[i] >= distances[i - 1]));
        CHECK(cost.lists > 0 && cost.rows >= cost.reranked && cost.reranked >= K);
    }
    CHECK(n_asked >= (unsigned long)K * queries->n);
}

static struct ranktape_index *open_index(const char *path)
{
    struct ranktape_index *index = NULL;
    if (ranktape_open(path, NULL, &index, error) != RANKTAPE_OK) {
        (void)fprintf(stderr, "FAILED open: %s\n", error);
        exit(1);
    }
    return index;
}

/* Whatever modes the caller computes in, answers are the same, and the modes are still there. */
static void modes(const char *path, const struct queries *queries)
{
    H5E_auto2_t printing[2] = {NULL, NULL};
    void *context = NULL;
    CHECK(H5Eget_auto2(H5E_DEFAULT, &printing[0], &context) >= 0 && printing[0] != NULL);
    struct ranktape_index *index = open_index(path);
    CHECK(H5Eget_auto2(H5E_DEFAULT, &printing[1], &context) >= 0 && printing[0] == printing[1]);
    uint64_t ids[2][K];
    float distances[2][K];
    CHECK(!ranktape_search(index, NULL, queries->values, 1, ids[0], distances[0], NULL, error));
    (void)fesetround(FE_UPWARD);
    (void)feraiseexcept(FE_DIVBYZERO);
    CHECK(!ranktape_search(index, NULL, queries->values, 1, ids[1], distances[1], NULL, error));
    CHECK(fegetround() == FE_UPWARD && fetestexcept(FE_ALL_EXCEPT) == FE_DIVBYZERO);
    (void)fesetround(FE_TONEAREST);
    (void)feclearexcept(FE_ALL_EXCEPT);
    CHECK(memcmp(ids[0], ids[1], sizeof ids[0]) == 0);
    CHECK(memcmp(distances[0], distances[1], sizeof distances[0]) == 0);
    ranktape_close(index);
#if defined(__x86_64__) && defined(SYS_arch_prctl)
    uint64_t granted = 0; /* ARCH_GET_XCOMP_PERM; bit 18: AMX, and larger signal frames */
    CHECK(syscall(SYS_arch_prctl, 0x1022, &granted) != 0 || !(granted >> 18 & 1));
#endif
}

static void calls(const char *path, const struct queries *queries)
{
    struct ranktape_index *index = open_index(path);
    int is_new = 5;
    CHECK(strchr(ranktape_version(), '.') != NULL);
    CHECK(!ranktape_refresh(index, &is_new, error) && is_new == 0);
    check_wrong_calls(index, queries);
    check_sizes(index, queries);
    check_filter(index, queries);
    check_allocations(index, queries);
    for (uint32_t k = 1; k <= 40; k++) { /* more shapes than are kept */
        struct ranktape_search_options options = RANKTAPE_SEARCH_DEFAULTS;
        options.k = k;
        CHECK(search_with(index, options, queries->values) == RANKTAPE_OK);
    }
    ranktape_close(index);
}

/* ---- load ---- */

struct load {
    struct ranktape_index *index;
    const struct queries *queries;
    const uint64_t *ids; /* n x K, of the start */
    const float *distances;
    uint32_t first; /* where this thread begins */
    unsigned long n_searches;
    atomic_bool *stop;
};

static void *search_on(void *context)
{
    struct load *load = context;
    const struct queries *queries = load->queries;
    uint64_t ids[3 * K];
    float distances[3 * K];
    for (uint32_t q = load->first % queries->n; !atomic_load(load->stop);
         q = (q + 1) % queries->n) {
        size_t n = q + 3 <= queries->n && load->first % 3 == 0 ? 3 : 1; /* some ask for more */
        if (ranktape_search(load->index, NULL, queries->values + (size_t)q * queries->dim, n, ids,
                            distances, NULL, NULL) != RANKTAPE_OK ||
            memcmp(ids, load->ids + (size_t)q * K, n * K * sizeof *ids) != 0 ||
            memcmp(distances, load->distances + (size_t)q * K, n * K * sizeof *distances) != 0) {
            (void)fprintf(stderr, "FAILED: query %u has another answer\n", q);
            failures++;
            break;
        }
        load->n_searches++;
    }
    return NULL;
}

static unsigned long refresh_until_stop(struct ranktape_index *index)
{
    unsigned long n_generations = 1;
    const struct timespec pause = {0, 5000000};
    while (access("stop", F_OK) != 0 && failures == 0) {
        int is_new = 0;
        if (ranktape_refresh(index, &is_new, error) != RANKTAPE_OK) {
            (void)fprintf(stderr, "FAILED refresh: %s\n", error);
            failures++;
        }
        n_generations += (unsigned long)is_new;
        (void)nanosleep(&pause, NULL);
    }
    return n_generations;
}

static void load(const char *path, const struct queries *queries, unsigned n_threads)
{
    pthread_t threads[MOST_THREADS];
    struct load loads[MOST_THREADS];
    struct ranktape_index *index = open_index(path);
    uint64_t *ids = malloc((size_t)queries->n * K * sizeof *ids);
    float *distances = malloc((size_t)queries->n * K * sizeof *distances);
    atomic_bool stop = false;
    unsigned long n_searches = 0;
    CHECK(!ranktape_search(index, NULL, queries->values, queries->n, ids, distances, NULL, error));
    (void)printf("ready\n");
    (void)fflush(stdout);
    for (unsigned t = 0; t < n_threads; t++) {
        loads[t] = (struct load){index, queries, ids, distances, t * 7, 0, &stop};
        CHECK(pthread_create(&threads[t], NULL, search_on, &loads[t]) == 0);
    }
    unsigned long n_generations = refresh_until_stop(index);
    atomic_store(&stop, true);
    for (unsigned t = 0; t < n_threads; t++) {
        (void)pthread_join(threads[t], NULL);
        CHECK(loads[t].n_searches > 0);
        n_searches += loads[t].n_searches;
    }
    ranktape_close(index);
    free(ids);
    free(distances);
    (void)printf("%lu generations %lu searches\n", n_generations, n_searches);
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "usage: api_probe calls|modes|load INDEX QUERIES [THREADS]\n");
        return 2;
    }
    struct queries queries = read_queries(argv[3]);
    if (strcmp(argv[1], "calls") == 0)
        calls(argv[2], &queries);
    else if (strcmp(argv[1], "modes") == 0)
        modes(argv[2], &queries);
    else
        load(argv[2], &queries, argc > 4 ? (unsigned)atoi(argv[4]) % (MOST_THREADS + 1) : 8);
    free(queries.values);
    return failures != 0;
}
