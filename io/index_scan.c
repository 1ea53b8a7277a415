#include "io/index_scan.h"

#include "core/block.h"
#include "core/code.h"
#include "core/memory.h"
#include "io/read_ahead.h"

#include <string.h>

#define BYTES_A_FAULT 65536u /* that the system maps around a place that is touched, about */

/* Records of one list in one appendable file, packed as frozen blocks are: they are scanned with
 * the same tables (I2). Grows to the largest such list. */
struct appended_blocks {
    uint64_t room; /* blocks */
    uint8_t *codes;
    float *factors;
    uint64_t *ids;
    struct rt_place *places;
};

/* A segment whose vectors lie in order, every slot there: most do. */
struct plain_segment {
    uint32_t number;
    uint32_t n_slots;    /* 0: another kind of segment */
    const char *vectors; /* of its first slot */
};

struct rt_index_scan {
    struct rt_index_scan_source source;
    struct plain_segment *segments; /* as the view numbers them */
    struct rt_scanner *scanner;
    struct rt_read_ahead ahead;
    struct rt_scan_run *runs;         /* one of frozen blocks and one an appendable file */
    struct appended_blocks *appended; /* by appendable file */
    unsigned char *vectors;           /* RT_SCAN_FETCH, where they come from the heap */
};

enum rt_status rt_index_probes(const struct rt_index_view *view, const uint64_t *given,
                               uint32_t n_given, uint32_t probes[RT_MAX_LEVELS],
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_tree *tree = &view->tree.tree;
    uint32_t n_levels = tree->n_levels;
    uint32_t n_leaves = rt_tree_leaves(tree)->n;
    rt_assert(n_leaves > 0); /* no level of an opened index is empty */
    if (n_given > 1 && n_given != n_levels)
        RT_FAIL(RT_USAGE,
                "%u numbers of probes, the index has %u levels: give one for the leaves, or one a "
                "level",
                n_given, n_levels);
    uint32_t root = 1; /* ceil(sqrt(leaves)), in integers */
    while ((uint64_t)root * root < n_leaves)
        root++;
    uint64_t leaves = n_given ? given[n_given - 1] : root;
    leaves = leaves < n_leaves ? leaves : n_leaves;
    for (uint32_t l = 0; l < n_levels; l++) {
        uint64_t n = tree->levels[l].n;
        uint64_t keep = leaves;
        if (l + 1 <
            n_levels) { /* twice what one nearest leaf asks for: P of them lie further apart */
            uint64_t wide = (8 * leaves * n + n_leaves - 1) / n_leaves;
            uint64_t beam = UINT64_C(2) * view->manifest->beam;
            keep = n_given > 1 ? given[l] : wide > beam ? wide : beam;
        }
        probes[l] = (uint32_t)(keep < n ? keep : n);
    }
done:
    return st;
}

static uint64_t n_blocks(void *context, uint32_t list)
{
    const struct rt_index_view *view = ((const struct rt_index_scan *)context)->source.view;
    struct rt_list_blocks blocks;
    uint64_t n_rows = 0;
    struct rt_error ignored; /* a damaged entry has no blocks here; read_list tells */
    if (rt_index_list(view, list, &blocks, &n_rows, &ignored) != RT_OK)
        return 1;
    uint64_t n = blocks.n_blocks;
    for (size_t i = 0; i < view->n_appendable; i++)
        n += rt_block_count(rt_index_n_records(view, &view->appendable[i], list));
    return n;
}

/* Blocks [begin, end) of a frozen list. */
static enum rt_status lend_frozen(struct rt_index_scan *s, uint32_t list, uint64_t begin,
                                  uint64_t end, uint64_t *n_list_blocks, size_t *n_runs,
                                  struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = s->source.view;
    struct rt_list_blocks blocks;
    struct rt_list_blocks part;
    uint64_t n_rows = 0;
    RT_TRY(rt_index_list(view, list, &blocks, &n_rows, err));
    *n_list_blocks = blocks.n_blocks;
    end = end < blocks.n_blocks ? end : blocks.n_blocks;
    if (begin >= end)
        goto done;
    rt_list_blocks_part(view, &blocks, begin, end - begin, &part);
    uint64_t rows_end = end * RT_BLOCK_ROWS < n_rows ? end * RT_BLOCK_ROWS : n_rows;
    s->runs[(*n_runs)++] = (struct rt_scan_run){.n_rows = rows_end - begin * RT_BLOCK_ROWS,
                                                .generation = rt_index_list_generation(view, list),
                                                .codes = part.codes,
                                                .factors = part.factors,
                                                .ids = part.ids,
                                                .places = part.places,
                                                .lasts = true};
done:
    return st;
}

static enum rt_status make_room(struct appended_blocks *to, const struct rt_index_view *view,
                                uint64_t n, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    if (n <= to->room)
        return RT_OK;
    n = n > 2 * to->room ? n : 2 * to->room;
    RT_TRY(rt_array_resize(n, rt_block_code_bytes(view->manifest->dim), &to->codes, err));
    RT_TRY(rt_array_resize(n, (size_t)view->n_factors * RT_BLOCK_ROWS * sizeof(float), &to->factors,
                           err));
    RT_TRY(rt_array_resize(n, RT_BLOCK_ROWS * sizeof *to->ids, &to->ids, err));
    RT_TRY(rt_array_resize(n, RT_BLOCK_ROWS * sizeof *to->places, &to->places, err));
    to->room = n;
done:
    return st;
}

static void put_record(struct appended_blocks *to, const struct rt_index_view *view,
                       const struct rt_tape_records *records, uint64_t record, uint64_t at)
{
    uint32_t dim = view->manifest->dim;
    uint64_t block = at / RT_BLOCK_ROWS;
    uint32_t row = (uint32_t)(at % RT_BLOCK_ROWS);
    rt_block_put(to->codes + block * rt_block_code_bytes(dim), dim, row,
                 records->codes + record * view->code_bytes);
    for (uint32_t f = 0; f < view->n_factors; f++)
        to->factors[(block * view->n_factors + f) * RT_BLOCK_ROWS + row] =
            records->factors[record * view->n_factors + f];
    to->ids[at] = records->ids[record];
    to->places[at] = records->places[record];
}

/* Records [begin, end) of the list's in an appendable file, whole blocks of them. */
static enum rt_status lend_appended(struct rt_index_scan *s, size_t file, uint32_t list,
                                    uint64_t begin, uint64_t end, size_t *n_runs,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_index_view *view = s->source.view;
    const struct rt_tape_view *tape = &view->appendable[file];
    struct appended_blocks *to = &s->appended[file];
    uint64_t n = rt_block_count(end - begin);
    uint64_t at = 0;
    RT_TRY(make_room(to, view, n, err));
    memset(to->codes, 0, n * rt_block_code_bytes(view->manifest->dim));
    uint64_t block_factors =
        (uint64_t)view->n_factors * RT_BLOCK_ROWS; /* the last block may not get full */
    memset(to->factors + (n - 1) * block_factors, 0, block_factors * sizeof *to->factors);
    for (uint64_t chunk = 0; chunk < tape->shape.n_chunks && at < end; chunk++) {
        uint64_t record = 0;
        uint64_t record_end = 0;
        rt_index_records(view, tape, chunk, list, &record, &record_end);
        for (; record < record_end && at < end; record++, at++)
            if (at >= begin)
                put_record(to, view, &tape->records, record, at - begin);
    }
    s->runs[(*n_runs)++] = (struct rt_scan_run){.n_rows = at - begin,
                                                .generation = tape->shape.generation,
                                                .codes = to->codes,
                                                .factors = to->factors,
                                                .ids = to->ids,
                                                .places = to->places};
done:
    return st;
}

/* The list's blocks: frozen ones first, then those of each appendable file. */
static enum rt_status read_list(void *context, uint32_t list, uint64_t begin, uint64_t end,
                                const struct rt_scan_run **runs, size_t *n_runs,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_scan *s = context;
    const struct rt_index_view *view = s->source.view;
    uint64_t first = 0; /* number of the file's first block in the list */
    uint64_t n = 0;
    *n_runs = 0;
    *runs = s->runs;
    RT_TRY(lend_frozen(s, list, begin, end, &n, n_runs, err));
    for (size_t i = 0; i < view->n_appendable && first + n < end; i++) {
        first += n;
        uint64_t n_records = rt_index_n_records(view, &view->appendable[i], list);
        n = rt_block_count(n_records);
        uint64_t from = begin > first ? (begin - first) * RT_BLOCK_ROWS : 0;
        uint64_t to = (end - first) * RT_BLOCK_ROWS;
        to = to < n_records ? to : n_records;
        if (from < to)
            RT_TRY(lend_appended(s, i, list, from, to, n_runs, err));
    }
done:
    return st;
}

static bool is_slow(void *context)
{
    return rt_read_ahead_begin(&((struct rt_index_scan *)context)->ahead);
}

static void expect_list(void *context, uint32_t list, uint64_t begin, uint64_t end)
{
    struct rt_index_scan *s = context;
    const struct rt_index_view *view = s->source.view;
    struct rt_list_blocks blocks;
    struct rt_list_blocks part;
    uint64_t n_rows = 0;
    struct rt_error ignored; /* read_list tells */
    if (rt_index_list(view, list, &blocks, &n_rows, &ignored) != RT_OK || begin >= blocks.n_blocks)
        return;
    end = end < blocks.n_blocks ? end : blocks.n_blocks;
    rt_list_blocks_part(view, &blocks, begin, end - begin, &part);
    size_t n = (size_t)(end - begin);
    size_t rows = n * RT_BLOCK_ROWS;
    rt_read_ahead_ask(&s->ahead, part.codes, n * rt_block_code_bytes(view->manifest->dim));
    rt_read_ahead_ask(&s->ahead, part.factors, rows * view->n_factors * sizeof *part.factors);
    rt_read_ahead_ask(&s->ahead, part.ids, rows * sizeof *part.ids);
    rt_read_ahead_ask(&s->ahead, part.places, rows * sizeof *part.places);
}

static struct plain_segment plain_segment(const struct rt_segment_ref *segment, size_t row_bytes)
{
    const struct rt_segment_entry *entry = segment->entry;
    struct plain_segment plain = {.number = (uint32_t)entry->number};
    if (segment->file->vectors && entry->first_kept == RT_ALL_KEPT) {
        plain.n_slots = (uint32_t)entry->n_slots;
        plain.vectors = (const char *)segment->file->vectors + entry->first_slot * row_bytes;
    }
    return plain;
}

/* Segments are numbered one after the other, but where a vacuum has left some out. */
static const void *plain_vector(const struct rt_index_scan *s, const struct rt_place *place,
                                size_t row_bytes)
{
    size_t guess = place->segment - s->segments[0].number;
    if (guess >= s->source.view->n_segments || s->segments[guess].number != place->segment ||
        place->slot >= s->segments[guess].n_slots)
        return NULL;
    return s->segments[guess].vectors + place->slot * row_bytes;
}

static enum rt_status read_vectors(void *context, const struct rt_place *places, size_t n,
                                   const void **vectors, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_scan *s = context;
    const struct rt_index_view *view = s->source.view;
    size_t row_bytes = view->manifest->dim * rt_element_size(view->manifest->element);
    bool asks = !s->source.heap && rt_read_ahead_begin(&s->ahead);
    for (size_t i = 0; i < n; i++) {
        struct rt_place_view place;
        vectors[i] = plain_vector(s, &places[i], row_bytes);
        if (vectors[i])
            continue;
        RT_TRY(rt_index_place(view, places[i].segment, places[i].slot, &place, err));
        vectors[i] = place.vector;
        if (!place.vector) {
            unsigned char *vector = s->vectors + i * row_bytes;
            RT_TRY(rt_heap_vectors_read(s->source.heap, place.heap_row, vector, err));
            vectors[i] = vector;
        }
    }
    for (size_t i = 0; i < n && asks; i++)
        rt_read_ahead_ask(&s->ahead, vectors[i], row_bytes);
done:
    return st;
}

static bool may_be_found(void *context, uint64_t id, uint64_t generation)
{
    const struct rt_index_scan_source *source = &((const struct rt_index_scan *)context)->source;
    return (!source->is_wanted || source->is_wanted(source->context, id)) &&
           rt_index_is_live(source->view, id, generation);
}

enum rt_status rt_index_scan_new(const struct rt_index_scan_source *source,
                                 const struct rt_scan_options *options, struct rt_index_scan **out,
                                 struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_scan *s = NULL;
    const struct rt_index_view *view = source->view;
    const struct rt_manifest *manifest = view->manifest;
    RT_TRY(rt_array_zero(1, sizeof *s, &s, err));
    s->source = *source;
    struct rt_scan_source rows = {.context = s,
                                  .tree = &view->tree.tree,
                                  .element = manifest->element,
                                  .n_blocks = n_blocks,
                                  .read_list = read_list,
                                  .is_slow = is_slow,
                                  .expect_list = expect_list,
                                  .read_vectors = read_vectors,
                                  .vectors_last = !source->heap,
                                  .is_live = source->is_wanted || view->n_tombstones ? may_be_found
                                                                                     : NULL};
    size_t row_bytes = manifest->dim * rt_element_size(manifest->element);
    RT_TRY(rt_array_zero(view->n_segments + 1, sizeof *s->segments, &s->segments, err));
    for (size_t i = 0; i < view->n_segments; i++)
        s->segments[i] = plain_segment(&view->segments[i], row_bytes);
    for (size_t f = 0; f < view->n_vectors; f++)
        if (view->vectors[f].vectors)
            rt_read_ahead_at_random(view->vectors[f].vectors,
                                    (size_t)view->vectors[f].shape.n_slots * row_bytes);
    RT_TRY(rt_array_new(1 + view->n_appendable, sizeof *s->runs, &s->runs, err));
    RT_TRY(rt_array_zero(view->n_appendable, sizeof *s->appended, &s->appended, err));
    RT_TRY(rt_scanner_new(&rows, options, &s->scanner, err));
    if (source->heap)
        RT_TRY(rt_array_new(RT_SCAN_FETCH, row_bytes, &s->vectors, err));
    *out = s;
    s = NULL;
done:
    rt_index_scan_free(s);
    return st;
}

/* n places of some bytes will be touched. */
static void expect_touches(uint64_t n, const void *bytes, size_t n_bytes)
{
    if (n >= n_bytes / BYTES_A_FAULT)
        rt_read_ahead_map(bytes, n_bytes);
}

void rt_index_scan_expect(const struct rt_index_scan_source *source,
                          const struct rt_scan_options *options, uint64_t n_queries)
{
    const struct rt_index_view *view = source->view;
    const size_t row_bytes = view->manifest->dim * rt_element_size(view->manifest->element);
    const uint64_t n_lists = n_queries * options->max_probes;
    const uint64_t n_rows = n_queries * options->k; /* at least */
    for (size_t f = 0; f < view->n_frozen; f++) {
        const struct rt_list_blocks *all = &view->frozen[f].blocks;
        const size_t rows = (size_t)all->n_blocks * RT_BLOCK_ROWS;
        expect_touches(n_lists, all->codes,
                       (size_t)all->n_blocks * rt_block_code_bytes(view->manifest->dim));
        expect_touches(n_lists, all->factors, rows * view->n_factors * sizeof *all->factors);
        expect_touches(n_lists, all->ids, rows * sizeof *all->ids);
        expect_touches(n_lists, all->places, rows * sizeof *all->places);
    }
    for (size_t f = 0; f < view->n_vectors && !source->heap; f++)
        expect_touches(n_rows, view->vectors[f].vectors,
                       (size_t)view->vectors[f].shape.n_slots * row_bytes);
}

void rt_index_scan_free(struct rt_index_scan *s)
{
    if (!s)
        return;
    for (size_t i = 0; s->appended && i < s->source.view->n_appendable; i++) {
        rt_array_free(s->appended[i].codes);
        rt_array_free(s->appended[i].factors);
        rt_array_free(s->appended[i].ids);
        rt_array_free(s->appended[i].places);
    }
    rt_array_free(s->appended);
    rt_array_free(s->segments);
    rt_array_free(s->runs);
    rt_scanner_free(s->scanner);
    rt_array_free(s->vectors);
    rt_array_free(s);
}

struct rt_scanner *rt_index_scanner(struct rt_index_scan *scan)
{
    return scan->scanner;
}
