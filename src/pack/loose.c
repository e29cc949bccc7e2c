#include "pack/loose.h"

#include <string.h>

#define DEPTH_MAX 64 /* of groups in groups; deeper ones are held for loose */

struct walk {
	const char *p, *end;
	/* Of each open group: something in it takes any byte, once. */
	bool any[DEPTH_MAX];
	bool looks[DEPTH_MAX]; /* it only looks */
	unsigned depth;
	bool item_any; /* what ends at p takes any byte */
	bool
	    escape; /* it is a backslash, as one stands before a quote in a quoted text */
};

static bool
is_looking(const struct walk *w)
{
	unsigned i;

	for (i = 1; i <= w->depth; i++)
		if (w->looks[i])
			return true;
	return false;
}

static bool
has_both(const char *p, size_t len, char lower, char upper)
{
	bool has_lower = false, has_upper = false;
	size_t i;

	for (i = 0; i + 1 < len; i++) {
		if (p[i] != '\\')
			continue;
		has_lower = has_lower || p[i + 1] == lower;
		has_upper = has_upper || p[i + 1] == upper;
		i++;
	}
	return has_lower && has_upper;
}

/* [\s\S] and its kin, or everything but line ends: [^\n].  w->p is at the '['. */
static void
walk_class(struct walk *w)
{
	const char *begin = ++w->p;
	bool negated;
	size_t len;

	negated = w->p < w->end && *w->p == '^';
	w->p += negated;
	if (w->p < w->end && *w->p == ']')
		w->p++;
	while (w->p < w->end && *w->p != ']')
		w->p += *w->p == '\\' ? 2 : 1;
	if (w->p > w->end)
		w->p = w->end;
	len = (size_t)(w->p - begin);
	w->item_any = has_both(begin, len, 's', 'S') || has_both(begin, len, 'd', 'D') ||
	    has_both(begin, len, 'w', 'W') ||
	    (negated && len > 1 && strspn(begin + 1, "\\nr") >= len - 1);
	if (w->p < w->end)
		w->p++;
}

/* Behind the "(" and what says its kind.  False: too deep. */
static bool
walk_open(struct walk *w)
{
	const char *p = ++w->p;

	if (++w->depth == DEPTH_MAX)
		return false;
	w->any[w->depth] = false;
	w->looks[w->depth] = false;
	w->item_any = false;
	if (*p != '?')
		return true;
	w->looks[w->depth] =
	    p[1] == '=' || p[1] == '!' || (p[1] == '<' && (p[2] == '=' || p[2] == '!'));
	if (!w->looks[w->depth] && (p[1] == '<' || p[1] == 'P'))
		while (p < w->end && *p != '>')
			p++;
	else
		p++;
	w->p = p + 1;
	return true;
}

static void
walk_close(struct walk *w)
{
	w->p++;
	w->item_any = w->depth > 0 && w->any[w->depth] && !w->looks[w->depth];
	if (w->depth > 0)
		w->depth--;
}

/* The quantifier at p, which is passed: does it allow more than one? */
static bool
walk_repeats(struct walk *w)
{
	size_t n;

	if (w->p >= w->end)
		return false;
	if (*w->p == '*' || *w->p == '+') {
		w->p++;
		return true;
	}
	if (*w->p != '{')
		return false;
	n = 1 + strspn(w->p + 1, "0123456789, ");
	if (n == 1 || w->p[n] != '}' || strncmp(w->p, "{1}", 3) == 0)
		return false;
	w->p += n + 1;
	return true;
}

bool
loose_before(const char *regex, size_t len)
{
	struct walk w = {.p = regex, .end = regex + len};

	while (w.p < w.end) {
		bool escaped = w.escape;

		w.escape = w.p[0] == '\\' && w.p[1] == '\\';
		switch (*w.p) {
		case '\\':
			w.item_any = w.p[1] == 'N' || w.p[1] == 'X';
			w.p += 2;
			break;
		case '[':
			walk_class(&w);
			break;
		case '(':
			if (!walk_open(&w))
				return true;
			continue;
		case ')':
			walk_close(&w);
			break;
		default:
			w.item_any = *w.p++ == '.';
		}
		if (!w.item_any)
			continue;
		if (walk_repeats(&w)) {
			if (!is_looking(&w))
				return true;
		} else if (!escaped) {
			w.any[w.depth] = true;
		}
	}
	return false;
}
