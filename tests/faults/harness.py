"""Faults of every kind at random, and whether anything was lost or repeated.

One or several real `hearsay run` follow logs that grow and are rotated, and send
to receivers that misbehave; disks and clocks fail by the shim.  Then all is
healed, and what each receiver took is compared with what the logs tell.

What is random comes from one seed, printed first.  The order of the processes is
the machine's, so that a seed repeats the faults, not their very moments.

HEARSAY_SEED=N           the seed
HEARSAY_FAULTS_SECONDS=N how long, before all is healed (default 60)
HEARSAY_FAULTS_KEEP=1    keep the folder of a run that failed
"""
import argparse
import atexit
import collections
import datetime
import json
import mmap
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import lib  # noqa: E402
from receiver import Receiver  # noqa: E402

SHIM = os.path.abspath(os.environ.get("HEARSAY_SHIM", "tests/faults/shim.so"))
TYPES = lib.LISTED
SETTLE = 60  # seconds without anything new, after all was healed, that mean "stuck"

DIE_BEFORE, DIE_AFTER, DIE_WITHIN, CUT_POWER = 1, 2, 3, 4
WRITES, SYNCS, TRUNCATES, OPENS, READS = 1, 2, 4, 8, 16


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float,
                        default=float(os.environ.get("HEARSAY_FAULTS_SECONDS") or 60))
    parser.add_argument("--seed", type=int, default=None)
    given = parser.parse_args()
    if given.seed is not None:
        os.environ["HEARSAY_SEED"] = str(given.seed)
    return given


# ---- the shim -----------------------------------------------------------------


class Control:
    """The numbers that the shim maps; struct control of shim.c."""

    FIELDS = ("calls", "at", "how", "error", "which", "short_of", "clock_ms", "failed", "ended")

    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(bytes(4096))
        with open(path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 4096)

    def get(self, field):
        return struct.unpack_from("=q", self.map, 8 * self.FIELDS.index(field))[0]

    def set(self, **fields):
        for field, value in fields.items():
            struct.pack_into("=q", self.map, 8 * self.FIELDS.index(field), value)


# ---- logs ----------------------------------------------------------------------

STAMP = re.compile(rb"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3})", re.M)


class Log:
    """
    The log of one homeserver: a capture again and again, each time a minute
    later, in pieces of random size.  All of it stands in path.whole, too.
    """

    EVERY = datetime.timedelta(seconds=60)

    def __init__(self, folder, server, seed, seconds):
        self.server, self.rng = server, random.Random(seed)
        self.path = folder / (server + ".log")
        self.whole = folder / (server + ".whole")
        self.seconds = seconds  # for one time through the capture
        data, _ = lib.capture("synapse-text")
        self.data = data.replace(lib.SERVER.encode(), server.encode())
        self.rotate_next = None
        self.rotations = 0
        self.ends = threading.Event()
        self.thread = threading.Thread(target=self._write, daemon=True)
        with open(self.path, "ab"):
            pass

    def later(self, times):
        def shift(m):
            at = datetime.datetime.fromisoformat(m[1].decode()) + times * self.EVERY
            return at.strftime("%Y-%m-%d %H:%M:%S").encode() + b"," + m[2]

        return STAMP.sub(shift, self.data)

    def _write(self):
        out = open(self.path, "ab", buffering=0)
        times = 0
        with open(self.whole, "ab", buffering=0) as whole:
            while not self.ends.is_set():
                data = self.later(times)
                whole.write(data)
                out = self._pieces(data, out)
                times += 1
        out.close()

    def _pieces(self, data, out):
        """Returns the file that is written to at the end."""
        at, late = 0, None
        pause = self.seconds / (len(data) / 4000)
        while at < len(data):
            size = self.rng.choice((self.rng.randint(1, 60), self.rng.randint(1, 16000)))
            rotation = self.rotate_next if late is None else None
            if rotation or late == 0:
                size = data.find(b"\n", at) + 1 - at
            out.write(data[at:at + size])
            at += size
            if late == 0:  # the server has seen that its log was renamed
                out.close()
                out = open(self.path, "ab", buffering=0)
                late = None
            elif late:
                late -= 1
            if rotation:
                self.rotate_next = None
                self._rename()
                late = 0 if rotation == "rename" else self.rng.randint(1, 4)
            time.sleep(pause * self.rng.random() * (0.1 if self.ends.is_set() else 2))
        if late is not None:
            out.close()
            out = open(self.path, "ab", buffering=0)
        return out

    def _rename(self):
        number = 1
        while os.path.exists("%s.%d" % (self.path, number)):
            number += 1
        for n in range(number, 0, -1):
            old = self.path if n == 1 else "%s.%d" % (self.path, n - 1)
            os.rename(old, "%s.%d" % (self.path, n))
        self.rotations += 1

    def forget(self, keep=8):
        """Rotated files that were read whole long ago are removed."""
        number = keep + 1
        while os.path.exists("%s.%d" % (self.path, number)):
            os.unlink("%s.%d" % (self.path, number))
            number += 1

    def events(self):
        return [lib.same(e) for e in lib.replay(self.whole, server=self.server)
                if e["type"] in TYPES]


# ---- one hearsay ----------------------------------------------------------------


class Node:
    """A `hearsay run` that is started again whenever it ends, as an init would."""

    def __init__(self, folder, name, store, logs, receivers, rng, more="", queue=None):
        self.folder, self.name, self.store, self.logs = folder, name, store, logs
        self.config = folder / (name + ".conf")
        self.log = folder / (name + ".log.run")
        self.control = Control(folder / (name + ".control"))
        self.process = None
        self.lives = 0
        self.begun_at = 0  # where in its log this life begins
        self.trouble = False  # in this life the store failed
        self.troubled = lambda: False  # it does so now, though not by the shim
        self.bad = []
        atexit.register(self.kill)
        keep = rng.choice((1, 10, 604800))
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("""store = "%s";
%spatterns = [ "%s" ];
registrations = [ %s ];
servers = (
%s
);
limits = { queue = %d; keep_accepted = %d; };
send = { connect_timeout = 0.5; first_byte_timeout = 0.6; timeout = 1.2;
    backoff_min = 0.02; backoff_max = 0.3; };
""" % (store, more, lib.PATTERNS, ", ".join('"%s"' % r.registration for r in receivers),
                ",\n".join('  { name = "%s"; pack = "synapse"; timezone = "UTC";\n'
                           '    logs = ( { path = "%s"; start = "beginning"; } ); }'
                           % (log.server, log.path) for log in logs),
                queue or rng.choice((2000, 1000000)), keep))

    def start(self):
        self.begun_at = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        self.trouble = (self.control.get("error") != 0 or self.control.get("short_of") != 0 or
                        self.troubled())
        self.lives += 1
        env = dict(os.environ, LD_PRELOAD=SHIM, HEARSAY_FAULTS_CONTROL=self.control.path,
                   HEARSAY_FAULTS_STORE=self.store)
        # The shim stands before the sanitizers' library, which is no fault here.
        env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        with open(self.log, "ab") as stderr:
            self.process = subprocess.Popen([lib.HEARSAY, "run", "-c", self.config], env=env,
                                            stdin=subprocess.DEVNULL, stderr=stderr)

    def running(self):
        return self.process is not None and self.process.poll() is None

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            f.seek(self.begun_at)
            return f.read()

    def started(self):
        return "started, config=" in self.said()

    def tend(self):
        """Start it again where it ended; an end of its own is a fault of hearsay."""
        if self.running():
            return
        if self.process is not None:
            status = self.process.returncode
            if status not in (-signal.SIGKILL, 137) and (self.started() or not self.trouble):
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
        elif status not in (0, 1, 137) and self.said():  # else it was not in main() yet
            self.bad.append("SIGTERM ended %s with %d: %s"
                            % (self.name, status, self.said()[-1500:]))
        elif status == 1 and not self.trouble:
            self.bad.append("SIGTERM ended %s with 1, though its store was well: %s"
                            % (self.name, self.said()[-1500:]))
        self.process = None
        return status

    def status(self):
        out = lib.hearsay("status", "-c", self.config, "--json")
        return json.loads(out.stdout) if out.stdout else {}

    def heal(self):
        self.control.set(at=0, error=0, short_of=0, clock_ms=0)


# ---- the whole -------------------------------------------------------------------


class Folder(lib.Folder):
    """Kept where the run failed, if that is asked for."""

    def __init__(self):
        self.bad = False

    def __exit__(self, *unused):
        if self.bad and os.environ.get("HEARSAY_FAULTS_KEEP"):
            print("# kept: " + self.path, flush=True)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


class Harness:
    """
    Receivers: one is fast, one hangs, one answers 500, one is gone, one does all
    that receivers do.  A harness has nodes, and faults by name; each fault is a
    function of a node.
    """

    late_is_wrong = True  # an id that comes again behind later ones

    def __init__(self, tap, folder, seconds):
        self.tap, self.folder, self.seconds = tap, folder, seconds
        self.rng = lib.seeded(tap)
        self.counts = collections.Counter()
        self.cycles = 0
        self.bad = []
        self.nodes = []
        self.receivers = [Receiver(name, folder, TYPES, random.Random(self.rng.random()))
                          for name in ("fast", "hanging", "failing", "absent", "mixed")]
        self.receivers[4].mode = "mixed"

    def node(self, name, store, servers, seconds, **more):
        logs = [Log(self.folder, s, self.rng.random(), seconds) for s in servers]
        node = Node(self.folder, name, store, logs, self.receivers, self.rng, **more)
        self.nodes.append(node)
        return node

    # ---- faults of every store

    def kill(self, node):
        time.sleep(self.rng.random() * 0.15)
        node.kill()

    def term(self, node):
        node.terminate()

    def stop(self, node):
        """It stands still, as a machine that is moved does."""
        node.process.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.random() * 2)
        node.process.send_signal(signal.SIGCONT)

    def rotate(self, node):
        log = self.rng.choice(node.logs)
        if log.rotations % 10 == 9:
            logs = node.status().get("logs", [])
            if logs and all(entry["behind"] == 0 for entry in logs):
                log.forget()
        log.rotate_next = self.rng.choice(("rename", "late"))

    def rotate_unseen(self, node):
        """It is dead while its logs go on, and are rotated more than once."""
        node.kill()
        for _ in range(self.rng.randint(1, 3)):
            log = self.rng.choice(node.logs)
            log.rotate_next = self.rng.choice(("rename", "late"))
            time.sleep(self.rng.random() * 0.5)

    def move(self, _node):
        """An appservice gets another url; what waits goes there."""
        for node in self.nodes:
            node.kill()
        self.rng.choice(self.receivers).move()

    def clock(self, node):
        seconds = self.rng.choice((0, 0, 1, -1, 90, -90, 3700, -3700, 86400, -86400,
                                   9 * 86400, -9 * 86400, 400 * 86400, -400 * 86400))
        node.control.set(clock_ms=seconds * 1000 + self.rng.randint(-999, 999))

    def receiver(self, _node):
        _, hanging, failing, absent, mixed = self.receivers
        one, modes = self.rng.choice((
            (hanging, ("hang", "take, hang", "take")), (failing, ("500", "500", "take")),
            (absent, ("gone", "gone", "take")),
            (mixed, ("mixed", "mixed", "take, cut", "take slowly", "401", "429", "503"))))
        one.set(self.rng.choice(modes))
        self.counts["receiver " + one.name + ": " + one.mode] += 1

    def by_hand(self, node):
        one = self.rng.choice(self.receivers).name
        if self.rng.random() < 0.5:
            lib.hearsay("queue", "retry", "-c", node.config, one)
        else:
            lib.hearsay("queue", "hold", "-c", node.config, one)
            # Where the store fails at that moment it stays on hold, until settle().
            lib.hearsay("queue", "release", "-c", node.config, one)

    # ---- the run

    def run(self, faults):
        """faults: (weight, name, function)."""
        weights = [w for w, _, _ in faults]
        if not os.path.exists(SHIM):  # a preload that is missing is only warned of
            raise FileNotFoundError(SHIM)
        for node in self.nodes:
            node.start()
            for log in node.logs:
                log.thread.start()
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            _, name, function = self.rng.choices(faults, weights)[0]
            node = self.rng.choice(self.nodes)
            node.tend()
            function(node)
            self.counts[name] += 1
            self.cycles += 1
            for each in self.nodes:
                each.tend()
            time.sleep(self.rng.random() * 0.2)
        self.settle()

    def settle(self):
        """Heal all, and wait until everything arrived or nothing moves any more."""
        healed = time.monotonic()
        for node in self.nodes:
            node.heal()
            for log in node.logs:
                log.ends.set()
        for receiver in self.receivers:
            receiver.set("take")
        for node in self.nodes:
            for log in node.logs:
                log.thread.join()
        self.release_all()
        self.want = {log.server: log.events() for node in self.nodes for log in node.logs}
        total = sum(len(events) for events in self.want.values())
        last, seen = time.monotonic(), None
        while any(r.count() < total for r in self.receivers):
            for node in self.nodes:
                node.tend()
            now = [r.count() for r in self.receivers]
            if now != seen:
                seen, last = now, time.monotonic()
            if time.monotonic() - last > SETTLE:
                self.bad.append("stuck: of %d events the receivers have %s" % (total, now))
                break
            time.sleep(0.05)
        self.tap.say("%.1f s from the healing, with what was written meanwhile, to the end" % (time.monotonic() - healed))

    def release_all(self):
        node = self.nodes[0]
        node.tend()
        lib.wait_for(node.started, "the last start")
        for receiver in self.receivers:
            lib.hearsay("queue", "release", "-c", node.config, receiver.name)

    # ---- what came of it

    def judge(self):
        tap = self.tap
        total = sum(len(events) for events in self.want.values())
        lost = repeated = 0
        good = tap.ok(total > 0, "%d events in %d cycles of faults" % (total, self.cycles))
        for receiver in self.receivers:
            one = self.judge_one(receiver)
            lost, repeated, good = lost + one[0], repeated + one[1], good and one[2]
        for node in self.nodes:
            self.bad += node.bad
        good &= tap.ok(not self.bad, "no hearsay ended by itself, or was stuck", self.bad)
        good &= self.judge_state()
        self.table(total, lost, repeated)
        self.folder.bad = not good
        if not good:
            for node in self.nodes:
                tap.say(node.said()[-3000:])

    def judge_one(self, receiver):
        tap, name = self.tap, receiver.name
        got = [lib.same(e) for e in receiver.events()]
        by_server = collections.defaultdict(list)
        for event in got:
            user = json.loads(event[1])["user_id"]
            by_server[user.partition(":")[2]].append(event)
        want = collections.Counter(e for events in self.want.values() for e in events)
        have = collections.Counter(got)
        missing, more = want - have, have - want
        good = tap.ok(not missing, name + ": took every event", list(missing)[:5])
        good &= tap.ok(not more, name + ": none in two transactions, none but these",
                       list(more)[:5])
        good &= tap.ok(all(by_server[s] == events for s, events in self.want.items()),
                       name + ": in the order of each log")
        good &= tap.ok(all(len(h) == 1 for h in receiver.hashes.values()),
                       name + ": each of %d ids has one body" % len(receiver.hashes))
        late = receiver.late if self.late_is_wrong else 0
        good &= tap.equal((receiver.wrong, late), ([], 0),
                          name + ": nothing that no sender may do; no id behind later ones")
        return sum(missing.values()), sum(more.values()), good

    def judge_state(self):
        """Nothing waits any more, as status says; and the end is clean."""
        good = True
        for node in self.nodes:
            try:
                lib.wait_for(lambda: all(q["waiting"] == 0 and q["dead_letters"] == 0
                                         for q in node.status()["appservices"]), "empty queues")
                state = []
            except TimeoutError:
                state = node.status()["appservices"]
            good &= self.tap.ok(not state, node.name + ": nothing waits, nothing is set aside",
                                state)
        for node in self.nodes:
            good &= self.tap.equal(node.terminate(), 0, node.name + ": SIGTERM ends it cleanly")
        return good

    def table(self, total, lost, repeated):
        rows = [("fault", "times")] + sorted(self.counts.items())
        calls = sum(n.control.get("failed") for n in self.nodes)
        rows += [("calls of the disk that failed", calls),
                 ("ended inside a call of the disk",
                  sum(n.control.get("ended") for n in self.nodes)),
                 ("rotations", sum(l.rotations for n in self.nodes for l in n.logs)),
                 ("lives of hearsay", sum(n.lives for n in self.nodes))]
        done = collections.Counter()
        for receiver in self.receivers:
            done.update(receiver.done)
        rows += [("answer: " + way, n) for way, n in sorted(done.items())]
        rows += [("transactions sent again after they were taken",
                  sum(r.repeated for r in self.receivers)),
                 ("of these, behind later ones", sum(r.late for r in self.receivers)),
                 ("cycles", self.cycles), ("events told", total),
                 ("deliveries", total * len(self.receivers)),
                 ("lost", lost), ("repeated", repeated)]
        for name, count in rows:
            self.tap.say("%-50s %8s" % (name, count))
