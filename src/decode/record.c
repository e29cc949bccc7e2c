#include "decode/record.h"

struct slice
record_field(const struct record *r, const char *name)
{
	size_t i;

	for (i = 0; i < r->field_count; i++)
		if (slice_is(r->fields[i].name, name))
			return r->fields[i].value;
	return (struct slice){NULL, 0};
}
