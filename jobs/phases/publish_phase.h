/* Publish: the last checks of what was written, the manifest, the recall gate, and one rename of
 * CURRENT. Until that rename readers see the index as it was. */
#ifndef RT_JOBS_PHASES_PUBLISH_PHASE_H
#define RT_JOBS_PHASES_PUBLISH_PHASE_H

#include "io/index_dir.h"
#include "io/manifest.h"
#include "io/rows.h"
#include "jobs/phases/phase.h"
#include "jobs/phases/recall_gate.h"

struct rt_new_file { /* one file of the generation to come, still .partial */
    enum rt_file_kind kind;
    const struct rt_h5_layout *layout;
    uint64_t rows;
    bool is_pair; /* an appendable file of an insert (H3) */
};

struct rt_publish_input {
    struct rt_manifest *manifest; /* rank 0: all but files and digest; NULL elsewhere */
    const struct rt_new_file *files;
    uint32_t n_files;
    struct rt_rows *rows;        /* to be found unchanged; NULL: none were read */
    bool rows_are_remote;        /* --scatter: only rank 0 sees them */
    struct rt_recall_gate *gate; /* NULL: none */
    double min_recall;
};

struct rt_publish_output {
    double recall; /* of the gate; below 0 without one */
    struct rt_phase_record record;
};

/* Collective over the job's communicator. Fails with RT_GATE, RT_DAMAGED (what was read back
 * differs), RT_INPUT (rows changed), RT_IO; nothing is published then. */
enum rt_status rt_publish_phase(struct rt_phase_context *context,
                                const struct rt_publish_input *input, struct rt_publish_output *out,
                                struct rt_error *err) RT_MUST_CHECK;

/* Private bytes of a rank: of a unit that is read back. */
uint64_t rt_publish_phase_bytes(void);

#endif
