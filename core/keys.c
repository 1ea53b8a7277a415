#include "core/keys.h"

#include "core/kernels/kernels.h"

#define FEW 64u
#define MANY 512u
#define DIGIT_BITS 11u

/* Those up to the middle key to the front, and it behind them: returns its place. */
static size_t part(uint64_t *keys, size_t n)
{
    size_t at = 0;
    uint64_t pivot = keys[n / 2];
    keys[n / 2] = keys[n - 1];
    keys[n - 1] = pivot;
    for (size_t i = 0; i + 1 < n; i++) {
        uint64_t key = keys[i];
        keys[i] = keys[at];
        keys[at] = key;
        at += key < pivot;
    }
    keys[n - 1] = keys[at];
    keys[at] = pivot;
    return at;
}

void rt_keys_sort(uint64_t *keys, size_t n)
{
    while (n > FEW) { /* the shorter part first: the stack stays shallow whatever the keys */
        size_t at = part(keys, n);
        if (at < n - at) {
            rt_keys_sort(keys, at);
            keys += at + 1;
            n -= at + 1;
        } else {
            rt_keys_sort(keys + at + 1, n - at - 1);
            n = at;
        }
    }
    rt_kernels()->sort_few(keys, n);
}

void rt_keys_sort_by_upper(uint64_t **keys, uint64_t **spare, size_t n, uint32_t end)
{
    const uint64_t mask = (1u << DIGIT_BITS) - 1;
    if (n < MANY) {
        rt_keys_sort(*keys, n);
        return;
    }
    for (unsigned shift = 32; shift < 64 && (end - 1) >> (shift - 32) != 0; shift += DIGIT_BITS) {
        size_t places[1u << DIGIT_BITS] = {0};
        uint64_t *swap = *keys;
        size_t begin = 0;
        for (size_t i = 0; i < n; i++)
            places[(*keys)[i] >> shift & mask]++;
        for (size_t digit = 0; digit <= mask; digit++) {
            size_t count = places[digit];
            places[digit] = begin;
            begin += count;
        }
        for (size_t i = 0; i < n; i++)
            (*spare)[places[(*keys)[i] >> shift & mask]++] = (*keys)[i];
        *keys = *spare;
        *spare = swap;
    }
}

void rt_keys_select(uint64_t *keys, size_t n, size_t wanted)
{
    while (n > 1 && wanted > 0 && wanted < n) {
        size_t at = part(keys, n);
        if (at >= wanted) {
            n = at;
        } else {
            keys += at + 1;
            n -= at + 1;
            wanted -= at + 1;
        }
    }
}

static void sift_down(uint64_t *heap, size_t n, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && heap[child + 1] > heap[child])
            child++;
        if (heap[at] >= heap[child])
            return;
        uint64_t key = heap[at];
        heap[at] = heap[child];
        heap[child] = key;
    }
}

void rt_keys_offer(struct rt_least *least, uint64_t key)
{
    if (least->n < least->best) {
        least->keys[least->n++] = key;
        if (least->n == least->best)
            for (size_t i = least->n / 2; i-- > 0;)
                sift_down(least->keys, least->n, i);
    } else if (key < least->keys[0]) {
        least->keys[0] = key;
        sift_down(least->keys, least->n, 0);
    }
}
