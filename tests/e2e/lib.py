"""What the end-to-end tests share: TAP, a homeserver's log that is written and
rotated, hearsay itself, and a receiver.

A test runs the real program on real files and a real HTTP receiver.  What is
random in it comes from one seed, printed first; HEARSAY_SEED=N runs it again.
"""
import atexit
import gzip
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import score

SOURCE = os.environ.get("HEARSAY_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEARSAY = os.path.abspath(os.environ.get("HEARSAY", "hearsay"))
PATTERNS = os.path.join(SOURCE, "patterns")
CAPTURES = os.path.join(SOURCE, "tests", "captures")
SERVER = "example.test"
PATIENCE = 60  # seconds that a test waits for a fact before it fails

# What the test's appservice asks for; the pack tells more.
LISTED = score.TYPES + ("org.hearsay.user.login_failed",)


# ---- TAP ---------------------------------------------------------------------


class Tap:
    """Counts results; done() ends the script."""

    def __init__(self):
        self.count = self.bad = 0

    def say(self, text):
        for line in str(text).splitlines():
            print("# " + line, flush=True)

    def ok(self, good, name, detail=None):
        self.count += 1
        if not good:
            self.bad += 1
        print("%s %d - %s" % ("ok" if good else "not ok", self.count, name), flush=True)
        if not good and detail is not None:
            self.say(detail)
        return good

    def equal(self, got, want, name):
        return self.ok(got == want, name, "got  %r\nwant %r" % (got, want))

    def done(self):
        print("1..%d" % self.count, flush=True)
        sys.exit(1 if self.bad else 0)


def seeded(tap):
    """The one source of chance of a test."""
    seed = int(os.environ.get("HEARSAY_SEED") or random.SystemRandom().randrange(1 << 32))
    tap.say("HEARSAY_SEED=%d" % seed)
    return random.Random(seed)


class Folder:
    """A temporary folder, removed at the end."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="hearsay-")
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.path, ignore_errors=True)

    def __truediv__(self, name):
        return os.path.join(self.path, name)


def wait_for(fact, what, patience=PATIENCE):
    """Return the first true value of fact(); fail when there is none in time."""
    end = time.monotonic() + patience
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError("waited %d s for %s" % (patience, what))
        time.sleep(0.01)


# ---- Captures ----------------------------------------------------------------


def capture(name):
    """The whole log of a capture, and the acts behind it."""
    folder = os.path.join(CAPTURES, name)
    with gzip.open(os.path.join(folder, "homeserver.log.gz")) as f:
        return f.read(), score.read_jsonl(os.path.join(folder, "truth.jsonl"))


def same(event):
    """What must be equal for two events to be one."""
    return event["type"], json.dumps(event["content"], sort_keys=True), event["ts"]


# ---- Programs ----------------------------------------------------------------


def hearsay(*args, **more):
    """Run a command to its end."""
    more.setdefault("timeout", PATIENCE)
    return subprocess.run([HEARSAY, *args], capture_output=True, text=True, check=False, **more)


def replay(*files, pack="synapse", server=SERVER):
    """The events of whole logs."""
    which = ["-p", pack] if pack else []
    out = hearsay("replay", "-P", PATTERNS, *which, "-s", server, "-z", "UTC", *files)
    if out.returncode != 0:
        raise RuntimeError("replay ended with %d: %s" % (out.returncode, out.stderr))
    # Not splitlines(): a device id may hold U+2028.
    return [json.loads(line) for line in out.stdout.split("\n") if line]


def replay_listed(data, folder):
    """Of the events of a log, those that the appservice asks for."""
    whole = folder / "whole.log"
    with open(whole, "wb") as f:
        f.write(data)
    return [same(e) for e in replay(whole) if e["type"] in LISTED]


class Program:
    """hearsay in the background; what it says goes to the file log."""

    def __init__(self, args, log, **more):
        self.log = log
        with open(log, "ab") as stderr:
            self.process = subprocess.Popen([HEARSAY, *args], stderr=stderr,
                                            stdin=subprocess.DEVNULL, **more)
        atexit.register(self.process.kill)

    def kill(self):
        """kill -9, as the kernel does when memory is gone."""
        self.process.kill()
        return self.process.wait()

    def terminate(self, patience=PATIENCE):
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience)

    def running(self):
        return self.process.poll() is None

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()


class Run(Program):
    def __init__(self, config, log):
        self.before = os.path.getsize(log) if os.path.exists(log) else 0
        super().__init__(["run", "-c", config], log)

    def await_start(self, patience=PATIENCE):
        """What is rotated before its first start it does not know of."""
        def started():
            with open(self.log, encoding="utf-8", errors="replace") as f:
                f.seek(self.before)
                return "started" in f.read()

        wait_for(lambda: started() or not self.running(), "a start", patience)
        return self

    def terminate(self, patience=PATIENCE):
        """SIGTERM, once it is up: before main() no program can hold a signal."""
        self.await_start(patience)
        return super().terminate(patience)


class Receiver:
    """hearsay listen, which may go down and come back; keeps what it printed."""

    def __init__(self, folder, *options, types=LISTED, on_event=None):
        self.options, self.on_event = options, on_event
        self.port = free_port()
        self.registration = folder / "appservice.yaml"
        self.log = folder / "listen.log"
        self.lives = []  # the events of each life
        self.statuses = []  # with which each ended
        self.program = self.thread = None
        write_registration(self.registration, self.port, types)

    def start(self):
        self.program = Program(["listen", "-r", self.registration, *self.options],
                               self.log, stdout=subprocess.PIPE)
        self.lives.append([])
        self.thread = threading.Thread(
            target=self._collect, args=(self.program.process.stdout, self.lives[-1]),
            daemon=True)
        self.thread.start()
        wait_for(self._answers, "the receiver on port %d: %s" % (self.port, self.program.said()))

    def stop(self):
        self.statuses.append(self.program.terminate())
        self.thread.join()

    def _collect(self, stream, into):
        with stream:
            for line in stream:
                into.append(json.loads(line))
                if self.on_event:
                    self.on_event(into[-1])

    def _answers(self):
        if not self.program.running():
            raise RuntimeError("listen ended: " + self.program.said())
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def events(self):
        """
        What a receiver that never forgets an id would have: a transaction that
        comes again in a later life, because its answer was lost, counts once.
        """
        out, seen = [], set()
        for life in list(self.lives):
            events = list(life)
            out += [e for e in events if e["txn"] not in seen]
            seen.update(e["txn"] for e in events)
        return out

    def transactions(self):
        """For each id, the list of events that it had in each life."""
        ids = {}
        for life in list(self.lives):
            bodies = {}
            for e in list(life):
                bodies.setdefault(e["txn"], []).append(same(e))
            for txn, body in bodies.items():
                ids.setdefault(txn, []).append(body)
        return ids


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def write_registration(path, port, types=LISTED, users="@.*:" + SERVER.replace(".", "\\\\.")):
    with open(path, "w", encoding="utf-8") as f:
        f.write("""id: audit
url: http://127.0.0.1:%d
as_token: an-as-token-made-up-for-the-test
hs_token: an-hs-token-made-up-for-the-test
sender_localpart: audit
namespaces:
  users:
    - exclusive: false
      regex: "%s"
      m.synthetic_events:
        events: [%s]
""" % (port, users, ", ".join(types)))


def write_config(path, folder, registration, log, **more):
    """A configuration with everything in folder; more has lines of its own."""
    with open(path, "w", encoding="utf-8") as f:
        f.write("""store = "%s";
patterns = [ "%s" ];
registrations = [ "%s" ];
servers = (
    {
        name = "%s";
        pack = "%s";
        timezone = "%s";
        logs = ( { path = "%s"; start = "%s"; } );
    }
);
send = { backoff_min = %d; backoff_max = %d; %s };
%s
""" % (more.get("store", folder / "hearsay.db"), PATTERNS, registration, SERVER, more.get("pack", "synapse"),
            more.get("timezone", "UTC"), log,
            more.get("start", "beginning"),
            more.get("backoff_min", 1), more.get("backoff_max", 2), more.get("send", ""),
            more.get("extra", "")))


def wait_until_read(config, log):
    """Until run has committed that all of log was read; status says so."""
    def read():
        out = hearsay("status", "-c", config, "--json").stdout
        logs = json.loads(out)["logs"] if out else []  # run has not made its store yet
        return any(entry["log"] == log and entry["file"] == log and entry["behind"] == 0 and
                   entry["size"] == os.path.getsize(log) for entry in logs)

    wait_for(read, log + " to be read to its end")


# ---- A log that is written and rotated ---------------------------------------


class Feeder:
    """
    Writes data to path as a server would, but in pieces of random size, over
    about the given seconds, and rotates it at random lines on the way:

    rename        as Python's RotatingFileHandler: path becomes path.1, path.1
                  becomes path.2…, and a new file takes its place
    late          as logrotate: the server writes on into the renamed file for
                  a while before it opens the new one
    copytruncate  the file is copied to path.1 and then emptied; settled() is
                  called before, so that nothing unread is lost to a reader

    at() adds something else to be done at a random place.
    """

    def __init__(self, data, path, rng, seconds=5.0):
        self.data, self.path, self.rng = data, path, rng
        self.stops = []  # (place, what), to be done when all before place is written
        self.pause = seconds / max(1, len(data) / 1500)
        self.file = None
        self.written = 0
        self.rotations = 0
        self.on_rotation = None

    def rotate(self, kind, count, settled=None):
        for _ in range(count):
            self.stops.append((self._line(), {
                "rename": self._rename,
                "late": self._rename_late,
                "copytruncate": lambda: self._copytruncate(settled),
            }[kind]))

    def at(self, what, place=None):
        self.stops.append((self._anywhere() if place is None else place, what))

    def line_after(self, place):
        """The place of the first line that begins at place or behind it."""
        return self.data.find(b"\n", place - 1) + 1 or len(self.data)

    def _anywhere(self):
        return self.rng.randrange(len(self.data))

    def _line(self):
        return self.line_after(self._anywhere())

    def run(self):
        self.stops.sort(key=lambda stop: stop[0])
        if self.file is None:
            self.file = open(self.path, "ab", buffering=0)
        for place, what in self.stops:
            self._write_until(place)
            what()
        self._write_until(len(self.data))
        self.stops = []
        return self

    def close(self):
        if self.file is not None:
            self.file.close()
            self.file = None

    def _write_until(self, place):
        while self.written < place:
            size = self.rng.choice((self.rng.randint(1, 60), self.rng.randint(1, 6000)))
            end = min(self.written + size, place)
            self.file.write(self.data[self.written:end])
            self.written = end
            time.sleep(self.pause * self.rng.random() * 2)

    def _shift(self):
        number = 1
        while os.path.exists("%s.%d" % (self.path, number)):
            number += 1
        for n in range(number, 1, -1):
            os.rename("%s.%d" % (self.path, n - 1), "%s.%d" % (self.path, n))
        self.rotations += 1
        if self.on_rotation:
            self.on_rotation(self.rotations)

    def _rename(self):
        self._shift()
        os.rename(self.path, self.path + ".1")
        self.close()
        self.file = open(self.path, "ab", buffering=0)

    def _rename_late(self):
        self._shift()
        os.rename(self.path, self.path + ".1")
        place = self.line_after(min(self.written + self.rng.randint(1, 8000), len(self.data)))
        self._write_until(place)
        self.close()
        self.file = open(self.path, "ab", buffering=0)

    def _copytruncate(self, settled):
        if settled:
            settled()
        self._shift()
        shutil.copyfile(self.path, self.path + ".1")
        os.truncate(self.path, 0)
