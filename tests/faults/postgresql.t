#!/usr/bin/env python3
"""The store in PostgreSQL under faults: three hearsays, each with a log of its own.

Whoever sends is killed, and another takes over; connections are cut, and the
server is killed.
"""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

import harness
from harness import lib

RATE = 12000  # bytes a second that each log grows by
TAKEN_OVER = 15  # seconds; a sender's lock is asked for every two


class Server:
    """A PostgreSQL server; root runs it as the user postgres."""

    def __init__(self, programs):
        self.programs = programs
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

    def remove(self):
        if self.process and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgresql(harness.Harness):
    server = None
    longest = 0.0  # seconds from a kill until the fast receiver got something again

    def __init__(self, *args):
        super().__init__(*args)
        self.losses = {r.name: [] for r in self.receivers}  # how many ids had been sent

    def lose_right(self):
        """
        The sender is about to lose its right without knowing, with a request under
        way.  That one transaction may come again behind later ones, and no other.
        """
        for receiver in self.receivers:
            with receiver.lock:
                sent = len(receiver.hashes)
            self.losses[receiver.name].append(sent)

    def late(self, receiver):
        order = list(receiver.hashes)
        # The one before, or the one that was first asked for behind it.
        mine = {txn for n in self.losses[receiver.name] for txn in order[max(n - 1, 0):n + 1]}
        return [(at, txn) for at, txn in super().late(receiver) if txn not in mine]

    def sender(self, receiver):
        """The node that the receiver's last transaction came from, if that lives."""
        with open("/proc/net/tcp", encoding="ascii") as f:
            rows = [line.split() for line in f][1:]
        sockets = {"socket:[%s]" % row[9] for row in rows
                   if int(row[1].rpartition(":")[2], 16) == receiver.peer}
        for node in self.nodes:
            try:
                folder = "/proc/%d/fd/" % node.process.pid
                if any(os.readlink(folder + fd) in sockets for fd in os.listdir(folder)):
                    return node
            except OSError:
                pass
        return None

    def leave_dead(self, node):
        """The others go on without the one who sends, and send what it would have sent."""
        fast = self.receivers[0]
        found = self.sender(fast)
        self.counts["the one who sends to fast is killed"] += found is not None
        (found or node).kill()
        killed = time.monotonic()
        while fast.last() <= killed and time.monotonic() - killed < 2 * TAKEN_OVER:
            time.sleep(0.05)
        self.longest = max(self.longest, (fast.last() or time.monotonic()) - killed)
        if fast.last() <= killed:
            self.bad.append("nobody took over within %d s" % (2 * TAKEN_OVER))

    def cut(self, _node):
        """All connections at once."""
        self.lose_right()
        for node in self.nodes:
            node.trouble = True
        self.server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")

    def server_dies(self, node):
        for each in self.nodes:
            each.trouble = True
        self.lose_right()
        self.server.kill()
        time.sleep(self.rng.random() * 2)
        if self.rng.random() < 0.3:
            self.rng.choice((self.kill, self.term))(node)
            node.tend()
        self.server.start()

    def stop_and_cut(self, node):
        """Another takes over from one that does not know yet that it lost its right."""
        node.trouble = True
        node.process.send_signal(signal.SIGSTOP)
        self.cut(node)
        time.sleep(self.rng.random() * 4)
        node.process.send_signal(signal.SIGCONT)


def programs():
    found = [os.path.dirname(p) for p in sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))]
    which = shutil.which("initdb")
    return found[-1] if found else which and os.path.dirname(which)


def reason():
    """Why there is no server to be had; None where there is."""
    if not programs():
        return "no PostgreSQL server is installed: apt-get install postgresql"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "root may not run a PostgreSQL server, and there is no user postgres"
    return None


def main():
    given = harness.options()
    if reason():
        print("1..0 # SKIP " + reason())
        return
    tap = lib.Tap()
    with harness.Folder() as folder:
        h = Postgresql(tap, folder, given)
        h.server = server = Server(programs())
        try:
            server.start()
            for name in ("one", "two", "three"):
                h.node(name, server.url, (name + ".test",), RATE, queue=1000000,
                       more='instance = "%s";\n' % name)
                h.nodes[-1].troubled = lambda: server.down
            h.run((
                (5, "kill -9", h.kill),
                (5, "kill -9, and another takes over", h.leave_dead),
                (2, "connections cut", h.cut),
                (2, "server killed", h.server_dies),
                (2, "stands still", h.stop),
                (2, "stands still, connections cut", h.stop_and_cut),
                (3, "clock jumps", h.clock),
                (3, "SIGTERM", h.term),
                (3, "rotation asked for", h.rotate),
                (2, "rotations while it is dead", h.rotate_unseen),
                (1, "an appservice moves", h.move),
                (8, "receivers", h.receiver),
                (2, "killed again and again", h.kill_often),
                (4, "queue by hand", h.by_hand),
                (1.5, "an appservice comes or goes", h.come_or_go),
                (1.5, "replay --into", h.fill),
            ))
            tap.say("longest from a kill to the next transaction taken: %.1f s" % h.longest)
            tap.ok(h.longest < TAKEN_OVER, "another takes over within seconds")
            h.judge()
        finally:
            for node in h.nodes:
                if node.process:
                    node.kill()
            server.remove()
    tap.done()


main()
