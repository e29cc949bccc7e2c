#include "decode/record.h"

#include <string.h>

struct slice
record_field(const struct record *r, const char *name)
{
	static const char *const parts[PART_COUNT] = {
	    "time", "level", "logger", "context", "message"};
	size_t i;

	for (i = 0; i < PART_COUNT; i++)
		if (strcmp(parts[i], name) == 0)
			return r->part[i];
	for (i = 0; i < r->field_count; i++)
		if (slice_is(r->fields[i].name, name))
			return r->fields[i].value;
	return (struct slice){NULL, 0};
}
