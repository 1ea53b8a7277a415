#include "man/table.h"

#include "core/option_text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool has_job(const struct rt_option *option, int job)
{
    return (option->jobs & 1u << job) != 0;
}

/* ---- manual pages ---- */

/* Text of a table between macros: no backslash, and no line that begins like a macro. */
static void put_text(const char *text, FILE *out)
{
    if (text[0] == '.' || text[0] == '\'')
        (void)fputs("\\&", out);
    for (; *text; text++)
        if (*text == '\\')
            (void)fputs("\\e", out);
        else
            (void)fputc(*text, out);
}

/* "INDEX [QUERIES]" */
static void put_arguments(const char *words, FILE *out)
{
    while (*words) {
        bool is_optional = *words == '[';
        words += is_optional;
        int length = (int)strcspn(words, " ]");
        (void)fprintf(out, ".%sAr %.*s\n", is_optional ? "Op " : "", length, words);
        words += length;
        words += strspn(words, " ]");
    }
}

static void head_of_program(const struct rt_manual *manual, FILE *out)
{
    (void)fprintf(out,
                  ".Dd %s\n.Dt RANKTAPE 1\n.Os ranktape %s\n.Sh NAME\n.Nm ranktape\n"
                  ".Nd builds and looks after vector indexes on a cluster\n.Sh SYNOPSIS\n"
                  ".Nm\n.Ar JOB\n.Ar arguments\n.Op Ar option ...\n"
                  ".Nm\n.Fl -help\n.Nm\n.Fl -version Op Fl -json\n",
                  manual->date, manual->version);
}

static void head(const struct rt_manual *manual, FILE *out)
{
    if (manual->job == RT_N_JOBS) {
        head_of_program(manual, out);
        return;
    }
    const char *name = rt_job_name(manual->job);
    (void)fprintf(out, ".Dd %s\n.Dt RANKTAPE-", manual->date);
    for (const char *letter = name; *letter; letter++)
        (void)fputc(toupper((unsigned char)*letter), out);
    (void)fprintf(out,
                  " 1\n.Os ranktape %s\n.Sh NAME\n.Nm ranktape-%s\n.Nd %s\n.Sh SYNOPSIS\n"
                  ".Nm ranktape\n.Cm %s\n",
                  manual->version, name, rt_job_summary(manual->job), name);
    put_arguments(rt_job_arguments(manual->job), out);
    (void)fputs(".Op Ar option ...\n", out);
}

static void put_option(const struct rt_option *option, FILE *out)
{
    char text[RT_OPTION_TEXT];
    (void)fputs(".It ", out);
    if (option->letter)
        (void)fprintf(out, "Fl %c , ", option->letter);
    (void)fprintf(out, "Fl -%s", option->name);
    if (rt_option_value(option)[0] != '\0')
        (void)fprintf(out, " Ar %s", rt_option_value(option));
    (void)fputc('\n', out);
    rt_option_describe(option, text);
    text[0] = (char)toupper((unsigned char)text[0]);
    put_text(text, out);
    (void)fputs(".\n", out);
    if (option->type == RT_TYPE_FLAG || option->type == RT_TYPE_COUNT ||
        option->type == RT_TYPE_WORD || option->type == RT_TYPE_TEXT ||
        option->type == RT_TYPE_TEXTS)
        return; /* what they take is said */
    rt_option_range(option, text);
    (void)fprintf(out, "Takes %s.\n", text);
}

static void options(const struct rt_manual *manual, FILE *out)
{
    (void)fputs(".Sh OPTIONS\nOptions may stand anywhere, be shortened to what is unambiguous, and "
                "be written\n.Fl -name Ar value\nor\n.Fl -name Ns = Ns Ar value .\n",
                out);
    for (int c = 0; c < RT_N_CLASSES; c++) {
        enum rt_option_class class = (enum rt_option_class)c;
        if (!rt_option_has_any(manual->job, class))
            continue;
        (void)fprintf(out, ".Ss %s\n.Bl -tag -width indent\n", rt_option_class_title(class));
        for (int i = 0; i < RT_N_OPTIONS; i++)
            if (rt_option_belongs(&rt_option_table[i], manual->job, class))
                put_option(&rt_option_table[i], out);
        (void)fputs(".El\n", out);
    }
}

static void jobs(const struct rt_manual *manual, FILE *out)
{
    (void)manual;
    (void)fputs(".Bl -tag -width indent\n", out);
    for (int job = 0; job < RT_N_JOBS; job++) {
        enum rt_job_id id = (enum rt_job_id)job;
        (void)fprintf(out, ".It Cm %s Ar %s\n%c%s:\n.Xr ranktape-%s 1 .\n", rt_job_name(id),
                      rt_job_arguments(id), toupper((unsigned char)rt_job_summary(id)[0]),
                      rt_job_summary(id) + 1, rt_job_name(id));
    }
    (void)fputs(".El\n", out);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void see_also(const struct rt_manual *manual, FILE *out)
{
    const char *names[RT_N_JOBS];
    size_t n = 0;
    for (int job = 0; job < RT_N_JOBS; job++)
        if (job != (int)manual->job)
            names[n++] = rt_job_name((enum rt_job_id)job);
    qsort(names, n, sizeof names[0], by_name);
    (void)fputs(".Sh SEE ALSO\n", out);
    if (manual->job != RT_N_JOBS)
        (void)fputs(".Xr ranktape 1 ,\n", out);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(out, ".Xr ranktape-%s 1%s\n", names[i], i + 1 < n ? " ," : "");
}

/* ---- completion ---- */

static void job_names(const struct rt_manual *manual, FILE *out)
{
    (void)manual;
    (void)fputs("    local jobs='", out);
    for (int job = 0; job < RT_N_JOBS; job++)
        (void)fprintf(out, "%s%s", job ? " " : "", rt_job_name((enum rt_job_id)job));
    (void)fputs("'\n", out);
}

/* What plan adds to the options of a job that it plans. */
static bool is_of_plan_alone(const struct rt_option *option, int job)
{
    (void)job;
    return option->jobs == RT_FOR_PLAN;
}

static void names_where(bool (*takes)(const struct rt_option *, int), int job, FILE *out)
{
    (void)fputs(") echo '", out);
    for (int i = 0, n = 0; i < RT_N_OPTIONS; i++)
        if (takes(&rt_option_table[i], job))
            (void)fprintf(out, "%s--%s", n++ ? " " : "", rt_option_table[i].name);
    (void)fputs("' ;;\n", out);
}

static void option_names(const struct rt_manual *manual, FILE *out)
{
    (void)manual;
    for (int job = 0; job < RT_N_JOBS; job++) {
        (void)fprintf(out, "    %s", rt_job_name((enum rt_job_id)job));
        names_where(has_job, job, out);
    }
    (void)fputs("    planned", out);
    names_where(is_of_plan_alone, RT_JOB_PLAN, out);
}

static void planned_names(const struct rt_manual *manual, FILE *out)
{
    (void)manual;
    (void)fputs("    local planned='", out);
    for (int job = 0, n = 0; job < RT_N_JOBS; job++)
        if (RT_FOR_EDITING & 1u << job)
            (void)fprintf(out, "%s%s", n++ ? " " : "", rt_job_name((enum rt_job_id)job));
    (void)fputs("'\n", out);
}

/* What stands behind an option: its words parted by '|', FILE, ANY, or "" for nothing. */
static const char *completions_of(const struct rt_option *option)
{
    switch (option->type) {
    case RT_TYPE_FLAG:
    case RT_TYPE_WORD:
        return rt_option_value(option);
    case RT_TYPE_COUNT:
        return "";
    case RT_TYPE_TEXT:
    case RT_TYPE_TEXTS:
        return strcmp(option->words, "FILE") == 0 ? "FILE" : "ANY";
    default:
        return "ANY";
    }
}

static void option_values(const struct rt_manual *manual, FILE *out)
{
    (void)manual;
    for (int i = 0; i < RT_N_OPTIONS; i++) {
        const struct rt_option *option = &rt_option_table[i];
        const char *words = completions_of(option);
        if (!*words)
            continue;
        (void)fputs("    ", out);
        for (int job = 0, n = 0; job < RT_N_JOBS; job++) {
            if (!has_job(option, job))
                continue;
            (void)fprintf(out, "%s%s:--%s", n++ ? " | " : "", rt_job_name((enum rt_job_id)job),
                          option->name);
            if (option->letter)
                (void)fprintf(out, " | %s:-%c", rt_job_name((enum rt_job_id)job), option->letter);
        }
        (void)fputs(") echo '", out);
        for (; *words; words++)
            (void)fputc(*words == '|' ? ' ' : *words, out);
        bool adds_auto = option->type == RT_TYPE_WORD && rt_option_has_auto(option) &&
                         strncmp(option->words, "auto|", 5) != 0;
        (void)fprintf(out, "%s' ;;\n", adds_auto ? " auto" : "");
    }
}

bool rt_manual_table(const struct rt_manual *manual, const char *name, FILE *out)
{
    static const struct {
        const char *name;
        void (*write)(const struct rt_manual *manual, FILE *out);
    } tables[] = {{"head", head},
                  {"options", options},
                  {"jobs", jobs},
                  {"see_also", see_also},
                  {"job_names", job_names},
                  {"option_names", option_names},
                  {"planned_names", planned_names},
                  {"option_values", option_values}};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (strcmp(tables[i].name, name) == 0) {
            tables[i].write(manual, out);
            return true;
        }
    return false;
}
