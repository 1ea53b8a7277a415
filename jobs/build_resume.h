/* What a build finds that was asked to go on: one that was interrupted, or the index that it has
 * published already. Rank 0's business. */
#ifndef RT_JOBS_BUILD_RESUME_H
#define RT_JOBS_BUILD_RESUME_H

#include "jobs/first_run.h"

enum rt_build_found {
    RT_BUILD_NOTHING = 0, /* a build begins */
    RT_BUILD_INTERRUPTED, /* it goes on */
    RT_BUILD_PUBLISHED    /* it is done */
};
struct rt_build_resume {
    enum rt_build_found found;
    struct rt_first_run first; /* interrupted; its generation: published too */
    uint64_t n_rows;           /* published */
    struct rt_hash128 digest;  /* published */
};

/* What lies in INDEX for a build of these options and rows (--resume). Result options and stamps of
 * the row files must be those of the build that was interrupted, or published. Fails with RT_USAGE
 * naming the first option that differs (published: not with --force), RT_INPUT naming the row file,
 * RT_IO, RT_DAMAGED, RT_NOMEM. */
enum rt_status rt_build_resume_look(const struct rt_options *options,
                                    const struct rt_rows_info *rows, struct rt_build_resume *out,
                                    struct rt_error *err) RT_MUST_CHECK;

#endif
