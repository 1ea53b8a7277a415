/* Says on stdout what the readers see in a file, for make_rows.py, which made it and knows better;
 * and writes files for it to read. One line 'STATUS message' where a reader refuses. */
#include "core/memory.h"
#include "io/centroids_file.h"
#include "io/ids.h"
#include "io/neighbours.h"
#include "io/row_writer.h"
#include "io/rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_bytes(const void *data, size_t n_bytes)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < n_bytes; i++)
        (void)printf("%02x", bytes[i]);
    (void)putchar('\n');
}

/* rows NAME [TYPE]: 'rows n dim type converted needs_hdf5', then all bytes. */
static enum rt_status show_rows(const char *name, const char *type, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_rows *rows = NULL;
    unsigned char *buffer = NULL;
    const struct rt_rows_options options = {.type = type, .dataset = "/train"};
    RT_TRY(rt_rows_open(name, &options, &rows, err));
    const struct rt_rows_info *info = rt_rows_info(rows);
    const size_t row_bytes = info->dim * rt_element_size(info->type);
    RT_TRY(rt_array_new((size_t)info->n_rows, row_bytes, &buffer, err));
    /* in two pieces, the second first */
    uint64_t half = info->n_rows / 2;
    RT_TRY(rt_rows_read(rows, half, (size_t)(info->n_rows - half), buffer + half * row_bytes, err));
    RT_TRY(rt_rows_read(rows, 0, (size_t)half, buffer, err));
    RT_TRY(rt_rows_check_unchanged(rows, err));
    (void)printf("rows %" PRIu64 " %u %s %d %d\n", info->n_rows, info->dim,
                 rt_element_name(info->type), info->is_converted, info->needs_hdf5);
    print_bytes(buffer, (size_t)info->n_rows * row_bytes);
done:
    rt_array_free(buffer);
    rt_rows_close(rows);
    return st;
}

/* ids NAME N: 'ids n', then all as decimals. */
static enum rt_status show_ids(const char *name, const char *count, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_ids *ids = NULL;
    uint64_t *values = NULL;
    RT_TRY(rt_ids_open(name, strtoull(count, NULL, 10), &ids, err));
    size_t n = (size_t)rt_ids_count(ids);
    RT_TRY(rt_array_new(n, sizeof *values, &values, err));
    RT_TRY(rt_ids_read(ids, 0, n, values, err));
    (void)printf("ids %zu\n", n);
    for (size_t i = 0; i < n; i++)
        (void)printf("%" PRIu64 " ", values[i]);
done:
    rt_array_free(values);
    rt_ids_close(ids);
    return st;
}

/* truth NAME: 'truth q k', then all ids. */
static enum rt_status show_truth(const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_neighbours truth = {0};
    RT_TRY(rt_neighbours_read(name, &truth, err));
    (void)printf("truth %" PRIu64 " %u\n", truth.n_queries, truth.k);
    for (size_t i = 0; i < truth.n_queries * truth.k; i++)
        (void)printf("%" PRId64 " ", (int64_t)truth.ids[i]);
done:
    rt_neighbours_free(&truth);
    return st;
}

/* centroids NAME DIM: 'centroids levels dim metric spherical'; for each level 'n parents..', and
 * its bytes. */
static enum rt_status show_centroids(const char *name, const char *dim, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_centroids c = {0};
    RT_TRY(rt_centroids_read(name, (uint32_t)strtoul(dim, NULL, 10), &c, err));
    (void)printf("centroids %u %u %d %d\n", c.n_levels, c.dim, c.metric, c.spherical);
    for (uint32_t l = 0; l < c.n_levels; l++) {
        (void)printf("%u", c.levels[l].n);
        for (uint32_t i = 0; c.levels[l].parent && i < c.levels[l].n; i++)
            (void)printf(" %u", c.levels[l].parent[i]);
        (void)putchar('\n');
        print_bytes(c.levels[l].vectors, (size_t)c.levels[l].n * c.dim * sizeof(float));
    }
done:
    rt_centroids_free(&c);
    return st;
}

/* write-rows NAME TYPE: 3 x 5, the values 1..15. */
static enum rt_status write_rows(const char *name, const char *type, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    float values[15];
    unsigned char rows[60];
    struct rt_row_target target;
    struct rt_row_writer *writer = NULL;
    struct rt_row_target_options options = {RT_F32, 3, 5, "/train", "l2"};
    RT_TRY(rt_row_target_type(name, type, &options.type, err));
    for (int i = 0; i < 15; i++)
        values[i] = (float)(i + 1);
    rt_element_from_f32(options.type, values, rows, 15);
    RT_TRY(rt_row_target_create(name, &options, &target, err));
    RT_TRY(rt_row_writer_open(name, &target, &writer, err));
    st = rt_row_writer_write(writer, 0, 3, rows, err);
    RT_TRY(rt_row_writer_close(writer, err));
    RT_TRY(rt_row_target_publish(name, err));
done:
    return st;
}

/* write-truth NAME METRIC: 2 queries, 3 neighbours: ids 0..5 but the last; distances 0, 1, 4, 9,
 * 16, none. */
static enum rt_status write_truth(const char *name, const char *metric_name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    enum rt_metric metric = RT_L2;
    struct rt_neighbours n = {0};
    if (rt_metric_parse(metric_name, &metric) != 0)
        RT_FAIL(RT_USAGE, "no metric '%s'", metric_name);
    RT_TRY(rt_neighbours_new(2, 3, true, &n, err));
    for (uint32_t i = 0; i < 5; i++) {
        n.ids[i] = i;
        n.distances[i] = (float)(i * i);
    }
    RT_TRY(rt_neighbours_write(name, &n, metric, 5, err));
done:
    rt_neighbours_free(&n);
    return st;
}

int main(int argc, char **argv)
{
    struct rt_error err = {.text = "usage: format_probe WHAT NAME [ARGUMENT]"};
    const char *what = argc > 2 ? argv[1] : "", *name = argc > 2 ? argv[2] : "";
    const char *argument = argc > 3 ? argv[3] : NULL;
    enum rt_status st = RT_USAGE;
    if (!strcmp(what, "rows"))
        st = show_rows(name, argument, &err);
    else if (!strcmp(what, "ids") && argument)
        st = show_ids(name, argument, &err);
    else if (!strcmp(what, "truth"))
        st = show_truth(name, &err);
    else if (!strcmp(what, "centroids") && argument)
        st = show_centroids(name, argument, &err);
    else if (!strcmp(what, "write-rows"))
        st = write_rows(name, argument, &err);
    else if (!strcmp(what, "write-truth") && argument)
        st = write_truth(name, argument, &err);
    if (st != RT_OK)
        (void)printf("%d %s\n", (int)st, err.text);
    return st == RT_OK ? 0 : rt_exit_code(st);
}
