"""One `hearsay run`, and the shim that its disk and its clock fail by."""
import atexit
import json
import mmap
import os
import signal
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import lib  # noqa: E402

SHIM = os.path.abspath(os.environ.get("HEARSAY_SHIM", "tests/faults/shim.so"))
DIED = 137  # the status with which the shim ends a process
FOR_EVER = 315360000  # seconds


class Control:
    """The numbers that the shim maps; struct control of shim.c."""

    FIELDS = ("calls", "at", "how", "error", "which", "short_of", "clock_ms", "failed", "ended",
              "forgets", "cut", "cut_next", "dropped")
    SIZE = 32 << 20  # of struct shared, or more

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.truncate(self.SIZE)
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)

    def get(self, field):
        return struct.unpack_from("=q", self.map, 8 * self.FIELDS.index(field))[0]

    def set(self, **fields):
        for field, value in fields.items():
            struct.pack_into("=q", self.map, 8 * self.FIELDS.index(field), value)


class Node:
    """A `hearsay run` that is started again whenever it ends, as an init would."""

    def __init__(self, folder, name, store, logs, limits, more=""):
        self.folder, self.name, self.store, self.logs = folder, name, store, logs
        self.limits, self.more = limits, more
        self.config = folder / (name + ".conf")
        self.log = folder / (name + ".log.run")
        self.control = Control(folder / (name + ".control"))
        self.process = None
        self.lives = 0
        self.begun_at = 0  # where in its log this life begins
        self.trouble = False  # in this life the store failed
        self.troubled = lambda: False  # it does so now, though not by the shim
        self.beside = None  # `hearsay replay --into` in the background
        self.bad = []
        atexit.register(self.kill)
        atexit.register(self.end_beside)

    def configure(self, receivers):
        """Its configuration; the receivers are those that are registered."""
        ways = ", ".join('{ id = "%s"; ca = "%s"; }' % (r.name, r.ca)
                         for r in receivers if r.ca)
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("""store = "%s";
%spatterns = [ "%s" ];
registrations = [ %s ];
appservices = ( %s );
servers = (
%s
);
limits = { %s };
send = { connect_timeout = 0.5; first_byte_timeout = 0.6; timeout = 1.2;
    backoff_min = 0.02; backoff_max = 0.3; set_aside_tries = 3; set_aside_after = 0.3; };
""" % (self.store, self.more, lib.PATTERNS,
                ", ".join('"%s"' % r.registration for r in receivers), ways,
                ",\n".join('  { name = "%s"; pack = "synapse"; timezone = "UTC";\n'
                           '    logs = ( { path = "%s"; start = "beginning"; } ); }'
                           % (log.server, log.path) for log in self.logs), self.limits))

    def environment(self):
        env = dict(os.environ, LD_PRELOAD=SHIM, HEARSAY_FAULTS_CONTROL=self.control.path,
                   HEARSAY_FAULTS_STORE=self.store)
        # The shim stands before the sanitizers' library, which is no fault here.
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return env

    # ---- its life

    def start(self):
        if self.control.get("cut") or self.control.get("cut_next"):
            self.end_beside()
            self.control.set(cut=0)
        self.begun_at = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        self.trouble = (self.control.get("error") != 0 or self.control.get("short_of") != 0 or
                        self.troubled())
        self.lives += 1
        with open(self.log, "ab") as stderr:
            self.process = subprocess.Popen([lib.HEARSAY, "run", "-c", self.config],
                                            env=self.environment(),
                                            stdin=subprocess.DEVNULL, stderr=stderr)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            f.seek(self.begun_at)
            return f.read()

    def started(self):
        return "started, config=" in self.said()

    def wait_started(self):
        """Whatever ends it meanwhile."""
        def up():
            self.tend()
            return self.started()

        lib.wait_for(up, self.name + " to start")

    def tend(self):
        """Start it again where it ended; an end of its own is a fault of hearsay."""
        if self.running():
            return
        if self.process is not None:
            status = self.process.returncode
            if status not in (-signal.SIGKILL, DIED) and (self.started() or not self.trouble):
                self.bad.append("%s ended by itself with %d: %s"
                                % (self.name, status, self.said()[-1500:]))
        self.start()

    def wait_end(self, seconds):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def terminate(self, seconds=30):
        """SIGTERM: it ends in time; the status, or None."""
        if not self.running():
            return None
        self.process.send_signal(signal.SIGTERM)
        status = self.wait_end(seconds)
        if status is None:
            self.bad.append("%s did not end within %d s of SIGTERM: %s"
                            % (self.name, seconds, self.said()[-1500:]))
            self.kill()
        elif status not in (0, 1, DIED) and self.said():  # else it was not in main() yet
            self.bad.append("SIGTERM ended %s with %d: %s"
                            % (self.name, status, self.said()[-1500:]))
        elif status == 1 and not self.trouble:
            self.bad.append("SIGTERM ended %s with 1, though its store was well: %s"
                            % (self.name, self.said()[-1500:]))
        self.process = None
        return status

    # ---- commands

    def command(self, *args):
        """Another hearsay on its store; what it writes is subject to the same disk."""
        return lib.hearsay(*args, env=self.environment())

    def queue(self, action, *args):
        return self.command("queue", action, "-c", self.config, *args)

    def waiting(self, appservice):
        """What stands in the transactions of a queue: (id, state, events)."""
        out = self.queue("export", appservice)
        items = [json.loads(line) for line in out.stdout.split("\n") if line]
        return [(i["txn"], i["state"], i["body"]["m.synthetic_events"])
                for i in items if i["state"] != "queued"]

    def status(self):
        out = lib.hearsay("status", "-c", self.config, "--json")
        return json.loads(out.stdout) if out.stdout else {}

    # ---- a backfill in the background

    def backfill(self, appservice, log):
        """Begin it; the log is not rotated until it ended."""
        log.still.acquire()  # pylint: disable=consider-using-with
        with open(self.folder / "backfill.log", "ab") as output:
            process = subprocess.Popen(
                [lib.HEARSAY, "replay", "--into", appservice, "--since", "2000-01-01", "-c",
                 self.config, "-P", lib.PATTERNS, "-p", "synapse", "-s", log.server, "-z", "UTC",
                 *log.pieces()],
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.beside = (process, log)

    def look_beside(self, patience=0):
        """The status of the backfill, if it ended; None."""
        if self.beside is None:
            return None
        process, log = self.beside
        try:
            status = process.wait(patience)
        except subprocess.TimeoutExpired:
            return None
        self.beside = None
        log.still.release()
        return status

    def end_beside(self):
        if self.beside is not None:
            self.beside[0].kill()
            self.look_beside(30)

    def heal(self):
        self.control.set(at=0, error=0, short_of=0, clock_ms=0, forgets=0)
