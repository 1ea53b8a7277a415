#include "core/fault.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FAULTS 8

struct fault {
    char point[32];
    long rank; /* -1: all */
    unsigned long first;
    enum { FAIL, KILL, STOP } action;
    unsigned long passed;
};

static struct fault faults[MOST_FAULTS];
static int n_faults = -1; /* the environment is not read yet */
static int own_rank;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* point:rank[:n[:kill|stop]]; what is not understood is no fault. */
static bool parse(char *text, struct fault *fault)
{
    char *rest = NULL;
    char *point = strtok_r(text, ":", &rest);
    char *rank = strtok_r(NULL, ":", &rest);
    char *first = strtok_r(NULL, ":", &rest);
    char *action = strtok_r(NULL, ":", &rest);
    if (!point || !rank || strlen(point) >= sizeof fault->point)
        return false;
    strcpy(fault->point, point);
    fault->rank = strcmp(rank, "all") == 0 ? -1 : strtol(rank, NULL, 10);
    fault->first = first ? strtoul(first, NULL, 10) : 1;
    fault->action = !action                       ? FAIL
                    : strcmp(action, "kill") == 0 ? KILL
                    : strcmp(action, "stop") == 0 ? STOP
                                                  : FAIL;
    return true;
}

static void read_environment(void)
{
    n_faults = 0;
    const char *given = getenv("RANKTAPE_FAULT");
    char text[512];
    if (!given || strlen(given) >= sizeof text)
        return;
    strcpy(text, given);
    char *rest = NULL;
    for (char *one = strtok_r(text, ",", &rest); one && n_faults < MOST_FAULTS;
         one = strtok_r(NULL, ",", &rest))
        if (parse(one, &faults[n_faults]))
            n_faults++;
}

void rt_fault_set_rank(int rank)
{
    pthread_mutex_lock(&mutex);
    own_rank = rank;
    n_faults = -1;
    pthread_mutex_unlock(&mutex);
}

bool rt_fault_hit(const char *point)
{
    bool fails = false;
    pthread_mutex_lock(&mutex);
    if (n_faults < 0)
        read_environment();
    for (int i = 0; i < n_faults; i++) {
        struct fault *fault = &faults[i];
        if (strcmp(fault->point, point) != 0 || (fault->rank >= 0 && fault->rank != own_rank))
            continue;
        if (++fault->passed < fault->first)
            continue;
        if (fault->action == KILL)
            (void)raise(SIGKILL);
        else if (fault->action == FAIL)
            fails = true;
        else if (fault->passed == fault->first)
            (void)raise(SIGSTOP);
    }
    pthread_mutex_unlock(&mutex);
    return fails;
}
