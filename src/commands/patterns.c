#include "commands/patterns.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"
#include "decode/decoder.h"
#include "match/match.h"
#include "pack/pack.h"
#include "tail/reader.h"

#define LOOK_LINES 1000 /* of a log's first lines, to find its pack */

size_t
errors_print(struct err_list *errs)
{
	size_t i, count = errs->count;

	for (i = 0; i < count; i++)
		fprintf(stderr, "%s\n", errs->texts[i]);
	err_list_clear(errs);
	return count;
}

int
patterns_load(struct pack_set *set_r, const char *dir)
{
	char conf[] = HEARSAY_SYSCONFDIR "/hearsay/patterns";
	char data[] = HEARSAY_PKGDATADIR "/patterns";
	char *both[] = {conf, data}, *given = dir == NULL ? NULL : xstrdup(dir);
	struct err_list errs = {0};
	int ok;

	ok = dir == NULL ? pack_set_load(set_r, both, 2, &errs)
			 : pack_set_load(set_r, &given, 1, &errs);
	free(given);
	(void)errors_print(&errs);
	return ok;
}

struct score {
	size_t records, matches;
};

static struct score
look(const struct pack *pack, enum envelope_kind envelope, const char *data, size_t len)
{
	const char *p = data, *end = data + len, *newline;
	struct arena *a = arena_new();
	struct zone *zone = zone_open("UTC", NULL);
	struct decoder *d = decoder_new(pack, zone);
	struct matcher *m = matcher_new(pack, NULL);
	struct score score = {0};
	struct record record;
	struct match *matches;
	unsigned line;

	decoder_set_envelope(d, envelope);
	for (line = 0; line < LOOK_LINES && p < end; line++) {
		newline = memchr(p, '\n', (size_t)(end - p));
		if (newline == NULL)
			newline = end;
		if (decoder_line(
			d, (struct slice){p, (size_t)(newline - p)}, 0, a, &record)) {
			score.records++;
			score.matches += matcher_record(m, &record, a, &matches) > 0;
		}
		arena_reset(a);
		p = newline < end ? newline + 1 : end;
	}
	matcher_free(m);
	decoder_free(d);
	zone_close(zone);
	arena_free(a);
	return score;
}

/*
 * Several servers write lines of the same form; the rules that fit tell them
 * apart, so that a line that means something counts before one that only looks
 * right.
 */
static bool
better(struct score a, struct score b)
{
	if (a.matches != b.matches)
		return a.matches > b.matches;
	return a.records > b.records;
}

const struct pack *
patterns_find_in(
    const struct pack_set *set, enum envelope_kind envelope, const char *data, size_t len)
{
	const struct pack *found = NULL;
	struct score best = {0}, score;
	size_t i;

	for (i = 0; i < set->count; i++) {
		score = look(set->packs[i], envelope, data, len);
		if (better(score, best)) {
			best = score;
			found = set->packs[i];
		}
	}
	return found;
}

const struct pack *
patterns_find(const struct pack_set *set, enum envelope_kind envelope, const char *path,
    struct err *e)
{
	const struct pack *found = NULL;
	struct reader *r = reader_open(path, e);
	const char *data;
	uint64_t offset;
	size_t len;
	int got;

	if (r == NULL)
		return NULL;
	got = reader_next(r, &data, &len, &offset, e);
	if (got == 1)
		found = patterns_find_in(set, envelope, data, len);
	if (found == NULL && got != -1)
		(void)err_set(
		    e, "%s: no pack knows lines like these; name one with -p", path);
	reader_close(r);
	return found;
}
