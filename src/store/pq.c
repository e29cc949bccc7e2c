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

#define CONNECT_S "5"
/*
 * The server ends a statement sooner (statement_timeout): this is for one that
 * stopped, with a network that goes on to take our bytes.
 */
#define ANSWER_MS 15000
#define REST_MS 500 /* between two attempts to connect, at the least */

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
	int nudge;
	int64_t next_try_ms; /* monotonic */
	struct err refusal;  /* why the last attempt failed */
};

static const struct {
	const char *state; /* SQLSTATE, or its class */
	const char *way;
} ways_on[] = {
    {"53100", "make room on the server's disk; nothing that was stored is lost"},
    {"53300", "raise max_connections of the server"},
    {"25006", "the server takes no writes: name the primary, not a standby"},
    {"42501", "grant that to the role that hearsay connects as"},
    {"57014", "the server took too long; look at its load and its locks"},
    {"58", "look at the server's disk and its log"},
    {"XX", "look at the server's log: its data may be damaged"},
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

/* ---- failing ------------------------------------------------------------ */

/* A message of libpq's, which may have several lines, as one. */
static int
fail(struct pq *p, const char *message, const char *state, struct err *e)
{
	const char *way = NULL;
	struct buf b = {0};
	size_t i;

	for (i = 0; state != NULL && i < sizeof(ways_on) / sizeof(ways_on[0]); i++)
		if (strncmp(state, ways_on[i].state, strlen(ways_on[i].state)) == 0)
			way = ways_on[i].way;
	for (; *message != '\0'; message++)
		if (strchr(" \t\n", *message) == NULL)
			buf_addc(&b, *message);
		else if (b.len > 0 && b.p[b.len - 1] != ' ')
			buf_addc(&b, ' ');
	while (b.len > 0 && b.p[b.len - 1] == ' ')
		b.p[--b.len] = '\0';
	(void)err_set(e, "store %s: %s%s%s", p->name,
	    b.len == 0 ? "the connection is lost" : b.p, way == NULL ? "" : "; ",
	    way == NULL ? "" : way);
	buf_free(&b);
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
pq_new(const char *url, const char *application, int nudge, const char *const *sql,
    size_t count, struct err *e)
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
	p->sql = sql;
	p->count = count;
	p->prepared = xcalloc(count, sizeof(bool));
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

/* What stands before the url is a default that the url may change. */
static PGconn *
connection(const struct pq *p)
{
	static const char *const keywords[] = {"connect_timeout", "keepalives_idle",
	    "keepalives_interval", "keepalives_count", "tcp_user_timeout", "dbname",
	    "application_name", "client_encoding", NULL};
	const char *const values[] = {
	    CONNECT_S, "5", "2", "3", "10000", p->url, p->application, "UTF8", NULL};

	return PQconnectdbParams(keywords, values, 1);
}

int
pq_connect(struct pq *p, struct err *e)
{
	int64_t begun = clock_steady_ms(), ended;

	pq_disconnect(p);
	if (begun < p->next_try_ms)
		return err_set(e, "%s", p->refusal.text);
	p->c = connection(p);
	if (p->c == NULL)
		mem_exhausted();
	if (PQstatus(p->c) == CONNECTION_OK && PQsetnonblocking(p->c, 1) == 0) {
		(void)PQsetNoticeProcessor(p->c, ignore_notice, NULL);
		return 0;
	}
	ended = clock_steady_ms();
	p->next_try_ms = ended + (ended - begun) + REST_MS;
	(void)lost(p, PQerrorMessage(p->c), &p->refusal);
	return err_set(e, "%s", p->refusal.text);
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

/* ---- statements --------------------------------------------------------- */

/* Wait until the next result is here or the deadline is. */
static int
await(struct pq *p, int64_t deadline, struct err *e)
{
	struct pollfd fd = {.fd = PQsocket(p->c)};
	int flushed, ready;
	int64_t rest;

	for (;;) {
		flushed = PQflush(p->c);
		if (flushed == -1)
			return lost(p, PQerrorMessage(p->c), e);
		if (flushed == 0 && PQisBusy(p->c) == 0)
			return 0;
		rest = deadline - clock_steady_ms();
		fd.events = (short)(POLLIN | (flushed == 1 ? POLLOUT : 0));
		ready = rest <= 0 ? 0 : poll(&fd, 1, (int)rest);
		if (ready == 0)
			return lost(p, "the server does not answer", e);
		if (ready == -1 && errno != EINTR)
			return lost(p, strerror(errno), e);
		if (ready == 1 && PQconsumeInput(p->c) == 0)
			return lost(p, PQerrorMessage(p->c), e);
	}
}

/* The result of what was sent, the last where there are several. */
static PGresult *
result(struct pq *p, struct err *e)
{
	int64_t deadline = clock_steady_ms() + ANSWER_MS;
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
	if (p->c != NULL && r != NULL && !failed)
		return r;
	PQclear(r);
	return NULL;
}

static PGresult *
run_once(struct pq *p, const char *sql, struct err *e)
{
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
