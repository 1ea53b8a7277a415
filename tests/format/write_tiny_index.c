/* write_tiny_index DIR METRIC ELEMENT DIM LISTS ROWS APPENDABLE TAPES IN_HEAP: for readers in other
 * languages. */
#include "tests/format/tiny_index.h"

#include <stdio.h>
#include <stdlib.h>

static uint32_t number(const char *text)
{
    return (uint32_t)strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    struct tiny_options options = {.residual = true, .seed = 7};
    struct rt_error err = {.text =
                               "usage: DIR METRIC ELEMENT DIM LISTS ROWS APPENDABLE TAPES IN_HEAP"};
    int bad = argc != 10 || rt_metric_parse(argv[2], &options.metric) != 0 ||
              rt_element_parse(argv[3], &options.element) != 0;
    if (!bad) {
        options.dim = number(argv[4]);
        options.n_lists = number(argv[5]);
        options.n_rows = number(argv[6]);
        options.n_appendable = number(argv[7]);
        options.n_tapes = number(argv[8]);
        options.in_heap = number(argv[9]) != 0;
        bad = tiny_index_write(argv[1], &options, &err) != RT_OK;
    }
    if (bad)
        (void)fprintf(stderr, "%s\n", err.text);
    return bad;
}
