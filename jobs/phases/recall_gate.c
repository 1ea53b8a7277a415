#include "jobs/phases/recall_gate.h"

#include "core/memory.h"
#include "core/random.h"
#include "core/scan.h"
#include "jobs/phases/merge_hits.h"
#include "mpi/agree.h"
#include "mpi/partition.h"

/* Rank 0 reads the drawn rows: few, and any of them may be bad. */
static enum rt_status draw(struct rt_recall_gate *gate, const struct rt_rows *rows,
                           struct rt_row_source *source, uint64_t seed, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_rows_info *info = rt_rows_info(rows);
    void *native = NULL;
    RT_TRY(rt_array_new(gate->dim, rt_element_size(gate->element), &native, err));
    const uint64_t most = UINT64_C(4) * RT_GATE_QUERIES;
    uint64_t n_tried = info->n_rows < most ? info->n_rows : most;
    for (uint64_t i = 0; i < n_tried && gate->n_queries < RT_GATE_QUERIES; i++) {
        float *query = gate->queries + (size_t)gate->n_queries * gate->dim;
        uint64_t row = rt_random_permute(seed, RT_RANDOM_GATE, i, info->n_rows);
        RT_TRY(rt_row_source_read(source, row, 1, native, err));
        rt_element_to_f32(gate->element, native, query, gate->dim);
        if (rt_metric_prepare_row(gate->metric, query, gate->dim) == RT_ROW_GOOD)
            gate->n_queries++;
    }
done:
    rt_array_free(native);
    return st;
}

enum rt_status rt_recall_gate_new(MPI_Comm comm, const struct rt_rows *rows,
                                  struct rt_row_source *source, enum rt_metric metric,
                                  uint64_t seed, uint32_t k, struct rt_recall_gate **out,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_recall_gate *gate = NULL;
    const struct rt_rows_info *info = rt_rows_info(rows);
    int rank = 0;
    MPI_Comm_rank(comm, &rank);
    RT_LOCAL(rt_array_zero(1, sizeof *gate, &gate, err));
    if (st == RT_OK) {
        gate->k = k;
        gate->dim = info->dim;
        gate->metric = metric;
        gate->element = info->type;
    }
    RT_LOCAL(rt_array_zero(RT_GATE_QUERIES, info->dim * sizeof(float), &gate->queries, err));
    RT_LOCAL(rt_array_zero((size_t)RT_GATE_QUERIES * k, sizeof *gate->hits, &gate->hits, err));
    RT_LOCAL(rt_array_zero(RT_GATE_QUERIES, sizeof *gate->tops, &gate->tops, err));
    if (rank == 0)
        RT_LOCAL(draw(gate, rows, source, seed, err));
    RT_AGREE(comm);
    rt_bcast_bytes(comm, &gate->n_queries, sizeof gate->n_queries, 0);
    rt_bcast_bytes(comm, gate->queries, (uint64_t)RT_GATE_QUERIES * info->dim * sizeof(float), 0);
    for (uint32_t q = 0; q < gate->n_queries; q++)
        gate->tops[q] = (struct rt_topk){.k = k, .n = 0, .hits = gate->hits + (size_t)q * k};
    *out = gate;
    gate = NULL;
done:
    rt_recall_gate_free(gate);
    return st;
}

void rt_recall_gate_free(struct rt_recall_gate *gate)
{
    if (!gate)
        return;
    rt_array_free(gate->queries);
    rt_array_free(gate->hits);
    rt_array_free(gate->tops);
    rt_array_free(gate);
}

void rt_recall_gate_pass(struct rt_recall_gate *gate, const void *native_row, uint64_t id)
{
    for (uint32_t q = 0; q < gate->n_queries; q++) {
        float distance =
            rt_scan_distance(gate->metric, gate->element, gate->queries + (size_t)q * gate->dim,
                             native_row, gate->dim);
        rt_topk_push(&gate->tops[q],
                     &(struct rt_hit){.key = distance, .distance = distance, .id = id});
    }
}

enum rt_status rt_recall_gate_merge(MPI_Comm comm, struct rt_recall_gate *gate,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    for (uint32_t q = 0; q < gate->n_queries; q++)
        rt_topk_end(&gate->tops[q]);
    RT_TRY(rt_merge_hits(comm, gate->hits, gate->n_queries, gate->k, err));
    rt_bcast_bytes(comm, gate->hits, (uint64_t)gate->n_queries * gate->k * sizeof *gate->hits, 0);
done:
    return st;
}
