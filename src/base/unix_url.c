#include "base/unix_url.h"

#include <ctype.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/mem.h"

#define PLAIN "unix://"
#define ESCAPED "http+unix://"

static int
hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The first len bytes of s with their %XX resolved; NULL where one is wrong. */
static char *
unescape(const char *s, size_t len)
{
	char *text = xmalloc(len + 1);
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		int high, low;

		if (s[i] != '%') {
			text[n++] = s[i];
			continue;
		}
		high = len - i > 2 ? hex(s[i + 1]) : -1;
		low = high == -1 ? -1 : hex(s[i + 2]);
		if (low == -1 || (high == 0 && low == 0)) {
			free(text);
			return NULL;
		}
		text[n++] = (char)(high * 16 + low);
		i += 2;
	}
	text[n] = '\0';
	return text;
}

static int
is_socket_path(const char *path)
{
	return path != NULL && path[0] == '/' && path[1] != '\0' &&
	    strlen(path) < sizeof(((struct sockaddr_un *)NULL)->sun_path);
}

int
unix_url_parse(const char *url, char **socket_r, char **path_r)
{
	const char *rest, *slash;
	size_t len;

	if (strncmp(url, PLAIN, strlen(PLAIN)) == 0) {
		rest = url + strlen(PLAIN);
		len = strlen(rest);
		slash = rest + len;
	} else if (strncmp(url, ESCAPED, strlen(ESCAPED)) == 0) {
		rest = url + strlen(ESCAPED);
		len = strcspn(rest, "/");
		slash = rest + len;
	} else {
		return 0;
	}
	*socket_r = unescape(rest, len);
	if (!is_socket_path(*socket_r)) {
		free(*socket_r);
		return -1;
	}
	len = strlen(slash);
	while (len > 0 && slash[len - 1] == '/')
		len--;
	*path_r = xstrndup(slash, len);
	return 1;
}
