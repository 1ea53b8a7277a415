#include "jobs/phases/grown_heap.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/recode.h"
#include "io/index_rows.h"
#include "io/input_file.h"

#define LOOKS 128u /* into lists, and into each appendable file */

struct looking {
    const struct rt_index_view *view;
    struct rt_rows *rows;
    const char *name;
    struct rt_recoder *recoder;
    void *native;
    uint8_t *code;
};

static enum rt_status look_at(struct looking *l, uint32_t list, struct rt_place place,
                              const uint8_t *code, const float *factors, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_place_view there;
    RT_TRY(rt_index_place(l->view, place.segment, place.slot, &there, err));
    bool is_same = there.heap_row < rt_rows_info(l->rows)->n_rows;
    if (is_same) {
        RT_TRY(rt_rows_read(l->rows, there.heap_row, 1, l->native, err));
        is_same = rt_recode(l->recoder, l->native, list, code, factors) == RT_RECODE_SAME;
    }
    if (!is_same)
        RT_FAIL(RT_INPUT,
                "row %s of '%s' is not the row that the index has read there: --from-row takes its "
                "heap, grown",
                RT_GROUPED(there.heap_row), l->name);
done:
    return st;
}

/* The list's first live row from row i on, forwards or backwards. */
static enum rt_status look_from(struct looking *l, uint32_t list,
                                const struct rt_list_blocks *blocks, uint64_t n_rows, uint64_t i,
                                bool is_forwards, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = l->view;
    uint32_t dim = view->manifest->dim;
    uint64_t generation = rt_index_list_generation(view, list);
    float factors[RT_MAX_FACTORS];
    while (i < n_rows && !rt_index_is_live(view, blocks->ids[i], generation))
        i = is_forwards ? i + 1 : i - 1; /* before row 0 is beyond all */
    if (i >= n_rows)
        goto done;
    uint64_t block = i / RT_BLOCK_ROWS;
    uint32_t row = (uint32_t)(i % RT_BLOCK_ROWS);
    RT_TRY(rt_index_check_blocks(view, list, block, 1, err));
    rt_block_get(blocks->codes + block * rt_block_code_bytes(dim), dim, row, l->code);
    for (uint32_t f = 0; f < view->n_factors; f++)
        factors[f] = blocks->factors[(block * view->n_factors + f) * RT_BLOCK_ROWS + row];
    RT_TRY(look_at(l, list, blocks->places[i], l->code, factors, err));
done:
    return st;
}

/* Lists hold their rows in the order of the heap, and what was folded in later behind: the first,
 * one of those between and the last come from all parts of it. */
static enum rt_status look_into_list(struct looking *l, uint32_t list, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_list_blocks blocks;
    uint64_t n_rows = 0;
    RT_TRY(rt_index_list(l->view, list, &blocks, &n_rows, err));
    if (n_rows == 0)
        goto done;
    RT_TRY(look_from(l, list, &blocks, n_rows, 0, true, err));
    RT_TRY(look_from(l, list, &blocks, n_rows, rt_mix64(list) % n_rows, true, err));
    RT_TRY(look_from(l, list, &blocks, n_rows, n_rows - 1, false, err));
done:
    return st;
}

static enum rt_status look_into_tape(struct looking *l, const struct rt_tape_view *tape,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = l->view;
    const struct rt_tape_records *r = &tape->records;
    for (uint64_t i = 0; i < r->n_records; i += r->n_records / LOOKS + 1) {
        RT_TRY(rt_index_check_records(tape, i, i + 1, err));
        if (r->lists[i] >= view->n_lists ||
            rt_index_list_generation(view, r->lists[i]) > tape->shape.generation ||
            !rt_index_is_live(view, r->ids[i], tape->shape.generation))
            continue;
        RT_TRY(look_at(l, r->lists[i], r->places[i], r->codes + i * view->code_bytes,
                       r->factors + i * view->n_factors, err));
    }
done:
    return st;
}

static enum rt_status check_codes(const struct rt_index_view *view, struct rt_rows *rows,
                                  const char *name, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = view->manifest;
    struct looking l = {.view = view, .rows = rows, .name = name};
    const struct rt_manifest_heap *last = m->n_heaps ? &m->heaps[m->n_heaps - 1] : NULL;
    uint64_t n_rows = last ? last->first_row + last->n_rows : 0; /* of all that it reads */
    if (rt_rows_info(rows)->n_rows < n_rows)
        RT_FAIL(RT_INPUT,
                "'%s' has %s rows, the heap of the index %s: --from-row takes its heap, grown",
                name, RT_GROUPED(rt_rows_info(rows)->n_rows), RT_GROUPED(n_rows));
    RT_TRY(rt_recoder_new(&view->tree.tree, m->element, &l.recoder, err));
    RT_TRY(rt_array_new(m->dim, rt_element_size(m->element), &l.native, err));
    RT_TRY(rt_array_new(view->code_bytes, 1, &l.code, err));
    for (uint32_t list = 0; list < view->n_lists; list += view->n_lists / LOOKS + 1)
        RT_TRY(look_into_list(&l, list, err));
    for (size_t i = 0; i < view->n_appendable; i++)
        RT_TRY(look_into_tape(&l, &view->appendable[i], err));
done:
    rt_recoder_free(l.recoder);
    rt_array_free(l.native);
    rt_array_free(l.code);
    return st;
}

static enum rt_status check_sample(const struct rt_manifest *m, struct rt_rows *rows,
                                   const struct rt_options *options, bool *is_own,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    bool has_ids = options->ids[0] != '\0';
    struct rt_row_sample now;
    RT_TRY(rt_rows_sample_again(rows, &m->sample, options->from_row, &now, err));
    struct rt_row_change change = rt_row_sample_compare(&now, &m->sample);
    if (change.is_found && !has_ids)
        RT_FAIL(RT_INPUT,
                "rows %s to %s of '%s' are not those that the index was built of: --from-row takes "
                "its heap, grown, and rows of others with --ids",
                RT_GROUPED(change.begin), RT_GROUPED(change.end - 1), options->argument[1]);
    *is_own = !change.is_found && (now.n_blocks > 0 || (options->replace && !has_ids));
done:
    return st;
}

/* Dead rows count where they are read once more, by a vacuum. */
static bool has_rows(const struct rt_manifest *m)
{
    return m->rerank_in_heap ? m->n_rows_frozen + m->n_rows_appendable > 0 : m->n_rows > 0;
}

enum rt_status rt_grown_heap_check(const struct rt_index_view *view, struct rt_rows *rows,
                                   const struct rt_options *options, bool *is_own,
                                   struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_manifest *m = view->manifest;
    *is_own = true;
    if (has_rows(m) && m->rerank_in_heap)
        RT_TRY(check_codes(view, rows, options->argument[1], err));
    else if (has_rows(m) && m->sample.n_blocks > 0)
        RT_TRY(check_sample(m, rows, options, is_own, err));
done:
    return st;
}

/* ---- what the manifest says of it ---- */

bool rt_grown_heap_is_new(const struct rt_manifest *manifest, const struct rt_rows_info *info)
{
    bool is_new = info->n_files != manifest->n_own_heaps;
    for (size_t i = 0; i < info->n_files && !is_new; i++) {
        const struct rt_heap_file *now = &info->files[i];
        const struct rt_manifest_heap *then = &manifest->heaps[i];
        is_new = now->n_rows != then->n_rows || now->size_bytes != then->size_bytes ||
                 now->mtime_ns != then->mtime_ns;
    }
    return is_new;
}

/* Blocks of rows that are not in this heap stay, but for one that it ends in. */
static enum rt_status sample_some(struct rt_manifest *m, struct rt_rows *rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_row_sample now;
    uint64_t n_rows = rt_rows_info(rows)->n_rows;
    RT_TRY(rt_rows_sample_again(rows, &m->sample, n_rows, &now, err));
    for (size_t i = now.n_blocks; i < m->sample.n_blocks; i++)
        if (m->sample.blocks[i].begin >= n_rows)
            now.blocks[now.n_blocks++] = m->sample.blocks[i];
    m->sample = now;
done:
    return st;
}

enum rt_status rt_grown_heap_record(struct rt_manifest *manifest, struct rt_rows *rows,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_rows_info *info = rt_rows_info(rows);
    struct rt_row_sample sample;
    if (has_rows(manifest) && info->n_rows < rt_manifest_own_rows(manifest)) {
        RT_TRY(sample_some(manifest, rows, err));
        goto done;
    }
    RT_TRY(rt_rows_sample_before(rows, 0, info->n_rows, &sample, err));
    RT_TRY(rt_manifest_take_heap(manifest, info->files, info->n_files, &sample, err));
done:
    return st;
}
