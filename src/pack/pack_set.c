#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "pack/pack.h"

#define SUFFIX ".conf"

static bool
is_pack_file(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && len > strlen(SUFFIX) &&
	    strcmp(name + len - strlen(SUFFIX), SUFFIX) == 0;
}

struct files {
	char **names, **paths;
	size_t count;
};

/* Add the pack files of dir whose names an earlier directory does not have. */
static int
list_dir(const char *dir, struct files *f, struct err_list *errs)
{
	size_t earlier = f->count, i;
	struct dirent *entry;
	DIR *d = opendir(dir);

	if (d == NULL)
		return errno == ENOENT ? 0
				       : err_list_add(errs, "%s: cannot be listed: %s",
					     dir, strerror(errno));
	while ((entry = readdir(d)) != NULL) {
		if (!is_pack_file(entry->d_name))
			continue;
		for (i = 0; i < earlier; i++)
			if (strcmp(f->names[i], entry->d_name) == 0)
				break;
		if (i < earlier)
			continue;
		f->names = xreallocarray(f->names, f->count + 1, sizeof(*f->names));
		f->paths = xreallocarray(f->paths, f->count + 1, sizeof(*f->paths));
		f->names[f->count] = xstrdup(entry->d_name);
		f->paths[f->count++] = xasprintf("%s/%s", dir, entry->d_name);
	}
	(void)closedir(d);
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	const struct pack *const *x = a, *const *y = b;

	return strcmp((*x)->name, (*y)->name);
}

int
pack_set_load(
    struct pack_set *set_r, char *const *dirs, size_t dir_count, struct err_list *errs)
{
	size_t before = errs->count, i;
	struct files f = {0};

	*set_r = (struct pack_set){0};
	for (i = 0; i < dir_count; i++)
		(void)list_dir(dirs[i], &f, errs);
	set_r->packs = xcalloc(f.count, sizeof(struct pack *));
	for (i = 0; i < f.count; i++) {
		struct pack *p = pack_load(f.paths[i], errs);

		if (p != NULL && pack_set_find(set_r, p->name) != NULL) {
			(void)err_list_add(errs,
			    "%s: there is a pack \"%s\" already, in %s", f.paths[i],
			    p->name, pack_set_find(set_r, p->name)->path);
			pack_free(p);
			p = NULL;
		}
		if (p != NULL)
			set_r->packs[set_r->count++] = p;
		free(f.names[i]);
		free(f.paths[i]);
	}
	free(f.names);
	free(f.paths);
	if (set_r->count > 0)
		qsort(set_r->packs, set_r->count, sizeof(struct pack *), by_name);
	else if (errs->count == before)
		for (i = 0; i < dir_count; i++)
			(void)err_list_add(
			    errs, "%s: there are no packs here (*.conf)", dirs[i]);
	return errs->count > before ? -1 : 0;
}

void
pack_set_clear(struct pack_set *set)
{
	size_t i;

	for (i = 0; i < set->count; i++)
		pack_free(set->packs[i]);
	free(set->packs);
	*set = (struct pack_set){0};
}

const struct pack *
pack_set_find(const struct pack_set *set, const char *name)
{
	size_t i;

	for (i = 0; i < set->count; i++)
		if (strcmp(set->packs[i]->name, name) == 0)
			return set->packs[i];
	return NULL;
}
