/* The C library in a program of ranks that has an HDF5 of its own: api_beside_mpi INDEX
 * QUERIES.fbin. It searches before MPI_Init, after it, while a file of the other HDF5 is open, and
 * after MPI_Finalize: always the same. */
#include "api/ranktape.h"

#include <hdf5.h>
#include <mpi.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIM 16
#define N 5
#define K 10

struct answers {
    uint64_t ids[N * K];
    float distances[N * K];
};

static bool search(const char *path, const float *queries, struct answers *answers)
{
    char error[RANKTAPE_ERROR_BYTES] = "";
    struct ranktape_index *index = NULL;
    bool is_good = ranktape_open(path, NULL, &index, error) == RANKTAPE_OK &&
                   ranktape_search(index, NULL, queries, N, answers->ids, answers->distances, NULL,
                                   error) == RANKTAPE_OK;
    ranktape_close(index);
    if (!is_good)
        (void)fprintf(stderr, "FAILED: %s\n", error);
    return is_good;
}

static bool is_same(const char *path, const float *queries, const struct answers *first)
{
    struct answers again;
    return search(path, queries, &again) && memcmp(&again, first, sizeof again) == 0;
}

static hid_t create(const char *name)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
#ifdef RT_MPIO
    if (H5Pset_fapl_mpio(access, MPI_COMM_WORLD, MPI_INFO_NULL) < 0)
        return -1;
#endif
    hid_t file = H5Fcreate(name, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    (void)H5Pclose(access);
    return file;
}

int main(int argc, char **argv)
{
    struct answers first;
    float queries[N * DIM];
    FILE *file = argc == 3 ? fopen(argv[2], "rb") : NULL;
    if (!file || fseek(file, 8, SEEK_SET) != 0 || fread(queries, sizeof queries, 1, file) != 1)
        return 2;
    (void)fclose(file);
    bool is_good = search(argv[1], queries, &first);
    int rank = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    is_good = is_same(argv[1], queries, &first) && is_good;
    char name[32] = "of_all.h5";
#ifndef RT_MPIO
    (void)snprintf(name, sizeof name, "of_rank%d.h5", rank);
#endif
    hid_t theirs = create(name);
    is_good = theirs >= 0 && is_same(argv[1], queries, &first) && is_good;
    is_good = H5Fclose(theirs) >= 0 && H5Fis_hdf5(name) > 0 && is_good;
    MPI_Finalize();
    is_good = is_same(argv[1], queries, &first) && is_good;
    if (!is_good)
        (void)fprintf(stderr, "FAILED on rank %d\n", rank);
    return !is_good;
}
