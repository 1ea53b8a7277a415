/* Centroids from outside (--centroids FILE), in the original space: .npy and .fbin hold leaves
 * only; HDF5 holds VectorChord's table by columns (/id, /parent, /vector) and so may hold a tree.
 */
#ifndef RT_IO_CENTROIDS_FILE_H
#define RT_IO_CENTROIDS_FILE_H

#include "core/error.h"
#include "core/tree.h"

#include <stdint.h>

struct rt_centroids_level {
    uint32_t n;
    float *vectors;   /* n x dim, row-major, original space, finite */
    uint32_t *parent; /* n: number in the level above, ascending; NULL at the top */
};

struct rt_centroids {
    uint32_t dim;
    uint32_t n_levels; /* 1..RT_MAX_LEVELS, coarse to leaf; a root is dropped */
    struct rt_centroids_level levels[RT_MAX_LEVELS];
    int metric;    /* enum rt_metric by the file's attribute, or -1 where it does not say */
    int spherical; /* 0, 1, or -1 where the file does not say */
};

/* Reads name: FILE.npy, FILE.fbin, FILE.h5. dim is the dimension rows have, or 0 for any. A flat
 * table (all parents -1) gives one level. Leaves are numbered by (parent's number, id), so that
 * those of our own exports keep their numbers. The caller frees *out with rt_centroids_free. Fails
 * with RT_INPUT, naming the file and the id or row: dimension, not finite, an id twice, a parent
 * that is not there, no root, two roots, a cycle, leaves at different depths, more than
 * RT_MAX_LEVELS levels, `space` other than original; RT_IO, RT_NOMEM. */
enum rt_status rt_centroids_read(const char *name, uint32_t dim, struct rt_centroids *out,
                                 struct rt_error *err) RT_MUST_CHECK;
void rt_centroids_free(struct rt_centroids *centroids); /* its arrays; zeroes it */
/* Of all levels' vectors and parents: tells whether two readings of a file gave the same. */
uint64_t rt_centroids_hash(const struct rt_centroids *centroids);

#endif
