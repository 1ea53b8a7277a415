#include "core/fingerprint.h"

#include "core/rotation.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files and hashes are little-endian");

#define FORMAT_VERSION 1u /* the major one of docs/format.md */

/* Both hashes run over words and then the levels, coarse to leaf: count, centroids, parents (none
 * at the top). They differ in the words before. */
static enum rt_status hash_tree(const struct rt_tree *tree, const uint64_t *words, size_t n_words,
                                struct rt_hash128 *out, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_hasher *hasher = rt_hasher_new();
    if (!hasher)
        RT_FAIL(RT_NOMEM, "out of memory: a hash state");
    rt_hasher_add(hasher, words, n_words * sizeof *words);
    for (uint32_t l = 0; l < tree->n_levels; l++) {
        const struct rt_level *level = &tree->levels[l];
        uint64_t n = level->n;
        rt_hasher_add(hasher, &n, sizeof n);
        rt_hasher_add(hasher, level->centroids, (size_t)level->n * tree->dim * sizeof(float));
        if (l > 0)
            rt_hasher_add(hasher, level->parent, (size_t)level->n * sizeof *level->parent);
    }
    *out = rt_hasher_end128(hasher);
done:
    rt_hasher_free(hasher);
    return st;
}

enum rt_status rt_fingerprint(const struct rt_tree *tree, enum rt_element element,
                              struct rt_hash128 *out, struct rt_error *err)
{
    const uint64_t words[] = {(uint64_t)tree->metric, tree->residual,      tree->dim,
                              (uint64_t)element,      tree->rotation_seed, RT_ROTATION_VERSION,
                              tree->n_levels};
    return hash_tree(tree, words, sizeof words / sizeof *words, out, err);
}

enum rt_status rt_tree_hash(const struct rt_tree *tree, struct rt_hash128 *out,
                            struct rt_error *err)
{
    const uint64_t words[] = {FORMAT_VERSION, (uint64_t)tree->metric, tree->residual,
                              tree->dim,      tree->rotation_seed,    RT_ROTATION_VERSION,
                              tree->n_levels};
    return hash_tree(tree, words, sizeof words / sizeof *words, out, err);
}

struct rt_hash128 rt_digest(struct rt_hash128 tree_hash, struct rt_hash128 rows_hash)
{
    const uint64_t words[] = {tree_hash.low, tree_hash.high, rows_hash.low, rows_hash.high};
    return rt_hash128(words, sizeof words);
}
