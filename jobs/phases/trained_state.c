#include "jobs/phases/trained_state.h"

#include "core/memory.h"
#include "io/checkpoint.h"
#include "mpi/agree.h"

#include <string.h>

#define NAME "trained"

struct head {
    struct rt_hash128 fingerprint;
    double objective;
    int64_t exponent;
    uint64_t n_sampled, n_bad, n_far, n_log;
    uint32_t beam, beam_sampled, beam_agreed, n_refinements, n_neighbours, n_split;
};

enum rt_status rt_trained_state_write(const struct rt_phase_context *context,
                                      const struct rt_train_output *output, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_checkpoint *state = NULL;
    const struct rt_trained *trained = &output->trained;
    struct head head;
    memset(&head, 0, sizeof head);
    head.fingerprint = output->fingerprint;
    head.objective = trained->objective;
    head.exponent = output->exponent;
    head.n_sampled = output->n_sampled;
    head.n_bad = output->n_bad;
    head.n_far = output->n_far;
    head.n_log = trained->n_log;
    head.beam = trained->beam;
    head.beam_sampled = trained->beam_sampled;
    head.beam_agreed = trained->beam_agreed;
    head.n_refinements = trained->n_refinements;
    head.n_neighbours = trained->n_neighbours;
    head.n_split = trained->n_split;
    RT_TRY(rt_fs_sync_dir(context->dir, err)); /* the tree file's name */
    RT_TRY(rt_checkpoint_begin(context->dir, NAME, &state, err));
    RT_TRY(rt_checkpoint_put(state, &head, sizeof head, err));
    RT_TRY(rt_checkpoint_put(state, trained->log, trained->n_log * sizeof *trained->log, err));
    st = rt_checkpoint_commit(state, err);
    state = NULL;
done:
    rt_checkpoint_drop(state);
    return st;
}

static enum rt_status take(const unsigned char *bytes, size_t n_bytes, bool *found,
                           struct rt_train_output *output, struct rt_hash128 *fingerprint,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_trained *trained = &output->trained;
    struct head head;
    *found = false;
    if (!bytes || n_bytes < sizeof head)
        goto done;
    memcpy(&head, bytes, sizeof head);
    size_t log_bytes = n_bytes - sizeof head;
    if (head.n_log != log_bytes / sizeof *trained->log || log_bytes % sizeof *trained->log != 0)
        goto done;
    RT_TRY(rt_array_new((size_t)head.n_log, sizeof *trained->log, &trained->log, err));
    memcpy(trained->log, bytes + sizeof head, log_bytes);
    trained->n_log = (size_t)head.n_log;
    trained->objective = head.objective;
    trained->beam = head.beam;
    trained->beam_sampled = head.beam_sampled;
    trained->beam_agreed = head.beam_agreed;
    trained->n_refinements = head.n_refinements;
    trained->n_neighbours = head.n_neighbours;
    trained->n_split = head.n_split;
    output->exponent = (int)head.exponent;
    output->n_sampled = head.n_sampled;
    output->n_bad = head.n_bad;
    output->n_far = head.n_far;
    *fingerprint = head.fingerprint;
    *found = true;
done:
    return st;
}

enum rt_status rt_trained_state_read(const struct rt_phase_context *context, bool *found,
                                     struct rt_train_output *output, struct rt_hash128 *fingerprint,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = context->job;
    unsigned char *bytes = NULL;
    size_t n_read = 0;
    if (job->rank == 0 && context->checkpoint && context->checkpoint->resumes)
        RT_LOCAL(rt_checkpoint_read(context->dir, NAME, &bytes, &n_read, err));
    RT_AGREE(job->comm);
    uint64_t n_bytes = n_read;
    rt_bcast_bytes(job->comm, &n_bytes, sizeof n_bytes, 0);
    if (job->rank != 0)
        RT_LOCAL(rt_array_new((size_t)n_bytes, 1, &bytes, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, bytes, n_bytes, 0);
    RT_LOCAL(take(bytes, (size_t)n_bytes, found, output, fingerprint, err));
    RT_AGREE(job->comm);
done:
    rt_array_free(bytes);
    return st;
}

void rt_trained_state_distrust(const struct rt_phase_context *context, enum rt_status st)
{
    struct rt_error ignored;
    if (st == RT_DAMAGED && context->job->rank == 0 &&
        rt_checkpoint_remove(context->dir, NAME, &ignored) != RT_OK)
        return; /* the damage is the one to tell; the next run meets it again */
}
