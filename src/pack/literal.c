#include "pack/literal.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct walk {
	const char *p;
	struct buf run;  /* the run that goes on at p */
	struct buf best; /* the longest that ended */
};

/*
 * Bytes that no format of a line escapes: JSON escapes quotes, backslashes and
 * controls, Go's JSON '<', '>' and '&' too, and what is not ASCII may be
 * written as \uXXXX.
 */
static bool
plain(char c)
{
	return isascii((unsigned char)c) && isprint((unsigned char)c) &&
	    strchr("\"\\<>&'", c) == NULL;
}

static void
run_end(struct walk *w)
{
	if (w->run.len > w->best.len) {
		buf_reset(&w->best);
		buf_add(&w->best, w->run.p, w->run.len);
	}
	buf_reset(&w->run);
}

/*
 * The length of {2}, {2,}, {2,3} at p; also of {,3} and {2, 3}, which newer
 * releases of PCRE2 take for quantifiers and older ones for text.  0: only a brace.
 */
static size_t
braces(const char *p)
{
	size_t n;

	if (*p != '{')
		return 0;
	n = 1 + strspn(p + 1, "0123456789, ");
	return n > 1 && p[n] == '}' ? n + 1 : 0;
}

/* The quantifier at p: its length, 0 if there is none; *may_miss_r if it allows zero. */
static size_t
quantifier(const char *p, bool *may_miss_r)
{
	size_t n = 0;

	*may_miss_r = false;
	if (*p == '?' || *p == '*') {
		*may_miss_r = true;
		n = 1;
	} else if (*p == '+') {
		n = 1;
	} else {
		n = braces(p);
		*may_miss_r = n > 0 && strtol(p + 1, NULL, 10) == 0;
	}
	if (n > 0 && (p[n] == '?' || p[n] == '+')) /* lazy, possessive */
		n++;
	return n;
}

/* The length of [:alpha:] within a class at p; 0: only a bracket. */
static size_t
posix_class(const char *p)
{
	size_t n;

	if (p[0] != '[' || p[1] != ':')
		return 0;
	n = 2 + strspn(p + 2, "^abcdefghijklmnopqrstuvwxyz");
	return p[n] == ':' && p[n + 1] == ']' ? n + 2 : 0;
}

static const char *
skip_class(const char *p)
{
	p++; /* '[' */
	if (*p == '^')
		p++;
	if (*p == ']')
		p++;
	while (*p != '\0' && *p != ']') {
		if (*p == '\\' && p[1] != '\0')
			p += 2;
		else
			p += posix_class(p) > 0 ? posix_class(p) : 1;
	}
	return *p == ']' ? p + 1 : p;
}

/* Behind the ')' that closes the group at p; *branches_r if it has a '|' of its own. */
static const char *
skip_group(const char *p, bool *branches_r)
{
	unsigned depth = 0;

	*branches_r = false;
	while (*p != '\0') {
		if (*p == '\\' && p[1] != '\0') {
			p += 2;
			continue;
		}
		if (*p == '[') {
			p = skip_class(p);
			continue;
		}
		if (*p == '(')
			depth++;
		else if (*p == '|' && depth == 1)
			*branches_r = true;
		else if (*p == ')' && --depth == 0)
			return p + 1;
		p++;
	}
	return p;
}

/* Where the content of the group at p begins; NULL if what is in it is not part of the match. */
static const char *
group_content(const char *p)
{
	if (p[1] != '?')
		return p[1] == '*' ? NULL : p + 1;
	if (p[2] == ':' || p[2] == '>')
		return p + 3;
	if ((p[2] == '<' && p[3] != '=' && p[3] != '!') || (p[2] == 'P' && p[3] == '<'))
		return strchr(p, '>') == NULL ? NULL : strchr(p, '>') + 1;
	return NULL;
}

static void walk_sequence(struct walk *w, const char *end);

static void
walk_group(struct walk *w)
{
	const char *content = group_content(w->p), *behind;
	bool branches, may_miss;
	size_t n;

	behind = skip_group(w->p, &branches);
	n = quantifier(behind, &may_miss);
	/*
	 * A group that comes exactly once continues the run around it; one that may
	 * repeat has its literals inside, but its last may not stand beside the next.
	 */
	if (content == NULL || branches || may_miss || behind[-1] != ')') {
		run_end(w);
	} else {
		if (n > 0)
			run_end(w);
		w->p = content;
		walk_sequence(w, behind - 1);
		if (n > 0)
			run_end(w);
	}
	w->p = behind + n;
}

/* One literal byte, whose regex text is len long. */
static void
walk_byte(struct walk *w, char c, size_t len)
{
	bool may_miss;
	size_t n = quantifier(w->p + len, &may_miss);

	w->p += len + n;
	if (!plain(c) || may_miss) {
		run_end(w);
		return;
	}
	buf_addc(&w->run, c);
	if (n > 0)
		run_end(w);
}

static void
walk_other(struct walk *w, const char *behind)
{
	bool may_miss;

	run_end(w);
	w->p = behind + quantifier(behind, &may_miss);
}

static void
walk_sequence(struct walk *w, const char *end)
{
	while (w->p < end) {
		switch (*w->p) {
		case '\\':
			if (w->p[1] != '\0' && ispunct((unsigned char)w->p[1]))
				walk_byte(w, w->p[1], 2);
			else
				walk_other(w, w->p + (w->p[1] == '\0' ? 1 : 2));
			break;
		case '(':
			walk_group(w);
			break;
		case '[':
			walk_other(w, skip_class(w->p));
			break;
		case '.':
		case '^':
		case '$':
			walk_other(w, w->p + 1);
			break;
		default:
			walk_byte(w, *w->p, 1);
		}
	}
}

/*
 * Escapes that take more than one letter (\x41, \p{L}, \Q…\E, \g{1}), options
 * set inside (?i), comments (?#…) and verbs (*ACCEPT) would be read wrong above,
 * so such a regex has no literal.
 */
static bool
beyond_us(const char *regex)
{
	const char *p;

	for (p = regex; *p != '\0'; p++) {
		if (*p == '\\' && p[1] != '\0') {
			p++;
			if (strchr("xopPQEgkcNuU0123456789", *p) != NULL)
				return true;
		} else if (*p == '(' && (p[1] == '*' || (p[1] == '?' && p[2] == '#'))) {
			return true;
		} else if (*p == '(' && p[1] == '?' &&
		    (isalpha((unsigned char)p[2]) || p[2] == '-' || p[2] == '^') &&
		    !(p[2] == 'P' && p[3] == '<')) {
			return true;
		}
	}
	return false;
}

char *
literal_of(const char *regex)
{
	struct walk w = {.p = regex};
	char *whole, *found = NULL;
	bool branches;

	if (beyond_us(regex))
		return NULL;
	/* As one group: alternatives on the outside are seen by the same eyes. */
	whole = xasprintf("(?:%s)", regex);
	(void)skip_group(whole, &branches);
	if (!branches) {
		walk_sequence(&w, regex + strlen(regex));
		run_end(&w);
		if (w.best.len >= LITERAL_MIN)
			found = xstrndup(w.best.p, w.best.len);
	}
	free(whole);
	buf_free(&w.run);
	buf_free(&w.best);
	return found;
}
