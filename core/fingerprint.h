/* The three hashes that say which index something belongs to: fingerprint (files may be mixed),
 * tree hash and digest (same result). All XXH3-128 over little-endian bytes; the exact sequence is
 * in docs/format.md. */
#ifndef RT_CORE_FINGERPRINT_H
#define RT_CORE_FINGERPRINT_H

#include "core/checksum.h"
#include "core/element.h"
#include "core/error.h"
#include "core/tree.h"

/* Centroids, parents, rotation seed and version, metric, residual, dimension, element type. Fails
 * with RT_NOMEM. */
enum rt_status rt_fingerprint(const struct rt_tree *tree, enum rt_element element,
                              struct rt_hash128 *out, struct rt_error *err) RT_MUST_CHECK;
/* H_tree of K1: format version, metric, residual, dimension, rotation seed and version, each
 * level's count, centroid bits and parents. Fails with RT_NOMEM. */
enum rt_status rt_tree_hash(const struct rt_tree *tree, struct rt_hash128 *out,
                            struct rt_error *err) RT_MUST_CHECK;
/* digest = XXH3-128 of H_tree and H_rows. */
struct rt_hash128 rt_digest(struct rt_hash128 tree_hash, struct rt_hash128 rows_hash);

#endif
