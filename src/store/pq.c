#include "store/pq.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/utf8.h"

#define CONNECT_MS 2000     /* for each host */
#define INTERRUPTED_MS 1000 /* for what is nearly done when a signal comes */
#define REST_MS 500         /* between two attempts to connect, at the least */

/* Of pg_type, where they are the same in every server for ever. */
#define OID_BYTEA 17
#define OID_INT8 20
#define OID_TEXT 25
#define ARGS_MAX 20

struct pq {
	PGconn *c; /* NULL: none */
	char *url, *name, *application;
	const char *const *sql;
	size_t count;
	bool *prepared; /* on this connection */
	int nudge, interrupt;
	int64_t patience_ms;
	int64_t asked_ms,
	    proof_ms; /* clock_boot_ms: before a question; of the last answered */
	unsigned hosts, first; /* of the url; which of them is tried first */
	int64_t next_try_ms;   /* monotonic */
	struct err refusal;    /* why the last attempt failed */
};

/* The first row that fits counts; one that is in none does not pass. */
static const struct {
	const char *state; /* SQLSTATE, or its class */
	bool passes;       /* it may end without a change of ours */
	const char *way;   /* NULL: the server's words are enough */
} states[] = {
    {"08", true, NULL},
    {"25006", true, "the server takes no writes: name the primary, not a standby"},
    {"28P01", false, "correct the password in the store's url or its passfile"},
    {"40", true, NULL},
    {"42501", false, "grant that to the role that hearsay connects as"},
    {"53100", true, "make room on the server's disk; nothing that was stored is lost"},
    {"53300", true, "raise max_connections of the server"},
    {"53", true, NULL},
    {"55P03", true, "another session holds it; look at the server's locks"},
    {"57014", true, "the server took too long; look at its load and its locks"},
    {"57", true, NULL},
    {"58", true, "look at the server's disk and its log"},
    {"XX", false, "look at the server's log: its data may be damaged"},
};

/* ---- the url ------------------------------------------------------------ */

static const char *
option_of(const PQconninfoOption *options, const char *keyword)
{
	for (; options->keyword != NULL; options++)
		if (strcmp(options->keyword, keyword) == 0)
			return options->val == NULL ? "" : options->val;
	return "";
}

/*
 * A password with an unescaped @ / or : in it moves into the parts behind it,
 * and would be shown, or told by libpq, as the name of a host or a port.
 */
static bool
parts_are_sound(const PQconninfoOption *options)
{
	static const char *const shown[] = {"host", "hostaddr", "port", "dbname"};
	const char *port = option_of(options, "port");
	size_t i;

	for (i = 0; i < sizeof(shown) / sizeof(shown[0]); i++)
		if (strchr(option_of(options, shown[i]), '@') != NULL)
			return false;
	return port[strspn(port, "0123456789,")] == '\0';
}

static char *
shown_of(const PQconninfoOption *options)
{
	const char *user = option_of(options, "user");
	const char *host = option_of(options, "host");
	const char *port = option_of(options, "port");
	bool folder = host[0] == '/'; /* of a Unix socket */

	if (host[0] == '\0')
		host = option_of(options, "hostaddr");
	return xasprintf("postgresql://%s%s%s%s%s/%s%s%s", user,
	    user[0] == '\0' ? "" : "@", folder ? "" : host, port[0] == '\0' ? "" : ":",
	    port, option_of(options, "dbname"), folder ? "?host=" : "",
	    folder ? host : "");
}

char *
pq_shown(const char *url, struct err *e)
{
	/* libpq's own message would repeat what it did not understand: the password. */
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	char *shown = NULL;

	if (options != NULL && parts_are_sound(options))
		shown = shown_of(options);
	else
		(void)err_set(e,
		    "the store's url is not understood; its form is "
		    "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, and in a name or password "
		    "write @ as %%40, : as %%3A, / as %%2F, ? as %%3F, # as %%23, %% as %%25");
	PQconninfoFree(options);
	return shown;
}

static unsigned
listed(const char *list)
{
	unsigned count = 1;

	for (; *list != '\0'; list++)
		count += *list == ',';
	return count;
}

static unsigned
hosts_of(const char *url)
{
	PQconninfoOption *options = PQconninfoParse(url, NULL);
	unsigned names, addresses;

	if (options == NULL) /* it was parsed before */
		mem_exhausted();
	names = listed(option_of(options, "host"));
	addresses = listed(option_of(options, "hostaddr"));
	PQconninfoFree(options);
	return names > addresses ? names : addresses;
}

/* ---- failing ------------------------------------------------------------ */

/* A message of libpq's, which may have several lines, as one. */
static void
one_line(const char *message, struct buf *b)
{
	for (; *message != '\0'; message++)
		if (strchr(" \t\n", *message) == NULL)
			buf_addc(b, *message);
		else if (b->len > 0 && b->p[b->len - 1] != ' ')
			buf_addc(b, ' ');
	while (b->len > 0 && b->p[b->len - 1] == ' ')
		b->p[--b->len] = '\0';
}

/* state is NULL where the server was not reached: that passes. */
static int
fail(struct pq *p, const char *message, const char *state, struct err *e)
{
	const char *way = NULL;
	bool passes = state == NULL;
	struct buf b = {0};
	size_t i;

	for (i = 0; state != NULL && i < sizeof(states) / sizeof(states[0]); i++)
		if (strncmp(state, states[i].state, strlen(states[i].state)) == 0) {
			way = states[i].way;
			passes = states[i].passes;
			break;
		}
	one_line(message, &b);
	(void)err_set(e, "store %s: %s%s%s", p->name,
	    b.len == 0 ? "the connection is lost" : b.p, way == NULL ? "" : "; ",
	    way == NULL ? "" : way);
	buf_free(&b);
	if (e != NULL)
		e->passes = passes;
	return -1;
}

static int
lost(struct pq *p, const char *message, struct err *e)
{
	(void)fail(p, message, NULL, e);
	pq_disconnect(p);
	return -1;
}

/* ---- connecting --------------------------------------------------------- */

struct pq *
pq_new(const char *url, const char *application, int nudge, int interrupt,
    const char *const *sql, size_t count, struct err *e)
{
	char *name = pq_shown(url, e);
	struct pq *p;

	if (name == NULL)
		return NULL;
	p = xcalloc(1, sizeof(*p));
	p->url = xstrdup(url);
	p->name = name;
	p->application = xstrdup(application);
	p->nudge = nudge;
	p->interrupt = interrupt;
	p->sql = sql;
	p->count = count;
	p->prepared = xcalloc(count, sizeof(bool));
	p->hosts = hosts_of(url);
	return p;
}

void
pq_free(struct pq *p)
{
	if (p == NULL)
		return;
	pq_disconnect(p);
	free(p->prepared);
	free(p->application);
	free(p->name);
	free(p->url);
	free(p);
}

void
pq_set_patience(struct pq *p, int64_t ms)
{
	p->patience_ms = ms;
}

const char *
pq_name(const struct pq *p)
{
	return p->name;
}

static void
ignore_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

/* A list of the url, "a,b,c", that begins with the place by: "b,c,a".  malloc'd, or NULL. */
static char *
turned(const char *list, unsigned by)
{
	const char *p = list;

	for (by %= listed(list); by > 0; by--)
		p = strchr(p, ',') + 1;
	if (p == list)
		return list[0] == '\0' ? NULL : xstrdup(list);
	return xasprintf("%s,%.*s", p, (int)(p - 1 - list), list);
}

/*
 * Begin to connect.  What stands before the url is a default that the url may
 * change.  libpq itself goes on from a host that refuses to the next; after one
 * that kept silent until the time was over, it is begun with that next one.
 */
static PGconn *
connection(const struct pq *p)
{
	static const char *const keywords[] = {"keepalives_idle", "keepalives_interval",
	    "keepalives_count", "tcp_user_timeout", "dbname", "application_name",
	    "client_encoding", "host", "hostaddr", "port", NULL};
	const char *values[] = {"3", "1", "3", "6000", p->url, p->application, "UTF8",
	    NULL, NULL, NULL, NULL};
	PQconninfoOption *options = PQconninfoParse(p->url, NULL);
	char *lists[3];
	PGconn *c;
	size_t i;

	if (options == NULL) /* it was parsed before */
		mem_exhausted();
	for (i = 0; i < 3; i++)
		values[7 + i] = lists[i] =
		    turned(option_of(options, keywords[7 + i]), p->first);
	c = PQconnectStartParams(keywords, values, 1);
	for (i = 0; i < 3; i++)
		free(lists[i]);
	PQconninfoFree(options);
	if (c == NULL)
		mem_exhausted();
	return c;
}

/*
 * Wait at the connection until it is ready or the deadline is.  A signal leaves
 * time for what is nearly done, since a connection that is given up takes its
 * locks along.
 */
static int
wait_at(struct pq *p, short events, int64_t deadline, struct err *e)
{
	struct pollfd fds[] = {{.fd = PQsocket(p->c), .events = events},
	    {.fd = p->interrupt, .events = POLLIN}};
	int64_t rest;
	int ready;

	do {
		if (fds[1].revents != 0) {
			fds[1] = (struct pollfd){.fd = -1};
			if (deadline > clock_steady_ms() + INTERRUPTED_MS)
				deadline = clock_steady_ms() + INTERRUPTED_MS;
		}
		rest = deadline - clock_steady_ms();
		ready = poll(fds, 2, rest < 0 ? 0 : (int)rest);
	} while ((ready == -1 && errno == EINTR) || (ready > 0 && fds[0].revents == 0));
	if (ready > 0)
		return 0;
	return lost(p, ready == 0 ? "the server does not answer" : strerror(errno), e);
}

/* Where the server gave a reason, its SQLSTATE stands in "FATAL:  28P01: ...". */
static const char *
state_in(const char *message)
{
	const char *p;

	for (p = message; (p = strstr(p, ":  ")) != NULL; p++)
		if (strspn(p + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 &&
		    p[8] == ':')
			return p + 3;
	return NULL;
}

/* Where nobody answers, libpq looks at the url's options and at nothing else. */
static bool
options_are_good(const struct pq *p)
{
	static const char *const keywords[] = {
	    "dbname", "host", "hostaddr", "port", "connect_timeout", NULL};
	const char *const values[] = {p->url, "localhost", "127.0.0.1", "1", "2", NULL};

	return PQpingParams(keywords, values, 1) != PQPING_NO_ATTEMPT;
}

/* The reason without what is said for programmers: its SQLSTATE, and "LOCATION: ...". */
static int
refused(struct pq *p, struct err *e)
{
	char *message = xstrdup(PQerrorMessage(p->c)), *place;
	const char *found = state_in(message);
	char state[6] = "";

	if (found != NULL) {
		(void)snprintf(state, sizeof(state), "%s", found);
		place = message + (found - message);
		memmove(place, place + 7, strlen(place + 7) + 1);
	}
	place = strstr(message, "\nLOCATION:");
	if (place != NULL)
		*place = '\0';
	(void)fail(p, message, found == NULL ? NULL : state, e);
	if (found == NULL && !options_are_good(p))
		e->passes = false;
	free(message);
	return -1;
}

/* 1: connected; 0: the host kept silent until the time was over; -1: refused. */
static int
shake_hands(struct pq *p, int64_t deadline, struct err *e)
{
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;

	/* Of its answers to a connection libpq shows the SQLSTATE in no other way. */
	(void)PQsetErrorVerbosity(p->c, PQERRORS_VERBOSE);
	if (PQstatus(p->c) == CONNECTION_BAD)
		next = PGRES_POLLING_FAILED;
	while (next != PGRES_POLLING_OK) {
		if (next == PGRES_POLLING_FAILED)
			return refused(p, e);
		if (wait_at(p, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline,
			e) == -1)
			return 0;
		next = PQconnectPoll(p->c);
	}
	(void)PQsetErrorVerbosity(p->c, PQERRORS_DEFAULT);
	(void)PQsetNoticeProcessor(p->c, ignore_notice, NULL);
	if (PQsetnonblocking(p->c, 1) == -1)
		return refused(p, e);
	return 1;
}

static bool
is_interrupted(const struct pq *p)
{
	struct pollfd fd = {.fd = p->interrupt, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

/* Try the hosts, each once. */
static int
connect_to_any(struct pq *p, struct err *e)
{
	unsigned tried = 0;
	int rc;

	do {
		p->asked_ms = clock_boot_ms();
		p->c = connection(p);
		rc = shake_hands(p, clock_steady_ms() + CONNECT_MS, e);
		if (rc == 0)
			p->first++;
	} while (rc == 0 && ++tried < p->hosts && !is_interrupted(p));
	return rc == 1 ? 0 : -1;
}

int
pq_connect(struct pq *p, struct err *e)
{
	int64_t begun = clock_steady_ms(), ended;

	pq_disconnect(p);
	if (begun >= p->next_try_ms) {
		if (connect_to_any(p, &p->refusal) == 0) {
			p->proof_ms = p->asked_ms;
			return 0;
		}
		pq_disconnect(p);
		ended = clock_steady_ms();
		p->next_try_ms = ended + (ended - begun) + REST_MS;
	}
	if (e != NULL)
		*e = p->refusal;
	return -1;
}

void
pq_disconnect(struct pq *p)
{
	PQfinish(p->c);
	p->c = NULL;
	memset(p->prepared, 0, p->count * sizeof(bool));
}

static void
take_notifications(struct pq *p)
{
	PGnotify *n;

	while ((n = PQnotifies(p->c)) != NULL) {
		/* It fails only where it is full of earlier ones. */
		if (n->be_pid != PQbackendPID(p->c))
			(void)!eventfd_write(p->nudge, 1);
		PQfreemem(n);
	}
}

bool
pq_connected(struct pq *p)
{
	if (p->c == NULL)
		return false;
	if (PQconsumeInput(p->c) == 0 || PQstatus(p->c) != CONNECTION_OK) {
		pq_disconnect(p);
		return false;
	}
	take_notifications(p);
	return true;
}

int
pq_fd(const struct pq *p)
{
	return p->c == NULL ? -1 : PQsocket(p->c);
}

int64_t
pq_proof_ms(const struct pq *p)
{
	return p->proof_ms;
}

/* ---- statements --------------------------------------------------------- */

/* Wait until the next result is here or the deadline is. */
static int
await(struct pq *p, int64_t deadline, struct err *e)
{
	int flushed;

	for (;;) {
		flushed = PQflush(p->c);
		if (flushed == -1)
			return lost(p, PQerrorMessage(p->c), e);
		if (flushed == 0 && PQisBusy(p->c) == 0)
			return 0;
		if (wait_at(p, (short)(POLLIN | (flushed == 1 ? POLLOUT : 0)), deadline,
			e) == -1)
			return -1;
		if (PQconsumeInput(p->c) == 0)
			return lost(p, PQerrorMessage(p->c), e);
	}
}

/* The result of what was sent, the last where there are several. */
static PGresult *
result(struct pq *p, struct err *e)
{
	int64_t deadline = clock_steady_ms() + p->patience_ms;
	PGresult *r = NULL, *next;
	bool failed = false;

	while (await(p, deadline, e) == 0 && (next = PQgetResult(p->c)) != NULL) {
		ExecStatusType status = PQresultStatus(next);
		const char *words = PQresultErrorField(next, PG_DIAG_MESSAGE_PRIMARY);

		if (!failed && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
			failed = true;
			(void)fail(p, words == NULL ? PQerrorMessage(p->c) : words,
			    PQresultErrorField(next, PG_DIAG_SQLSTATE), e);
		}
		PQclear(r);
		r = next;
	}
	if (p->c != NULL)
		take_notifications(p);
	if (p->c != NULL && PQstatus(p->c) != CONNECTION_OK)
		pq_disconnect(p);
	if (p->c != NULL)
		p->proof_ms = p->asked_ms;
	if (p->c != NULL && r != NULL && !failed)
		return r;
	PQclear(r);
	return NULL;
}

static PGresult *
run_once(struct pq *p, const char *sql, struct err *e)
{
	p->asked_ms = clock_boot_ms();
	if (p->c == NULL)
		(void)fail(p, "", NULL, e);
	else if (PQsendQuery(p->c, sql) == 0)
		(void)lost(p, PQerrorMessage(p->c), e);
	else
		return result(p, e);
	return NULL;
}

int
pq_exec(struct pq *p, const char *sql, struct err *e)
{
	PGresult *r = run_once(p, sql, e);

	PQclear(r);
	return r == NULL ? -1 : 0;
}

int
pq_ask_once(struct pq *p, const char *sql, int64_t *n_r, struct err *e)
{
	PGresult *r = run_once(p, sql, e);

	if (r == NULL)
		return -1;
	*n_r = PQntuples(r) == 0 ? 0 : strtoll(PQgetvalue(r, 0, 0), NULL, 10);
	PQclear(r);
	return 0;
}

/* A text as PostgreSQL takes it, and where it had to be changed, the change in b. */
static const char *
clean(const char *text, struct buf *b)
{
	const char *s = text;
	size_t len;

	if (utf8_valid(slice_of(text)))
		return text;
	for (; *s != '\0'; s += len) {
		for (len = 1; len <= 4 && s[len - 1] != '\0'; len++)
			if (utf8_valid((struct slice){s, len}))
				break;
		if (len <= 4 && s[len - 1] != '\0') {
			buf_add(b, s, len);
			continue;
		}
		len = 1;
		buf_adds(b, "\xef\xbf\xbd");
	}
	return b->p;
}

/* The arguments as libpq has them. */
struct bound {
	Oid types[ARGS_MAX];
	const char *values[ARGS_MAX];
	int lengths[ARGS_MAX], formats[ARGS_MAX];
	uint64_t numbers[ARGS_MAX];
	struct buf cleaned[ARGS_MAX];
};

static void
bind_arg(struct bound *b, size_t i, const struct db_arg *arg)
{
	b->formats[i] = 1;
	switch (arg->kind) {
	case DB_NUMBER:
		b->types[i] = OID_INT8;
		b->numbers[i] = htobe64((uint64_t)arg->n);
		b->values[i] = (const char *)&b->numbers[i];
		b->lengths[i] = (int)sizeof(b->numbers[i]);
		break;
	case DB_TEXT:
		/*
		 * A queue that stands still for ever over one odd byte would be worse
		 * than a mark in that byte's place.
		 */
		b->types[i] = OID_TEXT;
		b->values[i] = arg->p == NULL ? NULL : clean(arg->p, &b->cleaned[i]);
		b->lengths[i] = b->values[i] == NULL ? 0 : (int)strlen(b->values[i]);
		break;
	case DB_BYTES:
		b->types[i] = OID_BYTEA;
		b->values[i] = arg->p == NULL ? "" : arg->p;
		b->lengths[i] = (int)arg->n;
		break;
	}
}

static void
statement_name(size_t i, char name_r[32])
{
	(void)snprintf(name_r, 32, "s%zu", i);
}

static int
prepare(struct pq *p, size_t i, const struct bound *b, size_t count, struct err *e)
{
	char name[32];
	PGresult *r;

	if (p->prepared[i])
		return 0;
	p->asked_ms = clock_boot_ms();
	statement_name(i, name);
	if (PQsendPrepare(p->c, name, p->sql[i], (int)count, b->types) == 0)
		return lost(p, PQerrorMessage(p->c), e);
	r = result(p, e);
	PQclear(r);
	p->prepared[i] = r != NULL;
	return r == NULL ? -1 : 0;
}

PGresult *
pq_query(struct pq *p, size_t i, const struct db_arg *args, size_t count, struct err *e)
{
	struct bound b = {0};
	PGresult *r = NULL;
	char name[32];
	size_t n;

	if (p->c == NULL) {
		(void)fail(p, "", NULL, e);
		return NULL;
	}
	for (n = 0; n < count; n++)
		bind_arg(&b, n, &args[n]);
	statement_name(i, name);
	if (prepare(p, i, &b, count, e) == 0) {
		p->asked_ms = clock_boot_ms();
		if (PQsendQueryPrepared(
			p->c, name, (int)count, b.values, b.lengths, b.formats, 1) == 1)
			r = result(p, e);
		else
			(void)lost(p, PQerrorMessage(p->c), e);
	}
	for (n = 0; n < count; n++)
		buf_free(&b.cleaned[n]);
	return r;
}

int
pq_run(struct pq *p, size_t i, const struct db_arg *args, size_t count,
    int64_t *changed_r, struct err *e)
{
	PGresult *r = pq_query(p, i, args, count, e);

	if (r == NULL)
		return -1;
	if (changed_r != NULL)
		*changed_r = strtoll(PQcmdTuples(r), NULL, 10);
	PQclear(r);
	return 0;
}

int
pq_ask(struct pq *p, size_t i, const struct db_arg *args, size_t count, int64_t *n_r,
    struct err *e)
{
	PGresult *r = pq_query(p, i, args, count, e);
	int found;

	if (r == NULL)
		return -1;
	found = PQntuples(r) > 0;
	if (found == 1)
		*n_r = pq_number(r, 0, 0);
	PQclear(r);
	return found;
}

int
pq_commit(struct pq *p, struct err *e)
{
	PGresult *r = run_once(p, "COMMIT", e);
	bool done = r != NULL && strcmp(PQcmdStatus(r), "COMMIT") == 0;

	if (r != NULL && !done)
		(void)err_set(e, "store %s: the transaction had failed before", p->name);
	PQclear(r);
	return done ? 0 : -1;
}

void
pq_rollback(struct pq *p)
{
	struct err e;

	/* Where this fails the connection is in doubt, and its end undoes as well. */
	if (p->c != NULL && PQtransactionStatus(p->c) != PQTRANS_IDLE &&
	    pq_exec(p, "ROLLBACK", &e) == -1)
		pq_disconnect(p);
}

/* ---- columns ------------------------------------------------------------ */

int64_t
pq_number(const PGresult *r, int row, int column)
{
	return (int64_t)pq_bits(r, row, column);
}

uint64_t
pq_bits(const PGresult *r, int row, int column)
{
	uint64_t n = 0;

	if (PQgetlength(r, row, column) == (int)sizeof(n))
		memcpy(&n, PQgetvalue(r, row, column), sizeof(n));
	return be64toh(n);
}

const char *
pq_text(const PGresult *r, int row, int column)
{
	return PQgetvalue(r, row, column);
}

void
pq_array_add(struct buf *b, const char *text)
{
	struct buf cleaned = {0};
	const char *s;

	buf_adds(b, b->len == 0 ? "{\"" : ",\"");
	for (s = clean(text, &cleaned); *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			buf_addc(b, '\\');
		buf_addc(b, *s);
	}
	buf_addc(b, '"');
	buf_free(&cleaned);
}

struct db_arg
pq_array(struct buf *b)
{
	buf_adds(b, b->len == 0 ? "{}" : "}");
	return db_text(b->p);
}
