/* A terminal that shows one frame after another: the alternate screen without cursor and echo, and
 * back to what it was, whatever ends the program. */
#ifndef RT_JOBS_SCREEN_H
#define RT_JOBS_SCREEN_H

#include <stdbool.h>

enum rt_screen_event { RT_SCREEN_TIME = 0, RT_SCREEN_QUIT, RT_SCREEN_REDRAW };

/* Takes over standard output, a terminal, and the keys of standard input if that is one. */
void rt_screen_open(void);
/* Gives it back. Fine where it is not open. */
void rt_screen_close(void);
/* Columns and lines now. */
void rt_screen_size(int *columns, int *lines);
/* Shows a frame: lines parted by '\n', each no wider than the screen; one write, no flicker. */
void rt_screen_show(const char *frame);
/* Until a key, a new size, or so many seconds. q and Ctrl-C's kin: SIGINT, SIGTERM and SIGHUP end
 * the program as they always do, after the terminal is given back; Ctrl-Z stops it likewise. */
enum rt_screen_event rt_screen_wait(double seconds);

#endif
