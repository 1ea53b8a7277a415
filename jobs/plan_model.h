/* The arithmetic of plan: from the shape of the rows, the options and the ranks to lists, sample,
 * and what each phase costs. Pure: no MPI, no file, no clock. Memory figures are sums of what the
 * phases allocate (J1-J3). */
#ifndef RT_JOBS_PLAN_MODEL_H
#define RT_JOBS_PLAN_MODEL_H

#include "core/element.h"
#include "core/error.h"
#include "core/options.h"
#include "core/tree.h"

#include <stdbool.h>
#include <stdint.h>

enum rt_plan_phase_id {
    RT_PHASE_TRAIN,
    RT_PHASE_INSERT,
    RT_PHASE_COMPACT,
    RT_PHASE_PUBLISH,
    RT_N_PHASES
};

struct rt_plan_input {
    uint64_t n_rows;
    uint32_t dim;
    enum rt_element type;
    uint64_t heap_bytes; /* of all row files */
    uint64_t n_files;
    uint32_t ranks;
    uint32_t ranks_per_node;
    uint64_t node_bytes;                  /* memory this job may take on a node; 0: not known */
    uint64_t base_bytes;                  /* private bytes of a rank before any work (J1) */
    uint64_t shm_bytes;                   /* free in /dev/shm; UINT64_MAX: not known */
    uint32_t given_levels[RT_MAX_LEVELS]; /* of --centroids, where n_given_levels is not 0 */
    uint32_t n_given_levels;
    uint64_t given_hash; /* rt_centroids_hash: training reads the file again */
};

struct rt_plan_cost {
    uint64_t memory_bytes; /* of a rank: private bytes and its part of the node's shared ones */
    uint64_t shared_bytes; /* of a node */
    double flops;          /* these four: of all ranks together */
    uint64_t bytes_read;
    uint64_t bytes_written;
    uint64_t bytes_exchanged;
    double seconds; /* below 0: not known */
};

/* Rates of a rank while all ranks work; 0: not known (--calibrate). */
struct rt_plan_rates {
    double sgemm_flops;  /* a second, as are the others: with sgemm proposing */
    double assign_flops; /* with the proposals this machine uses: the same work, counted alike */
    double memory_bytes;
    double read_bytes;
    double write_bytes;
    double exchange_bytes;
};

struct rt_plan {
    struct rt_plan_input input;
    uint32_t n_levels;
    uint32_t lists[RT_MAX_LEVELS]; /* coarse to leaf, cut to the rows */
    bool lists_cut;                /* more leaves were asked for than there are rows */
    uint32_t leaves;
    uint64_t sample_rows;
    uint64_t sample_blocks;
    bool sample_native;   /* sample rows are kept in their element type, as rotated f32 ones would
                             not fit: the same bits for more work */
    uint32_t cells;       /* of hierarchical training; 0 for lloyd */
    bool tree_is_private; /* shared memory is off or too small: every rank has the tree to itself */
    uint64_t block_rows;
    uint32_t tapes;
    uint64_t budget_bytes; /* of --memory; 0: not known */
    uint64_t peak_bytes;
    enum rt_plan_phase_id peak_phase;
    bool fits;
    struct rt_plan_cost phase[RT_N_PHASES];
};

extern const char *const rt_phase_names[RT_N_PHASES]; /* "train" "insert" "compact" "publish" */

/* Auto rule of --lists: leaves = min(16 sqrt n, n/256) rounded down, at least 1; above 1024 leaves
 * a level of sqrt(leaves) over them. In integers, so that it is the same everywhere (A8). */
void rt_plan_auto_lists(uint64_t n_rows, struct rt_numbers *out);

/* --memory auto, of a rank: four fifths of its part of the node's; 0 where that is not known. */
uint64_t rt_plan_auto_memory(const struct rt_plan_input *input);

/* --ranks and --ranks-per-node in place of those that plan runs on. */
void rt_plan_take_ranks(const struct rt_options *options, struct rt_plan_input *input);
/* Private bytes of a rank that has done nothing yet (J1). */
uint64_t rt_plan_base(const struct rt_plan_input *input);

/* Checks the options against the rows, fills every auto value that needs no data (lists, training,
 * spherical, tapes, chooser, block-rows, memory where the share is known; beam and refinements stay
 * auto: they are measured), and adds up the costs. Options keep their origin. What cannot fit is no
 * failure: out->fits. Fails with RT_USAGE (options that contradict each other or the rows: lists
 * not growing, too many levels, kmeans-dimension over dim..), RT_INPUT (no rows). */
enum rt_status rt_plan_make(const struct rt_plan_input *input, struct rt_options *options,
                            struct rt_plan *out, struct rt_error *err) RT_MUST_CHECK;
/* Bytes read back before publishing, of files of so many bytes in so many large datasets. */
uint64_t rt_plan_read_back(const struct rt_options *options, uint64_t bytes, uint64_t n_datasets);
/* Multiplications and additions of n_rows rows down a tree of these levels, rotation included. */
double rt_plan_descent_flops(uint64_t n_rows, uint32_t dim, const uint32_t *lists,
                             uint32_t n_levels, double beam);
/* Seconds of a phase from measured rates. overlaps: it reads, computes and writes at a time. */
double rt_plan_seconds(const struct rt_plan_rates *rates, uint32_t ranks, bool overlaps,
                       const struct rt_plan_cost *cost);
/* Sets the seconds of each phase likewise. */
void rt_plan_add_times(const struct rt_plan_rates *rates, struct rt_plan *plan);
/* Where the plan does not fit: "needs 9.8 GiB a rank in train, has 7.5 GiB; try --sample-per-list
 * 128 (6.1 GiB) or 96 ranks", the remedies found by planning again. */
void rt_plan_refusal(const struct rt_options *options, const struct rt_plan *plan, char *text,
                     size_t text_size);

#endif
