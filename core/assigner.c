#include "core/assigner.h"

#include "core/gemm.h"
#include "core/leading.h"
#include "core/memory.h"

#include <stdlib.h>
#include <string.h>

#define GEMM_BLOCK 256     /* and where BLAS does */
#define GEMM_BYTES 4194304 /* but not more of rows, nor of centroids, than this */
#define NEAREST_LIST 64    /* room of a row's list for one nearest */
#define ARENA_BYTES 12582912
#define ARENA_SPARE ((size_t)640) /* its parts begin cache lines; kept cells have RT_SPARE more */
#define INT8_DIM 2048             /* beyond it the bounds of codes leave too many candidates */

size_t rt_assigner_room(uint32_t best)
{
    return best == 1 ? NEAREST_LIST
                     : (2 * (size_t)best + (size_t)2 * RT_TILE + 15) / 16 * 16 + RT_SPARE;
}

/* Bytes of arena for one row: its list, two levels of kept cells, its pairs twice, their lows, its
 * highs. */
static size_t arena_for(uint32_t best)
{
    return rt_assigner_room(best) * (sizeof(float) + sizeof(uint32_t)) +
           (size_t)best * (2 * sizeof(uint32_t) + 2 * sizeof(struct rt_pair) + 2 * sizeof(float));
}

static struct rt_assigner_sizes sizes_of(size_t max_rows, uint32_t dim, uint32_t max_beam)
{
    struct rt_assigner_sizes s;
    size_t one = arena_for(max_beam);
    size_t most = one > ARENA_BYTES ? one : ARENA_BYTES;
    s.n_batch = max_rows < RT_BATCH ? max_rows : RT_BATCH;
    s.arena = s.n_batch > most / one ? most : s.n_batch * one;
    s.arena += ARENA_SPARE;
    s.gemm_rows = GEMM_BYTES / sizeof(float) / dim;
    s.gemm_tiles = s.gemm_rows / RT_TILE;
    s.gemm_rows = s.gemm_rows > GEMM_BLOCK ? GEMM_BLOCK : s.gemm_rows < 16 ? 16 : s.gemm_rows;
    s.gemm_tiles = s.gemm_tiles > RT_GEMM_TILES ? RT_GEMM_TILES
                   : s.gemm_tiles < 1           ? 1
                                                : s.gemm_tiles;
    return s;
}

size_t rt_assigner_batch(const struct rt_assigner *a, uint32_t best)
{
    size_t n = (a->sizes.arena - ARENA_SPARE) / arena_for(best);
    return n < a->sizes.n_batch ? n : a->sizes.n_batch;
}
size_t rt_assigner_most_measured(uint32_t max_beam)
{
    return rt_assigner_room(max_beam > 1 ? max_beam : 2);
}

/* Of one block and tile, by codes or by BLAS. */
static size_t products_of(const struct rt_assigner_sizes *s)
{
    size_t gemm = s->gemm_rows * s->gemm_tiles * RT_TILE;
    size_t codes = (size_t)RT_ROW_BLOCK * RT_TILE;
    return gemm > codes ? gemm : codes;
}

static size_t fine_bytes(size_t n_rows, uint32_t dim)
{
    size_t a_row = rt_code_stride(dim) + sizeof(float) + sizeof(struct rt_row_bound);
    return sizeof(struct rt_fine_rows) + n_rows * a_row +
           (dim + (size_t)RT_ROW_BLOCK * RT_TILE) * sizeof(float);
}

static void fine_free(struct rt_fine_rows *fine)
{
    if (!fine)
        return;
    rt_array_free(fine->codes);
    rt_array_free(fine->scale);
    rt_array_free(fine->bound);
    rt_array_free(fine->rest);
    rt_array_free(fine->a);
    rt_array_free(fine);
}

static enum rt_status fine_new(size_t n_rows, uint32_t dim, struct rt_fine_rows **out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_fine_rows *fine = NULL;
    RT_TRY(rt_array_zero(1, sizeof *fine, &fine, err));
    RT_TRY(rt_array_new(n_rows, rt_code_stride(dim), &fine->codes, err));
    RT_TRY(rt_array_new(n_rows, sizeof *fine->scale, &fine->scale, err));
    RT_TRY(rt_array_new(n_rows, sizeof *fine->bound, &fine->bound, err));
    RT_TRY(rt_array_new(dim, sizeof *fine->rest, &fine->rest, err));
    RT_TRY(rt_array_new((size_t)RT_ROW_BLOCK * RT_TILE, sizeof *fine->a, &fine->a, err));
    *out = fine;
    fine = NULL;
done:
    fine_free(fine);
    return st;
}

static size_t along_bytes(size_t n_rows)
{
    return sizeof(struct rt_along_rows) +
           n_rows * (RT_LEADING_MOST + sizeof(struct rt_row_along_bound) + sizeof(int32_t) +
                     (1 + RT_PARTS) * sizeof(float) + sizeof(uint32_t));
}

static void along_free(struct rt_along_rows *along)
{
    if (!along)
        return;
    rt_array_free(along->codes);
    rt_array_free(along->bound);
    rt_array_free(along->most);
    rt_array_free(along->lows);
    rt_array_free(along->of_parts);
    rt_array_free(along->left);
    rt_array_free(along);
}

static enum rt_status along_new(size_t n_rows, struct rt_along_rows **out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_along_rows *along = NULL;
    RT_TRY(rt_array_zero(1, sizeof *along, &along, err));
    RT_TRY(rt_array_new(n_rows, RT_LEADING_MOST, &along->codes, err));
    RT_TRY(rt_array_new(n_rows, sizeof *along->bound, &along->bound, err));
    RT_TRY(rt_array_new(n_rows, sizeof *along->most, &along->most, err));
    RT_TRY(rt_array_new(n_rows, sizeof *along->lows, &along->lows, err));
    RT_TRY(rt_array_new(n_rows, RT_PARTS * sizeof(float), &along->of_parts, err));
    RT_TRY(rt_array_new(n_rows, sizeof *along->left, &along->left, err));
    *out = along;
    along = NULL;
done:
    along_free(along);
    return st;
}

size_t rt_assigner_bytes(size_t max_rows, uint32_t dim, uint32_t max_beam)
{
    struct rt_assigner_sizes s = sizes_of(max_rows, dim, max_beam);
    size_t a_row = rt_code_stride(dim) + sizeof(uint8_t *) + 2 * sizeof(float) +
                   sizeof(struct rt_row_sizes) + sizeof(struct rt_row_bound) + sizeof(uint32_t) +
                   sizeof(uint64_t) + 1;
    return sizeof(struct rt_assigner) + s.n_batch * a_row + s.arena +
           (products_of(&s) + (size_t)RT_ROW_BLOCK * RT_TOP_SLOTS) * sizeof(float) +
           sizeof(float) * dim * (s.gemm_rows + s.gemm_tiles * RT_TILE) + sizeof(struct rt_packed) +
           RT_TILE * rt_code_stride(dim) + (dim >= RT_FINE_DIM ? fine_bytes(s.n_batch, dim) : 0) +
           (rt_leading_suits(dim) ? along_bytes(s.n_batch) : 0) +
           rt_assigner_most_measured(max_beam) *
               (sizeof(uint32_t) + sizeof(float) + sizeof(uint64_t));
}

static const char *const proposer_names[] = {
    [RT_PROPOSE_INT8] = "int8", [RT_PROPOSE_SGEMM] = "sgemm", [RT_PROPOSE_NONE] = "none"};

/* Test builds take the proposer from the environment, so that whole jobs can be compared (B10). */
static enum rt_proposer forced(enum rt_proposer wanted)
{
#ifdef RT_CHECKS
    const char *given = getenv("RANKTAPE_PROPOSER");
    for (int p = RT_PROPOSE_INT8; given && p <= RT_PROPOSE_NONE; p++)
        if (strcmp(given, proposer_names[p]) == 0)
            return (enum rt_proposer)p;
#endif
    return wanted;
}

static enum rt_proposer resolve(enum rt_proposer wanted, uint32_t dim)
{
    wanted = forced(wanted);
    enum rt_isa isa = rt_kernels()->isa;
    bool has_products =
        isa == RT_ISA_AVX512_VNNI || isa == RT_ISA_AVX512_AMX || isa == RT_ISA_NEON_DOT;
    if (wanted == RT_PROPOSE_AUTO)
        wanted = has_products && dim <= INT8_DIM ? RT_PROPOSE_INT8 : RT_PROPOSE_SGEMM;
    if (wanted == RT_PROPOSE_SGEMM && !rt_gemm_is_sound(dim)) /* B9 */
        wanted = RT_PROPOSE_INT8;
    return wanted;
}

const char *rt_proposer_name(enum rt_proposer wanted, uint32_t dim)
{
    return proposer_names[resolve(wanted, dim)];
}

enum rt_status rt_assigner_new(size_t max_rows, uint32_t dim, uint32_t max_beam,
                               enum rt_proposer proposer, struct rt_assigner **out,
                               struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_assigner *a = NULL;
    max_rows = max_rows ? max_rows : 1;
    max_beam = max_beam ? max_beam : 1;
    RT_TRY(rt_array_zero(1, sizeof *a, &a, err));
    a->max_rows = max_rows;
    a->dim = dim;
    a->max_beam = max_beam;
    a->proposer = resolve(proposer, dim);
    a->kernels = rt_kernels();
    a->sizes = sizes_of(max_rows, dim, max_beam);
    a->code_stride = rt_code_stride(dim);
    size_t n = a->sizes.n_batch;
    size_t most = rt_assigner_most_measured(max_beam);
    RT_TRY(rt_array_new(n, a->code_stride, &a->codes, err));
    RT_TRY(rt_array_new(n, sizeof *a->code_of, &a->code_of, err));
    RT_TRY(rt_array_new(n, sizeof *a->row_scale, &a->row_scale, err));
    RT_TRY(rt_array_new(n, sizeof *a->row_sizes, &a->row_sizes, err));
    RT_TRY(rt_array_new(n, sizeof *a->bound, &a->bound, err));
    RT_TRY(rt_array_new(n, sizeof *a->threshold, &a->threshold, err));
    RT_TRY(rt_array_new(n, sizeof *a->n_listed, &a->n_listed, err));
    RT_TRY(rt_array_new(n, sizeof *a->settled, &a->settled, err));
    RT_TRY(rt_array_new(n, sizeof *a->wants_all, &a->wants_all, err));
    if (dim >= RT_FINE_DIM)
        RT_TRY(fine_new(n, dim, &a->fine, err));
    if (rt_leading_suits(dim))
        RT_TRY(along_new(n, &a->along, err));
    RT_TRY(rt_array_zero(a->sizes.arena, 1, &a->arena, err)); /* touched here, not on the way */
    RT_TRY(rt_array_new(products_of(&a->sizes), sizeof *a->a, &a->a, err));
    RT_TRY(rt_array_new((size_t)RT_ROW_BLOCK * RT_TOP_SLOTS, sizeof(float), &a->top_values, err));
    RT_TRY(rt_array_new(1, sizeof *a->packed, &a->packed, err));
    a->packed->codes = NULL;
    RT_TRY(rt_array_new(RT_TILE, a->code_stride, &a->packed->codes, err));
    RT_TRY(rt_array_new(most, sizeof *a->numbers, &a->numbers, err));
    RT_TRY(rt_array_new(most, sizeof *a->distances, &a->distances, err));
    RT_TRY(rt_array_new(most, sizeof *a->keys, &a->keys, err));
    if (a->proposer == RT_PROPOSE_SGEMM) {
        size_t row_bytes = dim * sizeof(float);
        RT_TRY(rt_array_new(a->sizes.gemm_rows, row_bytes, &a->gemm_rows, err));
        RT_TRY(rt_array_new(a->sizes.gemm_tiles * RT_TILE, row_bytes, &a->gemm_centroids, err));
    }
    *out = a;
    a = NULL;
done:
    rt_assigner_free(a);
    return st;
}

void rt_assigner_free(struct rt_assigner *assigner)
{
    if (!assigner)
        return;
    rt_array_free(assigner->codes);
    rt_array_free(assigner->code_of);
    rt_array_free(assigner->row_scale);
    rt_array_free(assigner->row_sizes);
    rt_array_free(assigner->bound);
    rt_array_free(assigner->threshold);
    rt_array_free(assigner->n_listed);
    rt_array_free(assigner->settled);
    rt_array_free(assigner->wants_all);
    fine_free(assigner->fine);
    along_free(assigner->along);
    rt_array_free(assigner->arena);
    rt_array_free(assigner->a);
    if (assigner->packed)
        rt_array_free(assigner->packed->codes);
    rt_array_free(assigner->packed);
    rt_array_free(assigner->numbers);
    rt_array_free(assigner->distances);
    rt_array_free(assigner->keys);
    rt_array_free(assigner->gemm_rows);
    rt_array_free(assigner->top_values);
    rt_array_free(assigner->gemm_centroids);
    rt_array_free(assigner);
}

void rt_assigner_counts(const struct rt_assigner *assigner, uint64_t *rows, uint64_t *candidates)
{
    *rows = assigner->rows;
    *candidates = assigner->candidates;
}

uint64_t rt_assigner_distances(const struct rt_assigner *assigner)
{
    return assigner->n_distances;
}

void *rt_assigner_carve(char **at, size_t bytes)
{
    void *part = *at;
    *at += rt_whole_lines(bytes);
    return part;
}

void rt_assigner_carve_lists(struct rt_target *t, size_t n_rows, char **at)
{
    t->room = rt_assigner_room(t->best);
    t->list_a = rt_assigner_carve(at, n_rows * t->room * sizeof *t->list_a);
    t->list_id = rt_assigner_carve(at, n_rows * t->room * sizeof *t->list_id);
}

void rt_assigner_check(const struct rt_assigner *a, uint32_t dim, size_t n_rows, uint32_t most)
{
    if (dim != a->dim || n_rows > a->max_rows || most > a->max_beam)
        rt_die("%zu rows of dimension %u for %u best, but the assigner is for %zu, %u and %u",
               n_rows, dim, most, a->max_rows, a->dim, a->max_beam);
}
