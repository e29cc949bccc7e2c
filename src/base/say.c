#include "base/say.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>

#include "base/mem.h"
#include "base/utf8.h"

static const char *
level_name(int level)
{
	switch (level) {
	case LOG_ERR:
		return "error";
	case LOG_WARNING:
		return "warning";
	case LOG_NOTICE:
		return "notice";
	default:
		return "info";
	}
}

void
say(int level, const char *fmt, ...)
{
	struct buf line = {0}, shown = {0};
	va_list ap;
	char *text;
	size_t i;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n == -1)
		mem_exhausted();
	if (getenv("JOURNAL_STREAM") != NULL)
		buf_addf(&line, "<%d>", level);
	else
		buf_addf(&line, "hearsay: %s: ", level_name(level));
	utf8_show(&shown, slice_of(text));
	for (i = 0; i < shown.len; i++) {
		if ((unsigned char)shown.p[i] < 0x20 || shown.p[i] == 0x7f)
			buf_addf(&line, "\\x%02x", (unsigned char)shown.p[i]);
		else
			buf_addc(&line, shown.p[i]);
	}
	buf_addc(&line, '\n');
	(void)fwrite(line.p, 1, line.len, stderr);
	(void)fflush(stderr);
	buf_free(&line);
	buf_free(&shown);
	free(text);
}
