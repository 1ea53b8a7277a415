#include "jobs/plan_model.h"

#include "core/metric.h"
#include "jobs/memory_share.h"
#include "tests/rt_test.h"

#include <sys/stat.h>

static struct rt_options options;
static struct rt_plan plan;
static struct rt_error err;

static struct rt_plan_input million(void)
{
    return (struct rt_plan_input){.n_rows = 1000000,
                                  .dim = 128,
                                  .type = RT_U8,
                                  .heap_bytes = 128000000,
                                  .n_files = 1,
                                  .ranks = 4,
                                  .ranks_per_node = 2,
                                  .node_bytes = (uint64_t)16 << 30,
                                  .base_bytes = (uint64_t)7 << 20,
                                  .shm_bytes = UINT64_MAX};
}

static enum rt_status make(const struct rt_plan_input *input)
{
    return rt_plan_make(input, &options, &plan, &err);
}

static void set(enum rt_option_index index, const char *text)
{
    if (rt_options_set(&options, index, text, &err) != RT_OK)
        RT_TEST_FAILED("%s", err.text);
}

static void begin(void)
{
    rt_options_init(RT_JOB_BUILD, &options);
}

RT_TEST("auto lists are min(16 sqrt n, n/256), rounded down, with a level of their root above 1024")
{
    static const struct {
        uint64_t n_rows;
        uint32_t n;
        uint64_t lists[2];
    } cases[] = {
        {1, 1, {1}},
        {255, 1, {1}},
        {511, 1, {1}},
        {512, 1, {2}},
        {80000, 1, {312}},
        {262144, 1, {1024}},
        {262400, 2, {32, 1025}},
        {1000000, 2, {62, 3906}},
        {16777216, 2, {256, 65536}}, /* where the two rules meet: 4096^2 */
        {16777215, 2, {255, 65535}},
        {100000000, 2, {400, 160000}},
        {1000000000, 2, {711, 505964}},
        {RT_MOST_ROWS, 2, {16384, 268435456}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_numbers lists;
        rt_plan_auto_lists(cases[i].n_rows, &lists);
        bool same = lists.n == cases[i].n && lists.value[0] == cases[i].lists[0] &&
                    (lists.n < 2 || lists.value[1] == cases[i].lists[1]);
        if (!same)
            RT_TEST_FAILED("%llu rows: %u levels, %llu, %llu", (unsigned long long)cases[i].n_rows,
                           lists.n, (unsigned long long)lists.value[0],
                           (unsigned long long)lists.value[1]);
    }
}

RT_TEST("what was left to the program is filled in and still says so")
{
    struct rt_plan_input input = million();
    begin();
    REQUIRE(make(&input) == RT_OK);
    CHECK(options.lists.n == 2 && options.origin[RT_OPT_lists] == RT_FROM_AUTO);
    CHECK(plan.n_levels == 2 && plan.lists[0] == 62 && plan.leaves == 3906);
    CHECK(options.training == RT_TRAIN_HIERARCHICAL && plan.cells == 62);
    CHECK(!options.spherical && options.type == RT_U8);
    CHECK(options.tapes == 4 && options.chooser == RT_CHOOSER_ID);
    CHECK(options.block_rows == (4u << 20) / 128);
    CHECK(options.memory == (((uint64_t)8 << 30) / 5) * 4);
    CHECK(options.origin[RT_OPT_memory] == RT_FROM_AUTO);
    CHECK(plan.sample_rows == 256 * 3906);
    CHECK(options.beam == 0 && options.origin[RT_OPT_beam] == RT_FROM_AUTO);
    begin();
    set(RT_OPT_metric, "cosine");
    input.ranks = input.ranks_per_node = 1;
    input.n_rows = 80000;
    REQUIRE(make(&input) == RT_OK);
    CHECK(options.spherical && options.chooser == RT_CHOOSER_ZERO && options.tapes == 1);
    CHECK(options.training == RT_TRAIN_LLOYD && plan.cells == 0);
    input.ranks = 1000;
    begin();
    REQUIRE(make(&input) == RT_OK);
    CHECK(options.tapes == 256);
}

RT_TEST("blocks are larger where leaves take far more memory, unless memory is short")
{
    struct rt_plan_input input = million();
    input.dim = 768;
    input.type = RT_F32;
    input.ranks = input.ranks_per_node = 1;
    begin();
    set(RT_OPT_lists, "64,4096");
    REQUIRE(make(&input) == RT_OK);
    CHECK(options.block_rows == (4u << 20) / 3072);
    input.ranks = input.ranks_per_node = 64; /* little is left to train and compact */
    begin();
    set(RT_OPT_lists, "400,160000");
    set(RT_OPT_sample_per_list, "1");
    REQUIRE(make(&input) == RT_OK);
    REQUIRE(plan.peak_phase == RT_PHASE_INSERT && options.block_rows == 8192);
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)(plan.peak_bytes - 1));
    begin();
    set(RT_OPT_lists, "400,160000");
    set(RT_OPT_sample_per_list, "1");
    set(RT_OPT_memory, text);
    REQUIRE(make(&input) == RT_OK);
    CHECK(options.block_rows == (4u << 20) / 3072 && plan.fits);
}

RT_TEST("no automatic choice that the digest sees depends on ranks or memory")
{
    struct rt_plan_input input = million();
    static struct rt_options first;
    struct rt_plan a;
    begin();
    REQUIRE(make(&input) == RT_OK);
    first = options;
    a = plan;
    input.ranks = 64;
    input.ranks_per_node = 32;
    input.node_bytes = (uint64_t)1 << 30;
    begin();
    REQUIRE(make(&input) == RT_OK);
    CHECK(a.sample_rows == plan.sample_rows && a.leaves == plan.leaves && a.cells == plan.cells);
    for (int i = 0; i < RT_N_OPTIONS; i++) {
        char x[4096];
        char y[4096];
        if (rt_option_table[i].class != RT_CLASS_RESULT)
            continue;
        rt_options_text(&first, (enum rt_option_index)i, x, sizeof x);
        rt_options_text(&options, (enum rt_option_index)i, y, sizeof y);
        if (strcmp(x, y) != 0)
            RT_TEST_FAILED("--%s is %s, then %s", rt_option_table[i].name, x, y);
    }
}

RT_TEST("what is given is kept; leaves beyond the rows are cut, and levels that grew too large go")
{
    struct rt_plan_input input = million();
    begin();
    set(RT_OPT_lists, "10,200,4000");
    set(RT_OPT_tapes, "3");
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.n_levels == 3 && plan.lists[0] == 10 && plan.leaves == 4000 && !plan.lists_cut);
    CHECK(plan.tapes == 3 && options.origin[RT_OPT_tapes] == RT_FROM_GIVEN);
    input.n_rows = 150;
    begin();
    set(RT_OPT_lists, "10,200,4000");
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.lists_cut && plan.n_levels == 2 && plan.lists[0] == 10 && plan.leaves == 150);
    CHECK(plan.sample_rows == 150);
}

RT_TEST("options that contradict each other or the rows are refused")
{
    struct rt_plan_input input = million();
    begin();
    set(RT_OPT_lists, "200,100");
    CHECK_STATUS(RT_USAGE, make(&input));
    CHECK(strstr(err.text, "200 is followed by 100") != NULL);
    begin();
    set(RT_OPT_lists, "100,100");
    CHECK_STATUS(RT_USAGE, make(&input));
    begin();
    set(RT_OPT_kmeans_dimension, "129");
    CHECK_STATUS(RT_USAGE, make(&input));
    CHECK(strstr(err.text, "--kmeans-dimension is 129, rows have 128") != NULL);
    begin();
    input.n_rows = 0;
    CHECK_STATUS(RT_INPUT, make(&input));
}

RT_TEST("bytes that the rows alone decide are exact")
{
    struct rt_plan_input input = million();
    begin();
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.phase[RT_PHASE_INSERT].bytes_read == 128000000);
    /* a record: list 4, id 8, place 8, code 16, three factors 12; a vector: 128, id 8, list 4 */
    CHECK(plan.phase[RT_PHASE_INSERT].bytes_written == 1000000ull * (48 + 140));
    CHECK(plan.phase[RT_PHASE_COMPACT].bytes_read == 48000000);
    uint64_t exchanged = plan.phase[RT_PHASE_COMPACT].bytes_exchanged;
    CHECK(exchanged > 24000000 && exchanged < 25000000); /* to two of four ranks; counts */
    CHECK(plan.phase[RT_PHASE_TRAIN].bytes_read >= 256ull * 3906 * 128);
    set(RT_OPT_rerank_in_heap, "on");
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.phase[RT_PHASE_INSERT].bytes_written == 1000000ull * (48 + 12));
    input.ranks = input.ranks_per_node = 1;
    begin();
    REQUIRE(make(&input) == RT_OK);
    for (int p = 0; p < RT_N_PHASES; p++)
        CHECK(plan.phase[p].bytes_exchanged == 0);
}

RT_TEST("more ranks train with less memory each")
{
    struct rt_plan_input input = million();
    uint64_t before = UINT64_MAX;
    for (uint32_t ranks = 1; ranks <= 64; ranks *= 4) {
        input.ranks = ranks;
        input.ranks_per_node = 1;
        begin();
        REQUIRE(make(&input) == RT_OK);
        CHECK(plan.phase[RT_PHASE_TRAIN].memory_bytes < before);
        before = plan.phase[RT_PHASE_TRAIN].memory_bytes;
    }
}

RT_TEST("ids of the rows' own are planned to be sorted, within the budget")
{
    struct rt_plan_input input = million();
    input.n_rows = 100000000;
    begin();
    REQUIRE(make(&input) == RT_OK);
    uint64_t without = plan.phase[RT_PHASE_INSERT].memory_bytes;
    begin();
    set(RT_OPT_ids, "ids.u64");
    REQUIRE(make(&input) == RT_OK);
    uint64_t share = input.n_rows / input.ranks * 16; /* pairs of id and slot */
    CHECK(plan.phase[RT_PHASE_INSERT].memory_bytes > without);
    CHECK(plan.phase[RT_PHASE_INSERT].memory_bytes > 2 * share);
    set(RT_OPT_memory, "1G");
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.phase[RT_PHASE_INSERT].memory_bytes < (uint64_t)1 << 30);
}

RT_TEST("a plan that cannot fit says so, and the refusal names what would fit")
{
    struct rt_plan_input input = million();
    char text[400];
    unsigned per_list = 0;
    input.n_rows = 100000000;
    input.dim = 768;
    input.type = RT_F32;
    begin();
    set(RT_OPT_memory, "20G");
    REQUIRE(make(&input) == RT_OK);
    CHECK(!plan.fits && plan.peak_bytes > plan.budget_bytes);
    CHECK(plan.peak_phase == RT_PHASE_TRAIN);
    rt_plan_refusal(&options, &plan, text, sizeof text);
    const char *remedy = strstr(text, "--sample-per-list ");
    CHECK(strstr(text, "a rank in train, has 20.0 GiB; try ") != NULL);
    if (!remedy || sscanf(remedy, "--sample-per-list %u", &per_list) != 1)
        RT_TEST_FAILED("no remedy in '%s'", text);
    options.sample_per_list = per_list;
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.fits);
    const char *ranks = strstr(text, " or ");
    unsigned more = 0;
    REQUIRE(ranks && sscanf(ranks, " or %u ranks", &more) == 1);
    begin();
    set(RT_OPT_memory, "20G");
    input.ranks = more;
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.fits);
}

RT_TEST("sample rows stay in their own type only where rotated ones would not fit")
{
    struct rt_plan_input input = million();
    begin();
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.fits && !plan.sample_native);
    uint64_t rotated = plan.peak_bytes;
    begin();
    options.memory = rotated - 1;
    options.origin[RT_OPT_memory] = RT_FROM_GIVEN;
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.sample_native && plan.fits && plan.peak_bytes < rotated);
}

RT_TEST("without room in /dev/shm every rank pays for the whole tree")
{
    struct rt_plan_input input = million();
    begin();
    REQUIRE(make(&input) == RT_OK);
    uint64_t shared = plan.phase[RT_PHASE_INSERT].memory_bytes;
    CHECK(!plan.tree_is_private && plan.phase[RT_PHASE_INSERT].shared_bytes > 0);
    input.shm_bytes = 1 << 20;
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.tree_is_private && plan.phase[RT_PHASE_INSERT].memory_bytes > shared);
}

RT_TEST("measured rates give times")
{
    struct rt_plan_input input = million();
    struct rt_plan_rates rates = {
        .assign_flops = 1e11, .read_bytes = 1e9, .write_bytes = 1e9, .exchange_bytes = 1e9};
    begin();
    REQUIRE(make(&input) == RT_OK);
    CHECK(plan.phase[RT_PHASE_TRAIN].seconds < 0);
    rt_plan_add_times(&rates, &plan);
    for (int p = 0; p < RT_N_PHASES; p++)
        CHECK(plan.phase[p].seconds > 0 && plan.phase[p].seconds < 1000);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL);
    (void)fputs(text, file);
    (void)fclose(file);
}

static void make_folders(const char *root, const char *path)
{
    char whole[512];
    for (const char *at = path; at; at = strchr(at + 1, '/')) {
        const char *end = strchr(at + 1, '/');
        (void)snprintf(whole, sizeof whole, "%s%.*s", root,
                       end ? (int)(end - path) : (int)strlen(path), path);
        (void)mkdir(whole, 0777);
    }
}

RT_TEST("the share is the least of the machine, the cgroups and the batch system")
{
    char root[] = "/tmp/rt-share-XXXXXX";
    char path[512];
    REQUIRE(mkdtemp(root) != NULL);
    (void)unsetenv("SLURM_MEM_PER_NODE");
    (void)unsetenv("SLURM_MEM_PER_CPU");
    uint64_t physical = rt_memory_share_of_node(root);
    CHECK(physical > 0);
    make_folders(root, "/proc/self");
    make_folders(root, "/sys/fs/cgroup/a/b");
    make_folders(root, "/sys/fs/cgroup/memory/job");
    (void)snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    write_file(path, "9:cpu:/x\n8:memory:/job\n0::/a/b\n");
    CHECK(rt_memory_share_of_node(root) == physical);
    (void)snprintf(path, sizeof path, "%s/sys/fs/cgroup/a/b/memory.max", root);
    write_file(path, "max\n");
    CHECK(rt_memory_share_of_node(root) == physical);
    (void)snprintf(path, sizeof path, "%s/sys/fs/cgroup/a/memory.max", root);
    write_file(path, "7340032\n");
    CHECK(rt_memory_share_of_node(root) == 7340032);
    (void)snprintf(path, sizeof path, "%s/sys/fs/cgroup/memory/job/memory.limit_in_bytes", root);
    write_file(path, "5242880\n");
    CHECK(rt_memory_share_of_node(root) == 5242880);
    (void)setenv("SLURM_MEM_PER_NODE", "4", 1);
    CHECK(rt_memory_share_of_node(root) == 4194304);
    (void)setenv("SLURM_MEM_PER_CPU", "1", 1);
    (void)setenv("SLURM_CPUS_ON_NODE", "3", 1);
    CHECK(rt_memory_share_of_node(root) == 3145728);
    (void)setenv("SLURM_MEM_PER_NODE", "99999999999999999999", 1);
    (void)setenv("SLURM_MEM_PER_CPU", "many", 1);
    CHECK(rt_memory_share_of_node(root) == 5242880);
    (void)unsetenv("SLURM_MEM_PER_NODE");
    (void)unsetenv("SLURM_MEM_PER_CPU");
    (void)unsetenv("SLURM_CPUS_ON_NODE");
    (void)snprintf(path, sizeof path, "rm -rf '%s'", root);
    CHECK(system(path) == 0);
}

RT_TEST_MAIN()
