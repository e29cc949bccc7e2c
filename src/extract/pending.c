#include "extract/pending.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/mem.h"
#include "extract/account_event.h"

/* One event; its strings stand in one block. */
struct waiting {
	struct account_event event;
	char *rule, *user_id, *content, *source;
	uint64_t number;
	bool again;
	struct waiting *prev, *next;
};

struct pending {
	struct waiting *list; /* in the order of the log */
	size_t count;
};

struct pending *
pending_new(void)
{
	return xcalloc(1, sizeof(struct pending));
}

static void
drop(struct pending *p, struct waiting *w)
{
	DL_DELETE(p->list, w);
	p->count--;
	free(w->rule);
	free(w->user_id);
	free(w->content);
	free(w->source);
	free(w);
}

void
pending_free(struct pending *p)
{
	if (p == NULL)
		return;
	while (p->list != NULL)
		drop(p, p->list);
	free(p);
}

void
pending_add(
    struct pending *p, const struct account_event *ev, uint64_t number, bool again)
{
	struct waiting *w = xcalloc(1, sizeof(*w));

	w->event = *ev;
	w->rule = xstrdup(ev->rule);
	w->user_id = xstrdup(ev->user_id);
	w->content = xstrdup(ev->content);
	w->source = xstrdup(ev->source);
	w->number = number;
	w->again = again;
	DL_APPEND(p->list, w);
	p->count++;
}

void
pending_forged(struct pending *p, uint64_t number, struct arena *a)
{
	struct waiting *w = p->list == NULL ? NULL : p->list->prev;

	for (; w != NULL && w->number > number; w = w == p->list ? NULL : w->prev) {
		if (account_event_suspected(&w->event))
			continue;
		w->event.content = w->content;
		account_event_suspect(&w->event, a);
		free(w->content);
		w->content = xstrdup(w->event.content);
	}
}

void
pending_tell(struct pending *p, uint64_t number, bool again, struct arena *a,
    struct account_events *out)
{
	struct account_event *ev;
	struct waiting *w;

	while ((w = p->list) != NULL && w->number <= number) {
		if (!again || !w->again) {
			ev = arena_alloc(a, sizeof(*ev));
			*ev = w->event;
			ev->rule = arena_printf(a, "%s", w->rule);
			ev->user_id = arena_printf(a, "%s", w->user_id);
			ev->content = arena_printf(a, "%s", w->content);
			ev->source = arena_printf(a, "%s", w->source);
			account_events_add(out, ev);
		}
		drop(p, w);
	}
}

size_t
pending_count(const struct pending *p)
{
	return p->count;
}
