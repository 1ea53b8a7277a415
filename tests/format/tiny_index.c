#include "tests/format/tiny_index.h"

#include "core/block.h"
#include "core/code.h"
#include "core/fingerprint.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/record.h"
#include "core/rotation.h"
#include "io/index_dir.h"
#include "io/list_file.h"
#include "io/lock.h"
#include "io/tape_file.h"
#include "io/tree_file.h"
#include "io/vectors_file.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK 256

struct tiny {
    const struct tiny_options *options;
    const char *dir;
    uint64_t generation;
    struct rt_tree tree;
    uint32_t n_top;
    float *top, *leaves; /* n_top x dim, n_lists x dim */
    uint32_t *parents, *first_child;
    float *rows; /* n_rows x dim, as the element type rounds them */
    void *elements;
    uint32_t *lists;
    struct rt_place *places;
    uint8_t *codes;
    float *factors;
    uint32_t code_bytes, n_factors;
    struct rt_hash128 fingerprint, tree_hash, rows_hash;
    struct rt_h5_layout tree_layout;
    struct rt_manifest *manifest;
};

static uint64_t id_of(uint32_t row)
{
    return 1000 + 3 * (uint64_t)row;
}

/* -10..10, so that every element type can hold it. */
static float draw(uint64_t seed, uint64_t a, uint64_t b)
{
    return (float)((int)rt_random_below(rt_random(seed, RT_RANDOM_TEST, a, b, 0), 81) - 40) / 4.0f;
}

static enum rt_status make_tree(struct tiny *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct tiny_options *o = t->options;
    t->n_top = o->n_lists > 4 ? 2 : 0;
    RT_TRY(rt_array_zero((size_t)(t->n_top + 1) * o->dim, sizeof(float), &t->top, err));
    RT_TRY(rt_array_new((size_t)o->n_lists * o->dim, sizeof(float), &t->leaves, err));
    RT_TRY(rt_array_new(o->n_lists, sizeof(uint32_t), &t->parents, err));
    RT_TRY(rt_array_new(t->n_top + 1, sizeof(uint32_t), &t->first_child, err));
    for (uint32_t c = 0; c < o->n_lists; c++) {
        t->parents[c] = c < o->n_lists / 3 ? 0 : 1;
        for (uint32_t i = 0; i < o->dim; i++)
            t->leaves[(size_t)c * o->dim + i] = draw(o->seed, 1 + c, i);
    }
    t->tree = (struct rt_tree){.dim = o->dim,
                               .metric = o->metric,
                               .spherical = o->metric != RT_L2,
                               .residual = o->residual,
                               .rotation_seed = UINT64_MAX - o->seed};
    if (t->n_top) {
        t->first_child[0] = 0;
        t->first_child[1] = o->n_lists / 3;
        t->first_child[2] = o->n_lists;
        t->tree.levels[t->tree.n_levels++] =
            (struct rt_level){t->n_top, t->top, NULL, t->first_child};
    }
    t->tree.levels[t->tree.n_levels++] =
        (struct rt_level){o->n_lists, t->leaves, t->n_top ? t->parents : NULL, NULL};
    RT_TRY(rt_fingerprint(&t->tree, o->element, &t->fingerprint, err));
    RT_TRY(rt_tree_hash(&t->tree, &t->tree_hash, err));
done:
    return st;
}

static uint32_t nearest(const struct tiny *t, const float *row)
{
    uint32_t best = 0;
    float least = 0;
    for (uint32_t c = 0; c < t->options->n_lists; c++) {
        float sum = 0;
        for (uint32_t i = 0; i < t->options->dim; i++) {
            float d = row[i] - t->leaves[(size_t)c * t->options->dim + i];
            sum += d * d;
        }
        if (c == 0 || sum < least) {
            best = c;
            least = sum;
        }
    }
    return best;
}

static enum rt_status make_rows(struct tiny *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct tiny_options *o = t->options;
    size_t n = o->n_rows;
    t->code_bytes = rt_code_bytes(o->dim);
    t->n_factors = rt_code_n_factors(o->metric);
    RT_TRY(rt_array_new(n * o->dim, sizeof(float), &t->rows, err));
    RT_TRY(rt_array_new(n * o->dim, rt_element_size(o->element), &t->elements, err));
    RT_TRY(rt_array_new(n, sizeof(uint32_t), &t->lists, err));
    RT_TRY(rt_array_zero(n, sizeof(struct rt_place), &t->places, err));
    RT_TRY(rt_array_new(n, t->code_bytes, &t->codes, err));
    RT_TRY(rt_array_new(n * t->n_factors, sizeof(float), &t->factors, err));
    for (uint32_t r = 0; r < o->n_rows; r++) {
        float *row = t->rows + (size_t)r * o->dim;
        for (uint32_t i = 0; i < o->dim; i++)
            row[i] = o->element == RT_U8 ? 10.0f + draw(o->seed, 1000000 + r, i)
                                         : draw(o->seed, 1000000 + r, i);
        char *element = (char *)t->elements + (size_t)r * o->dim * rt_element_size(o->element);
        rt_element_from_f32(o->element, row, element, o->dim);
        rt_element_to_f32(o->element, element, row, o->dim);
        t->lists[r] = nearest(t, row);
        rt_code_encode(o->metric, row,
                       o->residual ? t->leaves + (size_t)t->lists[r] * o->dim : NULL, o->dim,
                       t->codes + (size_t)r * t->code_bytes, t->factors + (size_t)r * t->n_factors);
        t->rows_hash = rt_hash128_add(
            t->rows_hash,
            rt_record_hash(t->lists[r], id_of(r), t->codes + (size_t)r * t->code_bytes,
                           t->code_bytes, t->factors + (size_t)r * t->n_factors, t->n_factors));
    }
done:
    return st;
}

static enum rt_status finish(struct tiny *t, enum rt_file_kind kind,
                             const struct rt_h5_layout *layout, uint64_t rows, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    RT_TRY(rt_index_finish_file(t->dir, kind, t->generation, err));
    RT_TRY(rt_index_path(t->dir, kind, t->generation, false, path, err));
    RT_TRY(rt_manifest_add_file(t->manifest, kind, t->generation, path, layout, rows, err));
done:
    return st;
}

static enum rt_status write_tree(struct tiny *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    uint32_t n = t->options->n_lists;
    uint64_t *rows = NULL;
    float *radius = NULL;
    double *spread = NULL;
    RT_TRY(rt_array_zero(n, sizeof *rows, &rows, err));
    RT_TRY(rt_array_zero(n, sizeof *radius, &radius, err));
    RT_TRY(rt_array_zero(n, sizeof *spread, &spread, err));
    for (uint32_t r = 0; r < t->options->n_rows; r++)
        rows[t->lists[r]]++;
    RT_TRY(rt_index_path(t->dir, RT_FILE_TREE, t->generation, true, path, err));
    RT_TRY(rt_tree_file_write(path, &t->tree, t->options->element, t->generation, t->fingerprint,
                              t->tree_hash, &t->tree_layout, err));
    RT_TRY(rt_tree_file_write_leaves(path, &t->tree_layout, rows, radius, spread, err));
    RT_TRY(finish(t, RT_FILE_TREE, &t->tree_layout, n, err));
done:
    rt_array_free(rows);
    rt_array_free(radius);
    rt_array_free(spread);
    return st;
}

/* Slots of a tape: its rows, one after the other, the last ones unused. */
static enum rt_status write_tape_of_vectors(struct tiny *t, struct rt_h5_file *file,
                                            const struct rt_tape_entry *tape, uint32_t number,
                                            uint32_t n_tapes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_unit_writer *writer = NULL;
    size_t vector_bytes = rt_element_size(t->options->element) * t->options->dim;
    RT_TRY(rt_vectors_writer_new(file, tape->first_slot, tape->first_slot + tape->n_slots, 100000,
                                 &writer, err));
    uint32_t slot = 0;
    for (uint32_t r = 0; r < t->options->n_rows; r++) {
        uint64_t id = id_of(r);
        if (!t->options->in_heap && r % n_tapes != number)
            continue;
        t->places[r] = (struct rt_place){number, slot++}; /* one segment a tape */
        RT_TRY(rt_vectors_append(writer, (char *)t->elements + r * vector_bytes, &id, &t->lists[r],
                                 1, err));
    }
    RT_TRY(rt_vectors_writer_end(writer, err));
done:
    rt_unit_writer_free(writer);
    return st;
}

static enum rt_status write_vectors(struct tiny *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct tiny_options *o = t->options;
    char path[RT_PATH_MAX];
    struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    struct rt_tape_entry tapes[16];
    uint64_t first_row[16] = {0};
    uint32_t n_tapes = o->in_heap ? 1 : o->n_tapes;
    struct rt_vectors_shape shape = {.generation = t->generation,
                                     .fingerprint = t->fingerprint,
                                     .dim = o->dim,
                                     .element = o->element,
                                     .has_vectors = !o->in_heap,
                                     .cap_rows = CHUNK,
                                     .n_tapes = n_tapes,
                                     .ids_ascend = true};
    uint64_t share = rt_vectors_share_slots(&shape);
    for (uint32_t tape = 0; tape < n_tapes; tape++) {
        uint64_t n = o->n_rows / n_tapes + (tape < o->n_rows % n_tapes);
        tapes[tape] = (struct rt_tape_entry){
            shape.n_slots, tape + 1 < n_tapes ? (n + share - 1) / share * share : n};
        shape.n_slots += tapes[tape].n_slots;
    }
    shape.n_segments = (uint32_t)rt_vectors_n_segments(tapes, n_tapes);
    RT_TRY(rt_index_path(t->dir, RT_FILE_VECTORS, t->generation, true, path, err));
    RT_TRY(rt_vectors_layout(&shape, &layout, err));
    RT_TRY(rt_h5_create(path, &layout, err));
    RT_TRY(rt_h5_open_write(NULL, path, &layout, RT_IO_DIRECT, &file, err));
    RT_TRY(rt_vectors_write_directory(file, tapes, n_tapes, 0, o->in_heap ? first_row : NULL, err));
    for (uint32_t tape = 0; tape < n_tapes; tape++)
        RT_TRY(write_tape_of_vectors(t, file, &tapes[tape], tape, n_tapes, err));
    RT_TRY(rt_h5_sync(file, err));
    RT_TRY(finish(t, RT_FILE_VECTORS, &layout, o->n_rows, err));
    t->manifest->n_segments = shape.n_segments;
done:
    rt_h5_drop(file);
    return st;
}

/* The rows of a list, in row order, into blocks [first, ...) of the writer. */
static enum rt_status write_list(struct tiny *t, struct rt_unit_writer *writer, uint32_t list,
                                 uint32_t n_frozen, uint8_t *codes, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t dim = t->options->dim;
    float factors[RT_MAX_FACTORS * RT_BLOCK_ROWS];
    uint64_t ids[RT_BLOCK_ROWS];
    struct rt_place places[RT_BLOCK_ROWS];
    const struct rt_list_blocks block = {1, codes, factors, ids, places};
    uint32_t held = 0;
    for (uint32_t r = 0; r <= n_frozen; r++) {
        if (held == RT_BLOCK_ROWS || (r == n_frozen && held > 0)) {
            RT_TRY(rt_list_append(writer, &block, err));
            held = 0;
        }
        if (r == n_frozen || t->lists[r] != list)
            continue;
        if (held == 0) {
            memset(codes, 0, rt_block_code_bytes(dim));
            memset(factors, 0, sizeof factors);
            memset(ids, 0xff, sizeof ids);
            memset(places, 0, sizeof places);
        }
        rt_block_put(codes, dim, held, t->codes + (size_t)r * t->code_bytes);
        for (uint32_t f = 0; f < t->n_factors; f++)
            factors[f * RT_BLOCK_ROWS + held] = t->factors[(size_t)r * t->n_factors + f];
        ids[held] = id_of(r);
        places[held++] = t->places[r];
    }
done:
    return st;
}

static enum rt_status write_frozen(struct tiny *t, uint32_t n_frozen, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    struct rt_unit_writer *writer = NULL;
    uint64_t *rows = NULL;
    uint64_t *first = NULL;
    uint8_t *codes = NULL;
    uint32_t n_lists = t->options->n_lists;
    struct rt_list_shape shape = {.generation = t->generation,
                                  .fingerprint = t->fingerprint,
                                  .n_lists = n_lists,
                                  .dim = t->options->dim,
                                  .n_factors = t->n_factors};
    RT_TRY(rt_array_zero(n_lists, sizeof *rows, &rows, err));
    RT_TRY(rt_array_zero(n_lists, sizeof *first, &first, err));
    RT_TRY(rt_array_new(rt_block_code_bytes(shape.dim), 1, &codes, err));
    for (uint32_t r = 0; r < n_frozen; r++)
        rows[t->lists[r]]++;
    for (uint32_t list = 0; list < n_lists; list++) {
        first[list] = shape.n_blocks;
        shape.n_blocks += (rows[list] + RT_BLOCK_ROWS - 1) / RT_BLOCK_ROWS;
    }
    RT_TRY(rt_index_path(t->dir, RT_FILE_FROZEN, t->generation, true, path, err));
    RT_TRY(rt_list_layout(&shape, &layout, err));
    RT_TRY(rt_h5_create(path, &layout, err));
    RT_TRY(rt_h5_open_write(NULL, path, &layout, RT_IO_DIRECT, &file, err));
    RT_TRY(rt_list_writer_new(file, 0, shape.n_blocks, 1 << 20, &writer, err));
    for (uint32_t list = 0; list < n_lists; list++)
        RT_TRY(write_list(t, writer, list, n_frozen, codes, err));
    RT_TRY(rt_unit_writer_end(writer, rt_list_fill, err));
    RT_TRY(rt_list_write_directory(file, NULL, first, rows, err));
    RT_TRY(rt_h5_sync(file, err));
    RT_TRY(finish(t, RT_FILE_FROZEN, &layout, n_frozen, err));
done:
    rt_unit_writer_free(writer);
    rt_h5_drop(file);
    rt_array_free(rows);
    rt_array_free(first);
    rt_array_free(codes);
    return st;
}

/* Rows [begin, n_rows) as one chunk each of at most CHUNK, in order of list within it. */
static enum rt_status write_appendable(struct tiny *t, uint32_t begin, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    char path[RT_PATH_MAX];
    struct rt_h5_layout layout;
    struct rt_h5_file *file = NULL;
    struct rt_unit_writer *writer = NULL;
    uint64_t *chunks = NULL;
    uint32_t n = t->options->n_rows - begin;
    struct rt_tape_shape shape = {.generation = t->generation,
                                  .fingerprint = t->fingerprint,
                                  .n_records = n,
                                  .n_chunks = (n + CHUNK - 1) / CHUNK,
                                  .chunk_rows = CHUNK,
                                  .dim = t->options->dim,
                                  .code_bytes = t->code_bytes,
                                  .n_factors = t->n_factors};
    RT_TRY(rt_index_path(t->dir, RT_FILE_APPENDABLE, t->generation, true, path, err));
    RT_TRY(rt_tape_layout(&shape, &layout, err));
    RT_TRY(rt_h5_create(path, &layout, err));
    RT_TRY(rt_h5_open_write(NULL, path, &layout, RT_IO_DIRECT, &file, err));
    RT_TRY(rt_tape_writer_new(file, 0, n, 0, &writer, err));
    RT_TRY(rt_array_new((size_t)shape.n_chunks * 2, sizeof *chunks, &chunks, err));
    for (uint64_t chunk = 0; chunk < shape.n_chunks; chunk++) {
        uint32_t first = begin + (uint32_t)chunk * CHUNK;
        uint32_t end = first + CHUNK < t->options->n_rows ? first + CHUNK : t->options->n_rows;
        chunks[2 * chunk] = first - begin;
        chunks[2 * chunk + 1] = end - first;
        for (uint32_t list = 0; list < t->options->n_lists; list++)
            for (uint32_t r = first; r < end; r++) {
                uint64_t id = id_of(r);
                const struct rt_tape_records one = {1,
                                                    &list,
                                                    &id,
                                                    t->codes + (size_t)r * t->code_bytes,
                                                    t->factors + (size_t)r * t->n_factors,
                                                    &t->places[r]};
                if (t->lists[r] == list)
                    RT_TRY(rt_tape_append(writer, &one, err));
            }
    }
    RT_TRY(rt_unit_writer_end(writer, rt_tape_fill, err));
    RT_TRY(rt_unit_write_all(file, RT_TAPE_CHUNKS, chunks, err));
    RT_TRY(rt_h5_sync(file, err));
    RT_TRY(finish(t, RT_FILE_APPENDABLE, &layout, n, err));
done:
    rt_unit_writer_free(writer);
    rt_h5_drop(file);
    rt_array_free(chunks);
    return st;
}

static enum rt_status publish(struct tiny *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_manifest *m = t->manifest;
    char path[] = "rows.fbin";
    const struct rt_manifest_heap heap = {path, NULL, 0, t->options->n_rows, 8, -1, false};
    m->generation = t->generation;
    m->fingerprint = t->fingerprint;
    m->tree_hash = t->tree_hash;
    m->rows_hash = t->rows_hash;
    m->digest = rt_digest(t->tree_hash, t->rows_hash);
    m->dim = t->options->dim;
    m->metric = t->options->metric;
    m->element = t->options->element;
    m->residual = t->tree.residual;
    m->spherical = t->tree.spherical;
    m->rerank_in_heap = t->options->in_heap;
    m->rotation_seed = t->tree.rotation_seed;
    m->rotation_version = RT_ROTATION_VERSION;
    m->n_levels = t->tree.n_levels;
    for (uint32_t l = 0; l < m->n_levels; l++)
        m->levels[l] = t->tree.levels[l].n;
    m->beam = 1;
    m->n_rows = t->options->n_rows;
    m->n_rows_appendable = t->options->n_appendable;
    m->n_rows_frozen = m->n_rows - m->n_rows_appendable;
    m->largest_id = UINT64_MAX - 1;
    m->next_row = m->n_rows;
    RT_TRY(rt_manifest_add_heap(m, &heap, err));
    RT_TRY(rt_manifest_publish(t->dir, m, NULL, err));
done:
    return st;
}

static enum rt_status write_all(struct tiny *t, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    uint32_t n_frozen = t->options->n_rows - t->options->n_appendable;
    RT_TRY(rt_manifest_new(&t->manifest, err));
    RT_TRY(make_tree(t, err));
    RT_TRY(make_rows(t, err));
    RT_TRY(write_tree(t, err));
    RT_TRY(write_vectors(t, err));
    RT_TRY(write_frozen(t, n_frozen, err));
    if (t->options->n_appendable > 0)
        RT_TRY(write_appendable(t, n_frozen, err));
    RT_TRY(publish(t, err));
done:
    rt_manifest_free(t->manifest);
    rt_array_free(t->top);
    rt_array_free(t->leaves);
    rt_array_free(t->parents);
    rt_array_free(t->first_child);
    rt_array_free(t->rows);
    rt_array_free(t->elements);
    rt_array_free(t->lists);
    rt_array_free(t->places);
    rt_array_free(t->codes);
    rt_array_free(t->factors);
    return st;
}

enum rt_status tiny_index_write(const char *dir, const struct tiny_options *options,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_index_dir_begin begin;
    struct rt_lock *lock = NULL;
    const struct rt_lock_options lock_options = {false, 0};
    struct tiny tiny = {.options = options, .dir = dir};
    RT_TRY(rt_index_dir_begin(dir, true, false, &begin, err));
    RT_TRY(rt_lock_take(dir, &lock_options, &lock, err));
    tiny.generation = begin.generation;
    RT_TRY(write_all(&tiny, err));
    RT_TRY(rt_lock_check(lock, err));
done:
    rt_lock_release(lock);
    return st;
}
