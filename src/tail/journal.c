#include "tail/journal.h"

#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/say.h"
#include "tail/checkpoint.h"
#include "tail/entry.h"
#include "tail/source.h"

#define TURN_ENTRIES 500 /* then the others have theirs */
#define LOOK_BACK 100    /* entries: what was begun before is longer than a line may be */
#define REALTIME "__REALTIME_TIMESTAMP"

/* What a cursor says; the texts lie in it. */
struct place {
	struct slice counter; /* id of journald's counter */
	uint64_t number;
	struct slice
	    rest; /* boot, times and content: what stays when it is numbered anew */
};

/* The newest entry that was read from the journal. */
struct newest {
	char *cursor; /* malloc'd; NULL: there is none */
	struct place place;
	uint64_t file; /* the counter's key */
	int64_t ms;
	struct buf line;
};

struct journal {
	struct source source;
	sd_journal *j;
	const struct journal_unit *unit;
	char *name;
	struct event *news; /* in the journal */
	struct event *turn;
	struct source_hooks hooks;
	void *arg;
	struct entry entry;
	struct newest newest;
	struct checkpoint cp; /* path is NULL as long as nothing is known */
	bool begun;           /* what stands before the first place was looked at */
	bool loaded;          /* the newest entry was not taken yet */
	bool held;            /* it was offered, and must wait */
	bool waited;          /* one was since the news were seen last */
	bool at_end;
	bool broken; /* an error in reading was said */
};

bool
journal_built(void)
{
	return true;
}

/* ---- cursors -------------------------------------------------------------- */

/* "s=ID;i=NUMBER;b=…;m=…;t=…;x=…", as it is since there is a journal. */
static int
read_cursor(const char *cursor, struct place *p_r, struct err *e)
{
	const char *end = strchr(cursor, ';');
	char *behind;

	if (strncmp(cursor, "s=", 2) != 0 || end == NULL || strncmp(end, ";i=", 3) != 0)
		goto odd;
	p_r->counter = (struct slice){cursor + 2, (size_t)(end - cursor) - 2};
	p_r->number = strtoull(end + 3, &behind, 16);
	if (behind == end + 3 || *behind != ';')
		goto odd;
	p_r->rest = slice_of(behind);
	return 0;

odd:
	return err_set(
	    e, "\"%s\" is no cursor of the journal as hearsay knows it", cursor);
}

static uint64_t
key_of(struct slice counter)
{
	uint64_t key = XXH3_64bits(counter.p, counter.len);

	return key == 0 ? 1 : key;
}

/* Of one entry?  It may have been numbered anew. */
static bool
same_entry(const char *a, const char *b)
{
	struct place x, y;

	return read_cursor(a, &x, NULL) == 0 && read_cursor(b, &y, NULL) == 0 &&
	    slice_eq(x.rest, y.rest);
}

/* ---- opening ----------------------------------------------------------------- */

static int
failed(const struct journal_unit *u, int r, struct err *e)
{
	errno = -r;
	return err_errno(e, "the journal%s%s cannot be read",
	    u->directory == NULL ? "" : " in ", u->directory == NULL ? "" : u->directory);
}

static sd_journal *
open_journal(const struct journal_unit *u, struct err *e)
{
	sd_journal *j;
	int r;

	if (u->directory != NULL)
		r = sd_journal_open_directory(&j, u->directory, 0);
	else
		r = sd_journal_open_namespace(&j, u->namespace, SD_JOURNAL_LOCAL_ONLY);
	if (r >= 0)
		r = sd_journal_set_data_threshold(j, LINE_MAX_BYTES);
	if (r >= 0)
		return j;
	(void)failed(u, r, e);
	return NULL;
}

static int
match(sd_journal *j, const char *name, const char *value)
{
	char *text = xasprintf("%s=%s", name, value);
	int r = sd_journal_add_match(j, text, 0);

	free(text);
	return r;
}

/* From now on only entries of the unit are seen. */
static int
match_unit(sd_journal *j, const struct journal_unit *u, struct err *e)
{
	int r = match(j, "_SYSTEMD_UNIT", u->unit);

	if (r >= 0 && u->identifier != NULL)
		r = match(j, "SYSLOG_IDENTIFIER", u->identifier);
	return r < 0 ? failed(u, r, e) : 0;
}

/* ---- one entry ------------------------------------------------------------------ */

static void
add_number(struct entry *en, const char *name, uint64_t n)
{
	char text[64];
	int len = snprintf(text, sizeof(text), "%s=%" PRIu64, name, n);

	entry_add(en, (struct slice){text, (size_t)len});
}

static int
add_data(sd_journal *j, struct entry *en)
{
	const void *data;
	size_t len;
	int r;

	sd_journal_restart_data(j);
	while ((r = sd_journal_enumerate_available_data(j, &data, &len)) > 0)
		entry_add(en, (struct slice){data, len});
	return r;
}

/* The entry at which j stands, as a line behind what line has. */
static int
read_entry(sd_journal *j, struct entry *en, const char *cursor, uint64_t *realtime_r,
    struct buf *line)
{
	char *text = xasprintf("__CURSOR=%s", cursor);
	int r = sd_journal_get_realtime_usec(j, realtime_r);

	entry_reset(en);
	entry_add(en, slice_of(text));
	free(text);
	if (r >= 0) {
		add_number(en, REALTIME, *realtime_r);
		r = add_data(j, en);
	}
	if (r >= 0)
		entry_line(en, line);
	return r;
}

/* ---- reading on ---------------------------------------------------------------------- */

static void
say_broken(struct journal *jl, const char *why)
{
	if (!jl->broken)
		say(LOG_ERR, "log=%s cannot be read: %s", jl->name, why);
	jl->broken = true;
}

/* Take over the entry at which the journal stands.  0; or -1, when it can't be read. */
static int
load(struct journal *jl)
{
	struct newest *n = &jl->newest;
	uint64_t realtime = 0;
	struct err e;
	int r;

	free(n->cursor);
	n->cursor = NULL;
	buf_reset(&n->line);
	r = sd_journal_get_cursor(jl->j, &n->cursor);
	if (r >= 0)
		r = read_entry(jl->j, &jl->entry, n->cursor, &realtime, &n->line);
	if (r < 0) {
		say_broken(jl, strerror(-r));
		return -1;
	}
	if (read_cursor(n->cursor, &n->place, &e) == -1) {
		say_broken(jl, e.text);
		return -1;
	}
	jl->source.stats.long_lines += jl->entry.too_long;
	n->file = key_of(n->place.counter);
	n->ms = (int64_t)(realtime / 1000);
	return 0;
}

/* Told in the last run, and needed no more. */
static bool
is_known(const struct journal *jl)
{
	const struct newest *n = &jl->newest;

	if (jl->cp.path == NULL)
		return false;
	if (n->file == jl->cp.file)
		return n->place.number < jl->cp.resume;
	return same_entry(n->cursor, jl->cp.path);
}

/* The next entry to hand out: 1; 0: none is there. */
static int
load_next(struct journal *jl)
{
	int r;

	while (!jl->loaded) {
		r = sd_journal_next(jl->j);
		if (r < 0)
			say_broken(jl, strerror(-r));
		if (r <= 0)
			return 0;
		jl->loaded = load(jl) == 0 && !is_known(jl);
	}
	return 1;
}

static bool
is_again(const struct journal *jl)
{
	return jl->cp.path != NULL && jl->newest.file == jl->cp.file &&
	    jl->newest.place.number < jl->cp.offset;
}

/* The entry was taken. */
static void
step(struct journal *jl)
{
	struct newest *n = &jl->newest;

	jl->loaded = false;
	jl->broken = false;
	jl->source.stats.bytes += n->line.len;
	jl->cp.resume = n->place.number + 1;
	if (is_again(jl))
		return;
	jl->cp.file = n->file;
	jl->cp.offset = n->place.number + 1;
	free(jl->cp.path);
	jl->cp.path = n->cursor;
	n->cursor = NULL;
}

/*
 * Of the counter's entries from resume on; of any others, should there be, from
 * the cursor's time on, as they were read in the order of their times.
 */
static int
seek(struct journal *jl, struct err *e)
{
	struct place p;
	char *from;
	int r;

	if (jl->cp.path == NULL) {
		r = sd_journal_seek_head(jl->j);
	} else {
		if (read_cursor(jl->cp.path, &p, e) == -1)
			return -1;
		if (jl->cp.resume < jl->cp.offset)
			p.number = jl->cp.resume;
		from = xasprintf("s=%.*s;i=%" PRIx64 "%s", (int)p.counter.len,
		    p.counter.p, p.number, p.rest.p);
		r = sd_journal_seek_cursor(jl->j, from);
		free(from);
	}
	return r < 0 ? failed(jl->unit, r, e) : 0;
}

/* The entries before the first place, some of them. */
static int
hand_out_before(struct journal *jl)
{
	int r = sd_journal_previous_skip(jl->j, LOOK_BACK), left = r;
	struct tail_chunk c = {.before = true, .gap = true};

	for (; r > 0 && left > 0 && load(jl) == 0; left--) {
		if (jl->newest.file == jl->cp.file &&
		    jl->newest.place.number >= jl->cp.resume)
			break;
		c.file = jl->newest.file;
		c.offset = jl->newest.place.number;
		c.data = jl->newest.line.p;
		c.len = jl->newest.line.len;
		c.mtime_ms = jl->newest.ms;
		(void)jl->hooks.lines(jl->arg, &c);
		c.gap = false;
		r = sd_journal_next(jl->j);
	}
	return r;
}

static void
look_back(struct journal *jl)
{
	const uint64_t long_lines = jl->source.stats.long_lines;
	struct err e;
	int r;

	jl->begun = true;
	if (jl->cp.path == NULL)
		return;
	r = hand_out_before(jl);
	jl->source.stats.long_lines = long_lines;
	if (r < 0)
		say_broken(jl, strerror(-r));
	if (seek(jl, &e) == -1)
		say_broken(jl, e.text);
}

/* Hand out entries until there is none, one must wait, or the turn is over. */
static void
take_turn(struct journal *jl)
{
	struct tail_chunk c;
	unsigned n;

	if (!jl->begun)
		look_back(jl);
	for (n = 0; n < TURN_ENTRIES; n++) {
		jl->at_end = load_next(jl) == 0;
		if (jl->at_end)
			return;
		c = (struct tail_chunk){.file = jl->newest.file,
		    .offset = jl->newest.place.number,
		    .data = jl->newest.line.p,
		    .len = jl->newest.line.len,
		    .again = is_again(jl),
		    .mtime_ms = jl->newest.ms};
		jl->held = jl->hooks.lines(jl->arg, &c) != 0;
		if (jl->held) {
			jl->waited = true;
			return;
		}
		step(jl);
	}
}

/* ---- waiting ---------------------------------------------------------------------------- */

/* Where the journal lies on a network, no news come, and it asks to be looked at. */
static void
wait_for_news(struct journal *jl)
{
	struct timeval until;
	uint64_t due;
	int64_t ms;

	if (sd_journal_get_timeout(jl->j, &due) < 0 || due == UINT64_MAX) {
		(void)event_add(jl->news, NULL);
		return;
	}
	ms = (int64_t)(due / 1000) + 1 - clock_steady_ms();
	until = clock_timeval(ms < 1 ? 1 : ms);
	(void)event_add(jl->news, &until);
}

static void
go_on(struct journal *jl)
{
	take_turn(jl);
	if (jl->at_end)
		wait_for_news(jl);
	else if (!jl->held)
		clock_timer(jl->turn, 0);
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	go_on(arg);
}

/* Does b stand where a does, or right behind it?  journald leaves no number out. */
static bool
follows(const char *a, const char *b)
{
	struct place x, y;

	return same_entry(a, b) ||
	    (read_cursor(a, &x, NULL) == 0 && read_cursor(b, &y, NULL) == 0 &&
		slice_eq(x.counter, y.counter) && y.number == x.number + 1);
}

/* Does the journal still have all that came behind the entry?  1, 0, or -1 on error. */
static int
reaches_back(const struct journal_unit *u, const char *cursor, struct err *e)
{
	sd_journal *j = open_journal(u, e);
	char *found = NULL;
	int does = -1, r;

	if (j == NULL)
		return -1;
	r = sd_journal_seek_cursor(j, cursor);
	if (r >= 0)
		r = sd_journal_next(j);
	if (r > 0)
		r = sd_journal_get_cursor(j, &found);
	if (r < 0)
		(void)failed(u, r, e);
	else
		does = found != NULL && follows(cursor, found);
	free(found);
	sd_journal_close(j);
	return does;
}

/* What is gone before it was read is told of; how much it was, nobody knows. */
static int
look_for_gap(struct journal *jl, struct err *e)
{
	int does = jl->cp.path == NULL ? 1 : reaches_back(jl->unit, jl->cp.path, e);

	if (does == 0)
		jl->hooks.gap(jl->arg,
		    "the journal does not reach back to what was read last; entries that "
		    "were written since may be lost");
	return does == -1 ? -1 : 0;
}

/*
 * Files that come and go.  Those that were there when reading had to wait are
 * still open, and were read to their end before this is called; others may have
 * come and gone meanwhile.
 */
static void
see_news(struct journal *jl)
{
	struct err e;
	int r = sd_journal_process(jl->j);

	if (r < 0)
		say_broken(jl, strerror(-r));
	else if (r == SD_JOURNAL_INVALIDATE && jl->waited && look_for_gap(jl, &e) == -1)
		say_broken(jl, e.text);
	jl->waited = false;
}

static void
on_news(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	see_news(arg);
	go_on(arg);
}

/* ---- as a source ------------------------------------------------------------------------- */

static void
journal_close(struct source *s)
{
	struct journal *jl = (struct journal *)s;

	if (jl->news != NULL)
		event_free(jl->news);
	if (jl->turn != NULL)
		event_free(jl->turn);
	sd_journal_close(jl->j);
	entry_free(&jl->entry);
	buf_free(&jl->newest.line);
	free(jl->newest.cursor);
	free(jl->cp.path);
	free(jl->name);
	free(jl);
}

static void
journal_go_on(struct source *s)
{
	struct journal *jl = (struct journal *)s;

	if (!jl->held)
		return;
	jl->held = false;
	go_on(jl);
}

static void
journal_drain(struct source *s, int64_t limit_ms)
{
	struct journal *jl = (struct journal *)s;
	int64_t end = clock_steady_ms() + limit_ms;

	if (jl->held)
		return;
	if (jl->at_end)
		see_news(jl);
	do
		take_turn(jl);
	while (!jl->at_end && !jl->held && clock_steady_ms() < end);
}

static bool
journal_checkpoint(const struct source *s, struct checkpoint *cp_r)
{
	const struct journal *jl = (const struct journal *)s;

	if (jl->cp.path == NULL)
		return false;
	*cp_r = jl->cp;
	cp_r->path = xstrdup(jl->cp.path);
	return true;
}

static const struct source_kind journal_kind = {.close = journal_close,
    .go_on = journal_go_on,
    .drain = journal_drain,
    .checkpoint = journal_checkpoint};

/* ---- where to begin ------------------------------------------------------------------------ */

/*
 * The newest entry of any unit is where the end is: one of ours need not be
 * there, and without a place a second start would begin at another end.
 */
static int
find_end(struct journal *jl, struct err *e)
{
	int r = sd_journal_seek_tail(jl->j);

	if (r >= 0)
		r = sd_journal_previous(jl->j);
	if (r > 0)
		r = sd_journal_get_cursor(jl->j, &jl->cp.path);
	if (r < 0)
		return failed(jl->unit, r, e);
	return 0;
}

/* Fill what the cursor in path says. */
static int
place_of_end(struct journal *jl, struct err *e)
{
	struct place p;

	if (jl->cp.path == NULL)
		return 0;
	if (read_cursor(jl->cp.path, &p, e) == -1)
		return -1;
	jl->cp.file = key_of(p.counter);
	jl->cp.offset = jl->cp.resume = p.number + 1;
	return 0;
}

static int
begin(
    struct journal *jl, enum tail_start start, const struct checkpoint *cp, struct err *e)
{
	struct place p;

	if (cp != NULL) {
		jl->cp = *cp;
		jl->cp.path = xstrdup(cp->path);
		if (read_cursor(cp->path, &p, e) == -1 || look_for_gap(jl, e) == -1)
			return -1;
	} else if (start == TAIL_START_END &&
	    (find_end(jl, e) == -1 || place_of_end(jl, e) == -1)) {
		return -1;
	}
	if (match_unit(jl->j, jl->unit, e) == -1)
		return -1;
	return seek(jl, e);
}

struct source *
journal_open(struct event_base *base, const struct journal_unit *unit, const char *name,
    enum tail_start start, const struct checkpoint *cp, const struct source_hooks *hooks,
    void *arg, struct err *e)
{
	sd_journal *j = open_journal(unit, e);
	struct journal *jl;
	int fd;

	if (j == NULL)
		return NULL;
	jl = xcalloc(1, sizeof(*jl));
	jl->source.kind = &journal_kind;
	jl->j = j;
	jl->unit = unit;
	jl->name = xstrdup(name);
	jl->hooks = *hooks;
	jl->arg = arg;
	fd =
	    sd_journal_get_fd(j); /* before anything is read, so that no news is missed */
	if (fd < 0) {
		(void)failed(unit, fd, e);
		goto close;
	}
	jl->news = event_new(base, fd, EV_READ, on_news, jl);
	jl->turn = evtimer_new(base, on_turn, jl);
	if (jl->news == NULL || jl->turn == NULL)
		mem_exhausted();
	if (begin(jl, start, cp, e) == -1)
		goto close;
	clock_timer(jl->turn, 0);
	return &jl->source;

close:
	journal_close(&jl->source);
	return NULL;
}

/* ---- looking --------------------------------------------------------------------------------- */

static int
read_newest(sd_journal *j, size_t max, struct buf *lines)
{
	struct entry en = {0};
	uint64_t realtime;
	char *cursor;
	int r = sd_journal_seek_tail(j);

	if (r >= 0)
		r = sd_journal_previous_skip(j, max);
	while (r > 0) {
		r = sd_journal_get_cursor(j, &cursor);
		if (r < 0)
			break;
		r = read_entry(j, &en, cursor, &realtime, lines);
		free(cursor);
		if (r >= 0)
			r = sd_journal_next(j);
	}
	entry_free(&en);
	return r;
}

int
journal_look(
    const struct journal_unit *unit, size_t max, struct buf *lines, struct err *e)
{
	sd_journal *j = open_journal(unit, e);
	int r;

	if (j == NULL)
		return -1;
	if (match_unit(j, unit, e) == -1) {
		sd_journal_close(j);
		return -1;
	}
	r = read_newest(j, max, lines);
	sd_journal_close(j);
	return r < 0 ? failed(unit, r, e) : 0;
}
