#include "jobs/screen.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH};
#define N_TAKEN (sizeof taken / sizeof *taken)

static struct sigaction before[N_TAKEN];
static struct termios cooked;
static bool is_open, has_keys;
static volatile sig_atomic_t caught; /* a signal that ends or stops */
static volatile sig_atomic_t has_resized;

static void on_signal(int signal)
{
    if (signal == SIGWINCH)
        has_resized = 1;
    else
        caught = signal;
}

/* Escape sequences must not wait in a buffer. */
static void put(const char *text, size_t n)
{
    while (n > 0) {
        ssize_t done = write(STDOUT_FILENO, text, n);
        if (done <= 0)
            return;
        text += done;
        n -= (size_t)done;
    }
}

static void enter(void)
{
    static const char sequence[] = "\033[?1049h\033[?25l\033[2J";
    struct termios raw;
    has_keys = tcgetattr(STDIN_FILENO, &cooked) == 0;
    raw = cooked;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* signals stay with their keys */
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    if (has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    put(sequence, sizeof sequence - 1);
}

static void leave(void)
{
    static const char sequence[] = "\033[?25h\033[?1049l";
    put(sequence, sizeof sequence - 1);
    if (has_keys)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &cooked);
}

void rt_screen_open(void)
{
    struct sigaction action;
    (void)fflush(stdout);
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < N_TAKEN; i++)
        (void)sigaction(taken[i], &action, &before[i]);
    caught = 0;
    enter();
    is_open = true;
}

void rt_screen_close(void)
{
    if (!is_open)
        return;
    leave();
    for (size_t i = 0; i < N_TAKEN; i++)
        (void)sigaction(taken[i], &before[i], NULL);
    is_open = false;
}

void rt_screen_size(int *columns, int *lines)
{
    struct winsize size;
    bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row;
    *columns = is_known ? size.ws_col : 80;
    *lines = is_known ? size.ws_row : 24;
}

void rt_screen_show(const char *frame)
{
    char out[16384];
    size_t n = (size_t)snprintf(out, sizeof out, "\033[H");
    while (*frame && n + 16 < sizeof out) {
        size_t length = strcspn(frame, "\n");
        size_t room = sizeof out - n - 16;
        length = length < room ? length : room;
        memcpy(out + n, frame, length);
        n += length;
        frame += length;
        bool is_last = *frame == '\0' || frame[1] == '\0';
        n += (size_t)snprintf(out + n, sizeof out - n, "\033[K%s", is_last ? "" : "\r\n");
        frame += *frame == '\n';
    }
    n += (size_t)snprintf(out + n, sizeof out - n, "\033[J");
    put(out, n);
}

/* As if we had never been there; goes on only where the signal was to stop. */
static void yield_to(int signal)
{
    if (signal == SIGTSTP) {
        leave();
        (void)raise(SIGSTOP);
        enter();
        return;
    }
    rt_screen_close();
    (void)raise(signal);
}

enum rt_screen_event rt_screen_wait(double seconds)
{
    struct pollfd keys = {.fd = has_keys ? STDIN_FILENO : -1, .events = POLLIN};
    char key = 0;
    int n = poll(&keys, 1, (int)(seconds * 1000));
    if (caught) {
        int signal = caught;
        caught = 0;
        yield_to(signal);
        return RT_SCREEN_REDRAW;
    }
    if (has_resized) {
        has_resized = 0;
        return RT_SCREEN_REDRAW;
    }
    if (n > 0 && (read(STDIN_FILENO, &key, 1) <= 0 || (keys.revents & (POLLHUP | POLLERR))))
        has_keys = false; /* nobody can type any more */
    return key == 'q' || key == 'Q' ? RT_SCREEN_QUIT : RT_SCREEN_TIME;
}
