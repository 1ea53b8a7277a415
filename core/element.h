/* Element types of rows, and their conversion to f32 (exact for all four). */
#ifndef RT_CORE_ELEMENT_H
#define RT_CORE_ELEMENT_H

#include <stddef.h>
#include <stdint.h>

enum rt_element { RT_F32 = 0, RT_F16 = 1, RT_U8 = 2, RT_I8 = 3 };
#define RT_MAX_DIM 65535u

static inline size_t rt_element_size(enum rt_element type)
{
    return type == RT_F32 ? 4 : type == RT_F16 ? 2 : 1;
}
/* "f32" "f16" "u8" "i8", as in --type. */
const char *rt_element_name(enum rt_element type);
/* Returns 0 and sets *out, or -1 where no type has this name. */
int rt_element_parse(const char *name, enum rt_element *out);
/* n elements at src (any alignment, little-endian) to f32. */
void rt_element_to_f32(enum rt_element type, const void *src, float *dst, size_t n);
/* The other way, rounded to nearest even; u8 and i8 clamp. For synth and tests. */
void rt_element_from_f32(enum rt_element type, const float *src, void *dst, size_t n);

#endif
