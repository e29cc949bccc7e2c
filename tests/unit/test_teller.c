#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/zone.h"
#include "commands/teller.h"
#include "extract/account_event.h"
#include "pack/pack.h"
#include "pack_text.h"

#define FILE_KEY 7
#define FIRST_OFFSET 1000 /* of the text in its file */
#define FALLBACK_MS 5000

#define RULES                                                                              \
	"{ name = \"enter\"; match = \"enter %{user_id:user} on %{device_id:device}\";"    \
	"  remember = true; },"                                                            \
	"{ name = \"login\"; match = \"done login\"; with = \"enter\"; once = true;"       \
	"  emit = { type = \"login\"; user_id = \"$user\"; device_id = \"$device\"; }; }," \
	"{ name = \"over\"; match = \"done .*\"; ends = true; }"

/* Whole devices, one with a newline in it, lines of nobody's, requests side by side. */
static const char text[] = "R1 log INFO enter @a:example.org on D1\n"
			   "R2 log INFO enter @b:example.org on one\n"
			   "two\n"
			   "\n"
			   "R1 log INFO done login\n"
			   "R3 log INFO nothing\n"
			   "R3 log INFO enter @c:example.org on D3\n"
			   "R2 log INFO done login\n"
			   "R3 log INFO done login\n"
			   "R4 log INFO enter @d:example.org on D4\n";

struct teller_run {
	struct teller *teller;
	struct teller_log *log;
	struct arena *arena;
	struct account_events events;
};

static struct pack *pack;
static struct zone *zone;

static int
set_up(void **state)
{
	(void)state;
	pack = pack_of_rules(RULES);
	zone = zone_open("UTC", NULL);
	return zone == NULL ? -1 : 0;
}

static int
tear_down(void **state)
{
	(void)state;
	zone_close(zone);
	pack_free(pack);
	return 0;
}

static void
begin(struct teller_run *r)
{
	static const struct extract_limits limits = {.timeout_ms = 1000, .max = 100};

	r->teller = teller_new("example.org", &limits);
	r->log = teller_log_new(r->teller, pack, zone);
	r->arena = arena_new();
	r->events = (struct account_events){.last = &r->events.first};
}

static void
end(struct teller_run *r)
{
	teller_free(r->teller);
	arena_free(r->arena);
}

static void
take(struct teller_run *r, size_t from, size_t to, bool again)
{
	const struct teller_chunk c = {
	    .file = FILE_KEY,
	    .offset = FIRST_OFFSET + from,
	    .data = text + from,
	    .len = to - from,
	    .again = again,
	    .fallback_ms = FALLBACK_MS,
	};

	teller_chunk(r->log, &c, r->arena, &r->events, NULL);
}

/* Add the events of r, each with the offset of the line that told it. */
static void
add_events(struct buf *to, const struct teller_run *r)
{
	const struct account_event *ev;

	buf_reserve(to, 1);
	for (ev = r->events.first; ev != NULL; ev = ev->next)
		buf_addf(to, "%d %s\n", (int)(ev->offset - FIRST_OFFSET), ev->content);
}

static size_t
place_of(const char *line)
{
	return (size_t)(strstr(text, line) - text);
}

/* What the text tells, however it is cut; in the arena. */
static const char *
all_events(struct arena *a)
{
	return arena_printf(a,
	    "%zu {\"user_id\":\"@a:example.org\",\"device_id\":\"D1\"}\n"
	    "%zu {\"user_id\":\"@b:example.org\"}\n"
	    "%zu {\"user_id\":\"@c:example.org\",\"device_id\":\"D3\"}\n",
	    place_of("R1 log INFO done"), place_of("R2 log INFO done"),
	    place_of("R3 log INFO done"));
}

static size_t
line_ends(size_t *ends)
{
	size_t i, n = 0;

	for (i = 0; text[i] != '\0'; i++)
		if (text[i] == '\n')
			ends[n++] = i + 1;
	return n;
}

/* Chunks of whole lines, cut at every set of places that there is. */
static void
cuts_change_nothing(void **state)
{
	size_t ends[16], lines = line_ends(ends), from, i;
	uint64_t file, offset;
	struct buf got = {0};
	struct teller_run r;
	unsigned cuts;

	(void)state;
	for (cuts = 0; cuts < 1u << (lines - 1); cuts++) {
		begin(&r);
		for (i = from = 0; i < lines; i++)
			if (i == lines - 1 || (cuts >> i & 1) != 0) {
				take(&r, from, ends[i], false);
				from = ends[i];
			}
		buf_reset(&got);
		add_events(&got, &r);
		assert_string_equal(got.p, all_events(r.arena));
		assert_true(teller_log_needs(r.log, &file, &offset));
		assert_int_equal(offset, FIRST_OFFSET + place_of("R4"));
		end(&r);
	}
	buf_free(&got);
}

/* Stopped behind any line, and begun again at the line that was still needed. */
static void
a_restart_tells_the_rest_once(void **state)
{
	size_t ends[16], lines = line_ends(ends), i, from;
	struct teller_run first, second;
	uint64_t file, offset;
	struct buf got = {0};

	(void)state;
	for (i = 0; i < lines; i++) {
		begin(&first);
		take(&first, 0, ends[i], false);
		from = teller_log_needs(first.log, &file, &offset)
		    ? (size_t)(offset - FIRST_OFFSET)
		    : ends[i];
		begin(&second);
		take(&second, from, ends[i], true);
		assert_int_equal(second.events.count, 0);
		take(&second, ends[i], ends[lines - 1], false);
		buf_reset(&got);
		add_events(&got, &first);
		add_events(&got, &second);
		assert_string_equal(got.p, all_events(first.arena));
		end(&first);
		end(&second);
	}
	buf_free(&got);
}

/* ---- pieces ------------------------------------------------------------------- */

#define CRI_TIME "2026-11-23T10:00:44.795804829Z"

/* text as a container runtime writes it that cuts lines at size bytes. */
static void
wrap_in_cri(struct buf *out, size_t size)
{
	const char *p = text, *newline;
	size_t len;

	buf_reset(out);
	for (; *p != '\0'; p += len + (p + len == newline)) {
		newline = strchr(p, '\n');
		len = (size_t)(newline - p) < size ? (size_t)(newline - p) : size;
		buf_addf(out, CRI_TIME " stderr %c %.*s\n", p + len < newline ? 'P' : 'F',
		    (int)len, p);
	}
}

/* The same as Docker writes it. */
static void
wrap_in_docker(struct buf *out, size_t size)
{
	const char *p = text, *newline;
	size_t len;

	buf_reset(out);
	for (; *p != '\0'; p += len + (p + len == newline)) {
		newline = strchr(p, '\n');
		len = (size_t)(newline - p) < size ? (size_t)(newline - p) : size;
		buf_addf(out,
		    "{\"log\":\"%.*s%s\",\"stream\":\"stderr\",\"time\":\"" CRI_TIME
		    "\"}\n",
		    (int)len, p, p + len < newline ? "" : "\\n");
	}
}

static void
take_part(struct teller_run *r, const struct buf *b, size_t from, size_t to, bool again)
{
	const struct teller_chunk c = {
	    .file = FILE_KEY,
	    .offset = FIRST_OFFSET + from,
	    .data = b->p + from,
	    .len = to - from,
	    .again = again,
	    .fallback_ms = FALLBACK_MS,
	};

	teller_chunk(r->log, &c, r->arena, &r->events, NULL);
}

static void
add_contents(struct buf *to, const struct teller_run *r)
{
	const struct account_event *ev;

	buf_reserve(to, 1);
	for (ev = r->events.first; ev != NULL; ev = ev->next)
		buf_addf(to, "%s\n", ev->content);
}

static const char contents[] = "{\"user_id\":\"@a:example.org\",\"device_id\":\"D1\"}\n"
			       "{\"user_id\":\"@b:example.org\"}\n"
			       "{\"user_id\":\"@c:example.org\",\"device_id\":\"D3\"}\n";

/* Read b line by line, or in chunks that end behind every step-th line. */
static void
check_chunks(const struct buf *b, unsigned step)
{
	struct buf got = {0};
	struct teller_run r;
	size_t from = 0, i;
	unsigned lines = 0;

	begin(&r);
	for (i = 0; i < b->len; i++)
		if (b->p[i] == '\n' && (++lines % step == 0 || i + 1 == b->len)) {
			take_part(&r, b, from, i + 1, false);
			from = i + 1;
		}
	add_contents(&got, &r);
	assert_string_equal(got.p, contents);
	buf_free(&got);
	end(&r);
}

/* Stop behind each line of b, and begin again where that is asked for. */
static void
check_restarts(const struct buf *b)
{
	struct teller_run first, second;
	struct buf got = {0};
	uint64_t file, offset;
	size_t from, i;

	for (i = 1; i <= b->len; i++) {
		if (b->p[i - 1] != '\n')
			continue;
		begin(&first);
		take_part(&first, b, 0, i, false);
		from = teller_log_needs(first.log, &file, &offset)
		    ? (size_t)(offset - FIRST_OFFSET)
		    : i;
		assert_true(from <= i);
		begin(&second);
		if (from < i)
			take_part(&second, b, from, i, true);
		assert_int_equal(second.events.count, 0);
		if (i < b->len)
			take_part(&second, b, i, b->len, false);
		buf_reset(&got);
		add_contents(&got, &first);
		add_contents(&got, &second);
		assert_string_equal(got.p, contents);
		end(&first);
		end(&second);
	}
	buf_free(&got);
}

static void
lines_in_pieces(void **state)
{
	static const size_t sizes[] = {1, 2, 5, 16, 30, 1000};
	struct buf b = {0};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		wrap_in_cri(&b, sizes[i]);
		check_chunks(&b, 1);
		check_chunks(&b, 7);
		check_chunks(&b, 1000);
		check_restarts(&b);
		wrap_in_docker(&b, sizes[i]);
		check_chunks(&b, 1);
		check_chunks(&b, 7);
		check_chunks(&b, 1000);
		check_restarts(&b);
	}
	buf_free(&b);
}

/* How many events of the type "login" data tells. */
static unsigned
logins_of(const char *data, uint64_t offset, bool gap)
{
	const struct teller_chunk c = {
	    .file = FILE_KEY,
	    .offset = offset,
	    .data = data,
	    .len = strlen(data),
	    .gap = gap,
	};
	const struct account_event *ev;
	struct teller_run r;
	unsigned count = 0;

	begin(&r);
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	teller_log_idle(r.log, INT64_MAX, r.arena, &r.events);
	for (ev = r.events.first; ev != NULL; ev = ev->next)
		count += strcmp(ev->type, "login") == 0;
	end(&r);
	return count;
}

#define CRI(tag, line) CRI_TIME " stderr " tag " " line "\n"
#define LOGIN                                                                            \
	CRI("F", "R1 log INFO enter @a:example.org on D1")                               \
	CRI("F", "R1 log INFO done login")

/* A user who knows where the cut falls could write the line that begins there. */
static void
the_rest_of_a_line_is_no_line(void **state)
{
	(void)state;
	assert_int_equal(
	    logins_of(CRI("P", "R9 log INFO nothing, and then ") LOGIN, 0, false), 0);
	assert_int_equal(logins_of(LOGIN, 0, false), 1);
	/* Read from behind the first piece, or behind bytes that are lost. */
	assert_int_equal(logins_of(LOGIN, 1, true), 0);
	assert_int_equal(logins_of(CRI("F", "rest") LOGIN, 1, true), 1);
}

/* How many logins are told behind what stands before the place where reading begins. */
static unsigned
logins_behind(const char *before)
{
	struct teller_chunk c = {.file = FILE_KEY,
	    .offset = 10,
	    .data = before,
	    .len = strlen(before),
	    .before = true,
	    .gap = true};
	struct teller_run r;
	unsigned count;

	begin(&r);
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	c = (struct teller_chunk){.file = FILE_KEY,
	    .offset = 10 + strlen(before),
	    .data = LOGIN,
	    .len = strlen(LOGIN)};
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	teller_log_idle(r.log, INT64_MAX, r.arena, &r.events);
	count = r.events.count;
	end(&r);
	return count;
}

static void
reading_begins_within_a_line_or_not(void **state)
{
	(void)state;
	assert_int_equal(logins_behind(CRI("F", "R2 log INFO nothing")), 1);
	assert_int_equal(logins_behind(CRI_TIME " stdout F R2 log INFO nothing\n"), 1);
	assert_int_equal(logins_behind(CRI_TIME " stdout P R2 log INFO noth\n"), 1);
	assert_int_equal(logins_behind(LOGIN), 1);
	assert_int_equal(logins_behind(CRI("P", "R2 log INFO noth")), 0);
	assert_int_equal(
	    logins_behind(CRI("F", "R2 log INFO nothing") CRI("P", "R2 log INFO noth")),
	    0);
	assert_int_equal(logins_behind(""), 0);
}

/* In a bare log a line may be a user's, whatever it looks like. */
static void
no_envelope_among_bare_lines(void **state)
{
	(void)state;
	assert_int_equal(logins_of(LOGIN "R2 log INFO nothing\n", 0, false), 0);
	assert_int_equal(logins_of("R2 log INFO nothing\n" LOGIN, 0, false), 0);
	assert_int_equal(logins_of("no record\n" LOGIN, 0, false), 1);
}

/* The open piece is in the older file. */
static void
a_piece_in_the_file_before(void **state)
{
	static const char one[] =
	    CRI("F", "R2 log INFO nothing") CRI("P", "R1 log INFO en"),
			  two[] = CRI("P", "ter @a:example.org on D") CRI("F", "1")
			      CRI("F", "R1 log INFO done login");
	struct teller_chunk c = {.file = 1, .data = one, .len = strlen(one)};
	const size_t first = strlen(CRI("F", "R2 log INFO nothing"));
	const size_t middle = strlen(CRI("P", "ter @a:example.org on D"));
	uint64_t file, offset;
	struct teller_run r;

	(void)state;
	begin(&r);
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	c = (struct teller_chunk){.file = 2, .data = two, .len = middle};
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	assert_true(teller_log_needs(r.log, &file, &offset));
	assert_int_equal(file, 1);
	assert_int_equal(offset, first);
	c = (struct teller_chunk){.file = 2,
	    .offset = middle,
	    .data = two + middle,
	    .len = strlen(two) - middle};
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	assert_int_equal(r.events.count, 1);
	assert_string_equal(r.events.first->content,
	    "{\"user_id\":\"@a:example.org\",\"device_id\":\"D1\"}");
	end(&r);
}

/* A request on one stream begins behind the first piece of a line on the other. */
static void
a_request_behind_a_piece(void **state)
{
	static const char one[] = CRI_TIME " stdout P half\n",
			  two[] = CRI("F", "R1 log INFO enter @a:example.org on D1");
	struct teller_chunk c = {.file = 1, .offset = 9, .data = one, .len = strlen(one)};
	uint64_t file, offset;
	struct teller_run r;

	(void)state;
	begin(&r);
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	c = (struct teller_chunk){.file = 2, .data = two, .len = strlen(two)};
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	assert_true(teller_log_needs(r.log, &file, &offset));
	assert_int_equal(file, 1);
	assert_int_equal(offset, 9);
	end(&r);
	/* And before it. */
	begin(&r);
	c = (struct teller_chunk){
	    .file = 1, .offset = 3, .data = two, .len = strlen(two)};
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	c = (struct teller_chunk){.file = 2, .data = one, .len = strlen(one)};
	teller_chunk(r.log, &c, r.arena, &r.events, NULL);
	assert_true(teller_log_needs(r.log, &file, &offset));
	assert_int_equal(file, 1);
	assert_int_equal(offset, 3);
	end(&r);
}

/* clang-format off */
#define TEN_EMPTY_LINES \
	CRI("F", "") CRI("F", "") CRI("F", "") CRI("F", "") CRI("F", "") \
	CRI("F", "") CRI("F", "") CRI("F", "") CRI("F", "") CRI("F", "")
/* clang-format on */
#define FIFTY "12345678901234567890123456789012345678901234567890"

/*
 * How far a user's text reaches is counted in his bytes: each of his newlines
 * makes the runtime add many of its own.
 */
static void
envelopes_are_no_user_s_bytes(void **state)
{
	struct pack *usual = pack;

	(void)state;
	pack =
	    pack_of_rules(RULES ", { name = \"text\"; match = \"says .*\"; raw = 200; }");
	pack->formats[0].forgeable = true;
	assert_int_equal(
	    logins_of(CRI("F", "R5 log INFO says hello") LOGIN, 0, false), 0);
	assert_int_equal(
	    logins_of(CRI("F", "R5 log INFO says hello") TEN_EMPTY_LINES LOGIN, 0, false),
	    0);
	assert_int_equal(
	    logins_of(CRI("F", "R5 log INFO says hello")
			  CRI("F", "R6 log INFO " FIFTY FIFTY FIFTY FIFTY FIFTY) LOGIN,
		0, false),
	    1);
	pack_free(pack);
	pack = usual;
}

/* ---- the ends of lines ----------------------------------------------------------- */

#define ENTER(device) "R5 log INFO enter @a:example.org on " device
#define DONE "R5 log INFO done login"
#define LOGIN_CRLF(device) ENTER(device) "\r\n" DONE "\r\n"
#define LOGIN_LF(device) ENTER(device) "\n" DONE "\n"
#define CRLF_LINES                                                                       \
	"R1 log INFO one\r\nR1 log INFO two\r\nR1 log INFO three\r\nR1 log INFO four\r\n"
#define LF_LINES "R1 log INFO one\nR1 log INFO two\nR1 log INFO three\nR1 log INFO four\n"
#define TOLD(device) "{\"user_id\":\"@a:example.org\",\"device_id\":\"" device "\"}\n"
#define NO_DEVICE "{\"user_id\":\"@a:example.org\"}\n"

/* What lines tell, whole or line by line. */
static void
assert_contents(const char *lines, const char *want)
{
	const struct buf b = {.p = (char *)(uintptr_t)lines, .len = strlen(lines)};
	struct buf got = {0};
	struct teller_run r;
	size_t from, i;
	int cut;

	for (cut = 0; cut < 2; cut++) {
		begin(&r);
		for (i = from = 0; i < b.len; i++)
			if (i + 1 == b.len || (cut == 1 && b.p[i] == '\n')) {
				take_part(&r, &b, from, i + 1, false);
				from = i + 1;
			}
		buf_reset(&got);
		add_contents(&got, &r);
		assert_string_equal(got.p, want);
		end(&r);
	}
	buf_free(&got);
}

/* One line of another end, or of none, changes nothing for those behind it. */
static void
ends_of_lines(void **state)
{
	(void)state;
	assert_contents(CRLF_LINES LOGIN_CRLF("A"), TOLD("A"));
	assert_contents(CRLF_LINES DONE "\n" LOGIN_CRLF("A"), TOLD("A"));
	/* A newline in a device, with a line behind it that looks genuine. */
	assert_contents(CRLF_LINES ENTER("A") "\nR6 log INFO x\r\n" DONE
					      "\r\n" LOGIN_CRLF("B"),
	    NO_DEVICE TOLD("B"));
	/* A CR in one, also where reading begins. */
	assert_contents(LF_LINES LOGIN_LF("A\r") LOGIN_LF("B"), NO_DEVICE TOLD("B"));
	assert_contents(LOGIN_LF("A\r") LOGIN_LF("B"), NO_DEVICE TOLD("B"));
	/* The server is set up in another way. */
	assert_contents(LF_LINES LOGIN_CRLF("A") CRLF_LINES CRLF_LINES LOGIN_CRLF("B"),
	    NO_DEVICE TOLD("B"));
}

/* So in envelopes, where a container has a terminal. */
static void
ends_of_wrapped_lines(void **state)
{
	(void)state;
	assert_contents(CRI("F", "R1 log INFO one\r") CRI("F", "R1 log INFO two\r")
			    CRI("P", "R5 log INFO enter @a:example.org ")
				CRI("F", "on A\r") CRI("F", DONE "\r"),
	    TOLD("A"));
	assert_contents(CRI("P", "R5 log INFO enter @a:example.org ") CRI("F", "on A\r")
			    CRI("F", DONE),
	    NO_DEVICE);
}

/* What a file ends with, without a newline, says nothing of how lines end. */
static void
a_line_without_an_end(void **state)
{
	static const char half[] = DONE, lines[] = LOGIN_CRLF("A");
	struct buf b = {.p = (char *)(uintptr_t)CRLF_LINES, .len = strlen(CRLF_LINES)};
	struct buf got = {0};
	struct teller_run r;
	unsigned i;

	(void)state;
	begin(&r);
	take_part(&r, &b, 0, b.len, false);
	b = (struct buf){.p = (char *)(uintptr_t)half, .len = strlen(half)};
	for (i = 0; i < 9; i++)
		take_part(&r, &b, 0, b.len, false);
	b = (struct buf){.p = (char *)(uintptr_t)lines, .len = strlen(lines)};
	take_part(&r, &b, 0, b.len, false);
	add_contents(&got, &r);
	assert_string_equal(got.p, TOLD("A"));
	buf_free(&got);
	end(&r);
}

/* ---- what is cut and not marked ---------------------------------------------------- */

#define SYSLOG(second, process, text)                                                    \
	"Nov 23 10:00:" second " host synapse[" process "]: " text "\n"
#define ENTERING "R5 log INFO enter @a:example.org on "
#define LOGIN_AT(second, process)                                                        \
	SYSLOG(second, process, ENTER("D")) SYSLOG(second, process, DONE)
#define SUSPECTED                                                                        \
	"{\"type\":\"login\",\"user_id\":\"@a:example.org\",\"device_id\":\"D\"}\n"

/* A message of len bytes that begins so. */
static void
add_long(struct buf *to, const char *start, size_t len)
{
	size_t i;

	buf_addf(to, "Nov 23 10:00:01 host synapse[1]: %s", start);
	for (i = strlen(start); i < len; i++)
		buf_addc(to, 'x');
	buf_addc(to, '\n');
}

static void
assert_behind(const char *start, size_t len, const char *behind, const char *want)
{
	struct buf b = {0};

	add_long(&b, start, len);
	buf_addf(&b, "%s", behind);
	assert_contents(b.p, want);
	buf_free(&b);
}

/* Messages of the sizes that are cut at, and what may be the rest of them. */
static void
the_rest_of_a_message(void **state)
{
	static const struct {
		size_t len;
		bool cut;
	} sizes[] = {{1023, false}, {1024, true}, {1025, false}, {2047, false},
	    {2048, true}, {8192, true}, {8193, false}, {48 * 1024, true},
	    {64 * 1024, true}, {64 * 1024 + 1, false}};
	static const char start[] = "R5 log INFO ";
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_behind(start, sizes[i].len, LOGIN_AT("02", "1"),
		    sizes[i].cut ? "" : TOLD("D"));
	assert_behind(start, 1024, LOGIN_AT("01", "2"), TOLD("D"));
	assert_behind(start, 1024, SYSLOG("01", "2", "x") LOGIN_AT("01", "1"), "");
	assert_behind(start, 1024, LOGIN_AT("04", "1"), TOLD("D"));
	/* One that was cut in its device ends in half of it. */
	assert_behind(ENTERING, 1024,
	    SYSLOG("01", "2", "R6 log INFO x") SYSLOG("01", "2", DONE), NO_DEVICE);
}

/* What is taken for a rest is no event, but no secret either. */
static void
a_forged_rest_is_told_of(void **state)
{
	struct buf b = {0};

	(void)state;
	add_long(&b, "R5 log INFO ", 1024);
	buf_addf(&b, "%s", SYSLOG("01", "1", ENTER("D")));
	add_long(&b, "R5 log INFO ", 1024);
	buf_addf(&b, "%s", SYSLOG("01", "1", DONE));
	assert_contents(b.p, SUSPECTED);
	buf_free(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cuts_change_nothing),
	    cmocka_unit_test(a_restart_tells_the_rest_once),
	    cmocka_unit_test(lines_in_pieces),
	    cmocka_unit_test(the_rest_of_a_line_is_no_line),
	    cmocka_unit_test(reading_begins_within_a_line_or_not),
	    cmocka_unit_test(no_envelope_among_bare_lines),
	    cmocka_unit_test(a_piece_in_the_file_before),
	    cmocka_unit_test(a_request_behind_a_piece),
	    cmocka_unit_test(envelopes_are_no_user_s_bytes),
	    cmocka_unit_test(ends_of_lines),
	    cmocka_unit_test(ends_of_wrapped_lines),
	    cmocka_unit_test(a_line_without_an_end),
	    cmocka_unit_test(the_rest_of_a_message),
	    cmocka_unit_test(a_forged_rest_is_told_of),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
