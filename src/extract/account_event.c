#include "extract/account_event.h"

#include <string.h>

#include "base/mem.h"

void
account_events_add(struct account_events *list, struct account_event *ev)
{
	ev->next = NULL;
	*list->last = ev;
	list->last = &ev->next;
	list->count++;
}

void
account_event_suspect(struct account_event *ev, struct arena *a)
{
	/* A content always has its user_id, so it is never empty. */
	ev->content =
	    arena_printf(a, "{\"type\":\"%s\",%s", ev->type, ev->content + strlen("{"));
	ev->type = TYPE_FORGERY_SUSPECTED;
}

bool
account_event_suspected(const struct account_event *ev)
{
	return strcmp(ev->type, TYPE_FORGERY_SUSPECTED) == 0;
}

const char *
account_event_with_source(const struct account_event *ev, struct arena *a)
{
	size_t len = strlen(ev->content);
	bool empty = len == 2; /* "{}" */

	return arena_printf(a, "%.*s%s\"org.hearsay.source\":%s}", (int)(len - 1),
	    ev->content, empty ? "" : ",", ev->source);
}

const char *
account_event_line(const struct account_event *ev, bool source, struct arena *a)
{
	return arena_printf(a, "{\"type\":\"%s\",\"content\":%s,\"ts\":%lld}", ev->type,
	    source ? account_event_with_source(ev, a) : ev->content, (long long)ev->ts);
}
