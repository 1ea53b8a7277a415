/* Reads command lines, a line each with words parted by tabs, the first of them a job, and says of
 * each "ok" or what the program would refuse; with the argument "names", every option of every job.
 * For documents: nothing is run. */
#include "core/options.h"

#include <stdio.h>
#include <string.h>

#define MOST_WORDS 64

static void print_names(void)
{
    for (int job = 0; job < RT_N_JOBS; job++)
        for (int i = 0; i < RT_N_OPTIONS; i++)
            if (rt_option_table[i].jobs & 1u << job)
                (void)printf("%s --%s\n", rt_job_name((enum rt_job_id)job),
                             rt_option_table[i].name);
}

static void check_line(char *line)
{
    static struct rt_options options;
    struct rt_error err;
    char *words[MOST_WORDS + 1];
    enum rt_job_id job;
    int n = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *word = strtok(line, "\t"); word && n < MOST_WORDS; word = strtok(NULL, "\t"))
        words[n++] = word;
    words[n] = NULL;
    if (n == 0 || rt_job_parse(words[0], &job) != 0)
        (void)printf("'%s' is no job\n", n ? words[0] : "");
    else if (rt_options_parse(job, n, words, &options, &err) != RT_OK)
        (void)printf("%s\n", err.text);
    else
        (void)puts("ok");
}

int main(int argc, char **argv)
{
    static char line[1 << 16];
    if (argc == 2 && strcmp(argv[1], "names") == 0)
        print_names();
    else
        while (fgets(line, sizeof line, stdin))
            check_line(line);
    return 0;
}
