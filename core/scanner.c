#include "core/scanner.h"

#include "core/code.h"
#include "core/memory.h"

#define GOOD_BUFFER 256u

static rt_row_distances *distances_for(enum rt_metric metric, enum rt_element element)
{
    const struct rt_scan_kernels *kernels = &rt_kernels()->scan;
    return metric == RT_IP       ? kernels->rows_ip[element]
           : metric == RT_COSINE ? kernels->rows_cosine[element]
                                 : kernels->rows_l2[element];
}

float rt_scan_distance(enum rt_metric metric, enum rt_element element, const float *query,
                       const void *row, uint32_t dim)
{
    float distance;
    distances_for(metric, element)(query, &row, 1, dim, &distance);
    return distance;
}

struct sizes { /* entries of each array */
    size_t queries, hits, candidates, rows, pairs, tables, entries, difference;
};

static size_t product(size_t a, size_t b) /* SIZE_MAX where it overflows: refused as memory */
{
    size_t result = 0;
    return __builtin_mul_overflow(a, b, &result) ? SIZE_MAX : result;
}

static uint32_t buffer_of(const struct rt_scan_options *options)
{
    if (options->buffer == 0)
        return GOOD_BUFFER;
    return options->buffer < RT_SCAN_MIN_BUFFER ? RT_SCAN_MIN_BUFFER : options->buffer;
}

static struct sizes sizes_of(const struct rt_scan_source *source,
                             const struct rt_scan_options *options)
{
    struct sizes s;
    size_t groups = ((size_t)rt_block_groups(source->tree->dim) + 3) / 4 * 4;
    s.queries = options->max_queries;
    s.hits = product(s.queries, options->k);
    s.candidates = product(s.queries, buffer_of(options));
    s.rows = product(s.queries + 1, buffer_of(options));
    s.pairs = product(s.queries, options->max_probes);
    s.tables = source->tree->residual ? 0 : s.queries;
    s.entries = product(s.tables ? s.tables : RT_SCAN_GROUP, groups * 16);
    s.difference = ((size_t)source->tree->dim + 15) / 16 * 16;
    return s;
}

size_t rt_scanner_bytes(const struct rt_scan_source *source, const struct rt_scan_options *options)
{
    struct sizes s = sizes_of(source, options);
    const size_t parts[] = {product(s.queries, sizeof(struct rt_scan_query)),
                            product(s.hits, sizeof(struct rt_hit)),
                            product(s.candidates, sizeof(uint64_t)),
                            product(s.rows, sizeof(struct rt_scan_row)),
                            product(s.pairs, 2 * sizeof(uint64_t)),
                            product(s.tables, sizeof(struct rt_scan_table)),
                            s.entries,
                            s.difference * sizeof(float)};
    size_t total = sizeof(struct rt_scanner);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (__builtin_add_overflow(total, parts[i], &total))
            return SIZE_MAX;
    return total;
}

enum rt_status rt_scanner_new(const struct rt_scan_source *source,
                              const struct rt_scan_options *options, struct rt_scanner **out,
                              struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_scanner *s = NULL;
    const struct rt_tree *tree = source->tree;
    struct sizes n = sizes_of(source, options);
    rt_assert(options->k > 0 && options->max_queries > 0 && options->max_probes > 0);
    rt_assert(options->max_queries <= INT32_MAX);
    RT_TRY(rt_array_zero(1, sizeof *s, &s, err));
    s->source = *source;
    s->options = *options;
    s->options.buffer = buffer_of(options);
    s->kernels = &rt_kernels()->scan;
    s->distances = distances_for(tree->metric, source->element);
    s->find_rank = rt_kernels()->find_rank;
    s->is_ip = tree->metric == RT_IP;
    s->is_residual = tree->residual;
    s->dim = tree->dim;
    s->n_groups = rt_block_groups(tree->dim);
    s->n_factors = rt_code_n_factors(tree->metric);
    s->n_lists = rt_tree_leaves(tree)->n;
    s->row_bytes = tree->dim * rt_element_size(source->element);
    /* What every batch writes is touched here, lest the first one stops at each page. */
    RT_TRY(rt_array_zero(n.queries, sizeof *s->queries, &s->queries, err));
    RT_TRY(rt_array_zero(n.hits, sizeof *s->hits, &s->hits, err));
    RT_TRY(rt_array_zero(n.candidates, sizeof *s->candidates, &s->candidates, err));
    RT_TRY(rt_array_zero(n.rows, sizeof *s->rows, &s->rows, err));
    RT_TRY(rt_array_new(n.pairs, sizeof *s->pairs, &s->pairs, err));
    RT_TRY(rt_array_new(n.pairs, sizeof *s->spare, &s->spare, err));
    RT_TRY(rt_array_new(n.tables, sizeof *s->tables, &s->tables, err));
    RT_TRY(rt_array_zero(n.entries, 1, &s->entries, err));
    RT_TRY(rt_array_new(n.difference, sizeof *s->difference, &s->difference, err));
    *out = s;
    s = NULL;
done:
    rt_scanner_free(s);
    return st;
}

void rt_scanner_free(struct rt_scanner *s)
{
    if (!s)
        return;
    rt_array_free(s->queries);
    rt_array_free(s->hits);
    rt_array_free(s->candidates);
    rt_array_free(s->rows);
    rt_array_free(s->pairs);
    rt_array_free(s->spare);
    rt_array_free(s->tables);
    rt_array_free(s->entries);
    rt_array_free(s->difference);
    rt_array_free(s);
}
