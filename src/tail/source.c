#include "tail/source.h"

#include <stddef.h>

void
source_close(struct source *s)
{
	if (s != NULL)
		s->kind->close(s);
}

void
source_go_on(struct source *s)
{
	s->kind->go_on(s);
}

void
source_drain(struct source *s, int64_t limit_ms)
{
	s->kind->drain(s, limit_ms);
}

bool
source_checkpoint(const struct source *s, struct checkpoint *cp_r)
{
	return s->kind->checkpoint != NULL && s->kind->checkpoint(s, cp_r);
}

const struct source_stats *
source_stats(const struct source *s)
{
	return &s->stats;
}
