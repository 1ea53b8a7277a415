#include "jobs/build_report.h"

#include "core/assign.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/units.h"
#include "jobs/blas_choice.h"
#include "jobs/job_record.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_count(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum rt_status rt_list_sizes_of(const uint64_t *rows, uint32_t n_lists, struct rt_list_sizes *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint64_t *sorted = NULL;
    RT_TRY(rt_array_new(n_lists, sizeof *sorted, &sorted, err));
    memcpy(sorted, rows, n_lists * sizeof *sorted);
    qsort(sorted, n_lists, sizeof *sorted, by_count);
    *out = (struct rt_list_sizes){.least = sorted[0],
                                  .median = sorted[n_lists / 2],
                                  .p99 = sorted[(uint64_t)n_lists * 99 / 100],
                                  .most = sorted[n_lists - 1]};
    while (out->n_empty < n_lists && sorted[out->n_empty] == 0)
        out->n_empty++;
done:
    rt_array_free(sorted);
    return st;
}

/* Bins of list sizes: one for each size up to 7, then four to a doubling, of equal ratio. */
#define N_SMALL_BINS 8u
#define N_BINS (N_SMALL_BINS + 4 * 45u)

static uint64_t bin_begin(unsigned bin)
{
    static const uint64_t quarters[] = {65536, 77936, 92682, 110218}; /* 2^(16 + i/4) */
    unsigned above = bin - N_SMALL_BINS;
    return bin < N_SMALL_BINS ? bin : quarters[above % 4] << (3 + above / 4) >> 16;
}

static unsigned bin_of(uint64_t rows)
{
    if (rows < N_SMALL_BINS)
        return (unsigned)rows;
    unsigned bin = N_SMALL_BINS + 4 * (60 - (unsigned)__builtin_clzll(rows)); /* of its octave */
    while (bin + 1 < N_BINS && rows >= bin_begin(bin + 1))
        bin++;
    return bin;
}

static double per_second(uint64_t amount, double seconds)
{
    return seconds > 0 ? (double)amount / seconds : 0;
}

void rt_build_say_plan(const struct rt_job *job, const struct rt_build_facts *facts)
{
    char rows[RT_UNITS_TEXT];
    char peak[RT_UNITS_TEXT];
    char lists[256];
    rt_options_text(job->options, RT_OPT_lists, lists, sizeof lists);
    rt_job_row(job, "plan", "%s x %" PRIu32 " %s, %s, lists %s, %d ranks, peak %s a rank",
               rt_units_count(facts->rows->n_rows, rows), facts->rows->dim,
               rt_element_name(facts->rows->type),
               rt_metric_name((enum rt_metric)job->options->metric), lists, job->n_ranks,
               rt_units_bytes(facts->plan->peak_bytes, peak));
}

void rt_build_say_train(const struct rt_job *job, const struct rt_build_facts *facts)
{
    const struct rt_train_output *train = facts->train;
    char seconds[RT_UNITS_TEXT];
    char rows[RT_UNITS_TEXT];
    rt_job_row(job, "train",
               "%s   %s rows sampled, %" PRIu32 " lists, objective %.3g, %" PRIu32
               " refinements, beam %" PRIu32,
               rt_units_seconds(train->record.seconds, seconds),
               rt_units_count(train->n_sampled, rows), rt_tree_leaves(&train->trained.tree)->n,
               train->trained.objective, train->trained.n_refinements, train->trained.beam);
}

void rt_build_say_insert(const struct rt_job *job, const struct rt_build_facts *facts)
{
    const struct rt_phase_record *r = &facts->insert->record;
    char seconds[RT_UNITS_TEXT];
    char rate[RT_UNITS_TEXT];
    char read[RT_UNITS_TEXT];
    char written[RT_UNITS_TEXT];
    char count[RT_UNITS_TEXT];
    double slower = r->busy.least > 0 ? 100 * (r->busy.most / r->busy.least - 1) : 0;
    if (r->units == 0)
        rt_job_row(job, "insert", "%s   all rows had been inserted by the run before",
                   rt_units_seconds(r->seconds, seconds));
    else
        rt_job_row(job, "insert", "%s   %s rows/s, %s read, %s written, slowest rank %d (+%.0f %%)",
                   rt_units_seconds(r->seconds, seconds),
                   rt_units_rate(per_second(r->units, r->seconds), rate),
                   rt_units_byte_rate(per_second(r->bytes_read, r->seconds), read),
                   rt_units_byte_rate(per_second(r->bytes_written, r->seconds), written),
                   r->busy.most_rank, slower);
    if (facts->insert->n_skipped)
        rt_job_row(job, "", "%s bad rows left out",
                   rt_units_count(facts->insert->n_skipped, count));
    if (facts->insert->n_candidates > 8 * facts->insert->n_rows) /* B8 */
        rt_job_row(job, "",
                   "%.1f candidates a row had to be measured: magnitudes differ too much for fast "
                   "assignment",
                   (double)facts->insert->n_candidates / (double)facts->insert->n_rows);
}

void rt_build_say_compact(const struct rt_job *job, const struct rt_build_facts *facts,
                          const struct rt_list_sizes *lists)
{
    const struct rt_phase_record *r = &facts->compact->record;
    char seconds[RT_UNITS_TEXT];
    char records[RT_UNITS_TEXT];
    rt_job_row(job, "compact",
               "%s   %s records, lists %" PRIu64 " / %" PRIu64 " / %" PRIu64 " / %" PRIu64
               " (smallest, median, p99, largest), %" PRIu32 " empty",
               rt_units_seconds(r->seconds, seconds),
               rt_units_count(facts->insert->n_rows, records), lists->least, lists->median,
               lists->p99, lists->most, lists->n_empty);
    uint64_t limit = job->options->max_list_rows;
    if (limit && lists->most > limit)
        rt_job_row(job, "", "the largest list exceeds --max-list-rows %" PRIu64, limit);
}

static uint64_t peak_of(const struct rt_build_facts *facts)
{
    const struct rt_phase_record *records[] = {&facts->train->record, &facts->insert->record,
                                               &facts->compact->record, &facts->publish->record};
    uint64_t peak = 0;
    for (size_t i = 0; i < sizeof records / sizeof *records; i++)
        peak = records[i]->memory_bytes > peak ? records[i]->memory_bytes : peak;
    return peak;
}

void rt_build_say_publish(const struct rt_job *job, const struct rt_build_facts *facts)
{
    const struct rt_publish_output *publish = facts->publish;
    char seconds[RT_UNITS_TEXT];
    char bytes[RT_UNITS_TEXT];
    char peak[RT_UNITS_TEXT];
    char planned[RT_UNITS_TEXT];
    char digest[33];
    rt_job_row(job, "publish", "%s   3 files, %s, read back and compared",
               rt_units_seconds(publish->record.seconds, seconds),
               rt_units_bytes(facts->n_bytes, bytes));
    if (publish->recall >= 0)
        rt_job_row(job, "", "recall@%" PRIu64 " of the gate %.4f", job->options->min_recall.k,
                   publish->recall);
    rt_hash128_hex(facts->digest, digest);
    rt_job_row(job, "done", "%s   %s generation %" PRIu64 ", digest %s, peak %s a rank (plan %s)",
               rt_units_seconds(facts->seconds, seconds), job->options->argument[1],
               facts->generation, digest, rt_units_bytes(peak_of(facts), peak),
               rt_units_bytes(facts->plan->peak_bytes, planned));
}

static json_t *training_json(const struct rt_train_output *train)
{
    json_t *log = json_array();
    for (size_t i = 0; i < train->trained.n_log; i++) {
        const struct rt_train_step *step = &train->trained.log[i];
        json_t *objective = isnan(step->objective) ? json_null() : json_real(step->objective);
        json_t *line = json_pack("{s:s, s:i, s:i, s:I, s:o}", "stage", step->stage, "number",
                                 (int)step->number, "neighbours", (int)step->n_neighbours, "moved",
                                 (json_int_t)step->n_moved, "objective", objective);
        if (line && json_array_append_new(log, line) != 0)
            break;
    }
    return json_pack("{s:I, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:f, s:o}", "sample_rows",
                     (json_int_t)train->n_sampled, "sample_rows_bad", (json_int_t)train->n_bad,
                     "sample_rows_too_large", (json_int_t)train->n_far, "beam",
                     (int)train->trained.beam, "beam_sampled", (int)train->trained.beam_sampled,
                     "beam_agreed", (int)train->trained.beam_agreed, "refinements",
                     (int)train->trained.n_refinements, "leaves_split", (int)train->trained.n_split,
                     "objective", train->trained.objective, "log", log);
}

/* Counts of lists by rows: bounds lie a quarter of an octave apart. [{"from", "to", "lists"}] */
static json_t *histogram_json(const uint64_t *rows, uint32_t n_lists)
{
    uint64_t bins[N_BINS] = {0};
    json_t *histogram = json_array();
    for (uint32_t list = 0; list < n_lists; list++)
        bins[bin_of(rows[list])]++;
    for (unsigned b = 0; b < N_BINS && histogram; b++) {
        if (!bins[b])
            continue;
        uint64_t end = b + 1 < N_BINS ? bin_begin(b + 1) : UINT64_MAX;
        (void)json_array_append_new(
            histogram, json_pack("{s:I, s:I, s:I}", "from", (json_int_t)bin_begin(b), "to",
                                 (json_int_t)(end - 1), "lists", (json_int_t)bins[b]));
    }
    return histogram;
}

void rt_build_add_details(const struct rt_build_facts *facts, const struct rt_phase_log *log,
                          double began, const struct rt_plan_rates *limits, json_t *record)
{
    json_t *phases = json_object_get(record, "phases");
    for (size_t i = 0; i < json_array_size(phases); i++) {
        json_t *phase = json_array_get(phases, i);
        const char *name = json_string_value(json_object_get(phase, "name"));
        for (size_t l = 0; l < log->n && name; l++)
            if (strcmp(log->phase[l].name, name) == 0)
                rt_record_add_times(phase, log->phase[l].unit, &log->phase[l].record, began);
    }
    const struct rt_level *leaves = rt_tree_leaves(&facts->train->trained.tree);
    if (facts->insert->leaves.rows)
        (void)json_object_set_new(json_object_get(record, "list_rows"), "histogram",
                                  histogram_json(facts->insert->leaves.rows, leaves->n));
    if (!limits)
        return;
    double ranks = facts->plan->input.ranks;
    (void)json_object_set_new(record, "limits",
                              json_pack("{s:f, s:f, s:f, s:f}", "flops_per_second",
                                        limits->assign_flops * ranks, "read_bytes_per_second",
                                        limits->read_bytes * ranks, "write_bytes_per_second",
                                        limits->write_bytes * ranks, "exchange_bytes_per_second",
                                        limits->exchange_bytes * ranks));
}

json_t *rt_build_record(const struct rt_job *job, const struct rt_build_facts *facts,
                        const struct rt_list_sizes *lists)
{
    const struct rt_plan *plan = facts->plan;
    json_t *phases = json_array();
    const struct rt_phase_record *records[RT_N_PHASES] = {
        &facts->train->record, &facts->insert->record, &facts->compact->record,
        &facts->publish->record};
    for (int i = 0; i < RT_N_PHASES; i++) {
        if (records[i]->seconds == 0) /* the manifest is written inside publish */
            continue;
        json_t *phase = rt_record_phase(rt_phase_names[i], records[i], &plan->phase[i]);
        if (phase && json_array_append_new(phases, phase) != 0)
            break;
    }
    char digest[33];
    rt_hash128_hex(facts->digest, digest);
    json_t *sizes = json_pack("{s:I, s:I, s:I, s:I, s:i}", "smallest", (json_int_t)lists->least,
                              "median", (json_int_t)lists->median, "p99", (json_int_t)lists->p99,
                              "largest", (json_int_t)lists->most, "empty", (int)lists->n_empty);
    json_t *record = json_pack(
        "{s:s, s:I, s:I, s:i, s:s, s:i, s:i, s:f, s:s, s:I, s:I, s:I, s:I, s:f, s:o, s:o, s:o}",
        "job", job->name, "generation", (json_int_t)facts->generation, "rows",
        (json_int_t)facts->insert->n_rows, "dimension", (int)facts->rows->dim, "element",
        rt_element_name(facts->rows->type), "ranks", job->n_ranks, "lists",
        (int)rt_tree_leaves(&facts->train->trained.tree)->n, "seconds", facts->seconds, "digest",
        digest, "rows_skipped", (json_int_t)facts->insert->n_skipped, "memory_bytes",
        (json_int_t)peak_of(facts), "memory_bytes_planned", (json_int_t)plan->peak_bytes, "bytes",
        (json_int_t)facts->n_bytes, "candidates_per_row",
        facts->insert->n_rows ? (double)facts->insert->n_candidates / (double)facts->insert->n_rows
                              : 0.0,
        "list_rows", sizes, "training", training_json(facts->train), "phases", phases);
    if (record && facts->publish->recall >= 0)
        (void)json_object_set_new(record, "recall", json_real(facts->publish->recall));
    json_t *machine = json_pack("{s:s, s:s, s:s}", "kernel", rt_isa_name(rt_kernels()->isa), "blas",
                                rt_blas_choice_name(), "proposer",
                                rt_proposer_name(RT_PROPOSE_AUTO, facts->rows->dim));
    if (record && machine)
        (void)json_object_update(record, machine);
    json_decref(machine);
    return record;
}
