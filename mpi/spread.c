#include "mpi/spread.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BINS 256

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The value whose place is (n - 1) q / 4, counted from the least. */
static int place_of(int quartile, int n)
{
    return (int)((int64_t)(n - 1) * quartile / 4);
}

static void sort_quartiles(struct rt_spread *s)
{
    double sorted[RT_SPREAD_TOLD];
    memcpy(sorted, s->told, (size_t)s->n_told * sizeof *sorted);
    qsort(sorted, (size_t)s->n_told, sizeof *sorted, by_value);
    for (int q = 1; q <= 3; q++)
        s->quartiles[q - 1] = sorted[place_of(q, s->n_told)];
}

/* Ranks are counted in bins between the extremes: the middle of the bin stands for its values. */
static void count_quartiles(MPI_Comm comm, double value, int n_ranks, struct rt_spread *s)
{
    int64_t bins[BINS] = {0};
    double span = s->most - s->least;
    int own = span > 0 ? (int)((value - s->least) / span * BINS) : 0;
    bins[own < BINS ? own : BINS - 1] = 1;
    MPI_Allreduce(MPI_IN_PLACE, bins, BINS, MPI_INT64_T, MPI_SUM, comm);
    for (int q = 1; q <= 3; q++) {
        int64_t left = place_of(q, n_ranks);
        int bin = 0;
        while (bin < BINS - 1 && left >= bins[bin])
            left -= bins[bin++];
        s->quartiles[q - 1] = s->least + span * (bin + 0.5) / BINS;
    }
}

void rt_spread_measure(MPI_Comm comm, double value, int most_told, struct rt_spread *out)
{
    struct {
        double value;
        int rank;
    } least, most;
    int n_ranks = 0;
    MPI_Comm_size(comm, &n_ranks);
    least.value = value;
    MPI_Comm_rank(comm, &least.rank);
    most = least;
    MPI_Allreduce(MPI_IN_PLACE, &least, 1, MPI_DOUBLE_INT, MPI_MINLOC, comm);
    MPI_Allreduce(MPI_IN_PLACE, &most, 1, MPI_DOUBLE_INT, MPI_MAXLOC, comm);
    *out = (struct rt_spread){
        .least = least.value, .most = most.value, .least_rank = least.rank, .most_rank = most.rank};
    if (n_ranks <= most_told) {
        out->n_told = n_ranks;
        MPI_Allgather(&value, 1, MPI_DOUBLE, out->told, 1, MPI_DOUBLE, comm);
        sort_quartiles(out);
    } else {
        count_quartiles(comm, value, n_ranks, out);
    }
}
