#include "core/options.h"

#include "core/element.h"
#include "core/option_text.h"
#include "core/units.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct rt_option rt_option_table[RT_N_OPTIONS] = {
#define RT_OPTION(field, name, letter, class, type, text, least, most, words, jobs, help)          \
    {name,                                                                                         \
     letter,                                                                                       \
     RT_CLASS_##class,                                                                             \
     RT_TYPE_##type,                                                                               \
     text,                                                                                         \
     (uint64_t)(least),                                                                            \
     (uint64_t)(most),                                                                             \
     (double)(least),                                                                              \
     (double)(most),                                                                               \
     words,                                                                                        \
     help,                                                                                         \
     (jobs),                                                                                       \
     offsetof(struct rt_options, field)},
#include "core/options.def"
#undef RT_OPTION
};

static const struct {
    const char *name, *arguments, *summary;
} job_table[RT_N_JOBS] = {
    [RT_JOB_SYNTH] = {"synth", "OUT",
                      "write clustered random rows, queries and their true neighbours"},
    [RT_JOB_PLAN] = {"plan", "[ROWS]", "tell what a job will need, before any work"},
    [RT_JOB_BUILD] = {"build", "ROWS INDEX", "build an index over the rows of one file or many"},
    [RT_JOB_SEARCH] = {"search", "INDEX [QUERIES]", "find the nearest rows of queries"},
    [RT_JOB_INFO] = {"info", "INDEX", "show what an index holds"},
    [RT_JOB_VERIFY] = {"verify", "INDEX", "check an index: checksums, structure, codes"},
    [RT_JOB_INSERT] = {"insert", "INDEX ROWS", "put new rows into a published index"},
    [RT_JOB_DELETE] = {"delete", "INDEX", "let rows of an index die, by their ids"},
    [RT_JOB_VACUUM] = {"vacuum", "INDEX",
                       "fold new rows into the lists, drop dead ones, give space back"},
    [RT_JOB_WATCH] = {"watch", "INDEX", "show what the job that writes an index is doing"},
    [RT_JOB_EXPORT] = {"export", "INDEX OUT", "write an index as a file of another program"},
    [RT_JOB_IMPORT] = {"import", "FILE INDEX", "make an index of an exported HDF5 file"},
};

const char *rt_job_name(enum rt_job_id job)
{
    return job_table[job].name;
}

const char *rt_job_arguments(enum rt_job_id job)
{
    return job_table[job].arguments;
}

const char *rt_job_summary(enum rt_job_id job)
{
    return job_table[job].summary;
}

int rt_job_parse(const char *name, enum rt_job_id *out)
{
    for (int job = 0; job < RT_N_JOBS; job++)
        if (strcmp(job_table[job].name, name) == 0) {
            *out = (enum rt_job_id)job;
            return 0;
        }
    return -1;
}

const char *rt_origin_name(enum rt_origin origin)
{
    static const char *const names[] = {"default", "given", "auto", "environment"};
    return names[origin];
}

/* ---- values from text ---- */

enum verdict { FINE, MALFORMED, OUT_OF_RANGE };

static enum verdict number_parse(const char *text, size_t length, uint64_t least, uint64_t most,
                                 uint64_t *out)
{
    uint64_t value = 0;
    if (length == 0)
        return MALFORMED;
    for (size_t i = 0; i < length; i++)
        if (!isdigit((unsigned char)text[i]))
            return MALFORMED;
    for (size_t i = 0; i < length; i++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
            return OUT_OF_RANGE;
    *out = value;
    return value >= least && value <= most ? FINE : OUT_OF_RANGE;
}

/* Plain decimal numbers: strtod alone would also take hexadecimal, "nan" and leading blanks. */
static enum verdict real_parse(const char *text, size_t length, double least, double most,
                               double *out)
{
    char copy[64];
    char *end;
    if (length == 0 || length >= sizeof copy || strspn(text, "0123456789.eE+-") < length ||
        !isalnum((unsigned char)text[length - 1]))
        return MALFORMED;
    memcpy(copy, text, length);
    copy[length] = '\0';
    double value = strtod(copy, &end);
    if (*end != '\0' || end == copy)
        return MALFORMED;
    if (!(value >= least && value <= most))
        return OUT_OF_RANGE;
    *out = value;
    return FINE;
}

static enum verdict numbers_parse(const struct rt_option *option, const char *text,
                                  struct rt_numbers *out)
{
    struct rt_numbers list = {0};
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (list.n == RT_MOST_NUMBERS)
            return MALFORMED;
        enum verdict verdict =
            number_parse(at, length, option->least, option->most, &list.value[list.n++]);
        if (verdict != FINE)
            return verdict;
        at += length;
        if (*at == '\0')
            break;
    }
    *out = list;
    return FINE;
}

static enum verdict gate_parse(const struct rt_option *option, const char *text,
                               struct rt_gate *out)
{
    struct rt_gate gate = {.k = 10};
    size_t length = strcspn(text, ",");
    enum verdict verdict =
        real_parse(text, length, option->least_real, option->most_real, &gate.recall);
    if (verdict == FINE && text[length] == ',')
        verdict = number_parse(text + length + 1, strlen(text + length + 1), 1, 1000, &gate.k);
    if (verdict == FINE)
        *out = gate;
    return verdict;
}

static enum verdict word_parse(const char *words, const char *text, int *out)
{
    int place = 0;
    size_t text_length = strlen(text);
    for (const char *at = words;; at++, place++) {
        size_t length = strcspn(at, "|");
        if (length == text_length && memcmp(at, text, length) == 0) {
            *out = place;
            return FINE;
        }
        at += length;
        if (*at == '\0')
            return MALFORMED;
    }
}

static enum verdict flag_parse(const char *text, bool *out)
{
    int place;
    enum verdict verdict = word_parse("off|on", text, &place);
    if (verdict == FINE)
        *out = place == 1;
    return verdict;
}

static enum verdict text_parse(const char *text, char *out)
{
    size_t length = strlen(text);
    if (length == 0 || length >= RT_TEXT_BYTES)
        return OUT_OF_RANGE;
    memcpy(out, text, length + 1);
    return FINE;
}

static enum verdict texts_parse(const char *text, struct rt_texts *out)
{
    if (out->n == RT_MOST_TEXTS)
        return OUT_OF_RANGE;
    enum verdict verdict = text_parse(text, out->text[out->n]);
    out->n += verdict == FINE;
    return verdict;
}

static enum verdict in_range(const struct rt_option *option, double value)
{
    return value >= option->least_real && value <= option->most_real ? FINE : OUT_OF_RANGE;
}

static enum verdict value_parse(const struct rt_option *option, const char *text, void *field)
{
    uint64_t bytes;
    double seconds;
    enum verdict verdict;
    switch (option->type) {
    case RT_TYPE_FLAG:
        return flag_parse(text, field);
    case RT_TYPE_COUNT:
    case RT_TYPE_NUMBER:
        return number_parse(text, strlen(text), option->least, option->most, field);
    case RT_TYPE_REAL:
        return real_parse(text, strlen(text), option->least_real, option->most_real, field);
    case RT_TYPE_SIZE:
        if (rt_units_parse_bytes(text, &bytes) != 0)
            return MALFORMED;
        verdict = bytes >= option->least && bytes <= option->most ? FINE : OUT_OF_RANGE;
        if (verdict == FINE)
            *(uint64_t *)field = bytes;
        return verdict;
    case RT_TYPE_DURATION:
        if (rt_units_parse_seconds(text, &seconds) != 0)
            return MALFORMED;
        verdict = in_range(option, seconds);
        if (verdict == FINE)
            *(double *)field = seconds;
        return verdict;
    case RT_TYPE_WORD:
        return word_parse(option->words, text, field);
    case RT_TYPE_TEXT:
        return text_parse(text, field);
    case RT_TYPE_NUMBERS:
        return numbers_parse(option, text, field);
    case RT_TYPE_TEXTS:
        return texts_parse(text, field);
    case RT_TYPE_GATE:
        return gate_parse(option, text, field);
    }
    return MALFORMED;
}

/* What auto, off and "" leave in a field. */
static void value_clear(const struct rt_option *option, void *field)
{
    static const size_t sizes[] = {[RT_TYPE_FLAG] = sizeof(bool),
                                   [RT_TYPE_COUNT] = sizeof(uint64_t),
                                   [RT_TYPE_NUMBER] = sizeof(uint64_t),
                                   [RT_TYPE_REAL] = sizeof(double),
                                   [RT_TYPE_SIZE] = sizeof(uint64_t),
                                   [RT_TYPE_DURATION] = sizeof(double),
                                   [RT_TYPE_WORD] = sizeof(int),
                                   [RT_TYPE_TEXT] = RT_TEXT_BYTES,
                                   [RT_TYPE_NUMBERS] = sizeof(struct rt_numbers),
                                   [RT_TYPE_TEXTS] = sizeof(struct rt_texts),
                                   [RT_TYPE_GATE] = sizeof(struct rt_gate)};
    memset(field, 0, sizes[option->type]);
    if (option->type == RT_TYPE_WORD)
        *(int *)field = -1;
}

static void *field_of(struct rt_options *options, size_t index)
{
    return (char *)options + rt_option_table[index].offset;
}

enum rt_status rt_options_set(struct rt_options *options, enum rt_option_index index,
                              const char *text, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const struct rt_option *option = &rt_option_table[index];
    bool is_auto = rt_option_has_auto(option) && strcmp(text, "auto") == 0;
    if (is_auto || (rt_option_has_off(option) && strcmp(text, "off") == 0)) {
        value_clear(option, field_of(options, index));
    } else if (value_parse(option, text, field_of(options, index)) != FINE) {
        char range[RT_OPTION_TEXT];
        rt_option_range(option, range);
        RT_FAIL(RT_USAGE, "--%s takes %s, not '%.80s'", option->name, range, text);
    }
    options->origin[index] = is_auto ? RT_FROM_AUTO : RT_FROM_GIVEN;
done:
    return st;
}

void rt_options_init(enum rt_job_id job, struct rt_options *out)
{
    memset(out, 0, sizeof *out);
    out->job = job;
    out->planned = job == RT_JOB_PLAN ? RT_JOB_BUILD : job;
    for (size_t i = 0; i < RT_N_OPTIONS; i++) {
        const struct rt_option *option = &rt_option_table[i];
        const char *text = option->default_text;
        bool is_auto = rt_option_has_auto(option);
        value_clear(option, field_of(out, i));
        out->origin[i] = is_auto ? RT_FROM_AUTO : RT_FROM_DEFAULT;
        if (is_auto && strncmp(option->words, "auto|", 5) != 0)
            continue;
        if (is_auto) /* a word that is itself spelled auto: progress */
            out->origin[i] = RT_FROM_DEFAULT;
        if (text[0] != '\0' && !rt_option_has_off(option) &&
            value_parse(option, text, field_of(out, i)) != FINE)
            rt_die("default of --%s is outside its range", option->name);
    }
}

/* ---- the command line ---- */

#define SHORT_BYTES (2 * RT_N_OPTIONS + 3)
#define LONG_BASE 256 /* getopt's value of long option i is LONG_BASE + i */

static bool takes_no_value(const struct rt_option *option)
{
    return option->type == RT_TYPE_FLAG || option->type == RT_TYPE_COUNT;
}

/* The job whose words and options are taken. */
static enum rt_job_id asked(const struct rt_options *options)
{
    bool is_edit = options->job == RT_JOB_PLAN && options->planned != RT_JOB_BUILD;
    return is_edit ? options->planned : options->job;
}

bool rt_options_take(const struct rt_options *options, const struct rt_option *option)
{
    enum rt_job_id job = asked(options);
    return option->jobs & 1u << job || (options->job == RT_JOB_PLAN && option->jobs == RT_FOR_PLAN);
}

static bool names_edit(const char *word, enum rt_job_id *job)
{
    enum rt_job_id named = RT_JOB_PLAN;
    if (rt_job_parse(word, &named) != 0 || !(RT_FOR_EDITING & 1u << named))
        return false;
    *job = named;
    return true;
}

/* getopt's two descriptions of the options a job has. */
static void describe_to_getopt(const struct rt_options *options, struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* a missing value is told apart */
    for (int i = 0; i < RT_N_OPTIONS; i++) {
        const struct rt_option *option = &rt_option_table[i];
        if (!rt_options_take(options, option))
            continue;
        *longs++ = (struct option){option->name,
                                   takes_no_value(option) ? optional_argument : required_argument,
                                   NULL, LONG_BASE + i};
        if (option->letter) {
            *shorts++ = option->letter;
            if (!takes_no_value(option))
                *shorts++ = ':';
        }
    }
    *longs = (struct option){0};
    *shorts = '\0';
}

static int index_of(const struct rt_options *options, int value)
{
    if (value >= LONG_BASE)
        return value - LONG_BASE;
    for (int i = 0; i < RT_N_OPTIONS; i++)
        if (rt_option_table[i].letter == value && rt_options_take(options, &rt_option_table[i]))
            return i;
    return -1;
}

/* What is wrong with an option getopt does not know: `word` as typed ("--foo=1" or "-x"). */
static enum rt_status refuse_option(const struct rt_options *options, const char *word, int letter,
                                    struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *name = rt_job_name(asked(options));
    if (letter)
        RT_FAIL(RT_USAGE, "-%c is no option of %s (ranktape %s --help)", letter, name, name);
    const char *start = word + strspn(word, "-");
    size_t length = strcspn(start, "=");
    const char *like[2] = {NULL, NULL};
    for (int i = 0; i < RT_N_OPTIONS; i++) {
        const struct rt_option *option = &rt_option_table[i];
        if (strncmp(option->name, start, length) != 0)
            continue;
        if (rt_options_take(options, option))
            like[like[0] != NULL] = option->name;
        else if (strlen(option->name) == length)
            for (int other = 0; other < RT_N_JOBS; other++)
                if (option->jobs & 1u << other)
                    RT_FAIL(RT_USAGE,
                            "--%s is no option of %s; it belongs to %s (ranktape %s --help)",
                            option->name, name, rt_job_name((enum rt_job_id)other),
                            rt_job_name((enum rt_job_id)other));
    }
    if (like[1])
        RT_FAIL(RT_USAGE, "--%.*s may mean --%s or --%s", (int)length, start, like[0], like[1]);
    RT_FAIL(RT_USAGE, "--%.*s is no option of %s (ranktape %s --help)",
            length > 60 ? 60 : (int)length, start, name, name);
done:
    return st;
}

/* Sets one option getopt has found. A flag also takes a word `on` or `off` that follows it. */
static enum rt_status take_option(struct rt_options *options, int index, int argc, char **argv,
                                  struct rt_error *err)
{
    const struct rt_option *option = &rt_option_table[index];
    const char *text = optarg;
    char count[24];
    if (option->type == RT_TYPE_FLAG && !text) {
        text = "on";
        if (optind < argc && (strcmp(argv[optind], "on") == 0 || strcmp(argv[optind], "off") == 0))
            text = argv[optind++];
    }
    if (option->type == RT_TYPE_COUNT && !text) {
        uint64_t now = *(uint64_t *)field_of(options, (size_t)index);
        (void)snprintf(count, sizeof count, "%llu",
                       (unsigned long long)(now < option->most ? now + 1 : now));
        text = count;
    }
    return rt_options_set(options, (enum rt_option_index)index, text, err);
}

/* The environment is for the machine, not the job: how much is said. */
static enum rt_status take_environment(struct rt_options *options, struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *level = getenv("RANKTAPE_LOG");
    int place;
    if (!level || !*level)
        goto done;
    if (word_parse("error|warning|info|debug", level, &place) != FINE)
        RT_FAIL(RT_USAGE, "RANKTAPE_LOG takes one of error|warning|info|debug, not '%.40s'", level);
    options->quiet = place <= 1;
    options->verbose = place == 3 ? 2 : 0;
    options->origin[RT_OPT_quiet] = options->origin[RT_OPT_verbose] = RT_FROM_ENVIRONMENT;
done:
    return st;
}

static enum rt_status take_arguments(struct rt_options *options, int argc, char **argv,
                                     struct rt_error *err)
{
    enum rt_status st = RT_OK;
    const char *job = rt_job_name(asked(options));
    const char *words = rt_job_arguments(asked(options));
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        if (optind < argc) {
            if (text_parse(argv[optind], options->argument[options->n_arguments]) != FINE)
                RT_FAIL(RT_USAGE, "%.*s is empty or longer than %d bytes", (int)length, at,
                        RT_TEXT_BYTES - 1);
            options->n_arguments++;
            optind++;
        } else if (*at != '[') {
            RT_FAIL(RT_USAGE, "%.*s is missing: ranktape %s %s (ranktape %s --help)", (int)length,
                    at, job, words, job);
        }
        at += length;
    }
    if (optind < argc)
        RT_FAIL(RT_USAGE, "'%.80s' is too much: ranktape %s %s (ranktape %s --help)", argv[optind],
                job, words, job);
done:
    return st;
}

enum rt_status rt_options_parse(enum rt_job_id job, int argc, char **argv, struct rt_options *out,
                                struct rt_error *err)
{
    enum rt_status st = RT_OK;
    struct option longs[RT_N_OPTIONS + 1];
    char shorts[SHORT_BYTES];
    int value;
    rt_options_init(job, out);
    if (job == RT_JOB_PLAN && argc > 1 && names_edit(argv[1], &out->planned)) {
        argv++;
        argc--;
    }
    RT_TRY(take_environment(out, err));
    describe_to_getopt(out, longs, shorts);
    opterr = 0;
    optind = 0; /* glibc: start anew */
    while ((value = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        /* where getopt refuses, the word at fault is the one before optind, or for letters optopt
         */
        if (value == '?') {
            bool is_long = optopt == 0 || optopt >= LONG_BASE;
            RT_TRY(refuse_option(out, argv[optind - 1], is_long ? 0 : optopt, err));
        }
        if (value == ':')
            RT_FAIL(RT_USAGE, "--%s needs a value (ranktape %s --help)",
                    rt_option_table[index_of(out, optopt)].name, rt_job_name(asked(out)));
        int index = index_of(out, value);
        RT_TRY(take_option(out, index, argc, argv, err));
        if (index == RT_OPT_help && out->help)
            goto done;
    }
    RT_TRY(take_arguments(out, argc, argv, err));
done:
    return st;
}

/* ---- values to text ---- */

/* A decimal that reads back as the same number. */
static void real_text(double value, char *text, size_t text_size)
{
    for (int digits = 6; digits <= 17; digits++) {
        (void)snprintf(text, text_size, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
}

/* Durations are read without exponents. */
static void seconds_text(double seconds, char *text, size_t text_size)
{
    for (int digits = 0; digits <= 17; digits++) {
        (void)snprintf(text, text_size, "%.*f", digits, seconds);
        if (strtod(text, NULL) == seconds)
            break;
    }
}

static void size_text(uint64_t bytes, char *text, size_t text_size)
{
    static const char units[] = "\0KMGT";
    int unit = 0;
    while (unit < 4 && bytes != 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    (void)snprintf(text, text_size, "%llu%.1s", (unsigned long long)bytes, &units[unit]);
}

static void numbers_text(const struct rt_numbers *list, char *text, size_t text_size)
{
    size_t used = 0;
    for (uint32_t i = 0; i < list->n && used < text_size; i++) {
        int n = snprintf(text + used, text_size - used, "%s%llu", i ? "," : "",
                         (unsigned long long)list->value[i]);
        used += (size_t)n;
    }
}

static void texts_text(const struct rt_texts *texts, char *text, size_t text_size)
{
    size_t used = 0;
    for (uint32_t i = 0; i < texts->n && used < text_size; i++) {
        int n = snprintf(text + used, text_size - used, "%s%s", i ? "," : "", texts->text[i]);
        used += (size_t)n;
    }
}

static void word_text(const char *words, int place, char *text, size_t text_size)
{
    for (; place > 0; place--)
        words += strcspn(words, "|") + 1;
    (void)snprintf(text, text_size, "%.*s", (int)strcspn(words, "|"), words);
}

/* Whether the field still holds what value_clear left. */
static bool is_clear(const struct rt_option *option, const void *field)
{
    switch (option->type) {
    case RT_TYPE_NUMBER:
    case RT_TYPE_SIZE:
        return *(const uint64_t *)field == 0;
    case RT_TYPE_WORD:
        return *(const int *)field < 0;
    case RT_TYPE_NUMBERS:
        return ((const struct rt_numbers *)field)->n == 0;
    case RT_TYPE_GATE:
        return ((const struct rt_gate *)field)->k == 0;
    case RT_TYPE_DURATION:
        return *(const double *)field == 0;
    default:
        return false;
    }
}

void rt_options_text(const struct rt_options *options, enum rt_option_index index, char *text,
                     size_t text_size)
{
    const struct rt_option *option = &rt_option_table[index];
    const void *field = (const char *)options + option->offset;
    const struct rt_gate *gate = field;
    text[0] = '\0';
    if (is_clear(option, field) && (rt_option_has_auto(option) || rt_option_has_off(option))) {
        (void)snprintf(text, text_size, "%s", option->default_text);
        return;
    }
    switch (option->type) {
    case RT_TYPE_FLAG:
        (void)snprintf(text, text_size, "%s", *(const bool *)field ? "on" : "off");
        break;
    case RT_TYPE_COUNT:
    case RT_TYPE_NUMBER:
        if (!is_clear(option, field) || option->default_text[0] != '\0')
            (void)snprintf(text, text_size, "%llu", (unsigned long long)*(const uint64_t *)field);
        break;
    case RT_TYPE_REAL:
        real_text(*(const double *)field, text, text_size);
        break;
    case RT_TYPE_DURATION:
        seconds_text(*(const double *)field, text, text_size);
        break;
    case RT_TYPE_SIZE:
        size_text(*(const uint64_t *)field, text, text_size);
        break;
    case RT_TYPE_WORD:
        word_text(option->words, *(const int *)field, text, text_size);
        break;
    case RT_TYPE_TEXT:
        (void)snprintf(text, text_size, "%s", (const char *)field);
        break;
    case RT_TYPE_NUMBERS:
        numbers_text(field, text, text_size);
        break;
    case RT_TYPE_TEXTS:
        texts_text(field, text, text_size);
        break;
    case RT_TYPE_GATE:
        real_text(gate->recall, text, text_size);
        (void)snprintf(text + strlen(text), text_size - strlen(text), ",%llu",
                       (unsigned long long)gate->k);
        break;
    }
}
