#include "jobs/phases/train_keep.h"

#include "core/clock.h"
#include "core/memory.h"
#include "io/checkpoint.h"
#include "mpi/agree.h"
#include "mpi/exchange.h"
#include "mpi/partition.h"

#include <stdio.h>
#include <string.h>

#define NAME "training"
#define PART "training-lists" /* -SEQUENCE-RANK */
#define CELLS "cells"         /* -START-RANK-NUMBER */
#define COST_PART 40          /* a state is worth a 40th of the time since the last one (G3) */

struct head { /* of a state */
    char stage[16];
    uint64_t sequence, n_ranks, n_rows;
};

static bool is_due(void *ctx)
{
    struct rt_train_keep *keep = ctx;
    double waited = rt_clock_seconds() - keep->last;
    uint64_t due =
        waited >= keep->context->checkpoint->interval_seconds && waited >= COST_PART * keep->cost;
    rt_bcast_bytes(keep->context->job->comm, &due, sizeof due, 0);
    return due != 0;
}

static void part_name(uint64_t sequence, uint64_t rank, char name[RT_CHECKPOINT_NAME])
{
    (void)snprintf(name, RT_CHECKPOINT_NAME, PART "-%u-%u", (unsigned)sequence, (unsigned)rank);
}

/* --- lists to the ranks that write them: equal parts of the rows' numbers --- */

struct letter { /* one row */
    uint64_t number;
    uint64_t list;
};
struct delivery {
    const struct rt_sample *sample;
    const uint32_t *list;
    int n_ranks;
    uint32_t *order; /* local rows by the rank they are for, */
    size_t *next;    /* n_ranks + 1: where each rank's begin */
    size_t *end;
    struct rt_range own; /* numbers */
    uint32_t *lists;     /* of those */
};

static enum rt_status sort_rows(struct delivery *d, int rank, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    size_t n = d->sample->n_local;
    d->own = rt_share(d->sample->n_total, rank, d->n_ranks, 1);
    RT_TRY(rt_array_new(n, sizeof *d->order, &d->order, err));
    RT_TRY(rt_array_zero((size_t)d->n_ranks + 1, sizeof *d->next, &d->next, err));
    RT_TRY(rt_array_new((size_t)d->n_ranks, sizeof *d->end, &d->end, err));
    RT_TRY(rt_array_new((size_t)rt_range_count(d->own), sizeof *d->lists, &d->lists, err));
    for (size_t i = 0; i < n; i++)
        d->next[rt_share_owner(d->sample->n_total, rt_sample_number(d->sample, i), d->n_ranks, 1) +
                1]++;
    for (int r = 0; r < d->n_ranks; r++) {
        d->next[r + 1] += d->next[r];
        d->end[r] = d->next[r];
    }
    for (size_t i = 0; i < n; i++)
        d->order[d->end[rt_share_owner(d->sample->n_total, rt_sample_number(d->sample, i),
                                       d->n_ranks, 1)]++] = (uint32_t)i;
done:
    return st;
}

static enum rt_status give(void *context, int to, void *buffer, size_t capacity, size_t *n_bytes,
                           bool *more, struct rt_error *err)
{
    (void)err;
    struct delivery *d = context;
    struct letter *out = buffer;
    size_t n = 0;
    while (d->next[to] < d->end[to] && (n + 1) * sizeof *out <= capacity) {
        uint32_t i = d->order[d->next[to]++];
        out[n++] = (struct letter){rt_sample_number(d->sample, i), d->list[i]};
    }
    *n_bytes = n * sizeof *out;
    *more = d->next[to] < d->end[to];
    return RT_OK;
}

static enum rt_status take(void *context, int from, const void *bytes, size_t n_bytes,
                           struct rt_error *err)
{
    (void)err;
    (void)from;
    struct delivery *d = context;
    const struct letter *in = bytes;
    for (size_t i = 0; i < n_bytes / sizeof *in; i++)
        d->lists[in[i].number - d->own.begin] = (uint32_t)in[i].list;
    return RT_OK;
}

static enum rt_status save_lists(struct rt_train_keep *keep, const struct rt_sample *sample,
                                 const uint32_t *list, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = keep->context->job;
    struct rt_exchange *exchange = NULL;
    struct delivery d = {.sample = sample, .list = list, .n_ranks = job->n_ranks};
    char name[RT_CHECKPOINT_NAME];
    if (job->rank == 0)
        RT_LOCAL(rt_phase_check_lock(keep->context, err));
    RT_LOCAL(sort_rows(&d, job->rank, err));
    RT_AGREE(job->comm);
    RT_TRY(rt_exchange_new(job->comm, 0, &exchange, err));
    RT_TRY(rt_exchange_round(exchange, NULL, give, take, &d, err));
    part_name(keep->sequence, (uint64_t)job->rank, name);
    RT_LOCAL(rt_checkpoint_write(keep->context->dir, name, d.lists,
                                 (size_t)rt_range_count(d.own) * sizeof *d.lists, err));
    RT_AGREE(job->comm);
done:
    rt_exchange_free(exchange);
    rt_array_free(d.order);
    rt_array_free(d.next);
    rt_array_free(d.end);
    rt_array_free(d.lists);
    return st;
}

/* --- a state --- */

static void remove_old(void *context, const char *name)
{
    const struct rt_train_keep *keep = context;
    unsigned sequence = 0;
    struct rt_error ignored;
    if (sscanf(name + strlen(PART), "-%u-", &sequence) == 1 && sequence != keep->sequence &&
        rt_checkpoint_remove(keep->context->dir, name, &ignored) != RT_OK)
        return; /* it goes with the checkpoint */
}

static void remove_part(void *context, const char *name)
{
    const struct rt_train_keep *keep = context;
    struct rt_error ignored;
    if (rt_checkpoint_remove(keep->context->dir, name, &ignored) != RT_OK)
        return; /* as above */
}

/* Rank 0, after the lists: from now on this is the state. */
static enum rt_status save_head(struct rt_train_keep *keep, const char *stage,
                                const struct rt_keep_piece *pieces, uint32_t n_pieces,
                                uint64_t n_rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *dir = keep->context->dir;
    struct rt_checkpoint *state = NULL;
    struct head head;
    memset(&head, 0, sizeof head);
    (void)snprintf(head.stage, sizeof head.stage, "%s", stage);
    head.sequence = keep->sequence;
    head.n_ranks = (uint64_t)keep->context->job->n_ranks;
    head.n_rows = n_rows;
    RT_TRY(rt_checkpoint_begin(dir, NAME, &state, err));
    RT_TRY(rt_checkpoint_put(state, &head, sizeof head, err));
    for (uint32_t i = 0; i < n_pieces; i++)
        RT_TRY(rt_checkpoint_put(state, pieces[i].bytes, pieces[i].n_bytes, err));
    st = rt_checkpoint_commit(state, err);
    state = NULL;
    RT_TRY(st);
    RT_TRY(rt_checkpoint_names(dir, PART, remove_old, keep, err));
    RT_TRY(rt_checkpoint_names(dir, CELLS, remove_part, keep, err));
done:
    rt_checkpoint_drop(state);
    return st;
}

static enum rt_status save(void *ctx, const char *stage, const struct rt_keep_piece *pieces,
                           uint32_t n_pieces, const struct rt_sample *sample, const uint32_t *list,
                           struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_train_keep *keep = ctx;
    double began = rt_clock_seconds();
    keep->sequence++;
    RT_TRY(save_lists(keep, sample, list, err));
    if (keep->context->job->rank == 0)
        RT_LOCAL(save_head(keep, stage, pieces, n_pieces, sample->n_total, err));
    RT_AGREE(keep->context->job->comm);
    keep->last = rt_clock_seconds();
    keep->cost = keep->last - began;
done:
    return st;
}

/* The lists of this rank's rows out of what the ranks of an earlier run have written. */
static enum rt_status load_lists(const struct rt_train_keep *keep, const struct head *head,
                                 const struct rt_sample *sample, uint32_t *list, bool *all,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    unsigned char *bytes = NULL;
    uint64_t begin = sample->first;
    uint64_t end = begin + sample->n_local;
    *all = true;
    for (uint64_t r = 0; r < head->n_ranks && *all; r++) {
        struct rt_range part = rt_share(head->n_rows, (int)r, (int)head->n_ranks, 1);
        uint64_t from = part.begin > begin ? part.begin : begin;
        uint64_t to = part.end < end ? part.end : end;
        char name[RT_CHECKPOINT_NAME];
        size_t n_bytes = 0;
        if (from >= to)
            continue;
        part_name(head->sequence, r, name);
        rt_array_free(bytes);
        bytes = NULL;
        RT_TRY(rt_checkpoint_read(keep->context->dir, name, &bytes, &n_bytes, err));
        *all = bytes && n_bytes == rt_range_count(part) * sizeof *list;
        if (*all)
            memcpy(list + (from - begin), bytes + (from - part.begin) * sizeof *list,
                   (size_t)(to - from) * sizeof *list);
    }
done:
    rt_array_free(bytes);
    return st;
}

/* Rank 0's bytes to all; *bytes NULL on all where there is no state. Collective. */
static enum rt_status share_state(const struct rt_train_keep *keep, unsigned char **bytes,
                                  size_t *n_bytes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_job *job = keep->context->job;
    if (job->rank == 0 && keep->context->checkpoint->resumes)
        RT_LOCAL(rt_checkpoint_read(keep->context->dir, NAME, bytes, n_bytes, err));
    RT_AGREE(job->comm);
    uint64_t n = *n_bytes;
    rt_bcast_bytes(job->comm, &n, sizeof n, 0);
    if (n && job->rank != 0)
        RT_LOCAL(rt_array_new((size_t)n, 1, bytes, err));
    RT_AGREE(job->comm);
    rt_bcast_bytes(job->comm, *bytes, n, 0);
    *n_bytes = (size_t)n;
done:
    return st;
}

static enum rt_status load(void *ctx, const char *stage, const struct rt_sample *sample,
                           uint32_t *list, unsigned char **out, size_t *n_out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_train_keep *keep = ctx;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    struct head head;
    bool all = false;
    *out = NULL;
    RT_TRY(share_state(keep, &bytes, &n_bytes, err));
    if (!bytes || n_bytes < sizeof head)
        goto done;
    memcpy(&head, bytes, sizeof head);
    keep->sequence = (uint32_t)head.sequence;
    if (strncmp(head.stage, stage, sizeof head.stage) != 0 || head.n_rows != sample->n_total ||
        head.n_ranks == 0 || head.n_ranks > INT32_MAX || sample->number)
        goto done;
    RT_LOCAL(load_lists(keep, &head, sample, list, &all, err));
    RT_AGREE(keep->context->job->comm);
    uint64_t missing = !all;
    rt_max_u64(keep->context->job->comm, &missing, 1);
    if (missing)
        goto done;
    memmove(bytes, bytes + sizeof head, n_bytes - sizeof head);
    *out = bytes;
    *n_out = n_bytes - sizeof head;
    bytes = NULL;
done:
    rt_array_free(bytes);
    return st;
}

/* --- parts: cells of hierarchical training that a rank has finished --- */

static bool part_is_due(void *ctx)
{
    const struct rt_train_keep *keep = ctx;
    double waited = rt_clock_seconds() - keep->last_part;
    return waited >= keep->context->checkpoint->interval_seconds &&
           waited >= COST_PART * keep->part_cost;
}

static enum rt_status save_part(void *ctx, const struct rt_keep_piece *pieces, uint32_t n_pieces,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_train_keep *keep = ctx;
    double began = rt_clock_seconds();
    struct rt_checkpoint *state = NULL;
    char name[RT_CHECKPOINT_NAME];
    (void)snprintf(name, sizeof name, CELLS "-%u-%d-%u", keep->start, keep->context->job->rank,
                   ++keep->n_parts);
    RT_TRY(rt_phase_check_lock(keep->context, err));
    RT_TRY(rt_checkpoint_begin(keep->context->dir, name, &state, err));
    for (uint32_t i = 0; i < n_pieces; i++)
        RT_TRY(rt_checkpoint_put(state, pieces[i].bytes, pieces[i].n_bytes, err));
    st = rt_checkpoint_commit(state, err);
    state = NULL;
    keep->last_part = rt_clock_seconds();
    keep->part_cost = keep->last_part - began;
done:
    rt_checkpoint_drop(state);
    return st;
}

struct part_names {
    struct rt_train_keep *keep;
    rt_keep_visit visit;
    void *visit_context;
    enum rt_status st;
    struct rt_error *err;
};

/* Names are dealt out by what they say, so that ranks need not agree on their order. */
static void load_part(void *context, const char *name)
{
    struct part_names *p = context;
    const struct rt_job *job = p->keep->context->job;
    unsigned char *bytes = NULL;
    size_t n_bytes = 0;
    unsigned start = 0;
    unsigned rank = 0;
    unsigned number = 0;
    char behind = 0;
    if (sscanf(name, CELLS "-%u-%u-%u%c", &start, &rank, &number, &behind) != 3)
        return;
    p->keep->start = start >= p->keep->start ? start + 1 : p->keep->start;
    if ((rank + number) % (unsigned)job->n_ranks != (unsigned)job->rank || p->st != RT_OK)
        return;
    p->st = rt_checkpoint_read(p->keep->context->dir, name, &bytes, &n_bytes, p->err);
    if (p->st == RT_OK && bytes)
        p->st = p->visit(p->visit_context, bytes, n_bytes, p->err);
}

static enum rt_status load_parts(void *ctx, rt_keep_visit visit, void *visit_context,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_train_keep *keep = ctx;
    struct part_names parts = {
        .keep = keep, .visit = visit, .visit_context = visit_context, .err = err};
    if (!keep->context->checkpoint->resumes)
        goto done;
    RT_TRY(rt_checkpoint_names(keep->context->dir, CELLS, load_part, &parts, err));
    st = parts.st;
done:
    keep->last_part = rt_clock_seconds();
    return st;
}

struct rt_keep rt_train_keep_over(const struct rt_phase_context *context,
                                  struct rt_train_keep *keep)
{
    *keep = (struct rt_train_keep){.context = context, .last = rt_clock_seconds(), .start = 1};
    return (struct rt_keep){.ctx = keep,
                            .is_due = is_due,
                            .save = save,
                            .load = load,
                            .part_is_due = part_is_due,
                            .save_part = save_part,
                            .load_parts = load_parts};
}
