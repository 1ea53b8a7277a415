/* Truth: .ivecs, .ibin, and knn with distances (told by its size). What is read can be written and
 * read again. The first byte is the format. */
#include "core/place.h"
#include "io/neighbours.h"
#include "tests/fuzz/fuzz.h"

static void write_and_read(const struct rt_neighbours *n, const char *name)
{
    struct rt_error err;
    struct rt_neighbours again;
    uint64_t largest = 0;
    for (size_t i = 0; i < n->n_queries * n->k; i++)
        largest = n->ids[i] != UINT64_MAX && n->ids[i] > largest ? n->ids[i] : largest;
    if (!fuzz_ok(rt_neighbours_check_name(name, largest, n->n_queries, n->k, &err), &err))
        return;
    FUZZ_CHECK(fuzz_ok(rt_neighbours_write(name, n, RT_L2, 1, &err), &err));
    FUZZ_CHECK(fuzz_ok(rt_neighbours_read(name, &again, &err), &err));
    FUZZ_CHECK(again.n_queries == n->n_queries && again.k == n->k);
    FUZZ_CHECK(memcmp(again.ids, n->ids, n->n_queries * n->k * sizeof *n->ids) == 0);
    rt_neighbours_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rt_error err;
    struct rt_neighbours neighbours;
    static const char *const names[] = {"truth.ivecs", "truth.ibin", "truth.bin"};
    uint64_t format = fuzz_take(&data, &size, 1) % 3;
    fuzz_write(names[format], data, size);
    if (!fuzz_ok(rt_neighbours_read(names[format], &neighbours, &err), &err))
        return 0;
    FUZZ_CHECK(neighbours.n_queries == 0 || neighbours.k <= size);
    if (neighbours.k > 0 && neighbours.n_queries > 0) /* else a file cannot say both */
        write_and_read(&neighbours, format ? "again.ivecs" : "again.ibin");
    rt_neighbours_free(&neighbours);
    return 0;
}
