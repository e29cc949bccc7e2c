#include "base/clock.h"

#include <event2/event.h>
#include <time.h>

#include "base/mem.h"

static int64_t
ms_of(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts); /* fails only for a clock that is none */
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
clock_utc_ms(void)
{
	return ms_of(CLOCK_REALTIME);
}

int64_t
clock_steady_ms(void)
{
	return ms_of(CLOCK_MONOTONIC);
}

int64_t
clock_boot_ms(void)
{
	return ms_of(CLOCK_BOOTTIME);
}

struct timeval
clock_timeval(int64_t ms)
{
	return (struct timeval){
	    .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

void
clock_timer(struct event *ev, int64_t ms)
{
	struct timeval tv = clock_timeval(ms);

	if (event_add(ev, &tv) == -1)
		mem_exhausted();
}

void
clock_listen(struct event *ev)
{
	if (event_add(ev, NULL) == -1)
		mem_exhausted();
}
