/* How a failure is told: a status and one line of text, made at the place that knows the cause and
 * carried upward unchanged. Only main prints it. Depends on nothing. */
#ifndef RT_CORE_ERROR_H
#define RT_CORE_ERROR_H

/* By precedence: where ranks differ, the largest wins. The program's exit code stands in front. */
enum rt_status {
    RT_OK = 0,
    RT_STOPPED, /* 75: asked to stop, progress saved */
    RT_USAGE,   /* 2: options, INDEX missing or there, plan that cannot fit, lock held */
    RT_INPUT,   /* 2: rows, ids, truth, queries, centroids break their format or do not suit */
    RT_GATE,    /* 1: --min-recall not reached */
    RT_DAMAGED, /* 1: an index file is damaged */
    RT_IO,      /* 1: the file system or HDF5 refused */
    RT_NOMEM    /* 1 */
};

/* Meaningful only beside a status other than RT_OK; fixed size, so that it can be broadcast. */
struct rt_error {
    enum rt_status status;
    int rank;       /* where it began; filled in by RT_AGREE, so that core needs no MPI */
    char where[40]; /* file:line, shown with -vv */
    char text[480]; /* one line: cannot open 'a.h5': No such file or directory */
};

#define RT_MUST_CHECK __attribute__((warn_unused_result))
#define RT_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))

/* Fills *err with status, place and text; returns status. Used through RT_FAIL. */
enum rt_status rt_error_set(struct rt_error *err, enum rt_status status, const char *file, int line,
                            const char *format, ...) RT_PRINTF(5, 6);

/* Exit code of the program for a status (0, 1, 2, 75). */
int rt_exit_code(enum rt_status status);
/* How reports and --json name the end of a job: "done", "stopped" or "failed". */
const char *rt_status_name(enum rt_status status);

/* Both need in the body: enum rt_status st = RT_OK; struct rt_error *err; label done. */
#define RT_TRY(call)                                                                               \
    do {                                                                                           \
        st = (call);                                                                               \
        if (st != RT_OK)                                                                           \
            goto done;                                                                             \
    } while (0)
#define RT_FAIL(status, ...)                                                                       \
    do {                                                                                           \
        st = (status); /* not from the call: analysers then see that it is a failure */            \
        (void)rt_error_set(err, st, __FILE__, __LINE__, __VA_ARGS__);                              \
        goto done;                                                                                 \
    } while (0)

/* A broken invariant of our own: one line on stderr, then the process (under MPI the job) ends.
 * Never for bad input, files or memory. */
void rt_die(const char *format, ...) RT_PRINTF(1, 2) __attribute__((noreturn));
/* main installs MPI_Abort here; without it rt_die calls abort. */
void rt_die_install(void (*end_job)(void));
#ifdef RT_CHECKS
#define rt_assert(condition)                                                                       \
    ((condition) ? (void)0 : rt_die("%s:%d: broken: %s", __FILE__, __LINE__, #condition))
#else
#define rt_assert(condition) ((void)sizeof(condition))
#endif

#endif
