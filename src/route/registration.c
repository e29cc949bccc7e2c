#include "route/registration.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/unix_url.h"
#include "route/tree.h"
#include "route/users.h"

#define FILE_MAX_BYTES ((size_t)1024 * 1024)
#define ID_MAX_BYTES 255

/* The stable prefix and the two it had before the proposal got a number and was accepted. */
static const struct {
	const char *prefix;
	const char *key;
} languages[] = {
    {"m.", "m.synthetic_events"},
    {"uk.half-shot.msc3395.", "uk.half-shot.msc3395.synthetic_events"},
    {"uk.half-shot.mscXXXX.", "uk.half-shot.mscXXXX.synthetic_events"},
};
#define LANGUAGE_COUNT (sizeof(languages) / sizeof(languages[0]))

/* What is needed while one file is read. */
struct reading {
	struct registration *registration;
	struct err_list *errs;
};

static void wrong(struct reading *r, const struct tree *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void
wrong(struct reading *r, const struct tree *at, const char *fmt, ...)
{
	struct err what;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(what.text, sizeof(what.text), fmt, ap);
	va_end(ap);
	(void)err_list_add(
	    r->errs, "%s:%u: %s", r->registration->path, at->line, what.text);
}

/* ---- subscriptions ---------------------------------------------------------- */

struct users *
registration_take_users(struct registration *r, struct users *u)
{
	r->users = xreallocarray(r->users, r->user_count + 1, sizeof(struct users *));
	r->users[r->user_count++] = u;
	return u;
}

struct subscription *
registration_subscribe(struct registration *r, const char *key,
    struct users *const *users, size_t user_count)
{
	struct subscription *s = xcalloc(1, sizeof(*s)), **last = &r->first;
	size_t i;

	s->key = key;
	s->users = xcalloc(user_count + 1, sizeof(struct users *));
	for (i = 0; i < user_count; i++)
		s->users[s->user_count++] = users[i];
	while (*last != NULL)
		last = &(*last)->next;
	*last = s;
	return s;
}

void
subscription_add_type(struct subscription *s, const char *listed)
{
	struct listed_type *t;
	size_t i, len;

	s->types = xreallocarray(s->types, s->type_count + 1, sizeof(*s->types));
	t = &s->types[s->type_count++];
	t->sent = xstrdup(listed);
	t->stable = NULL;
	for (i = 0; i < LANGUAGE_COUNT; i++) {
		len = strlen(languages[i].prefix);
		if (strncmp(listed, languages[i].prefix, len) == 0)
			t->stable = xasprintf("m.%s", listed + len);
	}
	if (t->stable == NULL)
		t->stable = xstrdup(listed);
}

/* What stands under one key of the three: { events: [ type, … ] }. */
static void
read_subscription(struct reading *r, const struct tree *at, const char *key,
    struct users *const *users, size_t user_count)
{
	const struct tree *events = tree_get(at, "events"), *type;
	struct subscription *s;

	if (at->null)
		return;
	if (events == NULL || (events->kind != TREE_LIST && !events->null)) {
		wrong(r, at, "\"%s\" needs a list of types: { events: [ … ] }", key);
		return;
	}
	s = registration_subscribe(r->registration, key, users, user_count);
	for (type = events->first; type != NULL; type = type->next)
		if (type->kind != TREE_TEXT || type->text[0] == '\0')
			wrong(r, type, "an event's type must be a text");
		else
			subscription_add_type(s, type->text);
}

/* The subscriptions of a map, in any of the three languages. */
static void
read_subscriptions(struct reading *r, const struct tree *map, struct users *const *users,
    size_t user_count)
{
	const struct tree *at;
	size_t i;

	for (i = 0; i < LANGUAGE_COUNT; i++) {
		at = tree_get(map, languages[i].key);
		if (at != NULL)
			read_subscription(r, at, languages[i].key, users, user_count);
	}
}

/* ---- the parts of a registration ------------------------------------------------ */

/* The text under key; NULL where there is none (a mistake if needed). */
static const char *
text_of(struct reading *r, const struct tree *root, const char *key, bool needed)
{
	const struct tree *t = tree_get(root, key);

	if (t == NULL || t->null) {
		if (needed)
			wrong(r, t == NULL ? root : t, "\"%s\" is missing", key);
		return NULL;
	}
	if (t->kind == TREE_TEXT && t->text[0] != '\0')
		return t->text;
	wrong(r, t, "\"%s\" must be a text", key);
	return NULL;
}

/* It goes into messages and into a header's line: no space, nothing unseen. */
static bool
is_visible(const char *s)
{
	for (; *s != '\0'; s++)
		if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f)
			return false;
	return true;
}

static void
read_id(struct reading *r, const struct tree *root)
{
	const char *id = text_of(r, root, "id", true);
	const char *p;

	if (id == NULL)
		return;
	for (p = id; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			break;
	if (*p != '\0' || strlen(id) > ID_MAX_BYTES)
		wrong(r, tree_get(root, "id"),
		    "\"id\" must be at most %d bytes, without control characters",
		    ID_MAX_BYTES);
	r->registration->id = xstrdup(id);
}

static void
read_tokens(struct reading *r, const struct tree *root, uint64_t seed)
{
	const char *as = text_of(r, root, "as_token", false);
	const char *hs = text_of(r, root, "hs_token", true);

	if (as != NULL) {
		r->registration->has_as_token = true;
		r->registration->as_hash = XXH3_128bits_withSeed(as, strlen(as), seed);
	}
	if (hs == NULL)
		return;
	if (!is_visible(hs))
		wrong(r, tree_get(root, "hs_token"),
		    "\"hs_token\" must be of visible ASCII characters");
	r->registration->hs_hash = XXH3_128bits_withSeed(hs, strlen(hs), seed);
	r->registration->hs_token = xstrdup(hs);
}

/* The judgement is curl's, which will send to it. */
static bool
is_http_url(const char *text)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *user = NULL, *password = NULL;
	bool ok = false;

	if (u == NULL)
		mem_exhausted();
	if (is_visible(text) && strpbrk(text, "?#") == NULL &&
	    curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK)
		ok = (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0) &&
		    curl_url_get(u, CURLUPART_USER, &user, 0) == CURLUE_NO_USER &&
		    curl_url_get(u, CURLUPART_PASSWORD, &password, 0) ==
			CURLUE_NO_PASSWORD;
	curl_free(scheme);
	curl_free(user);
	curl_free(password);
	curl_url_cleanup(u);
	return ok;
}

static bool
is_unix_url(const char *text)
{
	char *socket, *path;

	if (!is_visible(text) || strpbrk(text, "?#") != NULL ||
	    unix_url_parse(text, &socket, &path) != 1)
		return false;
	free(socket);
	free(path);
	return true;
}

/* A url of null or "" is allowed: deliver nothing.  A key that was forgotten is not. */
static void
read_url(struct reading *r, const struct tree *root)
{
	const struct tree *t = tree_get(root, "url");
	size_t len;

	if (t == NULL) {
		wrong(r, root,
		    "\"url\" is missing; \"url: null\" means that nothing is delivered");
		return;
	}
	if (t->null || (t->kind == TREE_TEXT && t->text[0] == '\0'))
		return;
	if (t->kind != TREE_TEXT || (!is_http_url(t->text) && !is_unix_url(t->text))) {
		wrong(r, t,
		    "\"url\" must be http://, https:// or unix:///path/of.socket, without "
		    "user, query or fragment");
		return;
	}
	len = strlen(t->text);
	while (len > 0 && t->text[len - 1] == '/')
		len--;
	r->registration->url = xstrndup(t->text, len);
}

static void
read_namespace(struct reading *r, const struct tree *item)
{
	const char *regex = text_of(r, item, "regex", true);
	struct registration *reg = r->registration;
	struct users *u;

	if (regex == NULL)
		return;
	u = registration_take_users(
	    reg, users_new(regex, reg->path, tree_get(item, "regex")->line));
	reg->namespace_count = reg->user_count;
	read_subscriptions(r, item, &u, 1);
}

static void
read_namespaces(struct reading *r, const struct tree *root)
{
	const struct tree *users = tree_get(tree_get(root, "namespaces"), "users"), *item;

	if (users == NULL || users->null)
		return;
	if (users->kind != TREE_LIST) {
		wrong(r, users, "\"users\" must be a list");
		return;
	}
	for (item = users->first; item != NULL; item = item->next)
		if (item->kind == TREE_MAP)
			read_namespace(r, item);
		else
			wrong(r, item, "\"users\" must hold maps with a \"regex\"");
}

/* ---- the file --------------------------------------------------------------------- */

/* Who can write a registration can have everybody's events sent to himself. */
static int
check_file(const char *path, const struct stat *st, struct err_list *errs)
{
	if (!S_ISREG(st->st_mode))
		return err_list_add(errs, "%s: is no regular file", path);
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) != 0)
		return err_list_add(errs,
		    "%s: others than its owner can write it (mode %04o); chmod go-w",
		    path, (unsigned)st->st_mode & 07777);
	if (st->st_size > (off_t)FILE_MAX_BYTES)
		return err_list_add(errs, "%s: is longer than 1 MiB", path);
	return 0;
}

/* As much as fits; it is more than FILE_MAX_BYTES only if the file grew meanwhile. */
static ssize_t
read_bytes(int fd, char *p, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size && (n = read(fd, p + len, size - len)) != 0) {
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* The text of the file, size FILE_MAX_BYTES, zeroed behind it; NULL on error. */
static char *
read_file(struct registration *r, size_t *len_r, struct err_list *errs)
{
	const char *path = r->path;
	char *text = NULL;
	struct stat st;
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd == -1 || fstat(fd, &st) == -1) {
		(void)err_list_add(
		    errs, "%s: cannot be opened: %s", path, strerror(errno));
		goto close_fd;
	}
	if (check_file(path, &st, errs) == -1)
		goto close_fd;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	text = xcalloc(1, FILE_MAX_BYTES);
	n = read_bytes(fd, text, FILE_MAX_BYTES);
	if (n == -1) {
		(void)err_list_add(errs, "%s: cannot be read: %s", path, strerror(errno));
		explicit_bzero(text, FILE_MAX_BYTES);
		free(text);
		text = NULL;
	}
	*len_r = n == -1 ? 0 : (size_t)n;

close_fd:
	if (fd != -1)
		(void)close(fd);
	return text;
}

static void
read_registration(struct reading *r, const struct tree *root, uint64_t seed)
{
	struct registration *reg = r->registration;

	if (root->kind != TREE_MAP) {
		wrong(r, root, "is no registration: a map of \"id\", \"url\", …");
		return;
	}
	read_id(r, root);
	read_url(r, root);
	read_tokens(r, root, seed);
	read_namespaces(r, root);
	read_subscriptions(r, root, reg->users, reg->namespace_count);
	reg->appservice = (struct appservice){
	    .id = reg->id,
	    .url = reg->url,
	    .hs_token = reg->hs_token,
	    .path = reg->path,
	};
}

struct registration *
registration_read(const char *path, uint64_t seed, struct err_list *errs)
{
	struct reading r = {xcalloc(1, sizeof(*r.registration)), errs};
	size_t before = errs->count, len;
	struct tree *root;
	char *text;

	r.registration->path = xstrdup(path);
	text = read_file(r.registration, &len, errs);
	if (text != NULL) {
		root = tree_read(path, text, len, errs);
		explicit_bzero(text, FILE_MAX_BYTES);
		free(text);
		if (root != NULL)
			read_registration(&r, root, seed);
		tree_free(root);
	}
	if (errs->count == before)
		return r.registration;
	registration_free(r.registration);
	return NULL;
}

static void
subscription_free(struct subscription *s)
{
	size_t i;

	for (i = 0; i < s->type_count; i++) {
		free(s->types[i].sent);
		free(s->types[i].stable);
	}
	free(s->types);
	free(s->users);
	free(s);
}

void
registration_free(struct registration *r)
{
	struct subscription *s;
	size_t i;

	if (r == NULL)
		return;
	while ((s = r->first) != NULL) {
		r->first = s->next;
		subscription_free(s);
	}
	for (i = 0; i < r->user_count; i++)
		users_free(r->users[i]);
	free(r->users);
	if (r->hs_token != NULL)
		explicit_bzero(r->hs_token, strlen(r->hs_token));
	free(r->hs_token);
	free(r->id);
	free(r->url);
	free(r->path);
	free(r);
}
