#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tail/state.h"

const struct inode *
inodes_find(const struct tail *t, uint64_t ino)
{
	struct inode *i;

	HASH_FIND(hh, t->inodes, &ino, sizeof(ino), i);
	return i;
}

static void
join(struct tail_log *log, uint64_t ino)
{
	struct tail *t = log->tail;
	struct inode *i;
	size_t n;

	HASH_FIND(hh, t->inodes, &ino, sizeof(ino), i);
	if (i == NULL) {
		i = xcalloc(1, sizeof(*i));
		i->ino = ino;
		HASH_ADD(hh, t->inodes, ino, sizeof(i->ino), i);
	}
	for (n = 0; n < i->count; n++)
		if (i->logs[n] == log)
			return;
	i->logs = xreallocarray(i->logs, i->count + 1, sizeof(struct tail_log *));
	i->logs[i->count++] = log;
}

static void
leave(struct tail_log *log, uint64_t ino)
{
	struct tail *t = log->tail;
	struct inode *i;
	size_t n;

	HASH_FIND(hh, t->inodes, &ino, sizeof(ino), i);
	if (i == NULL)
		return;
	for (n = 0; n < i->count; n++)
		if (i->logs[n] == log)
			i->logs[n--] = i->logs[--i->count];
	if (i->count > 0)
		return;
	HASH_DEL(t->inodes, i);
	free(i->logs);
	free(i);
}

void
inodes_leave(struct tail_log *log)
{
	size_t i;

	for (i = 0; i < log->inode_count; i++)
		leave(log, log->inodes[i]);
	free(log->inodes);
	log->inodes = NULL;
	log->inode_count = 0;
}

void
inodes_note(struct tail_log *log)
{
	const struct file *f;
	uint64_t *inodes = NULL;
	size_t count = 0, i;

	DL_FOREACH(log->files, f)
	{
		inodes = xreallocarray(inodes, count + 1, sizeof(*inodes));
		inodes[count++] = f->cp.id.ino;
	}
	if (count == log->inode_count &&
	    (count == 0 || memcmp(inodes, log->inodes, count * sizeof(*inodes)) == 0)) {
		free(inodes);
		return;
	}
	inodes_leave(log);
	log->inodes = inodes;
	log->inode_count = count;
	for (i = 0; i < count; i++)
		join(log, inodes[i]);
}
