#include "jobs/help.h"

#include "core/option_text.h"

#include <ctype.h>
#include <string.h>

#define WIDTH 100
#define INDENT 30

/* Writes text from column INDENT on, broken at blanks; the cursor stands at column `at`. */
static void wrap(FILE *out, const char *text, int at)
{
    for (;;) {
        text += strspn(text, " ");
        int length = (int)strcspn(text, " ");
        if (length == 0)
            break;
        if (at > INDENT && at + 1 + length > WIDTH) {
            (void)fprintf(out, "\n%*s", INDENT, "");
            at = INDENT;
        }
        at += fprintf(out, "%s%.*s", at > INDENT ? " " : "", length, text);
        text += length;
    }
    (void)fputc('\n', out);
}

static void help_option(const struct rt_option *option, FILE *out)
{
    char text[RT_OPTION_TEXT];
    char letter[8] = "    ";
    if (option->letter)
        (void)snprintf(letter, sizeof letter, "-%c, ", option->letter);
    int at = fprintf(out, "  %s--%s %s", letter, option->name, rt_option_value(option));
    if (at + 2 > INDENT) {
        (void)fputc('\n', out);
        at = 0;
    }
    at += fprintf(out, "%*s", INDENT - at, "");
    rt_option_describe(option, text);
    wrap(out, text, at);
}

void rt_help_job(enum rt_job_id job, FILE *out)
{
    (void)fprintf(out, "Usage: ranktape %s %s [OPTION...]\n%c%s.\n", rt_job_name(job),
                  rt_job_arguments(job), toupper((unsigned char)rt_job_summary(job)[0]),
                  rt_job_summary(job) + 1);
    if (job == RT_JOB_PLAN)
        (void)fputs(
            "ROWS, or --rows and --dim: of a build. plan insert, plan delete and plan vacuum take "
            "the words\nand options of those jobs, beside --ranks, --ranks-per-node and "
            "--calibrate.\n",
            out);
    for (int c = 0; c < RT_N_CLASSES; c++) {
        enum rt_option_class class = (enum rt_option_class)c;
        if (!rt_option_has_any(job, class))
            continue;
        (void)fprintf(out, "\n%s:\n", rt_option_class_title(class));
        for (int i = 0; i < RT_N_OPTIONS; i++)
            if (rt_option_belongs(&rt_option_table[i], job, class))
                help_option(&rt_option_table[i], out);
    }
    (void)fputs("\nSizes: 512M, 4G, 1.5T (powers of 1024). Times: 90, 90s, 5m, 2h, 1:30:00.\n"
                "Exit status: 0 done, 1 failed, 2 wrong call or input, 75 stopped with progress "
                "saved.\n",
                out);
}

void rt_help_program(FILE *out)
{
    (void)fputs("Usage: [mpirun -n N] ranktape JOB ...\n"
                "Builds and looks after a vector index with the memory and cores of many ranks.\n\n"
                "Jobs:\n",
                out);
    for (int job = 0; job < RT_N_JOBS; job++) {
        enum rt_job_id id = (enum rt_job_id)job;
        int at = fprintf(out, "  %s %s", rt_job_name(id), rt_job_arguments(id));
        (void)fprintf(out, "%*s%s\n", INDENT - at, "", rt_job_summary(id));
    }
    (void)fputs("\nranktape JOB --help tells the options of a job, ranktape --version what this "
                "program is made of.\n",
                out);
}
