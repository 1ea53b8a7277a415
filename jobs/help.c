#include "jobs/help.h"

#include <ctype.h>
#include <string.h>

#define WIDTH 100
#define INDENT 30

static const struct {
    enum rt_option_class class;
    const char *title;
} sections[] = {
    {RT_CLASS_NONE, "Options"},
    {RT_CLASS_RESULT, "Options that decide the result (and the digest)"},
    {RT_CLASS_LAYOUT, "Options of the layout on disk"},
    {RT_CLASS_RUN, "Options of the run"},
};

static bool belongs(const struct rt_option *option, enum rt_job_id job, enum rt_option_class class)
{
    return (option->jobs & 1u << job) && option->class == class;
}

static bool has_any(enum rt_job_id job, enum rt_option_class class)
{
    for (int i = 0; i < RT_N_OPTIONS; i++)
        if (belongs(&rt_option_table[i], job, class))
            return true;
    return false;
}

/* "400,160000" in the shape of a value: "N[,N...]", "l2|ip|cosine", "[on|off]". */
static const char *value_of(const struct rt_option *option)
{
    if (option->type == RT_TYPE_FLAG)
        return strcmp(option->default_text, "off") == 0 ? "" : "on|off";
    return option->words;
}

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

/* The help of an option with its default, where that says something. */
static void describe(const struct rt_option *option, char *text, size_t text_size)
{
    const char *value = option->default_text;
    bool is_plain = value[0] == '\0' || strcmp(value, "auto") == 0 ||
                    option->type == RT_TYPE_COUNT ||
                    (option->type == RT_TYPE_FLAG && strcmp(value, "off") == 0);
    if (is_plain)
        (void)snprintf(text, text_size, "%s", option->help);
    else
        (void)snprintf(text, text_size, "%s (default %s)", option->help, value);
}

static void help_option(const struct rt_option *option, FILE *out)
{
    char text[512];
    char letter[8] = "    ";
    if (option->letter)
        (void)snprintf(letter, sizeof letter, "-%c, ", option->letter);
    int at = fprintf(out, "  %s--%s %s", letter, option->name, value_of(option));
    if (at + 2 > INDENT) {
        (void)fputc('\n', out);
        at = 0;
    }
    at += fprintf(out, "%*s", INDENT - at, "");
    describe(option, text, sizeof text);
    wrap(out, text, at);
}

void rt_help_job(enum rt_job_id job, FILE *out)
{
    (void)fprintf(out, "Usage: ranktape %s %s [OPTION...]\n%c%s.\n", rt_job_name(job),
                  rt_job_arguments(job), toupper((unsigned char)rt_job_summary(job)[0]),
                  rt_job_summary(job) + 1);
    for (size_t s = 0; s < sizeof sections / sizeof sections[0]; s++) {
        if (!has_any(job, sections[s].class))
            continue;
        (void)fprintf(out, "\n%s:\n", sections[s].title);
        for (int i = 0; i < RT_N_OPTIONS; i++)
            if (belongs(&rt_option_table[i], job, sections[s].class))
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

void rt_help_manual(enum rt_job_id job, FILE *out)
{
    char text[512];
    (void)fprintf(out,
                  ".Dd November 21, 2026\n.Dt RANKTAPE-%s 1\n.Os\n.Sh NAME\n.Nm ranktape-%s\n.Nd "
                  "%s\n.Sh SYNOPSIS\n.Nm ranktape\n.Cm %s\n.Ar %s\n.Op Ar OPTION ...\n",
                  rt_job_name(job), rt_job_name(job), rt_job_summary(job), rt_job_name(job),
                  rt_job_arguments(job));
    (void)fputs(".Sh OPTIONS\n", out);
    for (size_t s = 0; s < sizeof sections / sizeof sections[0]; s++) {
        if (!has_any(job, sections[s].class))
            continue;
        (void)fprintf(out, ".Ss %s\n.Bl -tag -width indent\n", sections[s].title);
        for (int i = 0; i < RT_N_OPTIONS; i++) {
            const struct rt_option *option = &rt_option_table[i];
            if (!belongs(option, job, sections[s].class))
                continue;
            (void)fputs(".It ", out);
            if (option->letter)
                (void)fprintf(out, "Fl %c , ", option->letter);
            (void)fprintf(out, "Fl -%s", option->name);
            if (value_of(option)[0] != '\0')
                (void)fprintf(out, " Ar %s", value_of(option));
            describe(option, text, sizeof text);
            (void)fprintf(out, "\n%s.\n", text);
        }
        (void)fputs(".El\n", out);
    }
    (void)fputs(".Sh EXIT STATUS\n0 done; 1 the job failed; 2 the call or its input is wrong; 75 "
                "stopped with progress saved.\n.Sh SEE ALSO\n.Xr ranktape 1\n",
                out);
}

void rt_help_completion(FILE *out)
{
    (void)fputs("_ranktape()\n{\n"
                "    local current=${COMP_WORDS[COMP_CWORD]} words=\n"
                "    if ((COMP_CWORD == 1)); then\n        words=\"",
                out);
    for (int job = 0; job < RT_N_JOBS; job++)
        (void)fprintf(out, "%s ", rt_job_name((enum rt_job_id)job));
    (void)fputs("--help --version\"\n    else\n        case ${COMP_WORDS[1]} in\n", out);
    for (int job = 0; job < RT_N_JOBS; job++) {
        (void)fprintf(out, "        %s) words=\"", rt_job_name((enum rt_job_id)job));
        for (int i = 0; i < RT_N_OPTIONS; i++)
            if (rt_option_table[i].jobs & 1u << job)
                (void)fprintf(out, "--%s ", rt_option_table[i].name);
        (void)fputs("\" ;;\n", out);
    }
    (void)fputs("        esac\n        [[ $current == -* ]] || words=\n    fi\n"
                "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
                "    if ((COMP_CWORD > 1 && ${#COMPREPLY[@]} == 0)); then\n"
                "        mapfile -t COMPREPLY < <(compgen -f -- \"$current\")\n    fi\n}\n"
                "complete -o filenames -F _ranktape ranktape\n",
                out);
}
