#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

int
err_set(struct err *e, const char *fmt, ...)
{
	va_list ap;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	e->passes = false;
	return -1;
}

int
err_errno(struct err *e, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	size_t len;

	if (e == NULL)
		return -1;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	len = strlen(e->text);
	(void)snprintf(e->text + len, sizeof(e->text) - len, ": %s", strerror(saved));
	e->passes = false;
	return -1;
}

int
err_add(struct err *e, const char *fmt, ...)
{
	struct err cause;
	va_list ap;
	size_t len;

	if (e == NULL)
		return -1;
	cause = *e;
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	len = strlen(e->text);
	(void)snprintf(e->text + len, sizeof(e->text) - len, ": %s", cause.text);
	return -1;
}

int
err_list_add(struct err_list *l, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n == -1)
		mem_exhausted();
	l->texts = xreallocarray(l->texts, l->count + 1, sizeof(*l->texts));
	l->texts[l->count++] = text;
	return -1;
}

void
err_list_clear(struct err_list *l)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		free(l->texts[i]);
	free(l->texts);
	l->texts = NULL;
	l->count = 0;
}
