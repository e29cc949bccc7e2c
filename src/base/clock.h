/*
 * clock - the clocks, in milliseconds, and the loop's timers.
 *
 * Only commands and the stages that wait for something look at a clock; all
 * others are given the time.
 */
#ifndef HEARSAY_BASE_CLOCK_H
#define HEARSAY_BASE_CLOCK_H

#include <stdint.h>
#include <sys/time.h>

struct event;

/* UTC ms: what people set, and what may jump. */
int64_t clock_utc_ms(void);
/* ms since some moment: it never jumps, and stands while the machine sleeps. */
int64_t clock_steady_ms(void);
/* The same, but it goes on while the machine sleeps: for what others count on meanwhile. */
int64_t clock_boot_ms(void);

struct timeval clock_timeval(int64_t ms);

/*
 * Let ev, a timer, be due in ms; an earlier time is forgotten.  Or let ev wait
 * for its descriptor.  Both end the process when memory is out.
 */
void clock_timer(struct event *ev, int64_t ms);
void clock_listen(struct event *ev);

#endif
