#include "tail/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/mem.h"

#define NS 1000000000LL

static int
stat_at(int dirfd, const char *path, int flags, struct file_facts *facts_r)
{
	struct statx sx;

	if (statx(dirfd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &sx) == -1)
		return -1;
	*facts_r = (struct file_facts){
	    .id = {.dev = makedev(sx.stx_dev_major, sx.stx_dev_minor), .ino = sx.stx_ino},
	    .size = sx.stx_size,
	    .mtime_ns = sx.stx_mtime.tv_sec * NS + sx.stx_mtime.tv_nsec,
	    .uid = sx.stx_uid,
	    .mode = sx.stx_mode};
	if (sx.stx_mask & STATX_BTIME)
		facts_r->id.btime_ns = sx.stx_btime.tv_sec * NS + sx.stx_btime.tv_nsec;
	return 0;
}

int
identity_stat(const char *path, bool follow, struct file_facts *facts_r)
{
	return stat_at(AT_FDCWD, path, follow ? 0 : AT_SYMLINK_NOFOLLOW, facts_r);
}

int
identity_fstat(int fd, struct file_facts *facts_r)
{
	return stat_at(fd, "", AT_EMPTY_PATH, facts_r);
}

char *
identity_link_target(const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target) - 1);
	const char *slash = strrchr(path, '/');

	if (n == -1)
		return NULL;
	target[n] = '\0';
	if (target[0] == '/' || slash == NULL)
		return xstrdup(target);
	return xasprintf("%.*s/%s", (int)(slash - path), path, target);
}

bool
identity_is_absent(int error)
{
	return error == ENOENT || error == ENOTDIR;
}

bool
identity_same_inode(const struct file_identity *a, const struct file_identity *b)
{
	if (a->ino != b->ino)
		return false;
	if (a->btime_ns != 0 && b->btime_ns != 0)
		return a->btime_ns == b->btime_ns;
	return a->dev == b->dev;
}

static void
hash(const void *p, size_t len, uint8_t hash_r[HASH_SIZE])
{
	XXH128_canonical_t canonical;

	_Static_assert(sizeof(canonical) == HASH_SIZE, "a hash is what XXH3 makes it");
	XXH128_canonicalFromHash(&canonical, XXH3_128bits(p, len));
	memcpy(hash_r, &canonical, HASH_SIZE);
}

struct guard
guard_of(const void *p, size_t len)
{
	struct guard g = {.len = (uint32_t)len};

	if (len > 0)
		hash(p, len, g.hash);
	return g;
}

bool
guard_holds(const struct guard *g, const void *p, size_t len)
{
	uint8_t now[HASH_SIZE];

	if (len < g->len)
		return false;
	if (g->len == 0)
		return true;
	hash(p, g->len, now);
	return memcmp(now, g->hash, HASH_SIZE) == 0;
}

ssize_t
read_at(int fd, void *p, size_t len, uint64_t offset)
{
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		n = pread(fd, (char *)p + done, len - done, (off_t)(offset + done));
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return -1;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static void
hash_prefix(const char *p, size_t len, uint8_t hash_r[PREFIX_HASH_SIZE])
{
	XXH64_canonical_t canonical;

	_Static_assert(sizeof(canonical) == PREFIX_HASH_SIZE, "so does that of a prefix");
	XXH64_canonicalFromHash(&canonical, XXH3_64bits(p, len));
	memcpy(hash_r, &canonical, PREFIX_HASH_SIZE);
}

void
identity_set_head(struct file_identity *id, const char *p, size_t len)
{
	struct guard head = guard_of(p, len < FINGERPRINT_MAX ? len : FINGERPRINT_MAX);
	size_t i, size = PREFIX_MIN;

	id->head_len = head.len;
	memcpy(id->head, head.hash, HASH_SIZE);
	memset(id->prefixes, 0, sizeof(id->prefixes));
	for (i = 0; i < PREFIXES && size <= len; i++, size *= 2)
		hash_prefix(p, size, id->prefixes[i]);
}

bool
identity_begins(const struct file_identity *id, const char *p, size_t len)
{
	uint8_t now[PREFIX_HASH_SIZE];
	size_t i = 0, size = PREFIX_MIN;

	if (len < size || len >= id->head_len)
		return false;
	while (i + 1 < PREFIXES && 2 * size <= len) {
		i++;
		size *= 2;
	}
	hash_prefix(p, size, now);
	return memcmp(now, id->prefixes[i], PREFIX_HASH_SIZE) == 0;
}

int
identity_head(int fd, struct file_identity *id)
{
	struct guard head = {.len = id->head_len};
	char p[FINGERPRINT_MAX];
	ssize_t n = read_at(fd, p, sizeof(p), 0);

	if (n == -1)
		return -1;
	memcpy(head.hash, id->head, HASH_SIZE);
	if (!guard_holds(&head, p, (size_t)n))
		return 0;
	identity_set_head(id, p, (size_t)n);
	return 1;
}

int
identity_guard(int fd, uint64_t offset, const struct guard *g)
{
	char p[GUARD_MAX];
	ssize_t n;

	if (g->len > sizeof(p) || g->len > offset)
		return 0;
	n = read_at(fd, p, g->len, offset - g->len);
	if (n == -1)
		return -1;
	return guard_holds(g, p, (size_t)n);
}
