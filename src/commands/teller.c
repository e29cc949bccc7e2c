#include "commands/teller.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/mem.h"
#include "decode/decoder.h"
#include "match/match.h"
#include "match/scan.h"
#include "pack/pack.h"

struct teller {
	char *server_name;
	struct extract *extract;
	struct teller_log *logs;
};

struct teller_log {
	struct teller_log *next;
	struct scan *scan;
	struct decoder *decoder;
	struct matcher *matcher;
	struct extract_log *extract;
	bool open; /* the newest line remembered an open end; what follows it decides */
};

/* One chunk on its way. */
struct telling {
	struct teller_log *log;
	const struct teller_chunk *chunk;
	struct arena *arena;
	struct account_events *out;
	const struct teller_trace *trace;
};

struct teller *
teller_new(const char *server_name, const struct extract_limits *limits)
{
	struct teller *t = xcalloc(1, sizeof(*t));

	t->server_name = server_name == NULL ? NULL : xstrdup(server_name);
	t->extract = extract_new(limits);
	return t;
}

struct teller_log *
teller_log_new(struct teller *t, const struct pack *pack, const struct zone *zone)
{
	struct teller_log *log = xcalloc(1, sizeof(*log));

	log->scan = scan_new(pack);
	log->decoder = decoder_new(pack, zone);
	log->matcher = matcher_new(pack, t->server_name);
	log->extract = extract_log_new(t->extract, pack);
	LL_PREPEND(t->logs, log);
	return log;
}

void
teller_free(struct teller *t)
{
	struct teller_log *log;

	if (t == NULL)
		return;
	while ((log = t->logs) != NULL) {
		t->logs = log->next;
		scan_free(log->scan);
		decoder_free(log->decoder);
		matcher_free(log->matcher);
		free(log);
	}
	extract_free(t->extract);
	free(t->server_name);
	free(t);
}

static bool
remembers_open_end(const struct match *matches, size_t count)
{
	size_t m, c;

	for (m = 0; m < count; m++)
		for (c = 0; matches[m].rule->remember && c < matches[m].capture_count;
		     c++)
			if (matches[m].captures[c].open)
				return true;
	return false;
}

static void
take_line(struct telling *t, struct slice line, size_t offset)
{
	struct teller_log *log = t->log;
	struct record record;
	struct extract_line taken = {
	    .file = t->chunk->file,
	    .offset = t->chunk->offset + offset,
	    .record = &record,
	    .again = t->chunk->again,
	};
	struct match *matches;
	int is_record;

	is_record =
	    decoder_line(log->decoder, line, t->chunk->fallback_ms, t->arena, &record);
	if (is_record == 1) {
		taken.match_count =
		    matcher_record(log->matcher, &record, t->arena, &matches);
		taken.matches = matches;
	}
	if (t->trace != NULL)
		t->trace->line(t->trace->arg, t->chunk, offset, line,
		    is_record == 1 ? &record : NULL, taken.match_count);
	if (taken.match_count == 0)
		return;
	extract_line(log->extract, &taken, t->arena, t->out,
	    t->trace == NULL ? NULL : t->trace->rule,
	    t->trace == NULL ? NULL : t->trace->arg);
	log->open = remembers_open_end(matches, taken.match_count);
}

/*
 * A user's text with a newline in it looks like a line that ends early and one
 * that is no record.  Half of a device id is not told.
 */
static void
look_behind_open_end(struct telling *t, struct slice following)
{
	struct record record;

	t->log->open = false;
	if (decoder_line(t->log->decoder, following, t->chunk->fallback_ms, t->arena,
		&record) == 1)
		return;
	extract_torn(t->log->extract);
	if (t->trace != NULL)
		t->trace->torn(t->trace->arg);
}

void
teller_chunk(struct teller_log *log, const struct teller_chunk *c, struct arena *a,
    struct account_events *out, const struct teller_trace *trace)
{
	struct telling t = {log, c, a, out, trace};
	struct slice line;
	size_t offset;

	scan_begin(log->scan, c->data, c->len);
	if (log->open && scan_following(log->scan, &line, &offset) == 1)
		look_behind_open_end(&t, line);
	while (scan_next(log->scan, &line, &offset) == 1) {
		take_line(&t, line, offset);
		if (log->open && scan_following(log->scan, &line, &offset) == 1)
			look_behind_open_end(&t, line);
	}
}

void
teller_log_clock(struct teller_log *log, int64_t now)
{
	extract_log_clock(log->extract, now);
}

bool
teller_log_needs(const struct teller_log *log, uint64_t *file_r, uint64_t *offset_r)
{
	return extract_needs(log->extract, file_r, offset_r);
}

int64_t
teller_log_last_ts(const struct teller_log *log)
{
	return decoder_last_ts(log->decoder);
}

void
teller_log_set_last_ts(struct teller_log *log, int64_t ts)
{
	decoder_set_last_ts(log->decoder, ts);
}

void
teller_log_stats(const struct teller_log *log, struct extract_stats *st_r)
{
	extract_log_stats(log->extract, st_r);
}
