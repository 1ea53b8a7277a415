/* Centroids from outside: .npy and .fbin as they are, and trees as tables of an HDF5 file that is
 * sound while its values are not. The first byte is the format. */
#include "io/centroids_file.h"
#include "io/hdf5_matrix.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#define MOST_NODES 48

static void put(int fd, uint64_t offset, const void *data, size_t n_bytes)
{
    FUZZ_CHECK(pwrite(fd, data, n_bytes, (off_t)offset) == (ssize_t)n_bytes);
}

/* A byte tells dimension and attributes; then id, parent and the first coordinate of each node:
 * small numbers, and a few that are not. */
static void write_table(const char *path, const uint8_t *data, size_t size)
{
    static const char *const texts[] = {"l2", "ip",    "cosine",   "vector_l2_ops",
                                        "on", "false", "original", "rotated"};
    struct rt_error err;
    uint64_t head = fuzz_take(&data, &size, 1);
    uint32_t dim = 1 + (uint32_t)(head % 3);
    struct rt_matrix_attribute attributes[] = {{"distance", texts[head / 3 % 8], 0},
                                               {"space", texts[head / 24 % 8], 0},
                                               {"spherical", texts[head / 7 % 8], 0}};
    size_t n = size / 3 < MOST_NODES ? size / 3 : MOST_NODES;
    int64_t ids[MOST_NODES];
    int64_t parents[MOST_NODES];
    float vectors[MOST_NODES * 3] = {0};
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int8_t)fuzz_take(&data, &size, 1);
        parents[i] = (int8_t)fuzz_take(&data, &size, 1);
        ids[i] = ids[i] == 127 ? INT64_MAX : ids[i];
        parents[i] = parents[i] == -128 ? INT64_MIN : parents[i];
        uint32_t bits = (uint32_t)fuzz_take(&data, &size, 1) << 24;
        memcpy(&vectors[i * dim], &bits, sizeof bits);
    }
    struct rt_matrix_column columns[] = {{"/id", RT_MATRIX_I64, 1, n, 1, 0},
                                         {"/parent", RT_MATRIX_I64, 1, n, 1, 0},
                                         {"/vector", RT_MATRIX_F32, 2, n, dim, 0}};
    FUZZ_CHECK(rt_hdf5_matrix_create(path, columns, 3, attributes, 3, &err) == RT_OK);
    int fd = open(path, O_RDWR);
    put(fd, columns[0].data_offset, ids, n * sizeof *ids);
    put(fd, columns[1].data_offset, parents, n * sizeof *parents);
    put(fd, columns[2].data_offset, vectors, n * dim * sizeof *vectors);
    (void)close(fd);
}

/* A tree: every parent there, ascending, every level but the last with children. */
static void check(const struct rt_centroids *c)
{
    FUZZ_CHECK(c->n_levels >= 1 && c->n_levels <= RT_MAX_LEVELS && c->dim >= 1);
    for (uint32_t l = 0; l < c->n_levels; l++) {
        FUZZ_CHECK(c->levels[l].n > 0 && (l > 0) == (c->levels[l].parent != NULL));
        for (uint32_t i = 0; l > 0 && i < c->levels[l].n; i++) {
            FUZZ_CHECK(c->levels[l].parent[i] < c->levels[l - 1].n);
            FUZZ_CHECK(i == 0 || c->levels[l].parent[i - 1] <= c->levels[l].parent[i]);
        }
    }
    (void)rt_centroids_hash(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_centroids centroids = {0};
    static const char *const names[] = {"centroids.npy", "centroids.fbin", "centroids.h5"};
    uint64_t format = fuzz_take(&data, &size, 1) % 3;
    if (format == 2)
        write_table(names[format], data, size);
    else
        fuzz_write(names[format], data, size);
    if (fuzz_ok(rt_centroids_read(names[format], 0, &centroids, &err), &err)) {
        check(&centroids);
        rt_centroids_free(&centroids);
    }
    return 0;
}
