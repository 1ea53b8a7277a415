/* How training keeps where it stands, and finds it again after an interruption (G1): callbacks of
 * the job, as kmeans/ knows no files. A state is some bytes that all ranks have alike, and a list
 * number for each sample row. */
#ifndef RT_KMEANS_KEEP_H
#define RT_KMEANS_KEEP_H

#include "kmeans/sample.h"

struct rt_keep_piece {
    const void *bytes;
    size_t n_bytes;
};
/* Takes what was kept as one part; bytes are now its own, to be freed with rt_array_free. */
typedef enum rt_status (*rt_keep_visit)(void *context, unsigned char *bytes, size_t n_bytes,
                                        struct rt_error *err);

/* All but those of parts are collective over the communicator of the whole training. */
struct rt_keep {
    void *ctx;
    /* Whether a state is worth its cost by now: the same on all ranks. */
    bool (*is_due)(void *ctx);
    /* Keeps the pieces under the name of a stage, instead of what was kept before. list: of each
     * local row of sample. */
    enum rt_status (*save)(void *ctx, const char *stage, const struct rt_keep_piece *pieces,
                           uint32_t n_pieces, const struct rt_sample *sample, const uint32_t *list,
                           struct rt_error *err);
    /* What was kept of this stage, the pieces joined, and the lists of the rows of sample, which
     * must be in row order. *bytes NULL: nothing. The caller frees *bytes with rt_array_free. */
    enum rt_status (*load)(void *ctx, const char *stage, const struct rt_sample *sample,
                           uint32_t *list, unsigned char **bytes, size_t *n_bytes,
                           struct rt_error *err);
    /* Parts are what one rank has finished while the others go on; local. They are kept beside one
     * another, and are forgotten when a stage is saved. */
    bool (*part_is_due)(void *ctx);
    enum rt_status (*save_part)(void *ctx, const struct rt_keep_piece *pieces, uint32_t n_pieces,
                                struct rt_error *err);
    /* Calls visit for parts of runs before this one: all of them, over all ranks. */
    enum rt_status (*load_parts)(void *ctx, rt_keep_visit visit, void *visit_context,
                                 struct rt_error *err);
};

#endif
