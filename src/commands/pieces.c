#include "commands/pieces.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* What logrotate, Python's handlers and cronolog put behind a name. */
struct suffix {
	enum { SUFFIX_DATE, SUFFIX_NUMBER, SUFFIX_NONE } kind; /* oldest kind first */
	size_t stem;   /* length of what stands before it */
	char date[32]; /* its digits: comparable as text */
	unsigned long number;
};

static size_t
without_compression(const char *path)
{
	static const char *const endings[] = {".gz", ".zst", ".xz"};
	size_t len = strlen(path), i, n;

	for (i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		n = strlen(endings[i]);
		if (len > n && strcmp(path + len - n, endings[i]) == 0)
			return len - n;
	}
	return len;
}

static struct suffix
suffix_of(const char *path)
{
	struct suffix s = {.kind = SUFFIX_NONE, .stem = without_compression(path)};
	size_t from = s.stem, digits = 0, i;

	while (from > 0 &&
	    (isdigit((unsigned char)path[from - 1]) ||
		(strchr("-_T:", path[from - 1]) != NULL && digits > 0))) {
		if (isdigit((unsigned char)path[from - 1]))
			digits++;
		from--;
	}
	/* A date may follow the name by '.' or by '-', which then is not of the date. */
	while (from < s.stem && !isdigit((unsigned char)path[from]))
		from++;
	if (from < 2 || digits == 0 || digits >= sizeof(s.date) ||
	    strchr(".-_", path[from - 1]) == NULL || path[from - 2] == '/')
		return s;
	if (digits >= 8) {
		s.kind = SUFFIX_DATE;
		for (i = from, digits = 0; i < s.stem; i++)
			if (isdigit((unsigned char)path[i]))
				s.date[digits++] = path[i];
	} else if (path[from - 1] == '.') {
		s.kind = SUFFIX_NUMBER;
		s.number = strtoul(path + from, NULL, 10);
	} else {
		return s;
	}
	s.stem = from - 1;
	return s;
}

struct slice
pieces_stem(const char *path)
{
	return (struct slice){path, suffix_of(path).stem};
}

int
pieces_compare(const char *a, const char *b)
{
	struct suffix x = suffix_of(a), y = suffix_of(b);

	if (x.kind != y.kind)
		return x.kind < y.kind ? -1 : 1;
	if (x.kind == SUFFIX_DATE)
		return strcmp(x.date, y.date);
	if (x.kind == SUFFIX_NUMBER)
		return x.number == y.number ? 0 : x.number > y.number ? -1 : 1;
	return 0;
}
