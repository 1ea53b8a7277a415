#include "core/keys.h"

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

void rt_keys_sort(uint64_t *keys, size_t n)
{
    if (n <= 24) {
        for (size_t i = 1; i < n; i++) {
            uint64_t key = keys[i];
            size_t at = i;
            for (; at > 0 && keys[at - 1] > key; at--)
                keys[at] = keys[at - 1];
            keys[at] = key;
        }
        return;
    }
    for (size_t i = n / 2; i-- > 0;)
        sift_down(keys, n, i);
    for (size_t end = n - 1; end > 0; end--) {
        uint64_t most = keys[0];
        keys[0] = keys[end];
        keys[end] = most;
        sift_down(keys, end, 0);
    }
}

void rt_keys_select(uint64_t *keys, size_t n, size_t wanted)
{
    size_t begin = 0;
    for (size_t end = n; begin < end;) {
        size_t at = begin;
        uint64_t pivot = keys[begin + (end - begin) / 2];
        keys[begin + (end - begin) / 2] = keys[end - 1];
        keys[end - 1] = pivot;
        for (size_t i = begin; i < end; i++)
            if (keys[i] <= pivot) { /* the pivot itself comes last */
                uint64_t key = keys[i];
                keys[i] = keys[at];
                keys[at++] = key;
            }
        if (at == wanted || at == wanted + 1)
            return;
        if (at > wanted)
            end = at - 1;
        else
            begin = at;
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
