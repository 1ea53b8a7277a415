/* The command line: words parted by zero bytes, the first of them the job. What is understood can
 * be said again. */
#include "core/options.h"
#include "tests/fuzz/fuzz.h"

#define MOST_WORDS 40

static struct rt_options options, again;

/* Each option's value as text gives the value. */
static void say_again(void)
{
    struct rt_error err;
    static char text[RT_MOST_TEXTS * RT_TEXT_BYTES + 100];
    static char same[sizeof text];
    rt_options_init(options.job, &again);
    for (int i = 0; i < RT_N_OPTIONS; i++) {
        enum rt_option_index index = (enum rt_option_index)i;
        const struct rt_option *option = &rt_option_table[i];
        if (options.origin[i] != RT_FROM_GIVEN || option->type == RT_TYPE_TEXTS ||
            option->type == RT_TYPE_COUNT)
            continue;
        rt_options_text(&options, index, text, sizeof text);
        FUZZ_CHECK(fuzz_ok(rt_options_set(&again, index, text, &err), &err));
        rt_options_text(&again, index, same, sizeof same);
        FUZZ_CHECK(strcmp(text, same) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rt_error err;
    enum rt_job_id job;
    char *words[MOST_WORDS + 1];
    char *copy = malloc(size + 1);
    int n = 0;
    FUZZ_CHECK(copy);
    memcpy(copy, data, size);
    copy[size] = 0;
    for (size_t at = 0; at <= size && n < MOST_WORDS; at += strlen(copy + at) + 1)
        words[n++] = copy + at;
    words[n] = NULL;
    if (rt_job_parse(words[0], &job) == 0 &&
        fuzz_ok(rt_options_parse(job, n, words, &options, &err), &err) && !options.help)
        say_again();
    free(copy);
    return 0;
}
