#include "mpi/node_copy.h"

#include "core/memory.h"
#include "mpi/agree.h"
#include "mpi/shared.h"
#include "mpi/waiting.h"

struct rt_node_copy {
    MPI_Comm comm;  /* lent */
    MPI_Comm place; /* lent: the node's, or of this rank alone */
    int rank, n_ranks;
    struct rt_shared *shared;
    int n_places, own_place;
    int most_ranks;   /* that a place has */
    int own_number;   /* of this rank in its place */
    int *place_of;    /* n_ranks */
    int *first;       /* n_places + 1, of n_ranks + 1: where the ranks of a place begin */
    int *ranks;       /* n_ranks, place after place */
    uint64_t *begins; /* n_ranks + 1: the parts that are gathered */
};

static enum rt_status tables_new(struct rt_node_copy *c, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = (size_t)c->n_ranks;
    RT_TRY(rt_array_new(n, sizeof *c->place_of, &c->place_of, err));
    RT_TRY(rt_array_zero(n + 1, sizeof *c->first, &c->first, err));
    RT_TRY(rt_array_new(n, sizeof *c->ranks, &c->ranks, err));
    RT_TRY(rt_array_new(n + 1, sizeof *c->begins, &c->begins, err));
done:
    return st;
}

/* Places are numbered by their first ranks. Collective. */
static void find_places(struct rt_node_copy *c)
{
    int first = c->rank;
    MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, c->place);
    MPI_Allgather(&first, 1, MPI_INT, c->place_of, 1, MPI_INT, c->comm);
    for (int r = 0; r < c->n_ranks; r++) /* a first rank comes before the others of its place */
        c->place_of[r] = c->place_of[r] == r ? c->n_places++ : c->place_of[c->place_of[r]];
    for (int r = 0; r < c->n_ranks; r++)
        c->first[c->place_of[r] + 1]++;
    for (int p = 0; p < c->n_places; p++) {
        c->most_ranks = c->first[p + 1] > c->most_ranks ? c->first[p + 1] : c->most_ranks;
        c->first[p + 1] += c->first[p];
    }
    c->own_place = c->place_of[c->rank];
    for (int r = c->n_ranks;
         r-- > 0;) /* from behind: first[p] is the end of p's, then their first */
        c->ranks[--c->first[c->place_of[r] + 1]] = r;
    for (int p = 0; p < c->n_places; p++)
        c->first[p] = c->first[p + 1];
    c->first[c->n_places] = c->n_ranks;
    while (c->ranks[c->first[c->own_place] + c->own_number] != c->rank)
        c->own_number++;
}

enum rt_status rt_node_copy_new(MPI_Comm comm, MPI_Comm node, size_t n_bytes,
                                struct rt_node_copy **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_node_copy *c = NULL;
    const struct rt_shared_options options = {.use_window = true};
    RT_LOCAL(rt_array_zero(1, sizeof *c, &c, err));
    if (st == RT_OK) {
        c->comm = comm;
        c->place = node == MPI_COMM_NULL ? MPI_COMM_SELF : node;
        MPI_Comm_rank(comm, &c->rank);
        MPI_Comm_size(comm, &c->n_ranks);
        RT_LOCAL(tables_new(c, err));
    }
    RT_AGREE(comm);
    RT_LOCAL(rt_shared_new(c->place, n_bytes, &options, &c->shared, err));
    RT_AGREE(comm); /* nodes differ in what they have free */
    if (rt_shared_kind(c->shared) == RT_SHARED_PRIVATE)
        c->place = MPI_COMM_SELF;
    find_places(c);
    *out = c;
    c = NULL;
done:
    rt_node_copy_free(c);
    return st;
}

enum rt_status rt_node_copy_beside(const struct rt_node_copy *copy, size_t n_bytes,
                                   struct rt_node_copy **out, struct rt_error *err)
{
    return rt_node_copy_new(copy->comm, copy->place, n_bytes, out, err);
}

void rt_node_copy_free(struct rt_node_copy *copy)
{
    if (!copy)
        return;
    rt_shared_free(copy->shared);
    rt_array_free(copy->place_of);
    rt_array_free(copy->first);
    rt_array_free(copy->ranks);
    rt_array_free(copy->begins);
    rt_array_free(copy);
}

uint64_t rt_node_copy_bytes(uint64_t n_bytes, uint32_t n_ranks)
{
    return n_bytes / n_ranks + (n_bytes % n_ranks != 0);
}

void *rt_node_copy_data(const struct rt_node_copy *copy)
{
    return rt_shared_target(copy->shared);
}

int rt_node_copy_n_places(const struct rt_node_copy *copy)
{
    return copy->n_places;
}

bool rt_node_copy_is_here(const struct rt_node_copy *copy, int rank)
{
    return copy->place_of[rank] == copy->own_place;
}

struct rt_range rt_node_copy_part(const struct rt_node_copy *copy, uint64_t count)
{
    return rt_shared_fill(copy->shared, count);
}

void rt_node_copy_meet(const struct rt_node_copy *copy)
{
    double waiting = rt_waiting_begin();
    rt_shared_filled(copy->shared);
    rt_waiting_end(waiting);
}

void rt_node_copy_unite(const struct rt_node_copy *copy, bool *flags, size_t n)
{
    for (size_t at = 0; at < n; at += RT_PIECE_BYTES) {
        size_t left = n - at;
        MPI_Allreduce(MPI_IN_PLACE, flags + at,
                      (int)(left < RT_PIECE_BYTES ? left : RT_PIECE_BYTES), MPI_C_BOOL, MPI_LOR,
                      copy->place);
    }
}

/* A rank of place p in column i: the ranks of one number of all places, where a place of fewer
 * ranks takes part with one of another number, which has nothing to give. */
static int rank_in_column(const struct rt_node_copy *c, int p, int i)
{
    return c->ranks[c->first[p] + i % (c->first[p + 1] - c->first[p])];
}

static struct rt_range part_in_column(const struct rt_node_copy *c, int p, int i)
{
    if (i >= c->first[p + 1] - c->first[p])
        return (struct rt_range){0, 0};
    int rank = c->ranks[c->first[p] + i];
    return (struct rt_range){c->begins[rank], c->begins[rank + 1]};
}

/* A ring over the places: in step s a rank passes on what it got in step s - 1. */
static void gather_column(struct rt_node_copy *c, int i)
{
    int n = c->n_places;
    int before = (c->own_place + n - 1) % n;
    int to = rank_in_column(c, (c->own_place + 1) % n, i);
    int from = rank_in_column(c, before, i);
    for (int step = 0, out = c->own_place; step + 1 < n; step++) {
        int in = (out + n - 1) % n;
        rt_pass_on(c->comm, rt_node_copy_data(c), to, part_in_column(c, out, i), from,
                   part_in_column(c, in, i));
        out = in;
    }
}

void rt_node_copy_gather(struct rt_node_copy *copy, const uint64_t *counts)
{
    struct rt_node_copy *c = copy;
    c->begins[0] = 0;
    for (int r = 0; r < c->n_ranks; r++)
        c->begins[r + 1] = c->begins[r] + counts[r];
    double waiting = rt_waiting_begin();
    int n_own = c->first[c->own_place + 1] - c->first[c->own_place];
    for (int i = c->own_number; i < c->most_ranks && c->n_places > 1; i += n_own)
        gather_column(c, i);
    rt_waiting_end(waiting);
    rt_node_copy_meet(c);
}
