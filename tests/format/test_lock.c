/* io/lock: one writer at a time, and who may take a lock that was left behind. */
#include "tests/rt_test.h"

#include "io/fs.h"
#include "io/lock.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct rt_error err;
static const struct rt_lock_options plain = {false, 0};
static const struct rt_lock_options by_force = {true, 0};

/* A child that takes the lock of DIR and keeps it until it is ended, when `left` the lock stays
 * behind. */
static pid_t child_with_lock(const char *dir)
{
    int ready[2];
    char byte = 0;
    (void)fflush(NULL);
    if (pipe(ready) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        struct rt_lock *lock = NULL;
        byte = rt_lock_take(dir, &plain, &lock, &err) == RT_OK;
        (void)!write(ready[1], &byte, 1);
        (void)pause();
        _exit(0);
    }
    (void)!read(ready[0], &byte, 1);
    (void)close(ready[0]);
    (void)close(ready[1]);
    CHECK(byte == 1);
    return child;
}

static void end_child(pid_t child)
{
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
}

RT_TEST("a process that is dead but not yet reaped holds nothing")
{
    struct rt_lock *lock = NULL;
    siginfo_t info;
    CHECK(mkdir("l", 0777) == 0);
    pid_t child = child_with_lock("l");
    CHECK(kill(child, SIGKILL) == 0 && waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT) == 0);
    CHECK_OK(rt_lock_take("l", &plain, &lock, &err));
    rt_lock_release(lock);
    CHECK(waitpid(child, NULL, 0) == child && rmdir("l") == 0);
}

RT_TEST("a lock that is held is named, and taken again after it was given back")
{
    struct rt_lock *lock = NULL;
    struct rt_lock *other = NULL;
    struct rt_lock_owner owner;
    bool is_held = true;
    CHECK(mkdir("l", 0777) == 0);
    CHECK_OK(rt_lock_read("l", &is_held, &owner, &err));
    CHECK(!is_held);
    CHECK_OK(rt_lock_take("l", &plain, &lock, &err));
    CHECK_OK(rt_lock_read("l", &is_held, &owner, &err));
    CHECK(is_held && owner.pid == (uint64_t)getpid() && strlen(owner.nonce) == 32 &&
          owner.start_time > 0);
    CHECK_STATUS(RT_USAGE, rt_lock_take("l", &plain, &other, &err));
    CHECK(strstr(err.text, owner.host) && strstr(err.text, "--break-lock"));
    CHECK_OK(rt_lock_check(lock, &err));
    rt_lock_release(lock);
    CHECK_OK(rt_lock_take("l", &plain, &lock, &err));
    rt_lock_release(lock);
    CHECK(rmdir("l") == 0); /* nothing is left behind */
}

RT_TEST("a live process keeps its lock, a dead one's is taken")
{
    struct rt_lock *lock = NULL;
    CHECK(mkdir("l", 0777) == 0);
    pid_t child = child_with_lock("l");
    CHECK_STATUS(RT_USAGE, rt_lock_take("l", &plain, &lock, &err));
    end_child(child);
    CHECK_OK(rt_lock_take("l", &plain, &lock, &err));
    CHECK_OK(rt_lock_check(lock, &err));
    rt_lock_release(lock);
    CHECK(rmdir("l") == 0);
}

RT_TEST(
    "a broken lock tells its old owner before it publishes, and release leaves the new one alone")
{
    struct rt_lock *old = NULL;
    struct rt_lock *lock = NULL;
    CHECK(mkdir("l", 0777) == 0);
    CHECK_OK(rt_lock_take("l", &plain, &old, &err));
    CHECK_OK(rt_lock_take("l", &by_force, &lock, &err));
    CHECK_STATUS(RT_USAGE, rt_lock_check(old, &err));
    rt_lock_release(old);
    CHECK_OK(rt_lock_check(lock, &err));
    CHECK(unlink("l/LOCK") == 0);
    CHECK_STATUS(RT_USAGE, rt_lock_check(lock, &err));
    rt_lock_release(lock);
    CHECK(rmdir("l") == 0);
}

RT_TEST("a LOCK that nobody can read is held until it is broken")
{
    struct rt_lock *lock = NULL;
    CHECK(mkdir("l", 0777) == 0);
    const char *texts[] = {"", "{", "[1]", "{\"host\": 7, \"pid\": -1}",
                           "{\"host\": \"a\\u0007b\", \"pid\": 1e300}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        CHECK_OK(rt_fs_replace("l", "LOCK", texts[i], strlen(texts[i]), &err));
        CHECK_STATUS(RT_USAGE, rt_lock_take("l", &plain, &lock, &err));
        CHECK(strstr(err.text, "--break-lock") != NULL);
    }
    CHECK_OK(rt_lock_take("l", &by_force, &lock, &err));
    rt_lock_release(lock);
    CHECK(rmdir("l") == 0);
}

RT_TEST("what a killed taker left behind is told from what a living one needs")
{
    struct rt_lock *lock = NULL;
    CHECK(mkdir("l", 0777) == 0);
    CHECK(!rt_lock_is_left("l/LOCK.0")); /* not there */
    pid_t child = fork();
    if (child == 0) {
        bool is_mine = rt_lock_take("l", &plain, &lock, &err) == RT_OK &&
                       link("l/LOCK", "l/LOCK.0") == 0 && !rt_lock_is_left("l/LOCK.0");
        _exit(is_mine ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(rt_lock_is_left("l/LOCK.0"));
    CHECK_OK(rt_fs_replace("l", "LOCK.0", "{", 1, &err)); /* not written to the end */
    CHECK(!rt_lock_is_left("l/LOCK.0"));
    CHECK(unlink("l/LOCK.0") == 0 && unlink("l/LOCK") == 0 && rmdir("l") == 0);
}

RT_TEST("another boot, host or set of process numbers is never judged dead from here")
{
    struct rt_lock_owner self, owner;
    rt_lock_self(&self);
    owner = self;
    CHECK(!rt_lock_is_stale(&owner, &self)); /* we live */
    owner.start_time++;                      /* our number, another process */
    CHECK(rt_lock_is_stale(&owner, &self));
    owner.boot_id[0] ^= 1;
    CHECK(!rt_lock_is_stale(&owner, &self));
    owner.boot_id[0] ^= 1;
    owner.pid_space[4] ^= 1;
    CHECK(!rt_lock_is_stale(&owner, &self));
    owner.pid_space[4] ^= 1;
    strcpy(owner.host, "elsewhere");
    CHECK(!rt_lock_is_stale(&owner, &self));
}

RT_TEST("the same batch job may take its own lock when it comes back, another may not")
{
    struct rt_lock_owner self, owner;
    rt_lock_self(&self);
    owner = self;
    strcpy(owner.host, "elsewhere");
    strcpy(owner.job_id, "4711");
    strcpy(self.job_id, "4711");
    self.restart_count = owner.restart_count;
    CHECK(!rt_lock_is_stale(&owner, &self));
    self.restart_count++;
    CHECK(rt_lock_is_stale(&owner, &self));
    strcpy(self.job_id, "4712");
    CHECK(!rt_lock_is_stale(&owner, &self));
    strcpy(self.job_id, "");
    strcpy(owner.job_id, "");
    CHECK(!rt_lock_is_stale(&owner, &self));
}

RT_TEST("of many takers at once exactly one has the lock")
{
    enum { TAKERS = 12 };
    int hold[2];
    int refused = 0;
    CHECK(mkdir("l", 0777) == 0);
    REQUIRE(pipe(hold) == 0);
    (void)fflush(NULL);
    for (int i = 0; i < TAKERS; i++) {
        if (fork() == 0) {
            struct rt_lock *lock = NULL;
            char byte = 0;
            (void)close(hold[1]);
            if (rt_lock_take("l", &plain, &lock, &err) != RT_OK)
                _exit(err.status == RT_USAGE ? 1 : 2);
            (void)!read(hold[0], &byte, 1); /* keeps it until all others have tried */
            rt_lock_release(lock);
            _exit(0);
        }
    }
    (void)alarm(20); /* two owners: nobody is left to wait for */
    for (int i = 0; i + 1 < TAKERS; i++) {
        int status = 0;
        CHECK(wait(&status) > 0 && WIFEXITED(status));
        refused += WEXITSTATUS(status) == 1;
    }
    int status = 0;
    (void)close(hold[1]);
    CHECK(wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    (void)alarm(0);
    (void)close(hold[0]);
    CHECK(refused == TAKERS - 1);
    CHECK(rmdir("l") == 0);
}

static int take_and_give_back(int times)
{
    for (int i = 0; i < times; i++) {
        struct rt_lock *lock = NULL;
        if (rt_lock_take("l", &plain, &lock, &err) != RT_OK)
            return 1;
        rt_lock_release(lock);
    }
    return 0;
}

RT_TEST("a lock that is given back while it is looked at is not held by somebody unknown")
{
    struct rt_lock_owner owner;
    int unknown = 0;
    CHECK(mkdir("l", 0777) == 0);
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(take_and_give_back(300));
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        bool is_held = false;
        CHECK_OK(rt_lock_read("l", &is_held, &owner, &err));
        unknown += is_held && !owner.host[0];
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(unknown == 0);
    CHECK(rmdir("l") == 0);
}

RT_TEST("a lock in a place that is not there is an error of the system")
{
    struct rt_lock *lock = NULL;
    CHECK_STATUS(RT_IO, rt_lock_take("nowhere", &plain, &lock, &err));
}

RT_TEST_MAIN()
