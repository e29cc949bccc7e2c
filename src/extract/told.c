#include "extract/told.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/mem.h"
#include "extract/account_event.h"

/* Running out of memory ends the process, in tables as elsewhere. */
#undef uthash_fatal
#define uthash_fatal(msg) mem_exhausted()

struct note {
	int64_t ts;
	size_t len;
	UT_hash_handle hh;
	char key[]; /* the type, its NUL, and the content */
};

struct told {
	int64_t timeout_ms;
	size_t max;
	struct note *notes; /* in the order in which they were made */
};

struct told *
told_new(int64_t timeout_ms, size_t max)
{
	struct told *t = xcalloc(1, sizeof(*t));

	t->timeout_ms = timeout_ms;
	t->max = max;
	return t;
}

static void
drop(struct told *t, struct note *n)
{
	HASH_DEL(t->notes, n);
	free(n);
}

static struct note *
note_of(const struct account_event *ev)
{
	size_t type = strlen(ev->type) + 1, content = strlen(ev->content);
	struct note *n = xcalloc(1, sizeof(*n) + type + content);

	memcpy(n->key, ev->type, type);
	memcpy(n->key + type, ev->content, content);
	n->len = type + content;
	n->ts = ev->ts;
	return n;
}

/* The logs of a server are not read in step: an event may be older than its note. */
static bool
near(const struct told *t, int64_t a, int64_t b)
{
	return a > b ? a - b <= t->timeout_ms : b - a <= t->timeout_ms;
}

bool
told_before(struct told *t, const struct account_event *ev)
{
	struct note *fresh = note_of(ev), *known;

	HASH_FIND(hh, t->notes, fresh->key, fresh->len, known);
	if (known != NULL && near(t, known->ts, fresh->ts)) {
		free(fresh);
		return true;
	}
	if (known != NULL)
		drop(t, known);
	HASH_ADD_KEYPTR(hh, t->notes, fresh->key, fresh->len, fresh);
	if (HASH_COUNT(t->notes) > t->max)
		drop(t, t->notes);
	return false;
}

void
told_forget(struct told *t, const char *type)
{
	struct note *n, *next;

	for (n = t->notes; n != NULL; n = next) {
		next = n->hh.next;
		if (strcmp(n->key, type) == 0)
			drop(t, n);
	}
}

void
told_free(struct told *t)
{
	if (t == NULL)
		return;
	while (t->notes != NULL)
		drop(t, t->notes);
	free(t);
}
