#include "route/tree.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/err.h"
#include "base/mem.h"

struct reading {
	yaml_parser_t parser;
	const char *path;
	struct slice text;
	struct err_list *errs;
};

static void
wipe(void *p, size_t len)
{
	if (p != NULL)
		explicit_bzero(p, len);
}

void
tree_free(struct tree *t)
{
	struct tree *child;

	if (t == NULL)
		return;
	while ((child = t->first) != NULL) {
		t->first = child->next;
		tree_free(child);
	}
	if (t->text != NULL)
		explicit_bzero(t->text, strlen(t->text));
	free(t->text);
	free(t->key);
	free(t);
}

const struct tree *
tree_get(const struct tree *t, const char *key)
{
	if (t == NULL || t->kind != TREE_MAP)
		return NULL;
	for (t = t->first; t != NULL; t = t->next)
		if (strcmp(t->key, key) == 0)
			return t;
	return NULL;
}

/* The reader is ahead of the parser and has no line, only a place. */
static size_t
line_at(struct slice text, size_t offset)
{
	size_t i, line = 1;

	for (i = 0; i < offset && i < text.len; i++)
		line += text.p[i] == '\n';
	return line;
}

/* libyaml's sentences are fixed ones: they quote nothing of the file. */
static int
no_yaml(struct reading *r)
{
	const yaml_parser_t *p = &r->parser;
	size_t line = p->error == YAML_READER_ERROR ? line_at(r->text, p->problem_offset)
						    : p->problem_mark.line + 1;

	return err_list_add(r->errs, "%s:%zu: is no YAML: %s", r->path, line,
	    p->problem == NULL ? "cannot be read" : p->problem);
}

static int
wrong(struct reading *r, const yaml_event_t *ev, const char *what)
{
	return err_list_add(
	    r->errs, "%s:%zu: %s", r->path, ev->start_mark.line + 1, what);
}

static void
event_clear(yaml_event_t *ev)
{
	if (ev->type == YAML_SCALAR_EVENT)
		wipe(ev->data.scalar.value, ev->data.scalar.length);
	yaml_event_delete(ev);
}

static int
next_event(struct reading *r, yaml_event_t *ev)
{
	if (yaml_parser_parse(&r->parser, ev) == 0)
		return no_yaml(r);
	return 0;
}

static bool
means_nothing(const char *s)
{
	return s[0] == '\0' || strcmp(s, "~") == 0 || strcmp(s, "null") == 0 ||
	    strcmp(s, "Null") == 0 || strcmp(s, "NULL") == 0;
}

/* The text of a scalar event, malloc'd; NULL where it holds a NUL. */
static char *
scalar_text(const yaml_event_t *ev)
{
	const char *value = (const char *)ev->data.scalar.value;

	if (strlen(value) != ev->data.scalar.length)
		return NULL;
	return xstrdup(value);
}

static int read_children(struct reading *r, struct tree *t, unsigned depth);

/* Fill t, whose first event is ev. */
static int
read_node(struct reading *r, const yaml_event_t *ev, struct tree *t, unsigned depth)
{
	t->line = (unsigned)ev->start_mark.line + 1;
	switch (ev->type) {
	case YAML_SCALAR_EVENT:
		t->kind = TREE_TEXT;
		t->text = scalar_text(ev);
		if (t->text == NULL)
			return wrong(r, ev, "has a NUL in a text");
		t->null = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
		    means_nothing(t->text);
		return 0;
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		if (depth == TREE_DEPTH_MAX)
			return wrong(r, ev, "is nested too deeply");
		t->kind = ev->type == YAML_MAPPING_START_EVENT ? TREE_MAP : TREE_LIST;
		return read_children(r, t, depth + 1);
	case YAML_ALIAS_EVENT:
		return wrong(r, ev, "aliases are not read here; write it out");
	default:
		return wrong(r, ev, "is not what a registration holds");
	}
}

/* ev is the key of t's next child; the value's first event takes its place. */
static int
read_key(struct reading *r, const struct tree *t, yaml_event_t *ev, struct tree *child)
{
	if (ev->type != YAML_SCALAR_EVENT || (child->key = scalar_text(ev)) == NULL)
		return wrong(r, ev, "a key must be a text");
	if (tree_get(t, child->key) != NULL)
		return wrong(r, ev, "this key stands here twice");
	event_clear(ev);
	return next_event(r, ev);
}

static int
read_children(struct reading *r, struct tree *t, unsigned depth)
{
	struct tree **last = &t->first, *child;
	yaml_event_t ev;
	unsigned count = 0;
	int ok;

	for (;;) {
		if (next_event(r, &ev) == -1)
			return -1;
		if (ev.type == YAML_SEQUENCE_END_EVENT ||
		    ev.type == YAML_MAPPING_END_EVENT) {
			event_clear(&ev);
			return 0;
		}
		child = xcalloc(1, sizeof(*child));
		ok = 0;
		if (t->kind == TREE_MAP)
			ok = ++count > TREE_KEYS_MAX ? wrong(r, &ev, "has too many keys")
						     : read_key(r, t, &ev, child);
		if (ok == 0)
			ok = read_node(r, &ev, child, depth);
		event_clear(&ev);
		if (ok == -1) {
			tree_free(child);
			return -1;
		}
		*last = child;
		last = &child->next;
	}
}

/* The first event of the one document there is, through *ev_r. */
static int
read_document(struct reading *r, struct tree *t)
{
	yaml_event_t ev;
	int ok;

	do {
		if (next_event(r, &ev) == -1)
			return -1;
		if (ev.type == YAML_STREAM_END_EVENT) {
			ok = wrong(r, &ev, "there is nothing in it");
			event_clear(&ev);
			return ok;
		}
		ok = ev.type == YAML_STREAM_START_EVENT ||
		    ev.type == YAML_DOCUMENT_START_EVENT;
		if (ok)
			event_clear(&ev);
	} while (ok);
	ok = read_node(r, &ev, t, 0);
	event_clear(&ev);
	return ok;
}

static int
read_end(struct reading *r)
{
	yaml_event_t ev;
	bool end;

	do {
		if (next_event(r, &ev) == -1)
			return -1;
		end = ev.type == YAML_STREAM_END_EVENT;
		if (ev.type == YAML_DOCUMENT_START_EVENT) {
			(void)wrong(r, &ev, "a second document begins here");
			event_clear(&ev);
			return -1;
		}
		event_clear(&ev);
	} while (!end);
	return 0;
}

struct tree *
tree_read(const char *path, const char *text, size_t len, struct err_list *errs)
{
	struct reading r = {.path = path, .text = {text, len}, .errs = errs};
	struct tree *t = xcalloc(1, sizeof(*t));
	yaml_parser_t *p = &r.parser;
	int ok;

	if (yaml_parser_initialize(p) == 0)
		mem_exhausted();
	yaml_parser_set_input_string(p, (const unsigned char *)text, len);
	ok = read_document(&r, t) == 0 ? read_end(&r) : -1;
	wipe(p->raw_buffer.start, (size_t)(p->raw_buffer.end - p->raw_buffer.start));
	wipe(p->buffer.start, (size_t)(p->buffer.end - p->buffer.start));
	yaml_parser_delete(p);
	if (ok == 0)
		return t;
	tree_free(t);
	return NULL;
}
