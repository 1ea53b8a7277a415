/* The rows of an index nearest to those of a file: nearest INDEX QUERIES.fbin [K]. One line a
 * query: its k nearest, id:distance. */
#include <ranktape.h>

#include <stdio.h>
#include <stdlib.h>

/* fbin: uint32 rows, uint32 dim, then the rows. NULL: it is none. */
static float *read_rows(const char *path, uint32_t shape[2])
{
    float *rows = NULL;
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    if (fread(shape, sizeof *shape, 2, file) == 2 && shape[1] > 0) {
        rows = malloc((size_t)shape[0] * shape[1] * sizeof *rows);
        if (rows && fread(rows, sizeof *rows * shape[1], shape[0], file) != shape[0]) {
            free(rows);
            rows = NULL;
        }
    }
    (void)fclose(file);
    return rows;
}

static int search(struct ranktape_index *index, const float *queries, uint32_t n_queries,
                  uint32_t k)
{
    char error[RANKTAPE_ERROR_BYTES];
    struct ranktape_search_options options = RANKTAPE_SEARCH_DEFAULTS;
    uint64_t *ids = malloc((size_t)n_queries * k * sizeof *ids);
    float *distances = malloc((size_t)n_queries * k * sizeof *distances);
    int is_good = ids && distances;
    options.k = k;
    if (is_good && ranktape_search(index, &options, queries, n_queries, ids, distances, NULL,
                                   error) != RANKTAPE_OK) {
        (void)fprintf(stderr, "nearest: %s\n", error);
        is_good = 0;
    }
    for (size_t i = 0; is_good && i < (size_t)n_queries * k; i++)
        (void)printf("%lld:%.9g%c", ids[i] == RANKTAPE_NO_ID ? -1LL : (long long)ids[i],
                     (double)distances[i], (i + 1) % k ? ' ' : '\n');
    free(ids);
    free(distances);
    return is_good ? 0 : 1;
}

int main(int argc, char **argv)
{
    char error[RANKTAPE_ERROR_BYTES];
    struct ranktape_index *index = NULL;
    struct ranktape_info info = {.size = sizeof info};
    uint32_t shape[2] = {0, 0};
    int k = argc > 3 ? atoi(argv[3]) : 10;
    if (argc < 3 || k < 1) {
        (void)fprintf(stderr, "usage: nearest INDEX QUERIES.fbin [K]\n");
        return 2;
    }
    if (ranktape_open(argv[1], NULL, &index, error) != RANKTAPE_OK) {
        (void)fprintf(stderr, "nearest: %s\n", error);
        return 1;
    }
    ranktape_get_info(index, &info);
    float *queries = read_rows(argv[2], shape);
    int result = 1;
    if (!queries || shape[1] != info.dim)
        (void)fprintf(stderr, "nearest: '%s' holds no rows of %u dimensions\n", argv[2], info.dim);
    else
        result = search(index, queries, shape[0], (uint32_t)k);
    free(queries);
    ranktape_close(index);
    return result;
}
