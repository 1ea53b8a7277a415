#include "jobs/exact.h"

#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "jobs/phases/merge_hits.h"

/* of rows measured at once against every query: stay in the second cache */
#define BLOCK_BYTES 65536

struct rt_exact {
    uint32_t dim, k;
    size_t n_queries;
    const float *queries;
    size_t block_rows;
    float *distances;    /* block_rows */
    struct rt_hit *hits; /* n_queries x k */
    struct rt_topk *top; /* n_queries */
    void (*measure)(const float *row, const float *centroids, size_t dim, const uint32_t *list,
                    size_t n, float *out);
};

static size_t rows_of_block(uint32_t dim)
{
    size_t rows = BLOCK_BYTES / (sizeof(float) * dim);
    return rows < 16 ? 16 : rows;
}

size_t rt_exact_bytes(size_t n_queries, uint32_t dim, uint32_t k)
{
    return n_queries * (k * sizeof(struct rt_hit) + sizeof(struct rt_topk)) +
           rows_of_block(dim) * sizeof(float);
}

enum rt_status rt_exact_new(enum rt_metric metric, const float *queries, size_t n_queries,
                            uint32_t dim, uint32_t k, struct rt_exact **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_exact *exact = NULL;
    uint64_t n_hits;
    RT_TRY(rt_array_zero(1, sizeof *exact, &exact, err));
    *exact = (struct rt_exact){.dim = dim, .k = k, .n_queries = n_queries, .queries = queries};
    exact->measure = metric == RT_IP ? rt_kernels()->ip_among : rt_kernels()->l2_among;
    exact->block_rows = rows_of_block(dim);
    if (!rt_mul_u64(n_queries, k, &n_hits))
        RT_FAIL(RT_NOMEM, "%zu queries times %u neighbours are too many", n_queries, k);
    RT_TRY(rt_array_new(exact->block_rows, sizeof(float), &exact->distances, err));
    RT_TRY(rt_array_new(n_hits, sizeof *exact->hits, &exact->hits, err));
    RT_TRY(rt_array_new(n_queries, sizeof *exact->top, &exact->top, err));
    for (size_t q = 0; q < n_queries; q++)
        exact->top[q] = (struct rt_topk){.k = k, .n = 0, .hits = exact->hits + q * k};
    *out = exact;
    exact = NULL;
done:
    rt_exact_free(exact);
    return st;
}

void rt_exact_free(struct rt_exact *exact)
{
    if (!exact)
        return;
    rt_array_free(exact->distances);
    rt_array_free(exact->hits);
    rt_array_free(exact->top);
    rt_array_free(exact);
}

void rt_exact_add(struct rt_exact *exact, const float *rows, size_t n_rows, const uint64_t *ids,
                  uint64_t first_id)
{
    size_t dim = exact->dim;
    for (size_t begin = 0; begin < n_rows; begin += exact->block_rows) {
        size_t n = n_rows - begin < exact->block_rows ? n_rows - begin : exact->block_rows;
        for (size_t q = 0; q < exact->n_queries; q++) {
            struct rt_topk *top = &exact->top[q];
            float bound = rt_topk_bound(top);
            exact->measure(exact->queries + q * dim, rows + begin * dim, dim, NULL, n,
                           exact->distances);
            for (size_t i = 0; i < n; i++) {
                if (exact->distances[i] > bound)
                    continue;
                uint64_t id = ids ? ids[begin + i] : first_id + begin + i;
                struct rt_hit hit = {exact->distances[i], exact->distances[i], id};
                rt_topk_push(top, &hit);
                bound = rt_topk_bound(top);
            }
        }
    }
}

enum rt_status rt_exact_merge(MPI_Comm comm, struct rt_exact *exact, const struct rt_hit **hits,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (size_t q = 0; q < exact->n_queries; q++)
        rt_topk_end(&exact->top[q]);
    RT_TRY(rt_merge_hits(comm, exact->hits, exact->n_queries, exact->k, err));
    *hits = exact->hits;
done:
    return st;
}
