/*
 * An entry of the journal that a program wrote as one, with fields of its own:
 * some parts are fields, the others groups of the pattern, which the message
 * has to match.
 */
#include "decode/envelope.h"
#include "decode/format.h"

/* Syslog's severities by their number. */
static void
name_level(struct slice *level)
{
	static const char *const names[] = {
	    "EMERG", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"};

	if (level->len == 1 && level->p[0] >= '0' && level->p[0] <= '7')
		*level = slice_of(names[level->p[0] - '0']);
}

int
format_journal(struct format_tools *t, const struct pack_format *f,
    const struct wrapped *entry, struct slice message, struct record *r, struct arena *a)
{
	size_t i;

	for (i = 0; i < entry->field_count; i++)
		format_add(r, f, entry->fields[i].name, entry->fields[i].value, a);
	if (!format_is_whole(r, f))
		return 0;
	name_level(&r->part[PART_LEVEL]);
	r->part[PART_MESSAGE] = message;
	return f->pattern == NULL ? 1 : format_regex(t, f, message, r, a);
}
