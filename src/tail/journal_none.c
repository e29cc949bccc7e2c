/*
 * The journal in a build without libsystemd.
 */
#include "base/err.h"
#include "tail/journal.h"

bool
journal_built(void)
{
	return false;
}

struct source *
journal_open(struct event_base *base, const struct journal_unit *unit, const char *name,
    enum tail_start start, const struct checkpoint *cp, const struct source_hooks *hooks,
    void *arg, struct err *e)
{
	(void)base;
	(void)unit;
	(void)start;
	(void)cp;
	(void)hooks;
	(void)arg;
	(void)err_set(e, "%s: this hearsay was built without libsystemd", name);
	return NULL;
}

int
journal_look(
    const struct journal_unit *unit, size_t max, struct buf *lines, struct err *e)
{
	(void)max;
	(void)lines;
	return err_set(e, "%s: this hearsay was built without libsystemd", unit->unit);
}
