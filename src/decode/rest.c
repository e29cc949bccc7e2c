#include "decode/rest.h"

#include <stdlib.h>
#include <xxhash.h>

#define SIZE_MOST (64 * 1024)
#define JOURNAL_SIZE (48 * 1024) /* journald's LineMax=, when it forwards */
#define PAUSE_MS 2000 /* the stamps have whole seconds, and all is sent at once */

bool
rest_cut_at(size_t len)
{
	size_t size;

	for (size = REST_LEAST; size < len && size < SIZE_MOST; size *= 2)
		;
	return len == size || len == JOURNAL_SIZE;
}

static uint64_t
key_of(struct slice writer)
{
	return XXH3_64bits(writer.p, writer.len) | 1;
}

static bool
is_later(int64_t ms, int64_t cut_ms)
{
	return ms != INT64_MIN && cut_ms != INT64_MIN && llabs(ms - cut_ms) > PAUSE_MS;
}

bool
rest_take(struct rest *r, struct slice writer, int64_t ms)
{
	uint64_t key = key_of(writer);
	bool is_rest = false;
	size_t i;

	for (i = 0; i < REST_WRITERS; i++) {
		bool later = is_later(ms, r->cut[i].ms);

		is_rest |= r->cut[i].writer == key && !later;
		if (r->cut[i].writer == key || later)
			r->cut[i].writer = 0;
	}
	return is_rest;
}

void
rest_cut(struct rest *r, struct slice writer, int64_t ms)
{
	size_t i = r->next++ % REST_WRITERS;

	r->cut[i].writer = key_of(writer);
	r->cut[i].ms = ms;
}

bool
rest_waits(const struct rest *r)
{
	size_t i;

	for (i = 0; i < REST_WRITERS; i++)
		if (r->cut[i].writer != 0)
			return true;
	return false;
}
