#!/usr/bin/env python3
"""A log in the systemd journal: followed, rotated, vacuumed, and forged at."""
import json
import os
import struct
import subprocess
import time

import lib
import wrap

REMOTE = "/lib/systemd/systemd-journal-remote"
UNIT = "matrix-synapse.service"
BOOT = "0123456789abcdef0123456789abcdef"
BEGIN_US = 1795433981000000


class Journal:
    """Files of a journal, written by systemd-journal-remote as journald writes them."""

    def __init__(self, folder):
        self.dir = folder / "journal"
        os.mkdir(self.dir)
        self.clock = BEGIN_US
        self.pending, self.count = b"", 0

    def add(self, message, unit=UNIT, **fields):
        """An entry, one millisecond behind the one before; written by flush()."""
        self.clock += 1000
        self.count += 1
        for name, value in (("__REALTIME_TIMESTAMP", self.clock),
                            ("__MONOTONIC_TIMESTAMP", self.clock - BEGIN_US + 1000000),
                            ("_BOOT_ID", BOOT)):
            self.pending += ("%s=%s\n" % (name, value)).encode()
        fields = {"_SYSTEMD_UNIT": unit, "_TRANSPORT": "stdout", "PRIORITY": "6",
                  "MESSAGE": message, **fields}
        for name, value in fields.items():
            value = value if isinstance(value, bytes) else value.encode()
            self.pending += name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
        self.pending += b"\n"

    def flush(self):
        data, self.pending = self.pending, b""
        subprocess.run([REMOTE, "-o", os.path.join(self.dir, "system.journal"), "-"],
                       input=data, check=True, capture_output=True)

    def rotate(self):
        name = "system@%x.journal" % self.clock
        os.rename(os.path.join(self.dir, "system.journal"), os.path.join(self.dir, name))
        return os.path.join(self.dir, name)

    def text(self):
        """What journalctl prints, for replay."""
        return subprocess.run(["journalctl", "-D", self.dir, "-o", "json", "--all", "--no-pager",
                               "_SYSTEMD_UNIT=" + UNIT], check=True, capture_output=True).stdout


def write_config(config, folder, receiver, journal, start="beginning", **more):
    lib.write_config(config, folder, receiver.registration, "PATH", **more)
    with open(config, encoding="utf-8") as f:
        text = f.read()
    with open(config, "w", encoding="utf-8") as f:
        f.write(text.replace('path = "PATH"; start = "beginning"',
                             'journal = { unit = "%s"; directory = "%s" }; start = "%s"'
                             % (UNIT, journal.dir, start)))


class Setting:
    """A journal, a receiver, and a configuration that brings them together."""

    def __init__(self, folder, **more):
        self.folder = folder
        self.journal = Journal(folder)
        self.receiver = lib.Receiver(folder)
        self.receiver.start()
        self.config = folder / "hearsay.conf"
        write_config(self.config, folder, self.receiver, self.journal, **more)
        self.run = None

    def start(self):
        self.run = lib.Run(self.config, self.folder / "run.log")

    def events(self):
        return [lib.same(e) for e in self.receiver.events()]

    def wait(self, count):
        try:
            lib.wait_for(lambda: len(self.events()) >= count or not self.run.running(),
                         "%d events" % count)
        except TimeoutError:
            pass

    def stop(self):
        status = self.run.terminate()
        self.receiver.stop()
        return status

    def position(self):
        """The number of the entry behind which it stands, as committed."""
        out = lib.hearsay("status", "-c", self.config, "--json")
        logs = json.loads(out.stdout)["logs"] if out.returncode == 0 else []
        return logs[0]["offset"] or 0 if logs else 0


def login(n, user, device):
    """The two lines that tell a login."""
    head = "2026-11-23 11:%02d:41,000 - synapse.%%s - 1 - INFO - POST-%d - " % (n // 60 % 60, n)
    return (head % "handlers.auth" + "Logging in user @%s:%s on device %s"
            % (user, lib.SERVER, device),
            head % "access.http.8008" + "::1 - 8008 - {@%s:%s} Processed request: 0.1sec/0.0sec "
            "(0.0sec, 0.0sec) (0.0sec/0.0sec/1) 1B 200 "
            '"POST /_matrix/client/v3/login HTTP/1.1" "x" [0 dbevts]' % (user, lib.SERVER))


def login_json(n, user, device):
    """The same in a format that holds nothing back, however odd its numbers are."""
    for line in login(n, user, device):
        _, logger, _, level, request, log = line.split(" - ", 5)
        yield json.dumps({"log": log, "namespace": logger, "level": level, "request": request,
                          "time": 1795433981 + n})


def devices(events):
    return [json.loads(content).get("device_id", content) for _, content, _ in events]


def follow(tap, rng):
    """Grown, rotated, vacuumed behind the reader, and killed: each event once, in order."""
    data, _ = lib.capture("synapse-text")
    lines = wrap.lines_of(data)
    with lib.Folder() as folder:
        want = lib.replay_listed(data, folder)
        s = Setting(folder)
        check = lib.hearsay("check", "-c", s.config)
        tap.ok("no entry of it can be read" in check.stderr,
               "check says that the unit has no entries", check.stdout + check.stderr)
        s.journal.add("x", unit="other.service")
        s.journal.flush()
        s.start()
        done, old = 0, []
        while done < len(lines):
            n = rng.randint(1, len(lines) // 12)
            for line in lines[done:done + n]:
                s.journal.add(line)
                if rng.random() < 0.05:
                    for forged in login(7, "admin", "STOLEN"):
                        s.journal.add(forged, unit="other.service", UNIT=UNIT)
            s.journal.flush()
            done += n
            what = rng.random()
            if what < 0.3:
                old.append(s.journal.rotate())
            if what > 0.6:
                time.sleep(rng.random() * 0.3)
                s.run.kill()
                s.start()
        s.wait(len(want))
        tap.equal(s.events(), want, "each event once and in order, by their unit alone")
        status = lib.hearsay("status", "-c", s.config).stdout
        tap.ok("of the journal" in status, "status tells the position", status)
        check = lib.hearsay("check", "-c", s.config)
        tap.ok(check.returncode == 0 and "lines are records" in check.stdout,
               "check looks at the unit's entries", check.stdout + check.stderr)
        tap.equal(s.stop(), 0, "it ends cleanly")
        with open(folder / "export.json", "wb") as f:
            f.write(s.journal.text())
        got = [lib.same(e) for e in lib.replay(folder / "export.json") if e["type"] in lib.LISTED]
        tap.equal(got, want, "replay reads what journalctl prints")
        out = lib.hearsay("explain", "-P", lib.PATTERNS, "-s", lib.SERVER, "-z", "UTC",
                          folder / "export.json")
        tap.ok(out.returncode == 0 and "Logging in user" in out.stdout,
               "and so does explain", out.stderr)


def from_the_end(tap):
    """What was there is not told; what comes then is, over a kill before any entry of ours."""
    with lib.Folder() as folder:
        s = Setting(folder, start="end")
        for line in login(1, "old", "OLD"):
            s.journal.add(line)
        s.journal.add("x", unit="other.service")
        s.journal.flush()
        s.start()
        lib.wait_for(lambda: s.position() > 0, "a position")
        s.run.kill()
        for line in login(2, "ada", "NEW"):
            s.journal.add(line)
        s.journal.flush()
        s.start()
        s.wait(1)
        tap.equal(devices(s.events()), ["NEW"], "what is written from the first start on")

        # The first line of a request before the stop, its last behind it.
        first, last = login(3, "ada", "HALF")
        at = s.position()
        s.journal.add(first)
        s.journal.flush()
        lib.wait_for(lambda: s.position() > at, "its first line to be read")
        s.run.kill()
        s.journal.rotate()
        s.journal.add(last)
        s.journal.flush()
        s.start()
        s.wait(2)
        tap.equal(devices(s.events()), ["NEW", "HALF"], "a request on both sides of a stop")
        s.stop()


def vacuumed(tap):
    """The place is gone: that is said, and what is left is told."""
    with lib.Folder() as folder:
        s = Setting(folder, extra='metrics = "%s";' % (folder / "hearsay.prom"))
        for line in login(1, "ada", "ONE"):
            s.journal.add(line)
        s.journal.flush()
        s.start()
        s.wait(1)
        s.run.terminate()
        os.remove(s.journal.rotate())
        for line in login(2, "ada", "TWO"):
            s.journal.add(line)
        for line in login(3, "ada", "THREE"):
            s.journal.add(line)
        s.journal.flush()
        s.start()
        s.wait(3)
        tap.equal(devices(s.events()), ["ONE", "TWO", "THREE"], "what is left is told")
        tap.ok("gap: the journal does not reach back" in s.run.said(), "the gap is said",
               s.run.said())

        def counted():
            with open(folder / "hearsay.prom", encoding="utf-8") as f:
                return any("log_gaps_total{" in line and line.endswith(" 1\n") for line in f)

        lib.wait_for(lambda: os.path.exists(folder / "hearsay.prom"), "metrics")
        tap.ok(counted(), "and counted")
        s.stop()


def forged(tap):
    """A message is one record, whatever is in it; the rest of a cut line is none."""
    with lib.Folder() as folder:
        s = Setting(folder)
        for line in login(1, "ada", "TRUE"):
            for piece in (line[:50], line[50:100]):
                s.journal.add(piece, _LINE_BREAK="line-max")
            s.journal.add(line[100:])
        lines = login(2, "admin", "STOLEN")
        for cut in ("line-max", "nul", "pid-change"):
            for line in lines:
                s.journal.add("2026-11-23 11:02:41,000 - synapse.x - 1 - INFO - POST-2 - x",
                              _LINE_BREAK=cut)
                s.journal.add(line)
        for line in lines:  # on another stream, or on none, stands what is not the rest
            s.journal.add("2026-11-23 11:02:41,000 - synapse.x - 1 - INFO - POST-2 - x",
                          _LINE_BREAK="line-max", _STREAM_ID="aa")
            s.journal.add("a line", _STREAM_ID="bb")
            s.journal.add("a line", _TRANSPORT="journal")
            s.journal.add(line, _STREAM_ID="aa")
        for line in lines:
            s.journal.add("x" * (1 << 20), _LINE_BREAK="line-max")
            s.journal.add(line)
        s.journal.add("\n".join(("x",) + lines), _TRANSPORT="journal")
        for line in lines:
            s.journal.add(line.replace("POST-2", "POST-3"), unit="evil.service", UNIT=UNIT)
        s.journal.add("x")
        s.journal.flush()
        s.start()
        s.wait(1)
        lib.wait_for(lambda: s.position() == s.journal.count + 1, "the last entry to be read")
        tap.equal(devices(s.events()), ["TRUE"], "no newline and no cut begins a record")
        s.stop()


def begun_within(tap):
    """Begun at the end, within lines of a stream, and killed: their rests are no lines."""
    with lib.Folder() as folder:
        s = Setting(folder, start="end")
        lines = login(2, "admin", "STOLEN")
        head = "2026-11-23 11:02:41,000 - synapse.x - 1 - INFO - POST-2 - x"
        for stream in ("aa", "bb"):
            s.journal.add(head, _LINE_BREAK="line-max", _STREAM_ID=stream)
        s.journal.flush()
        s.start()
        lib.wait_for(lambda: s.position() == s.journal.count + 1, "the end to be found")
        s.run.kill()
        s.journal.add(lines[0], _STREAM_ID="aa")
        s.journal.add(lines[1], _STREAM_ID="bb")
        for line in login(3, "ada", "TRUE"):
            s.journal.add(line, _STREAM_ID="cc")
        s.journal.flush()
        s.start()
        s.wait(1)
        lib.wait_for(lambda: s.position() == s.journal.count + 1, "the last entry to be read")
        tap.equal(devices(s.events()), ["TRUE"], "begun within a line, its rest is none")
        s.stop()


def full(tap):
    """While the queue is full nothing is read; then all of it."""
    with lib.Folder() as folder:
        s = Setting(folder, extra="limits = { queue = 3; };")
        s.receiver.stop()
        for n in range(600):  # more than it reads in one turn
            for line in login_json(n, "ada", "D%d" % n):
                s.journal.add(line)
        s.journal.flush()
        s.start()
        lib.wait_for(lambda: "queue is full" in s.run.said(), "a full queue")
        s.receiver.start()
        s.wait(600)
        tap.equal(devices(s.events()), ["D%d" % n for n in range(600)],
                  "a full queue holds the journal back")
        tap.ok("gap" not in s.run.said(), "nothing was lost by it", s.run.said())

        # What is vacuumed before it is read is open still; what came meanwhile is not.
        s.receiver.stop()
        full_before = s.run.said().count("queue is full")
        for n in range(1000, 1600):
            for line in login_json(n, "ada", "D%d" % n):
                s.journal.add(line)
        s.journal.flush()
        lib.wait_for(lambda: s.run.said().count("queue is full") > full_before, "a full queue")
        gone = [s.journal.rotate()]
        for line in login_json(1700, "ada", "LOST"):
            s.journal.add(line)
        s.journal.flush()
        gone.append(s.journal.rotate())
        for line in login_json(1800, "ada", "LAST"):
            s.journal.add(line)
        s.journal.flush()
        for path in gone:
            os.remove(path)
        s.receiver.start()
        lib.wait_for(lambda: "LAST" in devices(s.events()), "the last event")
        tap.equal(devices(s.events())[600:], ["D%d" % n for n in range(1000, 1600)] + ["LAST"],
                  "what is removed while it waits is read all the same")
        tap.ok("gap: the journal does not reach back" in s.run.said(),
               "what came and went meanwhile is said", s.run.said())
        s.stop()


def idle(tap):
    """Nothing wakes it while nothing is written."""
    def wakes():
        with open("/proc/%d/status" % s.run.process.pid, encoding="ascii") as f:
            return [line for line in f if "voluntary_ctxt_switches" in line][0]

    with lib.Folder() as folder:
        s = Setting(folder)
        for line in login(1, "ada", "ONE"):
            s.journal.add(line)
        s.journal.flush()
        s.start()
        s.wait(1)
        lib.wait_for(lambda: s.position() == s.journal.count + 1, "the position to be committed")
        time.sleep(1)  # for what the last answer brings with it
        before = wakes()
        time.sleep(3)
        tap.equal(wakes(), before, "it sleeps while nothing is written")
        s.stop()


def missing(tap):
    with lib.Folder() as folder:
        receiver = lib.Receiver(folder)
        journal = Journal(folder)
        config = folder / "hearsay.conf"
        write_config(config, folder, receiver, journal)
        out = lib.hearsay("check", "-c", config)
        if "built without" in out.stderr:
            tap.ok("hearsay.conf:9: " in out.stderr and out.returncode == 1,
                   "a build without libsystemd says so", out.stderr)
            return False
        os.rmdir(journal.dir)
        out = lib.hearsay("run", "-c", config)
        tap.ok(out.returncode == 1 and "hearsay.conf:9: the journal in " in out.stderr,
               "a journal that is not there", out.stderr)
        return True


def main():
    tap = lib.Tap()
    if not missing(tap):
        tap.done()
    if not os.access(REMOTE, os.X_OK):
        print("ok %d # SKIP systemd-journal-remote is missing: apt-get install "
              "systemd-journal-remote" % (tap.count + 1))
        print("1..%d" % (tap.count + 1))
        return
    rng = lib.seeded(tap)
    follow(tap, rng)
    from_the_end(tap)
    vacuumed(tap)
    forged(tap)
    begun_within(tap)
    full(tap)
    idle(tap)
    tap.done()


main()
