#include "postgres.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define START_MS 30000

struct postgres {
	char *programs; /* folder */
	char *folder, *data, *log;
	char *url;
	struct passwd *role; /* NULL: we are no root, and run it as ourselves */
	pid_t pid;           /* 0: it does not run */
};

static bool
is_there(const char *folder)
{
	char *path = xasprintf("%s/initdb", folder);
	bool there = access(path, X_OK) == 0;

	free(path);
	return there;
}

/* Debian keeps the server's programs out of PATH, by version. */
static char *
find_programs(void)
{
	static const char *const folders[] = {
	    "/usr/bin", "/usr/local/bin", "/usr/local/pgsql/bin"};
	char *found = NULL;
	glob_t g;
	size_t i;

	if (glob("/usr/lib/postgresql/*/bin", 0, NULL, &g) == 0) {
		for (i = g.gl_pathc; i-- > 0 && found == NULL;)
			if (is_there(g.gl_pathv[i]))
				found = xstrdup(g.gl_pathv[i]);
		globfree(&g);
	}
	for (i = 0; i < sizeof(folders) / sizeof(folders[0]) && found == NULL; i++)
		if (is_there(folders[i]))
			found = xstrdup(folders[i]);
	return found;
}

/* In a child: become who may run a server, which root may not. */
static void
run(const struct postgres *p, char *const *argv)
{
	int null = open("/dev/null", O_RDWR), log;

	if (p->role != NULL &&
	    (setgroups(0, NULL) == -1 || setgid(p->role->pw_gid) == -1 ||
		setuid(p->role->pw_uid) == -1))
		_exit(126);
	log = open(p->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
	/* It must not outlive a test that crashes. */
	if (null == -1 || log == -1 || dup2(null, 0) == -1 || dup2(log, 1) == -1 ||
	    dup2(log, 2) == -1 || prctl(PR_SET_PDEATHSIG, SIGQUIT) == -1 ||
	    chdir(p->folder) == -1)
		_exit(126);
	execv(argv[0], argv);
	_exit(127);
}

static pid_t
spawn(const struct postgres *p, const char *name, const char *const *args)
{
	char *argv[32], *program = xasprintf("%s/%s", p->programs, name);
	size_t n = 0;
	pid_t pid;

	argv[n++] = program;
	for (; *args != NULL; args++)
		argv[n++] = xstrdup(*args);
	argv[n] = NULL;
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0)
		run(p, argv);
	while (n > 0)
		free(argv[--n]);
	return pid;
}

static void
rest(void)
{
	const struct timespec ts = {.tv_nsec = 10 * 1000 * 1000};

	(void)nanosleep(&ts, NULL);
}

/* Wait for the fact that it takes connections, or recovers no more. */
static void
await(const struct postgres *p)
{
	int i;

	for (i = 0; i < START_MS / 10; i++) {
		if (PQping(p->url) == PQPING_OK)
			return;
		assert_int_equal(waitpid(p->pid, NULL, WNOHANG), 0);
		rest();
	}
	fail_msg("the server did not start; see %s", p->log);
}

void
postgres_go_on(struct postgres *p)
{
	/* The tests kill processes, not machines: without syncing they take half the time. */
	const char *const args[] = {"-D", p->data, "-k", p->folder, "-c",
	    "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c",
	    "shared_buffers=16MB", "-c", "max_connections=20", NULL};

	p->pid = spawn(p, "postgres", args);
	await(p);
}

void
postgres_kill(struct postgres *p)
{
	assert_int_equal(kill(p->pid, SIGQUIT), 0);
	assert_int_equal(waitpid(p->pid, NULL, 0), p->pid);
	p->pid = 0;
}

/* The server first, so that it begins no other meanwhile. */
static void
signal_all(const struct postgres *p, int number)
{
	char path[64];
	FILE *f;
	int child;

	assert_int_equal(kill(p->pid, number), 0);
	(void)snprintf(path, sizeof(path), "/proc/%ld/task/%ld/children", (long)p->pid,
	    (long)p->pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fscanf(f, "%d", &child) == 1)
		(void)kill(child, number);
	assert_int_equal(fclose(f), 0);
}

void
postgres_freeze(const struct postgres *p)
{
	signal_all(p, SIGSTOP);
}

void
postgres_thaw(const struct postgres *p)
{
	signal_all(p, SIGCONT);
}

static void
make_folder(struct postgres *p)
{
	const char *tmp = getenv("TMPDIR");

	p->folder = xasprintf("%s/hearsay-pg-XXXXXX", tmp == NULL ? "/tmp" : tmp);
	assert_non_null(mkdtemp(p->folder));
	if (p->role != NULL)
		assert_int_equal(chown(p->folder, p->role->pw_uid, p->role->pw_gid), 0);
	p->data = xasprintf("%s/data", p->folder);
	p->log = xasprintf("%s/log", p->folder);
	p->url = xasprintf("postgresql://postgres@/postgres?host=%s", p->folder);
}

static void
make_cluster(struct postgres *p)
{
	const char *const args[] = {"-D", p->data, "-U", "postgres", "-E", "UTF8",
	    "--locale=C", "--auth=trust", "--no-sync", "--no-instructions", NULL};
	char *path = xasprintf("%s/pg_hba.conf", p->data);
	int status;
	FILE *f;

	assert_true(waitpid(spawn(p, "initdb", args), &status, 0) > 0);
	if (status != 0)
		fail_msg("initdb failed; see %s", p->log);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(
	    fputs("local all guarded scram-sha-256\nlocal all all trust\n", f) >= 0);
	assert_int_equal(fclose(f), 0);
	free(path);
}

struct postgres *
postgres_start(const char **reason_r)
{
	struct postgres *p;
	char *programs = find_programs();

	if (programs == NULL) {
		*reason_r =
		    "no PostgreSQL server is installed: apt-get install postgresql";
		return NULL;
	}
	if (geteuid() == 0 && getpwnam("postgres") == NULL) {
		*reason_r =
		    "root may not run a PostgreSQL server, and there is no user postgres";
		free(programs);
		return NULL;
	}
	p = xcalloc(1, sizeof(*p));
	p->programs = programs;
	p->role = geteuid() == 0 ? getpwnam("postgres") : NULL;
	make_folder(p);
	make_cluster(p);
	postgres_go_on(p);
	free(postgres_run(
	    p, "CREATE ROLE guarded LOGIN PASSWORD '" POSTGRES_PASSWORD "'"));
	return p;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void
postgres_stop(struct postgres *p)
{
	if (p == NULL)
		return;
	if (p->pid != 0)
		postgres_kill(p);
	assert_int_equal(nftw(p->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
	free(p->url);
	free(p->log);
	free(p->data);
	free(p->folder);
	free(p->programs);
	free(p);
}

const char *
postgres_url(const struct postgres *p)
{
	return p->url;
}

const char *
postgres_folder(const struct postgres *p)
{
	return p->folder;
}

static void
ignore_notice(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

char *
postgres_run(const struct postgres *p, const char *sql)
{
	PGconn *c = PQconnectdb(p->url);
	PGresult *r;
	char *text;

	(void)PQsetNoticeProcessor(c, ignore_notice, NULL);
	r = PQexec(c, sql);
	if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(c));
	text = xstrdup(PQntuples(r) > 0 ? PQgetvalue(r, 0, 0) : "");
	PQclear(r);
	PQfinish(c);
	return text;
}
