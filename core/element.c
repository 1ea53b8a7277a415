#include "core/element.h"

#include "core/kernels/kernels.h"

#include <math.h>
#include <string.h>

static const char *const names[] = {"f32", "f16", "u8", "i8"};

const char *rt_element_name(enum rt_element type)
{
    return names[type];
}

int rt_element_parse(const char *name, enum rt_element *out)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *out = (enum rt_element)i;
            return 0;
        }
    return -1;
}

void rt_element_to_f32(enum rt_element type, const void *src, float *dst, size_t n)
{
    if (n == 0)
        return;
    switch (type) {
    case RT_F32:
        memcpy(dst, src, n * sizeof *dst);
        break;
    case RT_F16:
        rt_kernels()->f16_to_f32(src, dst, n);
        break;
    case RT_U8:
        rt_kernels()->u8_to_f32(src, dst, n);
        break;
    case RT_I8:
        rt_kernels()->i8_to_f32(src, dst, n);
        break;
    }
}

/* Round to nearest even, overflow to infinity, NaN to a quiet NaN. */
static uint16_t half_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t size = bits & 0x7fffffffu;
    if (size > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (size < 0x38800000u) { /* below 2^-14: a multiple of 2^-24 */
        float magnitude;
        memcpy(&magnitude, &size, sizeof magnitude);
        return (uint16_t)(sign | (uint16_t)lrintf(magnitude * 0x1p24f));
    }
    uint32_t rounded = size - (112u << 23) + 0xfffu + (size >> 13 & 1u);
    return (uint16_t)(sign | rounded >> 13);
}

static float clamped(float value, float low, float high)
{
    if (!(value > low)) /* NaN too */
        return value <= low ? low : 0.0f;
    return value > high ? high : value;
}

void rt_element_from_f32(enum rt_element type, const float *src, void *dst, size_t n)
{
    unsigned char *to = dst;
    switch (type) {
    case RT_F32:
        if (n > 0)
            memcpy(dst, src, n * sizeof *src);
        break;
    case RT_F16:
        for (size_t i = 0; i < n; i++) {
            uint16_t half = half_of(src[i]);
            memcpy(to + 2 * i, &half, sizeof half);
        }
        break;
    case RT_U8:
        for (size_t i = 0; i < n; i++)
            to[i] = (uint8_t)lrintf(clamped(src[i], 0.0f, 255.0f));
        break;
    case RT_I8:
        for (size_t i = 0; i < n; i++)
            to[i] = (unsigned char)lrintf(clamped(src[i], -128.0f, 127.0f));
        break;
    }
}
