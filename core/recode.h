/* The code of a row computed again from its vector, and compared with the one that is stored: what
 * verify and import believe. One thread. */
#ifndef RT_CORE_RECODE_H
#define RT_CORE_RECODE_H

#include "core/element.h"
#include "core/error.h"
#include "core/tree.h"

struct rt_recoder;
/* tree is lent for the recoder's life. Fails with RT_NOMEM. */
enum rt_status rt_recoder_new(const struct rt_tree *tree, enum rt_element element,
                              struct rt_recoder **out, struct rt_error *err) RT_MUST_CHECK;
void rt_recoder_free(struct rt_recoder *recoder); /* NULL is fine */

enum rt_recode_verdict {
    RT_RECODE_SAME = 0,
    RT_RECODE_NO_ROW, /* the vector is none that can be indexed */
    RT_RECODE_DIFFERS
};
/* vector: dim elements, as the row came; list below the tree's leaves; code: rt_code_bytes;
 * factors: rt_code_n_factors. Bits are compared: +0 is not -0. */
enum rt_recode_verdict rt_recode(struct rt_recoder *recoder, const void *vector, uint32_t list,
                                 const uint8_t *code, const float *factors);

#endif
