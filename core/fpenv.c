#include "core/fpenv.h"

#include <fenv.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#ifdef __FAST_MATH__
#error "ranktape must not be compiled with fast-math (A2)"
#endif

/* Bits that must be zero: MXCSR rounding 13-14, FTZ 15, DAZ 6; FPCR rounding 22-23, FZ 24, FZ16 19.
 */
#if defined(__SSE2__)
#define BAD_BITS 0xE040u
#elif defined(__aarch64__)
#define BAD_BITS ((UINT64_C(3) << 22) | (UINT64_C(1) << 24) | (UINT64_C(1) << 19))
static uint64_t fpcr_get(void)
{
    uint64_t value;
    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}
#endif

void rt_fpenv_set(void)
{
    (void)fesetround(FE_TONEAREST);
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() & ~BAD_BITS);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr_get() & ~BAD_BITS));
#endif
}

bool rt_fpenv_is_strict(void)
{
#if defined(__SSE2__)
    if (_mm_getcsr() & BAD_BITS)
        return false;
#elif defined(__aarch64__)
    if (fpcr_get() & BAD_BITS)
        return false;
#endif
    volatile float smallest = 0x1p-149f;
    volatile float least_normal = 0x1p-126f;
    volatile float one = 1.0f;
    volatile float half_step = 0x1p-24f;
    volatile float kept = smallest * one;
    volatile float halved = least_normal * 0.5f;
    volatile float even = one + half_step;
    volatile float below = -one - half_step;
    return fegetround() == FE_TONEAREST && kept != 0.0f && halved != 0.0f && even == 1.0f &&
           below == -1.0f;
}
