#include "jobs/synth_rows.h"

#include "core/memory.h"
#include "core/random.h"

#include <math.h>
#include <string.h>

#define STEP 4         /* latent dimensions added at once; rows of the basis are padded to it */
#define MOST_LATENT 64 /* dimensions of the manifold */
#define CACHED_CENTERS                                                                             \
    ((size_t)1 << 24) /* bytes; more clusters have their centres made when needed */
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15) /* step of the counter that words are mixed from */

/* Widths relative to the spread of the centres, which is 1 in each latent dimension. */
#define LEAST_WIDTH 0.3
#define MORE_WIDTH 0.4
#define NOISE_WIDTH 0.1

struct rt_synth {
    struct rt_synth_shape shape;
    uint32_t n_latent;
    float *basis;      /* n_latent, rounded up to STEP with zeros, x dim */
    uint64_t *weights; /* n_clusters: sums of the weights up to and with this one */
    float *centers;    /* n_clusters x n_latent, or NULL: made when needed */
    float scale, offset;
};

/* A1: the sum of twelve uniforms, added as integers; mean 0, variance 1. */
static float normal(uint64_t key, uint64_t index)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 6; i++) {
        uint64_t word = rt_mix64(key + (6 * index + i) * GOLDEN);
        sum += (word & UINT32_MAX) + (word >> 32);
    }
    return (float)((double)((int64_t)sum - 6 * (int64_t)UINT32_MAX) * 0x1p-32);
}

/* The cheaper sum of four 16-bit uniforms, variance 1: noise off the manifold, one word a
 * dimension. */
static float noise(uint64_t key, uint64_t index)
{
    uint64_t word = rt_mix64(key + index * GOLDEN);
    uint64_t sum = (word & 0xffff) + (word >> 16 & 0xffff) + (word >> 32 & 0xffff) + (word >> 48);
    return (float)((double)((int64_t)sum - INT64_C(0x1fffe)) * (0x1p-16 * 1.7320508075688772));
}

/* x^y for x >= 1, 0 <= y <= 8: products for the whole part, square roots for the binary places of
 * the rest (A1). */
static double power(double x, double y)
{
    double result = 1.0;
    double root = x;
    int whole = (int)y;
    double rest = y - whole;
    for (int i = 0; i < whole; i++)
        result *= x;
    for (int place = 0; place < 32 && rest > 0.0; place++) {
        root = sqrt(root);
        rest *= 2.0;
        if (rest >= 1.0) {
            result *= root;
            rest -= 1.0;
        }
    }
    return result;
}

static void make_center(const struct rt_synth *synth, uint64_t cluster, float *out)
{
    uint64_t key = rt_random(synth->shape.seed, RT_RANDOM_SYNTH_CENTER, cluster, 0, 0);
    for (uint32_t i = 0; i < synth->n_latent; i++)
        out[i] = normal(key, i);
}

static float width_of(const struct rt_synth *synth, uint64_t cluster)
{
    uint64_t word = rt_random(synth->shape.seed, RT_RANDOM_SYNTH_WEIGHT, cluster, 0, 0);
    return (float)(LEAST_WIDTH + MORE_WIDTH * ((double)(word >> 32) * 0x1p-32));
}

/* Whole numbers, so that their sums are exact; 2^32 clusters of at most 2^31 fit 64 bits. */
static void make_weights(struct rt_synth *synth)
{
    uint64_t sum = 0;
    for (uint32_t c = 0; c < synth->shape.n_clusters; c++) {
        sum += (uint64_t)(0x1p31 / power((double)c + 1.0, synth->shape.skew / 2.0));
        sum += sum == 0 || synth->weights[c ? c - 1 : 0] == sum;
        synth->weights[c] = sum;
    }
}

static void make_basis(struct rt_synth *synth)
{
    double scale = 1.0 / sqrt((double)synth->n_latent);
    for (uint32_t i = 0; i < synth->n_latent; i++) {
        uint64_t key = rt_random(synth->shape.seed, RT_RANDOM_SYNTH_BASIS, i, 0, 0);
        for (uint32_t j = 0; j < synth->shape.dim; j++)
            synth->basis[(size_t)i * synth->shape.dim + j] =
                (float)((double)normal(key, j) * scale);
    }
}

static uint32_t latent_of(uint32_t dim)
{
    uint32_t n = dim / 4 < 8 ? 8 : dim / 4 > MOST_LATENT ? MOST_LATENT : dim / 4;
    return n < dim ? n : dim;
}

enum rt_status rt_synth_new(const struct rt_synth_shape *shape, struct rt_synth **out,
                            struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct rt_synth *synth = NULL;
    size_t n = shape->n_clusters;
    RT_TRY(rt_array_zero(1, sizeof *synth, &synth, err));
    synth->shape = *shape;
    synth->n_latent = latent_of(shape->dim);
    /* a component has a spread of about 1.1: four of them fill half the range of a byte */
    synth->scale = shape->type == RT_U8 || shape->type == RT_I8 ? 32.0f : 1.0f;
    synth->offset = shape->type == RT_U8 ? 128.0f : 0.0f;
    size_t n_basis = (synth->n_latent + STEP - 1) / STEP * (size_t)STEP * shape->dim;
    RT_TRY(rt_array_zero(n_basis, sizeof(float), &synth->basis, err));
    RT_TRY(rt_array_zero(n, sizeof *synth->weights, &synth->weights, err));
    make_basis(synth);
    make_weights(synth);
    if (n * synth->n_latent * sizeof(float) <= CACHED_CENTERS) {
        RT_TRY(rt_array_new(n * synth->n_latent, sizeof(float), &synth->centers, err));
        for (size_t c = 0; c < n; c++)
            make_center(synth, c, synth->centers + c * synth->n_latent);
    }
    *out = synth;
    synth = NULL;
done:
    rt_synth_free(synth);
    return st;
}

void rt_synth_free(struct rt_synth *synth)
{
    if (!synth)
        return;
    rt_array_free(synth->basis);
    rt_array_free(synth->weights);
    rt_array_free(synth->centers);
    rt_array_free(synth);
}

static uint32_t cluster_of(const struct rt_synth *synth, uint64_t bits)
{
    uint32_t low = 0;
    uint32_t high = synth->shape.n_clusters - 1;
    uint64_t draw = rt_random_below(bits, synth->weights[high]);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (draw < synth->weights[middle])
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* A row's place on the manifold. */
static void make_latent(const struct rt_synth *synth, uint64_t key, uint64_t draw, float *latent)
{
    uint32_t cluster = cluster_of(synth, draw);
    float width = width_of(synth, cluster);
    if (synth->centers)
        memcpy(latent, synth->centers + (size_t)cluster * synth->n_latent,
               synth->n_latent * sizeof(float));
    else
        make_center(synth, cluster, latent);
    for (uint32_t i = 0; i < synth->n_latent; i++)
        latent[i] += width * normal(key, i);
}

/* sums += latent x basis: each dimension adds the latent ones in ascending order, STEP of them for
 * each pass over the sums. */
static void project(const float *restrict basis, size_t dim, const float *latent, uint32_t n_latent,
                    float *restrict sums)
{
    for (uint32_t i = 0; i < n_latent; i += STEP) {
        const float *b = basis + i * dim;
        for (size_t j = 0; j < dim; j++)
            sums[j] = sums[j] + latent[i] * b[j] + latent[i + 1] * b[dim + j] +
                      latent[i + 2] * b[2 * dim + j] + latent[i + 3] * b[3 * dim + j];
    }
}

static void make_row(const struct rt_synth *synth, enum rt_purpose purpose, uint64_t row,
                     float *out)
{
    float latent[MOST_LATENT] = {0};
    size_t dim = synth->shape.dim;
    uint64_t key = rt_random(synth->shape.seed, purpose, row, 1, 0);
    uint64_t noise_key = rt_random(synth->shape.seed, purpose, row, 2, 0);
    make_latent(synth, key, rt_random(synth->shape.seed, purpose, row, 0, 0), latent);
    for (size_t j = 0; j < dim; j++)
        out[j] = (float)NOISE_WIDTH * noise(noise_key, j);
    project(synth->basis, dim, latent, synth->n_latent, out);
    for (size_t j = 0; j < dim; j++)
        out[j] = out[j] * synth->scale + synth->offset;
}

/* Through the element type and back, so that everybody sees what the file will hold. */
static void round_to_type(enum rt_element type, float *values, size_t n)
{
    unsigned char narrow[2048];
    size_t step = sizeof narrow / sizeof(float);
    if (type == RT_F32)
        return;
    for (size_t i = 0; i < n; i += step) {
        size_t part = n - i < step ? n - i : step;
        rt_element_from_f32(type, values + i, narrow, part);
        rt_element_to_f32(type, narrow, values + i, part);
    }
}

void rt_synth_rows(const struct rt_synth *synth, enum rt_synth_kind kind, uint64_t begin,
                   size_t n_rows, float *out)
{
    enum rt_purpose purpose = kind == RT_SYNTH_ROW ? RT_RANDOM_SYNTH_ROW : RT_RANDOM_SYNTH_QUERY;
    size_t dim = synth->shape.dim;
    for (size_t i = 0; i < n_rows; i++)
        make_row(synth, purpose, begin + i, out + i * dim);
    round_to_type(synth->shape.type, out, n_rows * dim);
}
