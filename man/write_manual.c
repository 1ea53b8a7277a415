/* Writes what is installed of the option table: a manual page for the program and for each job, and
 * bash's completion. A page is a template, JOB.mdoc in this folder, whose lines '@name@' stand for
 * a table (table.h) or for the text of name.mdoc. Run while building; needs neither MPI nor HDF5.
 *   write_manual TEMPLATES OUT DATE VERSION */
#include "core/options.h"
#include "man/table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MOST_PATH 4096
#define MOST_LINE 512

static const char *templates;

static int cannot(const char *what, const char *path)
{
    (void)fprintf(stderr, "write_manual: cannot %s '%s': %s\n", what, path, strerror(errno));
    return -1;
}

/* Copies the file to out; a line '@name@' becomes a table or the file name.mdoc. */
static int expand(const char *path, const struct rt_manual *manual, FILE *out)
{
    char line[MOST_LINE];
    char name[MOST_LINE];
    char part[MOST_PATH];
    int st = 0;
    FILE *in = fopen(path, "r");
    if (!in)
        return cannot("open", path);
    while (st == 0 && fgets(line, sizeof line, in)) {
        int end = 0;
        if (sscanf(line, "@%511[a-z_]@%n", name, &end) != 1 || end == 0 || line[end] != '\n') {
            (void)fputs(line, out);
        } else if (!rt_manual_table(manual, name, out)) {
            (void)snprintf(part, sizeof part, "%s/%s.mdoc", templates, name);
            st = expand(part, manual, out);
        }
    }
    if (ferror(in))
        st = cannot("read", path);
    (void)fclose(in);
    return st;
}

static int write_file(const char *path, const char *from, const struct rt_manual *manual)
{
    FILE *out = fopen(path, "w");
    if (!out)
        return cannot("create", path);
    int st = expand(from, manual, out);
    if (fclose(out) != 0 && st == 0)
        st = cannot("write", path);
    return st;
}

/* man1/ranktape-JOB.1; a job without a template of its own gets default.mdoc. */
static int write_job(const char *folder, const struct rt_manual *manual)
{
    char path[MOST_PATH];
    char from[MOST_PATH];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/man1/ranktape-%s.1", folder, rt_job_name(manual->job));
    (void)snprintf(from, sizeof from, "%s/%s.mdoc", templates, rt_job_name(manual->job));
    if (stat(from, &info) != 0)
        (void)snprintf(from, sizeof from, "%s/default.mdoc", templates);
    return write_file(path, from, manual);
}

static int make_folder(const char *parent, const char *name)
{
    char path[MOST_PATH];
    (void)snprintf(path, sizeof path, "%s/%s", parent, name);
    return mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : cannot("create", path);
}

static int write_program(const char *folder, const struct rt_manual *manual)
{
    char path[MOST_PATH];
    char from[MOST_PATH];
    (void)snprintf(path, sizeof path, "%s/man1/ranktape.1", folder);
    (void)snprintf(from, sizeof from, "%s/ranktape.mdoc", templates);
    if (write_file(path, from, manual) != 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/completions/ranktape", folder);
    (void)snprintf(from, sizeof from, "%s/ranktape.bash", templates);
    return write_file(path, from, manual);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        (void)fputs("usage: write_manual TEMPLATES OUT DATE VERSION\n", stderr);
        return 2;
    }
    templates = argv[1];
    struct rt_manual manual = {.date = argv[3], .version = argv[4], .job = RT_N_JOBS};
    int st = make_folder(argv[2], "man1") | make_folder(argv[2], "completions");
    if (st == 0)
        st = write_program(argv[2], &manual);
    for (int job = 0; job < RT_N_JOBS && st == 0; job++) {
        manual.job = (enum rt_job_id)job;
        st = write_job(argv[2], &manual);
    }
    return st == 0 ? 0 : 1;
}
