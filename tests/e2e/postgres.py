"""A PostgreSQL server of the tests' own, on a Unix socket in a temporary folder."""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

import lib


def _programs():
    """Debian keeps the server's programs out of PATH, by version."""
    found = [os.path.dirname(p) for p in sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))]
    which = shutil.which("initdb")
    return found[-1] if found else which and os.path.dirname(which)


def reason():
    """Why there is no server to be had; None where there is."""
    if not _programs():
        return "no PostgreSQL server is installed: apt-get install postgresql"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "root may not run a PostgreSQL server, and there is no user postgres"
    return None


class Server:
    """Root runs it as the user postgres."""

    def __init__(self):
        self.programs = _programs()
        self.role = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
        self.folder = tempfile.mkdtemp(prefix="hearsay-pg-")
        if self.role:
            os.chown(self.folder, self.role.pw_uid, self.role.pw_gid)
        self.data = os.path.join(self.folder, "data")
        self.url = "postgresql://postgres@/postgres?host=" + self.folder
        self.process = None
        self.down = False
        self._spawn("initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C",
                    "--auth=trust", "--no-sync", "--no-instructions").wait()

    def _spawn(self, name, *args):
        def become():
            if self.role:
                os.setgroups([])
                os.setgid(self.role.pw_gid)
                os.setuid(self.role.pw_uid)

        with open(os.path.join(self.folder, "log"), "ab") as log:
            return subprocess.Popen([os.path.join(self.programs, name), *args], stdout=log,
                                    stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                                    preexec_fn=become)

    def sql(self, text):
        return subprocess.run([os.path.join(self.programs, "psql"), "-XAtq", "-c", text, self.url],
                              capture_output=True, text=True, check=False)

    def start(self):
        # Processes are killed here, not machines: without syncing it is fast.
        self.process = self._spawn(
            "postgres", "-D", self.data, "-k", self.folder, "-c", "listen_addresses=",
            "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "shared_buffers=16MB",
            "-c", "max_connections=30")
        lib.wait_for(lambda: self.sql("SELECT 1").returncode == 0, "the server")
        self.down = False

    def kill(self):
        self.down = True
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait()

    def freeze(self):
        """It stands still with all its processes; itself first, so that it begins no other."""
        self._signal_all(signal.SIGSTOP)

    def thaw(self):
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number):
        pid = self.process.pid
        os.kill(pid, number)
        with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as f:
            for child in f.read().split():
                try:
                    os.kill(int(child), number)
                except ProcessLookupError:
                    pass

    def cut(self, which="hearsay%"):
        """End the sessions of hearsays whose application name is like that."""
        self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                 "WHERE application_name LIKE '%s'" % which)

    def remove(self):
        if self.process and self.process.poll() is None:
            self.thaw()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
