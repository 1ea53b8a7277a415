/* The specification of the inner loops of codes and scanning, in plain C. */
#include "core/element.h"
#include "core/kernels/scan_kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define LANES 16

/* A4's tree over 16 lanes. */
#define RT_TREE(lane)                                                                              \
    do {                                                                                           \
        for (int half = LANES / 2; half > 0; half /= 2)                                            \
            for (int l = 0; l < half; l++)                                                         \
                (lane)[l] += (lane)[l + half];                                                     \
    } while (0)

static void encode(const float *row, const float *c, bool dots, size_t dim, uint8_t *code,
                   struct rt_code_sums *sums)
{
    double square[LANES] = {0};
    double absolute[LANES] = {0};
    double centroid[LANES] = {0};
    memset(code, 0, (dim + 7) / 8);
    for (size_t i = 0; i < dim; i++) {
        float u = c ? row[i] - c[i] : row[i];
        double x = (double)u;
        square[i % LANES] += x * x;
        absolute[i % LANES] += fabs(x);
        if (c && dots)
            centroid[i % LANES] += x * (double)c[i];
        if (!signbit(u))
            code[i / 8] = (uint8_t)(code[i / 8] | 1u << i % 8);
    }
    RT_TREE(square);
    RT_TREE(absolute);
    RT_TREE(centroid);
    *sums = (struct rt_code_sums){square[0], absolute[0], centroid[0]};
}

static void table_terms(const float *v, const float *c, size_t dim, float *difference,
                        struct rt_scan_terms *terms)
{
    float square[LANES] = {0};
    float dot[LANES] = {0};
    size_t padded = (dim + LANES - 1) / LANES * LANES;
    float most = 0;
    for (size_t i = 0; i < dim; i++) {
        float r = c ? v[i] - c[i] : v[i];
        difference[i] = r;
        square[i % LANES] += r * r;
        if (c)
            dot[i % LANES] += v[i] * c[i];
    }
    for (size_t i = dim; i < padded; i++)
        difference[i] = 0;
    for (size_t i = 0; i < padded; i += 4) {
        const float *r = difference + i;
        float entry = (fabsf(r[0]) + fabsf(r[1])) + (fabsf(r[2]) + fabsf(r[3]));
        if (entry > most)
            most = entry;
    }
    RT_TREE(square);
    RT_TREE(dot);
    *terms = (struct rt_scan_terms){square[0], dot[0], most};
}

static void table_fill(const float *difference, uint32_t n_groups, float most, float inverse,
                       uint8_t *entries)
{
    memset(entries, 0, (size_t)(n_groups + 3) / 4 * 64);
    for (size_t g = 0; g < n_groups; g++) {
        const float *r = difference + 4 * g;
        for (unsigned m = 0; m < 16; m++) {
            float low = (m & 1 ? r[0] : -r[0]) + (m & 2 ? r[1] : -r[1]);
            float high = (m & 4 ? r[2] : -r[2]) + (m & 8 ? r[3] : -r[3]);
            entries[16 * g + m] = (uint8_t)rintf(((low + high) + most) * inverse);
        }
    }
}

static void block_sums(const uint8_t *entries, const uint8_t *codes, uint32_t n_groups,
                       uint32_t *sums)
{
    memset(sums, 0, 32 * sizeof *sums);
    for (size_t g = 0; g < n_groups; g++)
        for (unsigned j = 0; j < 16; j++) {
            unsigned byte = codes[16 * g + j];
            unsigned row = j / 2 + 8 * (j % 2);
            sums[row] += entries[16 * g + (byte & 15)];
            sums[row + 16] += entries[16 * g + (byte >> 4)];
        }
}

static void scan(const struct rt_scan_table *table, const uint8_t *codes, const float *factors,
                 size_t n_blocks, float tau, float *bounds, uint32_t *kept)
{
    const float *first = factors + 32 * (size_t)table->first;
    for (size_t b = 0; b < n_blocks; b++) {
        uint32_t sums[32];
        block_sums(table->entries, codes, table->n_groups, sums);
        kept[b] = 0;
        for (unsigned r = 0; r < 32; r++) {
            float e = table->scale * (float)sums[r] + table->base;
            float rough = (first[r] + table->offset) - e * factors[32 + r];
            float bound = rough - factors[64 + r] * table->width;
            if (!(bound <= FLT_MAX))
                bound = -INFINITY;
            bounds[32 * b + r] = bound;
            kept[b] |= (uint32_t)(bound <= tau) << r;
        }
        codes += (size_t)16 * table->n_groups;
        factors += (size_t)32 * table->n_factors;
        first += (size_t)32 * table->n_factors;
    }
}

static void between(const float *bounds, size_t n_blocks, float low, float high, uint32_t *kept)
{
    for (size_t b = 0; b < n_blocks; b++, bounds += 32) {
        kept[b] = 0;
        for (unsigned r = 0; r < 32; r++)
            kept[b] |= (uint32_t)(bounds[r] <= high && !(bounds[r] <= low)) << r;
    }
}

static float seed(const float *bounds, size_t n, uint32_t most)
{
    float least[LANES];
    float at = INFINITY;
    for (size_t l = 0; l < LANES; l++)
        least[l] = INFINITY;
    for (size_t i = 0; i < n; i++)
        if (bounds[i] < least[i % LANES])
            least[i % LANES] = bounds[i];
    for (size_t l = 0; l < LANES; l++) {
        uint32_t n_below = 0;
        for (size_t j = 0; j < LANES; j++)
            n_below += least[j] <= least[l];
        at = n_below >= most && least[l] < at ? least[l] : at;
    }
    return at;
}

static float half_to_float(const unsigned char *bytes)
{
    unsigned half = bytes[0] | (unsigned)bytes[1] << 8;
    unsigned exponent = half >> 10 & 31;
    float value = (float)(half & 1023);
    if (exponent == 31)
        value = half & 1023 ? NAN : INFINITY;
    else if (exponent)
        value = (value + 1024) * ((float)(1u << exponent) * 0x1p-25f);
    else
        value *= 0x1p-24f;
    return half & 0x8000 ? -value : value;
}

static inline float load_f32(const void *row, size_t i)
{
    float value = 0;
    memcpy(&value, (const char *)row + 4 * i, sizeof value);
    return value;
}
static inline float load_f16(const void *row, size_t i)
{
    return half_to_float((const unsigned char *)row + 2 * i);
}
static inline float load_u8(const void *row, size_t i)
{
    return (float)((const uint8_t *)row)[i];
}
static inline float load_i8(const void *row, size_t i)
{
    return (float)((const int8_t *)row)[i];
}

#define RT_ROW_FUNCTIONS(type)                                                                     \
    static float l2_##type(const float *query, const void *row, size_t dim)                        \
    {                                                                                              \
        float lane[LANES] = {0};                                                                   \
        for (size_t i = 0; i < dim; i++) {                                                         \
            float x = load_##type(row, i) - query[i];                                              \
            lane[i % LANES] += x * x;                                                              \
        }                                                                                          \
        RT_TREE(lane);                                                                             \
        return lane[0];                                                                            \
    }                                                                                              \
    static float ip_##type(const float *query, const void *row, size_t dim)                        \
    {                                                                                              \
        float lane[LANES] = {0};                                                                   \
        for (size_t i = 0; i < dim; i++)                                                           \
            lane[i % LANES] += load_##type(row, i) * query[i];                                     \
        RT_TREE(lane);                                                                             \
        return 0.0f - lane[0];                                                                     \
    }                                                                                              \
    static float cosine_##type(const float *query, const void *row, size_t dim)                    \
    {                                                                                              \
        double square[LANES] = {0};                                                                \
        float lane[LANES] = {0};                                                                   \
        for (size_t i = 0; i < dim; i++)                                                           \
            square[i % LANES] += (double)load_##type(row, i) * (double)load_##type(row, i);        \
        RT_TREE(square);                                                                           \
        double norm = sqrt(square[0]);                                                             \
        for (size_t i = 0; i < dim; i++) {                                                         \
            float x = (float)((double)load_##type(row, i) / norm) - query[i];                      \
            lane[i % LANES] += x * x;                                                              \
        }                                                                                          \
        RT_TREE(lane);                                                                             \
        return lane[0];                                                                            \
    }                                                                                              \
    RT_ROW_BY_ROW(l2_##type)                                                                       \
    RT_ROW_BY_ROW(ip_##type)                                                                       \
    RT_ROW_BY_ROW(cosine_##type)
RT_ROW_FUNCTIONS(f32)
RT_ROW_FUNCTIONS(f16)
RT_ROW_FUNCTIONS(u8)
RT_ROW_FUNCTIONS(i8)

void rt_scan_kernels_portable(struct rt_scan_kernels *table)
{
    *table = (struct rt_scan_kernels){
        .encode = encode,
        .table_terms = table_terms,
        .table_fill = table_fill,
        .block_sums = block_sums,
        .scan = scan,
        .between = between,
        .seed = seed,
        .rows_l2 = RT_BY_ELEMENT(rows_l2),
        .rows_ip = RT_BY_ELEMENT(rows_ip),
        .rows_cosine = RT_BY_ELEMENT(rows_cosine),
    };
}
