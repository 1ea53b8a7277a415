/* How long the calling thread has been in calls that read, write and sync files: what a phase took
 * less this, and less what it waited for other ranks, is computing. What is read through a mapping
 * is not told apart from computing. */
#ifndef RT_IO_FILE_CLOCK_H
#define RT_IO_FILE_CLOCK_H

/* Around a call: `began` is what rt_file_clock_begin returned, on the same thread. */
double rt_file_clock_begin(void);
void rt_file_clock_end(double began);
/* Of the calling thread, since it began. */
double rt_file_clock_seconds(void);

#endif
