#include "core/options.h"

#include "core/element.h"
#include "core/metric.h"
#include "tests/rt_test.h"

#include <stdarg.h>

static struct rt_options options;
static struct rt_error err;

/* Parses a command line of words parted by blanks, the first of them the job. */
static enum rt_status parse(const char *line)
{
    static char copy[8192];
    char *words[64];
    int n = 0;
    enum rt_job_id job;
    (void)snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word && n < 63; word = strtok(NULL, " "))
        words[n++] = word;
    words[n] = NULL;
    if (rt_job_parse(words[0], &job) != 0)
        return RT_GATE;
    return rt_options_parse(job, n, words, &options, &err);
}

static const char *text_of(enum rt_option_index index)
{
    static char text[RT_TEXT_BYTES];
    rt_options_text(&options, index, text, sizeof text);
    return text;
}

RT_TEST("plan takes the words and options of the job that its first word names, and where")
{
    REQUIRE(parse("plan vacuum out.rt --full --ranks 8 --memory 2G --cost-delay 3") == RT_OK);
    CHECK(options.job == RT_JOB_PLAN && options.planned == RT_JOB_VACUUM);
    CHECK(options.n_arguments == 1 && strcmp(options.argument[0], "out.rt") == 0);
    CHECK(options.full && options.ranks == 8 && options.cost_delay == 3);
    REQUIRE(parse("plan insert out.rt rows.fbin --replace --ids a.u64 --tapes 3") == RT_OK);
    CHECK(options.planned == RT_JOB_INSERT && options.n_arguments == 2 && options.replace);
    CHECK(strcmp(options.argument[1], "rows.fbin") == 0 && options.tapes == 3);
    REQUIRE(parse("plan delete out.rt --keep a.u64") == RT_OK);
    CHECK(options.planned == RT_JOB_DELETE && strcmp(options.keep, "a.u64") == 0);
    REQUIRE(parse("plan ./vacuum --lists 7") == RT_OK); /* rows of that name */
    CHECK(options.planned == RT_JOB_BUILD && strcmp(options.argument[0], "./vacuum") == 0);
    REQUIRE(parse("plan --rows 5 --dim 3") == RT_OK);
    CHECK(options.planned == RT_JOB_BUILD && options.n_arguments == 0);
    REQUIRE(parse("build rows.fbin out.rt") == RT_OK);
    CHECK(options.planned == RT_JOB_BUILD);
    CHECK(parse("plan vacuum out.rt --lists 7") == RT_USAGE);
    CHECK(strstr(err.text, "--lists is no option of vacuum") != NULL);
    CHECK(parse("plan vacuum out.rt --rows 7") == RT_USAGE);
    CHECK(parse("plan insert out.rt") == RT_USAGE);
    CHECK(parse("plan rows.fbin --full") == RT_USAGE);
    CHECK(parse("vacuum out.rt --ranks 8") == RT_USAGE);
}

RT_TEST("without options every option stands at its default")
{
    REQUIRE(parse("build rows.fbin out.rt") == RT_OK);
    CHECK(options.job == RT_JOB_BUILD);
    CHECK(options.n_arguments == 2);
    CHECK(strcmp(options.argument[0], "rows.fbin") == 0);
    CHECK(strcmp(options.argument[1], "out.rt") == 0);
    CHECK(options.metric == RT_L2);
    CHECK(options.lists.n == 0 && options.origin[RT_OPT_lists] == RT_FROM_AUTO);
    CHECK(options.sample_per_list == 256 &&
          options.origin[RT_OPT_sample_per_list] == RT_FROM_DEFAULT);
    CHECK(options.iterations == 10);
    CHECK(options.training == -1 && options.origin[RT_OPT_training] == RT_FROM_AUTO);
    CHECK(options.residual && options.pin && !options.scatter && !options.json);
    CHECK(options.kmeans_dimension == 0 && options.max_list_rows == 0);
    CHECK(options.min_recall.k == 0);
    CHECK(options.stall_timeout == 600);
    CHECK(options.ids[0] == '\0' && options.report.n == 0);
    CHECK(options.io == RT_WRITE_DIRECT && options.bad_rows == RT_BAD_ROWS_FAIL);
    CHECK(options.progress == 0 && options.origin[RT_OPT_progress] == RT_FROM_DEFAULT);
    REQUIRE(parse("search a b") == RT_OK);
    CHECK(options.k == 10 && options.epsilon == 1.9 && options.threads == 1 &&
          options.probes.n == 0);
    REQUIRE(parse("synth a.fbin --rows 5 --dim 3") == RT_OK);
    CHECK(options.query_count == 1000 && options.truth_k == 100 && options.skew == 1.0);
}

RT_TEST("each kind of value is read, by long name, '=', short letter and unique beginning, in any "
        "place")
{
    REQUIRE(parse("build --lists 400,160000 rows -m cosine --iter=3 out --memory 1.5G --min-recall "
                  "0.95,20 --report a.json "
                  "--report b.html --spherical off --residual=off --pin off --stall-timeout "
                  "1:00:30 --beam auto "
                  "--max-list-rows off --seed 18446744073709551615 --chooser rng --type u8 "
                  "--verify-writes") == RT_OK);
    CHECK(options.lists.n == 2 && options.lists.value[0] == 400 &&
          options.lists.value[1] == 160000);
    CHECK(options.metric == RT_COSINE && options.origin[RT_OPT_metric] == RT_FROM_GIVEN);
    CHECK(options.iterations == 3);
    CHECK(options.memory == UINT64_C(3) << 29);
    CHECK(options.min_recall.recall == 0.95 && options.min_recall.k == 20);
    CHECK(options.report.n == 2 && strcmp(options.report.text[1], "b.html") == 0);
    CHECK(!options.spherical && options.origin[RT_OPT_spherical] == RT_FROM_GIVEN);
    CHECK(!options.residual && !options.pin && options.verify_writes);
    CHECK(options.stall_timeout == 3630);
    CHECK(options.origin[RT_OPT_beam] == RT_FROM_AUTO);
    CHECK(options.seed == UINT64_MAX);
    CHECK(options.chooser == RT_CHOOSER_RNG && options.type == RT_U8);
    CHECK(strcmp(options.argument[0], "rows") == 0 && strcmp(options.argument[1], "out") == 0);
    REQUIRE(parse("search -k 100 -p 8,32 -vv idx q.fbin -q -o x.ibin -t t.ibin --latency on") ==
            RT_OK);
    CHECK(options.k == 100 && options.probes.n == 2 && options.verbose == 2 && options.quiet &&
          options.latency);
    CHECK(strcmp(options.out, "x.ibin") == 0 && strcmp(options.truth, "t.ibin") == 0);
    REQUIRE(parse("build -- --rows --index") == RT_OK);
    CHECK(strcmp(options.argument[0], "--rows") == 0);
}

RT_TEST("one name may mean different things in different jobs")
{
    REQUIRE(parse("info idx --lists --digest") == RT_OK);
    CHECK(options.show_lists && options.digest && options.lists.n == 0);
    REQUIRE(parse("plan --rows 1000 --dim 8 --lists 4") == RT_OK);
    CHECK(options.rows == 1000 && options.lists.value[0] == 4 && options.n_arguments == 0);
}

RT_TEST("a wrong call is refused with one line that says what would be right")
{
    static const struct {
        const char *line, *says;
    } cases[] = {
        {"build a b --iterations 5000",
         "--iterations takes a whole number from 0 to 1024, not '5000'"},
        {"build a b --iterations -1", "0 to 1024"},
        {"build a b --iterations 1x", "not '1x'"},
        {"build a b --sample-per-list 0", "1 to 1024"},
        {"build a b --seed 18446744073709551616", "from 0 to 18446744073709551615"},
        {"build a b --lists 4,,8",
         "--lists takes up to 8 whole numbers parted by commas, each from 1 to"},
        {"build a b --lists 1,2,3,4,5,6,7,8,9", "up to 8"},
        {"build a b --lists 0", "from 1 to"},
        {"build a b --lists 4,x", "or auto, not '4,x'"},
        {"build a b --metric L2", "--metric takes one of l2|ip|cosine, not 'L2'"},
        {"build a b --training auto|lloyd", "lloyd|hierarchical, or auto"},
        {"build a b --memory 3X", "--memory takes a size such as 512M, 4G or 1.5T"},
        {"build a b --memory 1K", "from 1.0 MiB to"},
        {"build a b --memory 99999999T", "--memory takes"},
        {"build a b --min-recall 1.5", "recall from 0 to 1"},
        {"build a b --min-recall 0.9,0", "not '0.9,0'"},
        {"build a b --min-recall nan", "not 'nan'"},
        {"build a b --stall-timeout soon", "a time such as"},
        {"build a b --stall-timeout 0", "from 1s to"},
        {"build a b --pin=maybe", "--pin takes on or off, not 'maybe'"},
        {"build a b --epsilon 2",
         "--epsilon is no option of build; it belongs to search (ranktape search --help)"},
        {"build a b --frobnicate=3", "--frobnicate is no option of build (ranktape build --help)"},
        {"build a b --re on", "--re may mean --"},
        {"build a b -z", "-z is no option of build"},
        {"build a b -k 3", "-k is no option of build"},
        {"build a b --iterations", "--iterations needs a value"},
        {"build a b -m", "--metric needs a value"},
        {"build a", "INDEX is missing: ranktape build ROWS INDEX"},
        {"build", "ROWS is missing"},
        {"build a b c", "'c' is too much: ranktape build ROWS INDEX"},
        {"search idx q --epsilon 0x10", "--epsilon takes a number from 0 to 1e+06, not '0x10'"},
        {"search idx q --epsilon inf", "not 'inf'"},
        {"search idx q --epsilon -1", "from 0"},
        {"search idx q --k 0", "1 to 1048576"},
        {"search idx q --out=", "--out takes 1 to 4095 bytes"},
        {"search idx q --heap 1=a --heap 1=a --heap 1=a --heap 1=a --heap 1=a --heap 1=a --heap "
         "1=a --heap 1=a --heap 1=a",
         "at most 8 times"},
        {"info idx --lists 4", "'4' is too much"},
        {"synth a --rows 18446744073709551615", "from 1 to"},
        {"plan --dim 65536", "from 1 to 65535"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        enum rt_status status = parse(cases[i].line);
        if (status != RT_USAGE)
            RT_TEST_FAILED("'%s' gave %d", cases[i].line, (int)status);
        else if (!strstr(err.text, cases[i].says))
            RT_TEST_FAILED("'%s' says '%s', not '%s'", cases[i].line, err.text, cases[i].says);
        else if (strchr(err.text, '\n'))
            RT_TEST_FAILED("'%s' says more than a line", cases[i].line);
    }
}

RT_TEST("help asks for nothing else")
{
    REQUIRE(parse("build --help") == RT_OK);
    CHECK(options.help);
    REQUIRE(parse("build --iterations 4 -h --no-such") == RT_OK);
    CHECK(options.help);
}

RT_TEST("the environment tells how much is said, and no more than the call")
{
    REQUIRE(setenv("RANKTAPE_LOG", "debug", 1) == 0);
    CHECK_OK(parse("info idx"));
    CHECK(options.verbose == 2 && options.origin[RT_OPT_verbose] == RT_FROM_ENVIRONMENT);
    REQUIRE(setenv("RANKTAPE_LOG", "warning", 1) == 0);
    CHECK_OK(parse("info idx --quiet off"));
    CHECK(!options.quiet && options.origin[RT_OPT_quiet] == RT_FROM_GIVEN);
    REQUIRE(setenv("RANKTAPE_LOG", "loud", 1) == 0);
    CHECK_STATUS(RT_USAGE, parse("info idx"));
    CHECK(strstr(err.text, "RANKTAPE_LOG takes one of error|warning|info|debug, not 'loud'") !=
          NULL);
    (void)unsetenv("RANKTAPE_LOG");
}

RT_TEST("a value is written as it would be typed, and reads back as itself")
{
    static const struct {
        enum rt_option_index index;
        const char *text;
    } cases[] = {
        {RT_OPT_lists, "400,160000"},
        {RT_OPT_lists, "auto"},
        {RT_OPT_metric, "cosine"},
        {RT_OPT_training, "auto"},
        {RT_OPT_memory, "1536M"},
        {RT_OPT_memory, "auto"},
        {RT_OPT_beam, "7"},
        {RT_OPT_residual, "off"},
        {RT_OPT_min_recall, "off"},
        {RT_OPT_min_recall, "0.1,5"},
        {RT_OPT_max_list_rows, "off"},
        {RT_OPT_skew, "0.1"},
        {RT_OPT_report, "a.json"},
        {RT_OPT_seed, "0"},
        {RT_OPT_iterations, "0"},
        {RT_OPT_type, "i8"},
        {RT_OPT_stall_timeout, "90"},
        {RT_OPT_progress, "auto"},
        {RT_OPT_ids, "x"},
        {RT_OPT_verbose, "1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rt_options_init(RT_JOB_BUILD, &options);
        CHECK_OK(rt_options_set(&options, cases[i].index, cases[i].text, &err));
        if (strcmp(text_of(cases[i].index), cases[i].text) != 0)
            RT_TEST_FAILED("--%s %s is written as '%s'", rt_option_table[cases[i].index].name,
                           cases[i].text, text_of(cases[i].index));
    }
    rt_options_init(RT_JOB_BUILD, &options);
    CHECK(strcmp(text_of(RT_OPT_ids), "") == 0);
    CHECK(strcmp(text_of(RT_OPT_rows), "") == 0);
}

RT_TEST("the table itself is sound")
{
    for (int i = 0; i < RT_N_OPTIONS; i++) {
        const struct rt_option *a = &rt_option_table[i];
        CHECK(a->jobs != 0 && a->help[0] != '\0');
        CHECK(a->least <= a->most);
        /* where 0 means auto or off, 0 cannot be typed; refinements is the exception, where auto
         * ends as a number */
        if (a->type == RT_TYPE_NUMBER && i != RT_OPT_refinements &&
            (strcmp(a->default_text, "auto") == 0 || strcmp(a->default_text, "off") == 0))
            CHECK(a->least > 0);
        for (int j = 0; j < i; j++) {
            const struct rt_option *b = &rt_option_table[j];
            if (!(a->jobs & b->jobs))
                continue;
            if (strcmp(a->name, b->name) == 0)
                RT_TEST_FAILED("--%s twice in one job", a->name);
            if (a->letter && a->letter == b->letter)
                RT_TEST_FAILED("-%c twice in one job", a->letter);
        }
    }
}

RT_TEST_MAIN()

RT_TEST("a duration is written as it can be read")
{
    static const char *const given[][2] = {{"90", "90"},     {"5m", "300"},
                                           {"0:00:07", "7"}, {"8095530", "8095530"},
                                           {"1.5h", "5400"}, {"31535999.25", "31535999.25"}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        char line[100];
        (void)snprintf(line, sizeof line, "build a b --time-limit %s", given[i][0]);
        REQUIRE(parse(line) == RT_OK);
        CHECK(strcmp(text_of(RT_OPT_time_limit), given[i][1]) == 0);
    }
}
