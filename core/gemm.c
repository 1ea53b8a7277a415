#include "core/gemm.h"

#include "core/assign.h"
#include "core/kernels/kernels.h"
#include "core/memory.h"
#include "core/random.h"
#include "core/roundoff.h"

#include <math.h>

#ifdef RT_BLAS
#include <cblas.h>

int rt_gemm_is_here(void)
{
    return 1;
}

void rt_gemm(size_t m, size_t n, size_t k, const float *a, const float *b, float *out,
             size_t n_stride)
{
    /* Rows and centroids of a block are far below 2^31. */
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (blasint)m, (blasint)n, (blasint)k, 1.0f,
                a, (blasint)k, b, (blasint)k, 0.0f, out, (blasint)n_stride);
}

static void one_thread(void)
{
    openblas_set_num_threads(1);
}
#else
int rt_gemm_is_here(void)
{
    return 0;
}

void rt_gemm(size_t m, size_t n, size_t k, const float *a, const float *b, float *out,
             size_t n_stride)
{
    (void)m, (void)n, (void)k, (void)a, (void)b, (void)out, (void)n_stride;
    rt_die("a product was asked of a build without BLAS");
}

static void one_thread(void)
{
}
#endif

#define SIDE 64

/* Numbers in pairs that nearly cancel in a product of any two rows, of magnitudes 1 to 2^-11. */
static void fill(float *out, size_t n, uint32_t dim, int is_right)
{
    for (size_t r = 0; r < n; r++)
        for (uint32_t i = 0; i < dim; i++) {
            uint64_t bits = rt_random(1, RT_RANDOM_TEST, r, i / 2, (uint64_t)is_right);
            float size = (float)(1 + (bits & 0xffffff)) * 0x1p-24f;
            float sign = is_right && i % 2 ? -1.0f : 1.0f;
            float scale = (float)(1 + (bits >> 60));
            float step = i % 2 ? 1.0f + (float)(bits >> 32 & 7) * 0x1p-20f : 1.0f;
            out[r * dim + i] = sign * size * scale * step;
        }
}

static int is_within(const float *a, const float *b, const float *out, uint32_t dim)
{
    const struct rt_kernels *kernels = rt_kernels();
    for (size_t i = 0; i < SIDE; i++)
        for (size_t j = 0; j < SIDE; j++) {
            const float *x = a + i * dim;
            const float *c = b + j * dim;
            double exact = kernels->dot(x, c, dim);
            double bound = sqrt(kernels->norm2(x, dim)) * sqrt(kernels->norm2(c, dim)) *
                           (rt_gamma(dim) + dim * 0x1p-50);
            if (!(fabs((double)out[i * SIDE + j] - exact) <= bound))
                return 0;
        }
    return 1;
}

int rt_gemm_is_sound(uint32_t dim)
{
    struct rt_error err;
    float *memory = NULL;
    int is_sound = 0;
    if (!rt_gemm_is_here())
        return 0;
    one_thread();
    if (rt_array_new((size_t)2 * SIDE * dim + (size_t)SIDE * SIDE, sizeof *memory, &memory, &err) !=
        RT_OK)
        return 0;
    float *a = memory;
    float *b = a + (size_t)SIDE * dim;
    float *out = b + (size_t)SIDE * dim;
    fill(a, SIDE, dim, 0);
    fill(b, SIDE, dim, 1);
    rt_gemm(SIDE, SIDE, dim, a, b, out, SIDE);
    is_sound = is_within(a, b, out, dim);
    rt_array_free(memory);
    return is_sound;
}
