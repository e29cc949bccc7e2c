#include "send/keep.h"

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "config/config.h"
#include "store/store.h"

#define FIRST_MS 1000        /* after the start, when what waits is on its way */
#define STEP_MS 20           /* between two steps: others come first */
#define LOOK_MS (600 * 1000) /* between two looks while the store grows */
#define MIB (1024 * 1024)

struct keep {
	const struct config *config;
	struct store *store;
	struct event *timer;
	bool soon;  /* the timer is for a look within LOOK_MS */
	bool fails; /* and that was told */
};

static void
look_in(struct keep *k, int64_t ms)
{
	k->soon = ms <= LOOK_MS;
	clock_timer(k->timer, ms);
}

static void
tell_failure(struct keep *k, const struct err *e)
{
	if (!k->fails)
		say(LOG_WARNING, "%s; trying again every %d s", e->text, LOOK_MS / 1000);
	k->fails = true;
}

static void
on_due(evutil_socket_t fd, short what, void *arg)
{
	struct keep *k = arg;
	int64_t now = clock_utc_ms(), keep_ms = k->config->keep_accepted_ms, oldest_ms,
		ms;
	struct err e;
	int rc;

	(void)fd;
	(void)what;
	k->soon = false;
	rc = store_forget(
	    k->store, now - keep_ms, k->config->keep_size * MIB, &oldest_ms, &e);
	if (rc == -1) {
		tell_failure(k, &e);
		look_in(k, LOOK_MS);
		return;
	}
	k->fails = false;
	if (rc == 1) {
		look_in(k, STEP_MS);
		return;
	}
	if (oldest_ms == 0)
		return;
	/* Many may have come together, and are forgotten together. */
	ms = oldest_ms + keep_ms - now;
	look_in(k, ms < LOOK_MS ? LOOK_MS : ms);
}

struct keep *
keep_new(struct event_base *base, const struct config *c, struct store *store)
{
	struct keep *k = xcalloc(1, sizeof(*k));

	k->config = c;
	k->store = store;
	k->timer = evtimer_new(base, on_due, k);
	if (k->timer == NULL)
		mem_exhausted();
	look_in(k, FIRST_MS);
	return k;
}

void
keep_free(struct keep *k)
{
	if (k == NULL)
		return;
	event_free(k->timer);
	free(k);
}

void
keep_look(struct keep *k)
{
	if (!k->soon)
		look_in(k, LOOK_MS);
}
