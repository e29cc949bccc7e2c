#include "config/config.h"

#include <errno.h>
#include <libconfig.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/zone.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define SECOND 1000
#define HOUR (3600 * SECOND)
#define DAY (24 * HOUR)

/* What is needed while one file is read. */
struct reading {
	struct config *config;
	char *folder; /* what relative paths are relative to */
	struct err_list *errs;
};

enum kind {
	KIND_BOOL,    /* bool */
	KIND_COUNT,   /* uint64_t */
	KIND_SIZE,    /* size_t */
	KIND_SECONDS, /* int64_t, kept in milliseconds */
	KIND_WORD,    /* an enum or int, one of words */
	KIND_STATUS,  /* a status or a range of them, in a struct verdict */
	KIND_TEXT,    /* char * */
	KIND_PATH,    /* char *, absolute */
	KIND_STORE,   /* char *, absolute or a url */
	KIND_TEXTS,   /* char ** and size_t */
	KIND_PATHS,   /* the same, absolute */
	KIND_GROUP,   /* settings of inner, in the same struct */
	KIND_SERVERS,
	KIND_LOGS,
	KIND_SUBSCRIPTIONS,
	KIND_APPSERVICES,
	KIND_STATUSES
};

/* A word that a setting may have, and what it stands for. */
struct word {
	const char *text;
	int value;
};

/*
 * One row for each setting.  Numbers have a range and a default in the unit in
 * which they are kept; lists have the smallest number of items as min.
 */
struct setting {
	const char *name;
	enum kind kind;
	bool needed;
	int64_t usual, min, max;
	size_t place, count; /* in the struct; count only for lists */
	const struct setting *inner;
	const struct word *words;
};

#define NUMBER(setting, k, type, member, d, lo, hi)                                      \
	{                                                                                \
		.name = setting, .kind = k, .place = offsetof(struct type, member),      \
		.usual = d, .min = lo, .max = hi                                         \
	}
#define BOOL(setting, type, member) NUMBER(setting, KIND_BOOL, type, member, 0, 0, 1)
#define TEXT(setting, k, type, member, must)                                             \
	{                                                                                \
		.name = setting, .kind = k, .place = offsetof(struct type, member),      \
		.needed = must                                                           \
	}
#define WORD(setting, type, member, w, must)                                             \
	{                                                                                \
		.name = setting, .kind = KIND_WORD,                                      \
		.place = offsetof(struct type, member), .words = w, .needed = must       \
	}
#define LIST(setting, k, type, member, n, must, least)                                   \
	{                                                                                \
		.name = setting, .kind = k, .place = offsetof(struct type, member),      \
		.count = offsetof(struct type, n), .needed = must, .min = least          \
	}

static const struct setting limit_settings[] = {
    NUMBER("queue", KIND_COUNT, config, queue_max, 1000000, 1, 1000000000),
    NUMBER("requests", KIND_SIZE, config, request_max, 10000, 1, 10000000),
    NUMBER("request_timeout", KIND_SECONDS, config, request_timeout_ms, 600 * SECOND,
	SECOND, DAY),
    NUMBER("keep_accepted", KIND_SECONDS, config, keep_accepted_ms, 7 * DAY, 0,
	3650LL * DAY),
    NUMBER("keep_size", KIND_COUNT, config, keep_size, 1024, 1, 1024 * 1024),
    {0},
};

static const struct word means_words[] = {
    {"accepted", VERDICT_ACCEPTED},
    {"odd", VERDICT_ODD},
    {"retry", VERDICT_RETRY},
    {"retry-after", VERDICT_AS_TOLD},
    {"other-path", VERDICT_OTHER_PATH},
    {"pause", VERDICT_PAUSE},
    {"set-aside", VERDICT_SET_ASIDE},
    {0},
};

static const struct setting status_settings[] = {
    TEXT("status", KIND_STATUS, verdict, first, true),
    WORD("means", verdict, action, means_words, true),
    {0},
};

static const struct setting send_settings[] = {
    NUMBER("connect_timeout", KIND_SECONDS, config, connect_timeout_ms, 10 * SECOND, 100,
	HOUR),
    NUMBER("first_byte_timeout", KIND_SECONDS, config, first_byte_timeout_ms, 30 * SECOND,
	100, HOUR),
    NUMBER("timeout", KIND_SECONDS, config, send_timeout_ms, 60 * SECOND, 100, HOUR),
    NUMBER("backoff_min", KIND_SECONDS, config, backoff_min_ms, SECOND, 10, DAY),
    NUMBER("backoff_max", KIND_SECONDS, config, backoff_max_ms, 300 * SECOND, 10, DAY),
    BOOL("legacy_token_in_query", config, legacy_token_in_query),
    LIST("statuses", KIND_STATUSES, config, statuses, status_count, false, 0),
    NUMBER("set_aside_tries", KIND_COUNT, config, set_aside_tries, 20, 1, 1000000),
    NUMBER("set_aside_after", KIND_SECONDS, config, set_aside_after_ms, HOUR, 0,
	3650LL * DAY),
    NUMBER("give_up_after", KIND_SECONDS, config, give_up_after_ms, 0, 0, 3650LL * DAY),
    {0},
};

static const struct word start_words[] = {
    {"beginning", TAIL_START_BEGINNING},
    {"end", TAIL_START_END},
    {0},
};

static const struct word envelope_words[] = {
    {"auto", ENVELOPE_AUTO},
    {"none", ENVELOPE_NONE},
    {"docker", ENVELOPE_DOCKER_JSON},
    {"cri", ENVELOPE_CRI},
    {"syslog", ENVELOPE_SYSLOG},
    {"journal", ENVELOPE_JOURNAL},
    {0},
};

static const struct word log_kind_words[] = {
    {"file", LOG_FILE},
    {"fifo", LOG_FIFO},
    {0},
};

static const struct word watch_words[] = {
    {"auto", TAIL_WATCH_AUTO},
    {"poll", TAIL_WATCH_POLL},
    {0},
};

static const struct setting journal_settings[] = {
    TEXT("unit", KIND_TEXT, config_log, journal.unit, true),
    TEXT("identifier", KIND_TEXT, config_log, journal.identifier, false),
    TEXT("namespace", KIND_TEXT, config_log, journal.namespace, false),
    TEXT("directory", KIND_PATH, config_log, journal.directory, false),
    {0},
};

static const struct setting log_settings[] = {
    TEXT("path", KIND_PATH, config_log, path, false),
    {.name = "journal", .kind = KIND_GROUP, .inner = journal_settings},
    TEXT("pack", KIND_TEXT, config_log, pack, false),
    TEXT("timezone", KIND_TEXT, config_log, timezone, false),
    WORD("start", config_log, how.start, start_words, false),
    WORD("envelope", config_log, envelope, envelope_words, false),
    WORD("kind", config_log, kind, log_kind_words, false),
    WORD("watch", config_log, how.watch, watch_words, false),
    {0},
};

/* A server with what its logs take over from it. */
struct server_reading {
	struct config_server server;
	char *pack, *timezone;
};

static const struct setting server_settings[] = {
    TEXT("name", KIND_TEXT, server_reading, server.name, true),
    TEXT("pack", KIND_TEXT, server_reading, pack, false),
    TEXT("timezone", KIND_TEXT, server_reading, timezone, false),
    LIST("logs", KIND_LOGS, server_reading, server.logs, server.log_count, true, 1),
    {0},
};

static const struct setting subscription_settings[] = {
    TEXT("appservice", KIND_TEXT, config_subscription, appservice, true),
    LIST("events", KIND_TEXTS, config_subscription, events, event_count, true, 1),
    TEXT("users", KIND_TEXT, config_subscription, users, false),
    {0},
};

static const struct word tls_words[] = {{"1.2", 12}, {"1.3", 13}, {0}};

static const struct setting appservice_settings[] = {
    TEXT("id", KIND_TEXT, config_appservice, id, true),
    TEXT("ca", KIND_PATH, config_appservice, ca, false),
    TEXT("certificate", KIND_PATH, config_appservice, certificate, false),
    TEXT("key", KIND_PATH, config_appservice, key, false),
    WORD("tls_min", config_appservice, tls_min, tls_words, false),
    TEXT("proxy", KIND_TEXT, config_appservice, proxy, false),
    {0},
};

static const struct setting settings[] = {
    TEXT("store", KIND_STORE, config, store, false),
    TEXT("instance", KIND_TEXT, config, instance, false),
    TEXT("metrics", KIND_PATH, config, metrics, false),
    LIST("patterns", KIND_PATHS, config, pattern_dirs, pattern_dir_count, false, 1),
    LIST(
	"registrations", KIND_PATHS, config, registrations, registration_count, false, 0),
    LIST("servers", KIND_SERVERS, config, servers, server_count, true, 1),
    LIST("subscriptions", KIND_SUBSCRIPTIONS, config, subscriptions, subscription_count,
	false, 0),
    LIST(
	"appservices", KIND_APPSERVICES, config, appservices, appservice_count, false, 0),
    BOOL("source", config, source),
    {.name = "limits", .kind = KIND_GROUP, .inner = limit_settings},
    {.name = "send", .kind = KIND_GROUP, .inner = send_settings},
    {0},
};

const char *
config_default_path(void)
{
	return HEARSAY_SYSCONFDIR "/hearsay/hearsay.conf";
}

/* ---- mistakes ------------------------------------------------------------- */

static void wrong(struct reading *r, const config_setting_t *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
wrong(struct reading *r, const config_setting_t *at, const char *fmt, ...)
{
	const char *file = config_setting_source_file(at); /* NULL but for @include */
	unsigned line = config_setting_source_line(at);    /* 0 for the file as a whole */
	struct err what;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what.text, sizeof(what.text), fmt, ap);
	va_end(ap);
	if (file == NULL)
		file = r->config->path;
	if (line == 0)
		(void)err_list_add(r->errs, "%s: %s", file, what.text);
	else
		(void)err_list_add(r->errs, "%s:%u: %s", file, line, what.text);
}

/* ---- values --------------------------------------------------------------- */

static void
put_number(enum kind kind, void *place, int64_t n)
{
	switch (kind) {
	case KIND_BOOL:
		*(bool *)place = n != 0;
		break;
	case KIND_COUNT:
		*(uint64_t *)place = (uint64_t)n;
		break;
	case KIND_SIZE:
		*(size_t *)place = (size_t)n;
		break;
	case KIND_SECONDS:
		*(int64_t *)place = n;
		break;
	default:
		break;
	}
}

static void
read_bool(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *place)
{
	if (config_setting_type(s) != CONFIG_TYPE_BOOL)
		wrong(r, s, "\"%s\" must be true or false", row->name);
	else
		put_number(row->kind, place, config_setting_get_bool(s));
}

static void
read_count(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *place)
{
	int64_t n;

	if (config_setting_type(s) != CONFIG_TYPE_INT &&
	    config_setting_type(s) != CONFIG_TYPE_INT64) {
		wrong(r, s, "\"%s\" must be a whole number", row->name);
		return;
	}
	n = config_setting_get_int64(s);
	if (n < row->min || n > row->max)
		wrong(r, s, "\"%s\" must be from %lld to %lld", row->name,
		    (long long)row->min, (long long)row->max);
	else
		put_number(row->kind, place, n);
}

static void
read_seconds(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *place)
{
	double ms;

	if (!config_setting_is_number(s)) {
		wrong(r, s, "\"%s\" must be a number of seconds", row->name);
		return;
	}
	ms = config_setting_type(s) == CONFIG_TYPE_FLOAT
	    ? config_setting_get_float(s) * SECOND
	    : (double)config_setting_get_int64(s) * SECOND;
	if (!(ms >= (double)row->min && ms <= (double)row->max))
		wrong(r, s, "\"%s\" must be from %g to %g seconds", row->name,
		    (double)row->min / SECOND, (double)row->max / SECOND);
	else
		put_number(row->kind, place, (int64_t)(ms + 0.5));
}

/* 0 and *value_r; or -1 and all words, for a message, in *all. */
static int
find_word(const struct word *words, const char *text, int *value_r, struct buf *all)
{
	const struct word *w;

	for (w = words; w->text != NULL; w++) {
		if (text != NULL && strcmp(text, w->text) == 0) {
			*value_r = w->value;
			return 0;
		}
		buf_addf(all, "%s\"%s\"",
		    w == words              ? ""
			: w[1].text == NULL ? " or "
					    : ", ",
		    w->text);
	}
	return -1;
}

static void
read_word(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *place)
{
	struct buf all = {0};

	if (find_word(row->words, config_setting_get_string(s), place, &all) == -1)
		wrong(r, s, "\"%s\" must be %s", row->name, all.p);
	buf_free(&all);
}

int
config_envelope(const char *text, enum envelope_kind *kind_r, struct err *e)
{
	struct buf all = {0};
	int value, rc = find_word(envelope_words, text, &value, &all);

	if (rc == 0)
		*kind_r = (enum envelope_kind)value;
	else
		(void)err_set(e, "\"%s\" is no kind of envelope; write %s", text, all.p);
	buf_free(&all);
	return rc;
}

/* 413, or "500-599". */
static void
read_status(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *place)
{
	const char *text = config_setting_get_string(s);
	struct verdict *v = place;
	int end = 0;

	if (text == NULL)
		v->first = v->last = config_setting_get_int(s);
	else if (sscanf(text, "%3d-%3d%n", &v->first, &v->last, &end) != 2 ||
	    text[end] != '\0')
		v->first = 0;
	if (v->first < 200 || v->first > v->last || v->last > 599)
		wrong(r, s,
		    "\"%s\" must be a number from 200 to 599, or a range of them: "
		    "\"500-599\"",
		    row->name);
}

/* The text of s, malloc'd, made absolute if it is a path; NULL where there is none. */
static char *
text_of(struct reading *r, const config_setting_t *s, const char *name, bool is_path)
{
	const char *text = config_setting_get_string(s);

	if (text == NULL) {
		wrong(r, s, "\"%s\" must be a string", name);
		return NULL;
	}
	if (text[0] == '\0') {
		wrong(r, s, "\"%s\" must not be empty", name);
		return NULL;
	}
	return is_path && text[0] != '/' ? xasprintf("%s/%s", r->folder, text)
					 : xstrdup(text);
}

static void
read_text(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *place)
{
	*(char **)place = text_of(r, s, row->name, row->kind == KIND_PATH);
}

/* The url may have a password in it, and is told to nobody. */
static void
read_store(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *place)
{
	const char *text = config_setting_get_string(s);
	bool is_url = text != NULL && strstr(text, "://") != NULL;

	if (is_url && strncmp(text, "postgresql://", 13) != 0 &&
	    strncmp(text, "postgres://", 11) != 0)
		wrong(r, s, "\"%s\" must be a path, or postgresql://…", row->name);
	else
		*(char **)place = text_of(r, s, row->name, !is_url);
}

/* The number of items of the list s, 0 where it has too few or is none. */
static size_t
length_of(struct reading *r, const config_setting_t *s, const struct setting *row)
{
	int n;

	if (!config_setting_is_list(s) && !config_setting_is_array(s)) {
		wrong(r, s, "\"%s\" must be a list", row->name);
		return 0;
	}
	n = config_setting_length(s);
	if (n < row->min)
		wrong(r, s, "\"%s\" must not be empty", row->name);
	return (size_t)n;
}

static void
read_texts(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *base)
{
	size_t n = length_of(r, s, row), i,
	       *count = (size_t *)((char *)base + row->count);
	char **texts = xcalloc(n + 1, sizeof(*texts));

	*(char ***)((char *)base + row->place) = texts;
	for (i = 0; i < n; i++) {
		const config_setting_t *item = config_setting_get_elem(s, (unsigned)i);
		char *text = text_of(r, item, row->name, row->kind == KIND_PATHS);

		if (text != NULL)
			texts[(*count)++] = text;
	}
}

/* ---- groups --------------------------------------------------------------- */

static void read_group(struct reading *r, const config_setting_t *group,
    const struct setting *rows, void *base);

static bool
is_group(struct reading *r, const config_setting_t *s, const char *name)
{
	if (config_setting_is_group(s))
		return true;
	wrong(r, s, "\"%s\" must be made of groups: { … }", name);
	return false;
}

static bool
digits_only(const char *s)
{
	return s[0] != '\0' && s[strspn(s, "0123456789")] == '\0';
}

/* host[:port] as the Matrix specification has it under "Server Name". */
static bool
is_server_name(const char *s)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";
	size_t len;

	if (s[0] == '[') {
		len = strspn(++s, "0123456789abcdefABCDEF:.");
		if (len < 2 || len > 45 || s[len] != ']')
			return false;
		s += len + 1;
	} else {
		len = strspn(s, letters);
		if (len < 1 || len > 255)
			return false;
		s += len;
	}
	if (s[0] == '\0')
		return true;
	return s[0] == ':' && digits_only(s + 1) && strlen(s + 1) <= 5;
}

static void
check_zone(struct reading *r, const config_setting_t *group, const char *name)
{
	const config_setting_t *s = config_setting_get_member(group, "timezone");
	struct zone *z;
	struct err e;

	if (name == NULL)
		return;
	z = zone_open(name, &e);
	if (z == NULL)
		wrong(r, s, "\"timezone\": %s", e.text);
	zone_close(z);
}

/* "-" is no path, and a pipe is one file. */
static void
check_pipe(struct reading *r, const config_setting_t *path, struct config_log *log)
{
	const char *text = path == NULL ? NULL : config_setting_get_string(path);

	if (text != NULL && strcmp(text, "-") == 0) {
		free(log->path);
		log->path = xstrdup(text);
		log->kind = LOG_FIFO;
	} else if (text != NULL && log->kind == LOG_FIFO &&
	    strpbrk(text, "*?[") != NULL) {
		wrong(r, path, "a FIFO has one path; \"%s\" may match several", text);
	}
}

/* Of letters, digits and what else systemd allows, with the kind of unit at its end. */
static bool
is_unit(const char *s)
{
	static const char allowed[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";
	const char *dot = strrchr(s, '.');

	return s[strspn(s, allowed)] == '\0' && dot != NULL && dot != s && dot[1] != '\0';
}

/* What the log in the journal is called, in the store and in messages. */
static char *
journal_name(const struct journal_unit *j)
{
	struct buf name = {0};

	buf_adds(&name, "journal:");
	if (j->directory != NULL)
		buf_addf(&name, "%s/", j->directory);
	if (j->namespace != NULL)
		buf_addf(&name, "@%s/", j->namespace);
	buf_adds(&name, j->unit);
	if (j->identifier != NULL)
		buf_addf(&name, ":%s", j->identifier);
	return name.p;
}

static void
check_journal(struct reading *r, const config_setting_t *s, struct config_log *log)
{
	const config_setting_t *group = config_setting_get_member(s, "journal");
	const struct journal_unit *j = &log->journal;

	if (config_setting_get_member(s, "path") != NULL ||
	    config_setting_get_member(s, "kind") != NULL ||
	    config_setting_get_member(s, "watch") != NULL ||
	    config_setting_get_member(s, "envelope") != NULL)
		wrong(r, s,
		    "a log in the journal has no \"path\", \"kind\", \"watch\" or \"envelope\"");
	if (j->directory != NULL && j->namespace != NULL)
		wrong(r, group,
		    "\"namespace\" is of this machine's journal, and \"directory\" is another");
	if (j->unit == NULL)
		return; /* which was told */
	if (!is_unit(j->unit))
		wrong(r, config_setting_get_member(group, "unit"),
		    "\"%s\" is no unit; one is called \"matrix-synapse.service\"",
		    j->unit);
	if (!journal_built())
		wrong(r, group,
		    "a log in the journal needs libsystemd, and this hearsay was built without it: install libsystemd-dev and build again");
	free(log->path);
	log->path = journal_name(j);
	log->kind = LOG_JOURNAL;
	log->envelope = ENVELOPE_JOURNAL;
}

static void
read_log(struct reading *r, const config_setting_t *s, struct config_log *log)
{
	log->line = config_setting_source_line(s);
	if (config_setting_type(s) == CONFIG_TYPE_STRING) {
		log->path = text_of(r, s, "logs", true);
		check_pipe(r, s, log);
		return;
	}
	if (!config_setting_is_group(s)) {
		wrong(
		    r, s, "\"logs\" must be made of paths or groups: { path = \"…\"; }");
		return;
	}
	read_group(r, s, log_settings, log);
	if (config_setting_get_member(s, "journal") != NULL)
		check_journal(r, s, log);
	else if (config_setting_get_member(s, "path") == NULL)
		wrong(r, s, "\"path\" or \"journal\" is missing");
	else
		check_pipe(r, config_setting_get_member(s, "path"), log);
	check_zone(r, s, log->timezone);
}

static void
read_logs(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *base)
{
	size_t n = length_of(r, s, row), i;
	struct config_log *logs = xcalloc(n + 1, sizeof(*logs));

	*(struct config_log **)((char *)base + row->place) = logs;
	*(size_t *)((char *)base + row->count) = n;
	for (i = 0; i < n; i++)
		read_log(r, config_setting_get_elem(s, (unsigned)i), &logs[i]);
}

static void
inherit(char **to, const char *from)
{
	if (*to == NULL && from != NULL)
		*to = xstrdup(from);
}

static void
read_server(struct reading *r, const config_setting_t *s, struct config_server *server)
{
	struct server_reading sr = {.server.line = config_setting_source_line(s)};
	size_t i;

	if (is_group(r, s, "servers"))
		read_group(r, s, server_settings, &sr);
	if (sr.server.name != NULL && !is_server_name(sr.server.name))
		wrong(r, config_setting_get_member(s, "name"),
		    "\"%s\" is no server name; one is host or host:port", sr.server.name);
	check_zone(r, s, sr.timezone);
	for (i = 0; i < sr.server.log_count; i++) {
		inherit(&sr.server.logs[i].pack, sr.pack);
		inherit(&sr.server.logs[i].timezone, sr.timezone);
	}
	free(sr.pack);
	free(sr.timezone);
	*server = sr.server;
}

static void
read_servers(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *base)
{
	struct config *c = base;
	size_t i;

	c->server_count = length_of(r, s, row);
	c->servers = xcalloc(c->server_count + 1, sizeof(*c->servers));
	for (i = 0; i < c->server_count; i++)
		read_server(r, config_setting_get_elem(s, (unsigned)i), &c->servers[i]);
}

static void
read_subscriptions(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *base)
{
	struct config *c = base;
	size_t i;

	c->subscription_count = length_of(r, s, row);
	c->subscriptions = xcalloc(c->subscription_count + 1, sizeof(*c->subscriptions));
	for (i = 0; i < c->subscription_count; i++) {
		const config_setting_t *item = config_setting_get_elem(s, (unsigned)i);

		c->subscriptions[i].line = config_setting_source_line(item);
		if (is_group(r, item, row->name))
			read_group(r, item, subscription_settings, &c->subscriptions[i]);
	}
}

static void
read_appservices(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *base)
{
	struct config *c = base;
	size_t i;

	c->appservice_count = length_of(r, s, row);
	c->appservices = xcalloc(c->appservice_count + 1, sizeof(*c->appservices));
	for (i = 0; i < c->appservice_count; i++) {
		const config_setting_t *item = config_setting_get_elem(s, (unsigned)i);
		struct config_appservice *a = &c->appservices[i];

		a->line = config_setting_source_line(item);
		a->tls_min = 12;
		if (is_group(r, item, row->name))
			read_group(r, item, appservice_settings, a);
		if (a->key != NULL && a->certificate == NULL)
			wrong(r, item, "\"key\" needs a \"certificate\"");
	}
}

static void
read_statuses(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *base)
{
	struct config *c = base;
	size_t i;

	c->status_count = length_of(r, s, row);
	c->statuses = xcalloc(c->status_count + 1, sizeof(*c->statuses));
	for (i = 0; i < c->status_count; i++) {
		const config_setting_t *item = config_setting_get_elem(s, (unsigned)i);

		if (is_group(r, item, row->name))
			read_group(r, item, status_settings, &c->statuses[i]);
	}
}

static void
read_setting(
    struct reading *r, const config_setting_t *s, const struct setting *row, void *base)
{
	void *place = (char *)base + row->place;

	switch (row->kind) {
	case KIND_BOOL:
		read_bool(r, s, row, place);
		break;
	case KIND_COUNT:
	case KIND_SIZE:
		read_count(r, s, row, place);
		break;
	case KIND_SECONDS:
		read_seconds(r, s, row, place);
		break;
	case KIND_WORD:
		read_word(r, s, row, place);
		break;
	case KIND_STATUS:
		read_status(r, s, row, place);
		break;
	case KIND_TEXT:
	case KIND_PATH:
		read_text(r, s, row, place);
		break;
	case KIND_STORE:
		read_store(r, s, row, place);
		break;
	case KIND_TEXTS:
	case KIND_PATHS:
		read_texts(r, s, row, base);
		break;
	case KIND_GROUP:
		if (is_group(r, s, row->name))
			read_group(r, s, row->inner, base);
		break;
	case KIND_SERVERS:
		read_servers(r, s, row, base);
		break;
	case KIND_LOGS:
		read_logs(r, s, row, base);
		break;
	case KIND_SUBSCRIPTIONS:
		read_subscriptions(r, s, row, base);
		break;
	case KIND_APPSERVICES:
		read_appservices(r, s, row, base);
		break;
	case KIND_STATUSES:
		read_statuses(r, s, row, base);
		break;
	}
}

/* Fill the struct at base from group, in the order of the file. */
static void
read_group(struct reading *r, const config_setting_t *group, const struct setting *rows,
    void *base)
{
	int i, n = config_setting_length(group);
	const struct setting *row;

	for (i = 0; i < n; i++) {
		const config_setting_t *s = config_setting_get_elem(group, (unsigned)i);

		for (row = rows; row->name != NULL; row++)
			if (strcmp(config_setting_name(s), row->name) == 0)
				break;
		if (row->name == NULL)
			wrong(r, s,
			    "there is no setting \"%s\" here; see hearsay.conf(5)",
			    config_setting_name(s));
		else
			read_setting(r, s, row, base);
	}
	for (row = rows; row->name != NULL; row++)
		if (row->needed && config_setting_get_member(group, row->name) == NULL)
			wrong(r, group, "\"%s\" is missing", row->name);
}

/* ---- defaults ------------------------------------------------------------- */

static void
put_usual_numbers(const struct setting *rows, struct config *c)
{
	for (; rows->name != NULL; rows++) {
		put_number(rows->kind, (char *)c + rows->place, rows->usual);
		if (rows->kind == KIND_GROUP)
			put_usual_numbers(rows->inner, c);
	}
}

static char *
host_name(void)
{
	char name[HOST_NAME_MAX + 1];

	if (gethostname(name, sizeof(name)) == -1)
		return xstrdup("localhost");
	name[HOST_NAME_MAX] = '\0';
	return xstrdup(name);
}

static void
put_missing_texts(struct config *c)
{
	static const char *const dirs[] = {
	    HEARSAY_SYSCONFDIR "/hearsay/patterns", HEARSAY_PKGDATADIR "/patterns"};
	size_t n = sizeof(dirs) / sizeof(dirs[0]);

	if (c->store == NULL)
		c->store = xstrdup(HEARSAY_LOCALSTATEDIR "/lib/hearsay/hearsay.db");
	if (c->instance == NULL)
		c->instance = host_name();
	if (c->pattern_dirs != NULL)
		return;
	c->pattern_dirs = xcalloc(n, sizeof(*c->pattern_dirs));
	for (; c->pattern_dir_count < n; c->pattern_dir_count++)
		c->pattern_dirs[c->pattern_dir_count] =
		    xstrdup(dirs[c->pattern_dir_count]);
}

/* ---- what several settings must be together --------------------------------- */

static void
wrong_line(struct reading *r, unsigned line, const char *what, const char *value,
    unsigned earlier)
{
	(void)err_list_add(r->errs, "%s:%u: %s \"%s\" stands on line %u already",
	    r->config->path, line, what, value, earlier);
}

static void
check_server_twice(struct reading *r, size_t at)
{
	const struct config_server *s = r->config->servers;
	size_t i;

	for (i = 0; i < at; i++)
		if (s[i].name != NULL && s[at].name != NULL &&
		    strcmp(s[i].name, s[at].name) == 0) {
			wrong_line(r, s[at].line, "the server", s[at].name, s[i].line);
			return;
		}
}

/* One log read twice would tell everything twice. */
static void
check_log_twice(struct reading *r, size_t server, size_t log)
{
	const struct config *c = r->config;
	const struct config_log *at = &c->servers[server].logs[log];
	size_t i, j;

	if (at->path == NULL)
		return;
	for (i = 0; i <= server; i++)
		for (j = 0; j < (i == server ? log : c->servers[i].log_count); j++) {
			const struct config_log *l = &c->servers[i].logs[j];

			if (l->path != NULL && strcmp(l->path, at->path) == 0) {
				wrong_line(r, at->line, "the log", at->path, l->line);
				return;
			}
		}
}

static void
check_appservice_twice(struct reading *r, size_t at)
{
	const struct config_appservice *a = r->config->appservices;
	size_t i;

	for (i = 0; i < at; i++)
		if (a[i].id != NULL && a[at].id != NULL &&
		    strcmp(a[i].id, a[at].id) == 0) {
			wrong_line(r, a[at].line, "the appservice", a[at].id, a[i].line);
			return;
		}
}

static void
check_whole(struct reading *r, const config_setting_t *root)
{
	const struct config *c = r->config;
	const config_setting_t *send = config_setting_get_member(root, "send");
	size_t i, j;

	for (i = 0; i < c->server_count; i++) {
		check_server_twice(r, i);
		for (j = 0; j < c->servers[i].log_count; j++)
			check_log_twice(r, i, j);
	}
	for (i = 0; i < c->appservice_count; i++)
		check_appservice_twice(r, i);
	if (send != NULL && c->backoff_min_ms > c->backoff_max_ms)
		wrong(r, send, "\"backoff_min\" must not be longer than \"backoff_max\"");
}

/* ---- the file --------------------------------------------------------------- */

/*
 * libconfig ends the process where reading fails half-way (a directory, an I/O
 * error), so the file is read here.
 */
static int
read_file(const char *path, struct buf *text, struct err_list *errs)
{
	char chunk[16384];
	int failed;
	size_t n;
	FILE *f;

	f = fopen(path, "re");
	if (f == NULL)
		return err_list_add(
		    errs, "%s: cannot be opened: %s", path, strerror(errno));
	while (text->len <= FILE_MAX_BYTES && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		buf_add(text, chunk, n);
	failed = ferror(f) ? errno : 0;
	(void)fclose(f);
	if (failed != 0)
		return err_list_add(
		    errs, "%s: cannot be read: %s", path, strerror(failed));
	if (text->len > FILE_MAX_BYTES)
		return err_list_add(errs, "%s: is longer than 1 MiB", path);
	if (text->len > 0 && memchr(text->p, '\0', text->len) != NULL)
		return err_list_add(errs, "%s: has a NUL byte in it", path);
	return 0;
}

/* The absolute folder of path: checkpoints are kept by path, from whatever folder we are started. */
static char *
folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash == NULL ? 0 : (size_t)(slash - path);
	char *cwd, *folder;

	if (path[0] == '/')
		return xstrndup(path, len);
	cwd = getcwd(NULL, 0);
	if (cwd == NULL)
		return slash == NULL ? xstrdup(".") : xstrndup(path, len);
	folder = slash == NULL ? xstrdup(cwd) : xasprintf("%s/%.*s", cwd, (int)len, path);
	free(cwd);
	return folder;
}

static void
read_config(struct reading *r, const char *text)
{
	config_t lc;
	const char *file;

	config_init(&lc);
	config_set_include_dir(&lc, r->folder);
	if (config_read_string(&lc, text) == CONFIG_FALSE) {
		file = config_error_file(&lc);
		(void)err_list_add(r->errs, "%s:%d: %s",
		    file == NULL ? r->config->path : file, config_error_line(&lc),
		    config_error_text(&lc));
	} else {
		put_usual_numbers(settings, r->config);
		read_group(r, config_root_setting(&lc), settings, r->config);
		put_missing_texts(r->config);
		check_whole(r, config_root_setting(&lc));
	}
	config_destroy(&lc);
}

struct config *
config_load(const char *path, struct err_list *errs)
{
	struct config *c = xcalloc(1, sizeof(*c));
	struct reading r = {.config = c, .errs = errs};
	size_t before = errs->count;
	struct buf text = {0};

	c->path = xstrdup(path);
	r.folder = folder_of(path);
	if (read_file(path, &text, errs) == 0)
		read_config(&r, text.p == NULL ? "" : text.p);
	buf_free(&text);
	free(r.folder);
	if (errs->count == before)
		return c;
	config_free(c);
	return NULL;
}

static void
free_texts(char **texts, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		free(texts[i]);
	free(texts);
}

static void
free_server(struct config_server *s)
{
	size_t i;

	for (i = 0; i < s->log_count; i++) {
		free(s->logs[i].path);
		free(s->logs[i].pack);
		free(s->logs[i].timezone);
		free(s->logs[i].journal.unit);
		free(s->logs[i].journal.identifier);
		free(s->logs[i].journal.namespace);
		free(s->logs[i].journal.directory);
	}
	free(s->logs);
	free(s->name);
}

void
config_free(struct config *c)
{
	size_t i;

	if (c == NULL)
		return;
	for (i = 0; i < c->server_count; i++)
		free_server(&c->servers[i]);
	free(c->servers);
	for (i = 0; i < c->subscription_count; i++) {
		free(c->subscriptions[i].appservice);
		free_texts(c->subscriptions[i].events, c->subscriptions[i].event_count);
		free(c->subscriptions[i].users);
	}
	free(c->subscriptions);
	for (i = 0; i < c->appservice_count; i++) {
		free(c->appservices[i].id);
		free(c->appservices[i].ca);
		free(c->appservices[i].certificate);
		free(c->appservices[i].key);
		free(c->appservices[i].proxy);
	}
	free(c->appservices);
	free(c->statuses);
	free_texts(c->pattern_dirs, c->pattern_dir_count);
	free_texts(c->registrations, c->registration_count);
	free(c->store);
	free(c->instance);
	free(c->metrics);
	free(c->path);
	free(c);
}
