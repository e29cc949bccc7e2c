/*
 * shim - a disk and a clock that fail on request.
 *
 * Preloaded into hearsay.  What it does to the files of one store, and to the
 * wall clock, stands in a small file of numbers that the harness writes to
 * while hearsay runs; it is mapped, so that a change counts at once and
 * outlives the process.  In the same file it keeps what each write replaced,
 * until that is synced: a cut of the power takes back what was not, even what
 * an earlier process wrote.
 *
 * HEARSAY_FAULTS_CONTROL is that file, HEARSAY_FAULTS_STORE the path that the
 * names of the store's files begin with.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define DIED 137 /* the status of a process that was made to end */
#define PAGE 4096
#define PIECES_MAX 4096 /* remembered for a power cut; what is more is never lost */

enum how { DIE_BEFORE = 1, DIE_AFTER, DIE_WITHIN, CUT_POWER };
enum calls { WRITES = 1, SYNCS = 2, TRUNCATES = 4, OPENS = 8, READS = 16 };

/* As the harness knows it: numbers of 64 bits, in this order. */
struct control {
	_Atomic int64_t calls;    /* on the store's files, so far */
	_Atomic int64_t at;       /* end at this call; 0: don't */
	_Atomic int64_t how;      /* enum how */
	_Atomic int64_t error;    /* errno of the calls that fail; 0: none do */
	_Atomic int64_t which;    /* enum calls */
	_Atomic int64_t short_of; /* every so many writes one is short; 0: none is */
	_Atomic int64_t clock_ms; /* added to the wall clock */
	_Atomic int64_t failed;   /* calls that were made to fail */
	_Atomic int64_t ended;    /* processes that were made to end */
	_Atomic int64_t forgets;  /* enum forgets */
	_Atomic int64_t cut;      /* the power was cut: who still runs ends */
	_Atomic int64_t cut_next; /* cut it before the next process begins */
	_Atomic int64_t dropped;  /* pieces that a sync that failed dropped */
};

/*
 * What becomes of written pages when a sync fails: they stay dirty; they are
 * taken for clean, so that no later sync writes them (as ext4 and XFS do); they
 * are as they were before (as file systems that copy on write do).
 */
enum forgets { FORGETS_NOTHING, FORGETS_TO_SYNC, FORGETS_ALL };

enum state { FREE, UNSYNCED, DROPPED };

/* What a write replaced within one page. */
struct piece {
	_Atomic int32_t state;
	int32_t file; /* in suffixes */
	int64_t turn; /* later pieces have greater ones */
	int64_t offset;
	int32_t len, had; /* of the bytes written; of those that were there */
};

struct shared {
	union {
		struct control control;
		char room[PAGE];
	};
	int64_t turn;
	int64_t used; /* all behind are free */
	struct piece pieces[PIECES_MAX];
	char old[PIECES_MAX][PAGE];
};

/* The store's files that hold what must last. */
static const char *const suffixes[] = {"", "-wal", "-journal"};
#define SUFFIXES ((int)(sizeof(suffixes) / sizeof(suffixes[0])))

static struct control nothing;
static struct control *control = &nothing;
static struct shared *shared; /* NULL: there is no control file */
static int shared_fd = -1;
static const char *store;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_open)(const char *, int, ...);
static int (*real_clock_gettime)(clockid_t, struct timespec *);

/* A pointer to data is not one to a function; POSIX says that it may be read as one. */
static void
find(void *function_r, const char *name)
{
	*(void **)function_r = dlsym(RTLD_NEXT, name);
}

static void
find_all(void)
{
	find(&real_write, "write");
	find(&real_pwrite, "pwrite");
	find(&real_read, "read");
	find(&real_pread, "pread");
	find(&real_fsync, "fsync");
	find(&real_fdatasync, "fdatasync");
	find(&real_ftruncate, "ftruncate");
	find(&real_unlink, "unlink");
	find(&real_fallocate, "fallocate");
	find(&real_open, "open");
	find(&real_clock_gettime, "clock_gettime");
}

static void cut_power(void);

__attribute__((constructor)) static void
begin(void)
{
	const char *path = getenv("HEARSAY_FAULTS_CONTROL");
	void *p;

	find_all();
	store = getenv("HEARSAY_FAULTS_STORE");
	shared_fd = path == NULL ? -1 : real_open(path, O_RDWR | O_CLOEXEC);
	if (shared_fd == -1)
		return;
	p = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
	if (p == MAP_FAILED)
		return;
	shared = p;
	control = &shared->control;
	if (atomic_exchange(&control->cut_next, 0) != 0)
		cut_power();
}

/* ---- which files ------------------------------------------------------- */

static bool
is_stores(const char *path)
{
	return store != NULL && strncmp(path, store, strlen(store)) == 0;
}

/* The path of fd, if it is a file of the store. */
static bool
path_of(int fd, char path_r[4096])
{
	char link[64];
	ssize_t n;

	if (store == NULL)
		return false;
	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path_r, 4095);
	if (n <= 0)
		return false;
	path_r[n] = '\0';
	return is_stores(path_r);
}

/* ---- a power cut ------------------------------------------------------- */

/* Among the threads of this process, and among the processes that use the store. */
static void
enter(void)
{
	(void)pthread_mutex_lock(&lock);
	if (shared_fd != -1)
		(void)flock(shared_fd, LOCK_EX);
}

static void
leave(void)
{
	if (shared_fd != -1)
		(void)flock(shared_fd, LOCK_UN);
	(void)pthread_mutex_unlock(&lock);
}

/* The place of path in suffixes; -1: nothing in it must last. */
static int
file_of(const char *path)
{
	int i;

	for (i = 0; i < SUFFIXES; i++)
		if (strcmp(path + strlen(store), suffixes[i]) == 0)
			return i;
	return -1;
}

static struct piece *
free_piece(void)
{
	int64_t i;

	for (i = 0; i < shared->used; i++)
		if (shared->pieces[i].state == FREE)
			return &shared->pieces[i];
	return shared->used < PIECES_MAX ? &shared->pieces[shared->used++] : NULL;
}

/* A page that is written to again is dirty again, all of it. */
static void
dirty(int file, int64_t page)
{
	int64_t i;

	for (i = 0; i < shared->used; i++)
		if (shared->pieces[i].state == DROPPED &&
		    shared->pieces[i].file == file &&
		    shared->pieces[i].offset / PAGE == page)
			shared->pieces[i].state = UNSYNCED;
}

static void
remember_piece(int file, int fd, int64_t offset, size_t len)
{
	struct piece *p = free_piece();
	ssize_t had;

	dirty(file, offset / PAGE);
	if (p == NULL)
		return;
	had = real_pread(fd, shared->old[p - shared->pieces], len, offset);
	p->file = file;
	p->turn = shared->turn++;
	p->offset = offset;
	p->len = (int32_t)len;
	p->had = had < 0 ? 0 : (int32_t)had;
	p->state = UNSYNCED; /* last: the process may be killed at any moment */
}

static void
remember(const char *path, int fd, size_t len, off_t offset)
{
	int file = file_of(path);
	size_t n;

	for (; shared != NULL && file != -1 && len > 0; offset += (off_t)n, len -= n) {
		n = PAGE - (size_t)offset % PAGE;
		if (n > len)
			n = len;
		remember_piece(file, fd, offset, n);
	}
}

static void
undo(const struct piece *p)
{
	static const char zeros[PAGE];
	char path[PAGE];
	int fd;

	(void)snprintf(path, sizeof(path), "%s%s", store, suffixes[p->file]);
	fd = real_open(path, O_RDWR | O_CLOEXEC);
	if (fd == -1)
		return;
	(void)!real_pwrite(
	    fd, shared->old[p - shared->pieces], (size_t)p->had, p->offset);
	/* The length reached the disk before the bytes, which is allowed. */
	(void)!real_pwrite(
	    fd, zeros, (size_t)(p->len - p->had), p->offset + (off_t)p->had);
	(void)close(fd);
}

/* The latest piece of that state, of file or of any (-1); NULL: none. */
static struct piece *
latest(int file, enum state state)
{
	struct piece *p, *found = NULL;

	for (p = shared->pieces; p < shared->pieces + shared->used; p++)
		if (p->state == (int)state && (file == -1 || p->file == file) &&
		    (found == NULL || p->turn > found->turn))
			found = p;
	return found;
}

/* A sync of the file, which failed or did not. */
static void
synced(const char *path, bool good)
{
	int file = file_of(path), error = errno;
	struct piece *p;

	if (shared == NULL || file == -1 ||
	    (!good && control->forgets == FORGETS_NOTHING))
		return;
	while ((p = latest(file, UNSYNCED)) != NULL) {
		if (!good && control->forgets == FORGETS_ALL)
			undo(p);
		control->dropped += !good;
		p->state = !good && control->forgets == FORGETS_TO_SYNC ? DROPPED : FREE;
	}
	if (latest(-1, UNSYNCED) == NULL && latest(-1, DROPPED) == NULL)
		shared->used = 0;
	errno = error;
}

/* What lay behind the new end is not there to be lost. */
static void
shortened(const char *path, off_t len)
{
	int file = file_of(path);
	struct piece *p;

	if (shared == NULL || file == -1)
		return;
	for (p = shared->pieces; p < shared->pieces + shared->used; p++)
		if (p->file == file && p->offset + p->len > len)
			p->state = FREE;
}

/* Did the power go before the page was written?  By chance, but not for parts of it. */
static bool
is_lost(const struct piece *p, unsigned seed)
{
	seed ^= (unsigned)(p->offset / PAGE * SUFFIXES + p->file) * 2654435761u;
	return p->state == DROPPED || rand_r(&seed) % 2 == 0;
}

/*
 * Of what was written and not synced, some reached the disk and some did not, in
 * no order; what a sync dropped never did; and memory that was shared is gone.
 */
static void
cut_power(void)
{
	struct timespec ts;
	struct piece *p, *dropped;
	unsigned seed;
	char shm[PAGE];
	bool all;

	(void)real_clock_gettime(CLOCK_MONOTONIC, &ts);
	seed = (unsigned)ts.tv_nsec;
	all = rand_r(&seed) % 3 == 0;
	for (;;) {
		p = latest(-1, UNSYNCED);
		dropped = latest(-1, DROPPED);
		if (p == NULL || (dropped != NULL && dropped->turn > p->turn))
			p = dropped;
		if (p == NULL)
			break;
		if (all || is_lost(p, seed))
			undo(p);
		p->state = FREE;
	}
	shared->used = 0;
	(void)snprintf(shm, sizeof(shm), "%s-shm", store);
	(void)real_unlink(shm);
}

/* ---- each call --------------------------------------------------------- */

static void
end(void)
{
	control->at = 0;
	control->ended++;
	if (control->how == CUT_POWER) {
		control->cut = 1;
		cut_power();
	}
	_exit(DIED);
}

/* A call on a file of the store is about to be made; is it the last one? */
static bool
is_last(void)
{
	bool last = ++control->calls == control->at;

	if (control->cut != 0)
		_exit(DIED);
	if (last && (control->how == DIE_BEFORE))
		end();
	return last;
}

static bool
fails(int64_t which)
{
	if (control->error == 0 || (control->which & which) == 0)
		return false;
	control->failed++;
	errno = (int)control->error;
	return true;
}

static ssize_t
put(int fd, const void *p, size_t len, off_t offset, bool at)
{
	return at ? real_pwrite(fd, p, len, offset) : real_write(fd, p, len);
}

static ssize_t
faulty_write(int fd, const void *p, size_t len, off_t offset, bool at)
{
	char path[4096];
	ssize_t n;
	bool last;

	if (!path_of(fd, path))
		return put(fd, p, len, offset, at);
	enter();
	last = is_last();
	if (fails(WRITES)) {
		leave();
		return -1;
	}
	remember(path, fd, len, at ? offset : lseek(fd, 0, SEEK_CUR));
	if (last && control->how == DIE_WITHIN)
		len = len / 2;
	else if (control->short_of > 0 && control->calls % control->short_of == 0 &&
	    len > 1) {
		control->failed++;
		len = len / 2;
	}
	n = put(fd, p, len, offset, at);
	if (last)
		end();
	leave();
	return n;
}

/* Reads change nothing, and are no places to end at. */
static bool
read_fails(int fd)
{
	char path[4096];

	return (control->which & READS) != 0 && control->error != 0 &&
	    path_of(fd, path) && fails(READS);
}

static int
faulty_sync(int fd, int (*sync)(int))
{
	char path[4096];
	bool last;
	int rc;

	if (!path_of(fd, path))
		return sync(fd);
	enter();
	last = is_last();
	if (last && control->how != DIE_AFTER)
		end();
	rc = fails(SYNCS) ? -1 : sync(fd);
	synced(path, rc == 0);
	if (last)
		end();
	leave();
	return rc;
}

ssize_t
write(int fd, const void *p, size_t len)
{
	if (real_write == NULL)
		find_all();
	return faulty_write(fd, p, len, 0, false);
}

ssize_t
pwrite(int fd, const void *p, size_t len, off_t offset)
{
	return faulty_write(fd, p, len, offset, true);
}

ssize_t
pwrite64(int fd, const void *p, size_t len, off64_t offset)
{
	return faulty_write(fd, p, len, offset, true);
}

ssize_t
read(int fd, void *p, size_t len)
{
	if (real_read == NULL)
		find_all();
	return read_fails(fd) ? -1 : real_read(fd, p, len);
}

ssize_t
pread(int fd, void *p, size_t len, off_t offset)
{
	return read_fails(fd) ? -1 : real_pread(fd, p, len, offset);
}

ssize_t
pread64(int fd, void *p, size_t len, off64_t offset)
{
	return pread(fd, p, len, offset);
}

int
fsync(int fd)
{
	return faulty_sync(fd, real_fsync);
}

int
fdatasync(int fd)
{
	return faulty_sync(fd, real_fdatasync);
}

int
ftruncate(int fd, off_t len)
{
	char path[4096];
	bool last;
	int rc;

	if (!path_of(fd, path))
		return real_ftruncate(fd, len);
	enter();
	last = is_last();
	rc = fails(TRUNCATES) ? -1 : real_ftruncate(fd, len);
	if (rc == 0)
		shortened(path, len);
	if (last)
		end();
	leave();
	return rc;
}

int
fallocate(int fd, int mode, off_t offset, off_t len)
{
	char path[4096];
	bool last;
	int rc;

	if (!path_of(fd, path))
		return real_fallocate(fd, mode, offset, len);
	enter();
	last = is_last();
	rc = fails(WRITES) ? -1 : real_fallocate(fd, mode, offset, len);
	if (last)
		end();
	leave();
	return rc;
}

int
fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
	return fallocate(fd, mode, offset, len);
}

int
ftruncate64(int fd, off64_t len)
{
	return ftruncate(fd, len);
}

int
unlink(const char *path)
{
	int rc;

	if (real_unlink == NULL)
		find_all();
	if (!is_stores(path))
		return real_unlink(path);
	enter();
	rc = real_unlink(path);
	if (rc == 0)
		shortened(path, 0);
	leave();
	return rc;
}

int
open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (real_open == NULL)
		find_all();
	if (is_stores(path) && fails(OPENS))
		return -1;
	return real_open(path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return open(path, flags, mode);
}

/* ---- the clock --------------------------------------------------------- */

int
clock_gettime(clockid_t id, struct timespec *ts)
{
	int64_t ms;
	int rc;

	if (real_clock_gettime == NULL)
		find_all();
	rc = real_clock_gettime(id, ts);
	ms = control->clock_ms;
	if (rc == -1 || ms == 0 || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return rc;
	ts->tv_sec += (time_t)(ms / 1000);
	ts->tv_nsec += (long)(ms % 1000) * 1000000;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_nsec -= 1000000000;
		ts->tv_sec++;
	} else if (ts->tv_nsec < 0) {
		ts->tv_nsec += 1000000000;
		ts->tv_sec--;
	}
	return rc;
}

int
gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
	struct timespec ts;

	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		return -1;
	tv->tv_sec = ts.tv_sec;
	tv->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *t)
{
	struct timespec ts;

	if (clock_gettime(CLOCK_REALTIME, &ts) == -1)
		return -1;
	if (t != NULL)
		*t = ts.tv_sec;
	return ts.tv_sec;
}
