#include "pack_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "pack/pack.h"

struct pack *
pack_of_text(const char *text, struct err_list *errs)
{
	const char *tmp = getenv("TMPDIR");
	char *path = xasprintf("%s/pack.XXXXXX.conf", tmp == NULL ? "/tmp" : tmp);
	int fd = mkstemps(path, 5);
	struct pack *p;

	assert_int_not_equal(fd, -1);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
	p = pack_load(path, errs);
	assert_int_equal(unlink(path), 0);
	free(path);
	return p;
}

struct pack *
pack_of_rules(const char *rules)
{
	char *text = xasprintf("%srules = ( %s );\n", PACK_ABOUT, rules);
	struct err_list errs = {0};
	struct pack *p = pack_of_text(text, &errs);

	if (p == NULL)
		fail_msg("%s", errs.texts[0]);
	free(text);
	return p;
}
