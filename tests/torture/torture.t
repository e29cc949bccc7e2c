#!/usr/bin/env python3
"""Numbered lines through every kind of rotation, hearsay killed meanwhile.

A kind is a way to rotate a log.  For each, numbers are written, the log is
rotated, and hearsay is killed (-9), ended, stopped (SIGSTOP) and started again,
all at random moments; the numbers arrive at hearsay listen.  Each must arrive
once, and in order.  Where a tool loses lines by its nature (copytruncate, for
what is written between the copy and the truncation), exactly those numbers may
be missing that stand in no file any more: the harness keeps what the tool left
and looks.

    torture.t [--seconds N] [--seed N] [--kind NAME]... [--steps N] [--keep]

The time is shared among the kinds.  A failure names its seed and leaves behind
its folder, with the files as they were and, in script.txt, all that was done.
--seed, --kind and --steps do the same again; only the clock is another one.
"""
import argparse
import datetime
import gzip
import json
import lzma
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import lib  # noqa: E402

SECONDS = int(os.environ.get("HEARSAY_TORTURE_SECONDS", "60"))
TOLD = re.compile(rb"told at once: (\d+), (x+ )?and that is all$")
PATIENCE = 40  # seconds without a new number before it counts as lost
LEAD = 20000  # numbers that the writer is ahead of the reader at most
KEPT = 6  # older generations
LOGS = 40  # of a glob


class Failure(Exception):
    pass


# ---- One log and its writer ----------------------------------------------------


class Log:
    """A log at path, written by one server; number is the last one written."""

    def __init__(self, world, path, user):
        self.world, self.path, self.user, self.rng = world, path, user, world.rng
        self.number = 0
        self.eol = b"\n"
        self.head = b""  # of every file
        self.two_lines = True  # some numbers are told by two lines
        self.append = True
        self.open_number = None  # the second line of which is still to come
        self.rest = b""  # of a line that was begun
        self.file = None
        self.older = []  # (path without .gz, last number), oldest first
        self.copies = []  # every copy that a tool made
        self.lost = set()  # numbers of which a tool lost a line
        self.expected = []  # numbers in the order of their (last) lines
        self.stamp = 0
        self.dates = self.rng.choice(("%(path)s-%(date)s", "%(path)s.%(date)s",
                                      "%(stem)s-%(date)s%(dot)s"))
        self.numbered = self.rng.random() < 0.6  # or dated, never both
        world.logs.append(self)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.reopen()

    def reopen(self):
        if self.file is not None:
            os.close(self.file)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if self.append else 0)
        self.file = os.open(self.path, flags, 0o644)
        if self.head and os.fstat(self.file).st_size == 0:
            os.write(self.file, self.head)

    def line(self, context, message):
        now = datetime.datetime.now(datetime.timezone.utc)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (now.microsecond // 1000)
        return ("%s INFO torture[r-%d] %s" % (stamp, context, message)).encode() + self.eol

    def lines(self, count):
        """The lines of the next count numbers."""
        out, rng = [], self.rng
        for _ in range(count):
            dice = rng.random()
            if self.open_number is not None and (dice < 0.5 or not self.two_lines):
                out.append(self.line(self.open_number, "now it is told, and that is all"))
                self.expected.append(self.open_number)
                self.open_number = None
            self.number += 1
            if self.two_lines and self.open_number is None and dice < 0.2:
                self.open_number = self.number
                out.append(self.line(self.number, "@%s:%s begins to tell: %d, and that is all"
                                     % (self.user, lib.SERVER, self.number)))
                continue
            if dice < 0.3:
                out.append(b"  a line that belongs to the one before it" + self.eol)
            fill = ""
            if dice > 0.9:
                fill = "x" * int(10 ** (rng.random() * 4.3)) + " "
            self.expected.append(self.number)
            out.append(self.line(self.number, "@%s:%s told at once: %d, %sand that is all"
                                 % (self.user, lib.SERVER, self.number, fill)))
        return out

    def write(self, count, torn=False):
        """Write count numbers, in pieces of any size; torn: leave half a line."""
        first = self.number + 1
        data = self.rest + b"".join(self.lines(count))
        self.rest = b""
        if torn and len(data) > 2:
            at = data.rfind(self.eol, 0, len(data) - len(self.eol)) + len(self.eol)
            at = self.rng.randint(max(at, 1), len(data) - 1)
            data, self.rest = data[:at], data[at:]
        pieces = self.pieces(data)
        self.world.did("write %s %d-%d in %d pieces%s", self.user, first, self.number,
                       len(pieces), ", torn" if self.rest else "")
        for piece in pieces:
            self.put(piece)

    def pieces(self, data):
        rng = self.rng
        size = rng.choice((40, 400, 5000, 70000))
        if len(data) / size > 200:
            size = len(data) // 200
        out = []
        while data:
            n = rng.randint(1, 2 * size)
            out.append(data[:n])
            data = data[n:]
        return out

    def put(self, data):
        while data:
            data = data[os.write(self.file, data):]

    def burst(self):
        rng = self.rng
        count = int(10 ** (rng.random() * rng.choice((1, 2, 2.6))))
        self.write(count, torn=rng.random() < 0.3)

    def complete(self):
        """The line that was begun is ended."""
        self.put(self.rest)
        self.rest = b""

    def last(self):
        return self.expected[-1] if self.expected else 0

    # -- what a tool does to it

    def next_stamp(self):
        self.stamp += 1
        day = datetime.date(2026, 1, 1) + datetime.timedelta(days=self.stamp)
        return day.strftime("%Y%m%d")

    def shift(self):
        """log.1 becomes log.2, and so on; what is compressed keeps its ending."""
        folder, base = os.path.split(self.path)
        numbers = {}
        for name in os.listdir(folder):
            if not name.startswith(base + "."):
                continue
            number, _, ending = name[len(base) + 1:].partition(".")
            if number.isdigit():
                numbers[int(number)] = "." + ending if ending else ""
        for n in sorted(numbers, reverse=True):
            os.rename("%s.%d%s" % (self.path, n, numbers[n]),
                      "%s.%d%s" % (self.path, n + 1, numbers[n]))
        renamed = []
        for path, last in self.older:
            stem, _, number = path.rpartition(".")
            if stem == self.path and number.isdigit() and len(number) < 6:
                path = "%s.%d" % (stem, int(number) + 1)
            renamed.append((path, last))
        self.older = renamed
        return self.path + ".1"

    def rotated(self, path):
        """An older file ends with the last number, or has one that is still open."""
        self.older.append((path, self.open_number or self.last()))

    def is_open(self, number):
        return number == self.open_number or (self.rest and number == self.last())

    def prune(self):
        """Old generations go, once what is in them was told."""
        while len(self.older) > KEPT and self.world.up():
            path, last = self.older[0]
            if self.is_open(last):
                return
            self.world.wait_told(self, last)
            for ending in ("", ".gz", ".zst", ".xz"):
                if os.path.exists(path + ending):
                    self.world.did("delete %s", path + ending)
                    os.unlink(path + ending)
            self.older.pop(0)


# ---- hearsay, and what arrives ---------------------------------------------------


class World:
    """hearsay run, hearsay listen, logs, and the book of what was done."""

    def __init__(self, folder, rng, where, begin="beginning"):
        self.folder, self.rng, self.where, self.begin = folder, rng, where, begin
        self.logs = []
        self.began = time.monotonic()
        self.script = open(folder / "script.txt", "w", encoding="utf-8", buffering=1)
        self.did("seconds since %.3f", time.time())
        self.rotations = self.kills = self.stops = self.ends = 0
        self.run = None
        self.stopped = False
        self.kills_allowed = True
        self.got = {}  # user: numbers in the order of arrival
        self.seen = {}  # and as a set
        self.config = folder / "hearsay.conf"
        self.receiver = lib.Receiver(folder, types=("m.user.login",), on_event=self.take)
        self.receiver.start()
        self.configure()

    def configure(self):
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("""store = "%s";
patterns = [ "%s" ];
registrations = [ "%s" ];
servers = ( { name = "%s"; pack = "torture"; timezone = "UTC";
              logs = ( { path = "%s"; start = "%s"; } ); } );
""" % (self.folder / "hearsay.db", os.path.join(HERE, "pack"), self.receiver.registration,
                lib.SERVER, self.where, self.begin))

    def did(self, text, *args):
        text = text % args if args else text
        self.script.write("%.3f %s\n" % (time.monotonic() - self.began, text))

    def take(self, event):
        content = event["content"]
        user = content["user_id"].split(":")[0][1:]
        number = int(content["device_id"])
        self.got.setdefault(user, []).append(number)
        self.seen.setdefault(user, set()).add(number)

    # -- the process

    def up(self):
        return self.run is not None and not self.stopped

    def start(self):
        self.did("start")
        self.run = lib.Run(self.config, self.folder / "run.log")

    def wait_followed(self):
        lib.wait_for(lambda: "started" in self.run.said(), "the start")

    def kill(self):
        if self.run is None:
            return
        self.did("kill")
        if self.run.kill() != -9:
            raise Failure("hearsay had ended by itself")
        self.kills += 1
        self.run, self.stopped = None, False

    def end(self):
        if not self.up():
            return
        self.did("end")
        status = self.run.terminate()
        # SIGTERM may come before there is anything that could catch it.
        if status not in (0, -signal.SIGTERM):
            raise Failure("hearsay ended with %d at SIGTERM" % status)
        self.ends += 1
        self.run = None

    def stop(self):
        self.did("stop")
        self.run.process.send_signal(signal.SIGSTOP)
        self.stops += 1
        self.stopped = True

    def recover(self):
        """hearsay runs and is not stopped."""
        if self.run is None:
            self.start()
        if self.stopped:
            self.did("continue")
            self.run.process.send_signal(signal.SIGCONT)
            self.stopped = False

    def strike(self):
        """Something happens to hearsay, or nothing does."""
        dice = self.rng.random()
        pause = self.rng.random() ** 3 * 0.15
        if self.run is None:
            if dice < 0.4:
                self.start()
        elif self.stopped:
            if dice < 0.5:
                self.recover()
            elif dice < 0.6 and self.kills_allowed:
                self.kill()
        elif dice < 0.06 and self.kills_allowed:
            time.sleep(pause)
            self.kill()
        elif dice < 0.15 and self.kills_allowed:
            time.sleep(pause)
            self.kill()
            self.start()
        elif dice < 0.17 and self.kills_allowed:
            self.end()
        elif dice < 0.22:
            self.stop()

    # -- what arrived

    def numbers(self, log):
        return self.got.get(log.user, [])

    def wait_told(self, log, number):
        """Until number, or a later one, has arrived; hearsay must be running."""
        self.recover()
        while number in log.lost:
            before = log.expected[:log.expected.index(number)]
            number = before[-1] if before else 0
        count, since = -1, time.monotonic()
        while True:
            got = self.numbers(log)
            if self.reached(log, number):
                return
            if len(got) != count:
                count, since = len(got), time.monotonic()
            if not self.run.running():
                raise Failure("hearsay ended by itself")
            if time.monotonic() - since > PATIENCE:
                raise Failure("%s: waited for %d in vain, the last is %s"
                              % (log.user, number, got[-1] if got else None))
            time.sleep(0.003)

    def reached(self, log, number):
        return number == 0 or number in self.seen.get(log.user, ())

    def settle(self):
        for log in self.logs:
            log.complete()
            self.wait_told(log, log.last())

    def check(self):
        """(lost, repeated, other) of each log."""
        lost = repeated = 0
        wrong = []
        for log in self.logs:
            got = list(self.numbers(log))
            seen = set(got)
            missing = [n for n in log.expected if n not in seen and n not in log.lost]
            again = len(got) - len(seen)
            lost += len(missing)
            repeated += again
            if missing:
                wrong.append("%s: %d lost: %s" % (log.user, len(missing), missing[:20]))
            if again:
                twice = sorted({n for i, n in enumerate(got) if n in set(got[:i])})[:20] \
                    if len(got) < 20000 else "many"
                wrong.append("%s: %d repeated: %s" % (log.user, again, twice))
            # What a tool tore from its line's end may be told when its file is given up.
            got = [n for n in got if n not in log.lost]
            order = [n for n in log.expected if n in seen and n not in log.lost]
            if not missing and not again and got != order:
                at = next(i for i, pair in enumerate(zip(got, order)) if pair[0] != pair[1])
                wrong.append("%s: out of order: %s instead of %s"
                             % (log.user, got[at:at + 5], order[at:at + 5]))
        return lost, repeated, wrong

    def close(self):
        if self.run is not None:
            self.run.kill()
        if self.receiver.program is not None:
            self.receiver.stop()
        self.script.close()


# ---- Kinds -------------------------------------------------------------------------
#
# Each is called with the world's log when it is time to rotate.


def rename(log):
    """rename and create, by the server itself"""
    log.complete()
    to = log.shift()
    log.world.did("rename to .1, create")
    os.rename(log.path, to)
    log.rotated(to)
    log.reopen()


def late(log):
    """rename and create; the server writes on into the old file"""
    to = log.shift()
    log.world.did("rename to .1%s", ", create" if log.rng.random() < 0.5 else "")
    os.rename(log.path, to)
    if log.rng.random() < 0.5:
        os.close(os.open(log.path, os.O_WRONLY | os.O_CREAT, 0o644))
    for _ in range(log.rng.randint(0, 3)):
        log.burst()
        log.world.strike()
        time.sleep(log.rng.random() * 0.005)
    log.complete()
    log.rotated(to)
    log.reopen()


def generations(log):
    """several generations while hearsay is down"""
    if log.rng.random() < 0.3:
        log.world.kill()
    for _ in range(log.rng.randint(1, 4)):
        rename(log)
        log.world.rotations += 1
        log.write(log.rng.randint(1, 300))
    rename(log)


def dated(log):
    """dated names"""
    log.complete()
    stem, dot = os.path.splitext(log.path)
    to = log.dates % {"path": log.path, "stem": stem, "dot": dot, "date": log.next_stamp()}
    log.world.did("rename to %s, create", to)
    os.rename(log.path, to)
    log.rotated(to)
    log.reopen()


def copy_file(source, to, rng, sparse=False):
    """As cp does: in pieces, the copy growing."""
    with open(source, "rb") as f, open(to, "wb") as out:
        while True:
            data = f.read(rng.choice((4096, 65536, 1 << 20)))
            if not data:
                break
            if sparse and not data.strip(b"\0"):
                out.seek(len(data), os.SEEK_CUR)
            else:
                out.write(data)
        out.truncate(out.tell())


def copytruncate(log, between=None, sparse=False):
    """copied and truncated, the writer held meanwhile"""
    to = log.shift()
    log.world.did("copy to .1")
    copy_file(log.path, to, log.rng, sparse)
    if log.rng.random() < 0.3:
        log.world.strike()
    if between:
        between()
    log.world.did("truncate")
    os.truncate(log.path, 0)
    log.complete()
    log.rotated(to)


def copytruncate_held(log):
    """copied and truncated while the writer is held"""
    log.complete()
    copytruncate(log)


def copytruncate_race(log):
    """copied and truncated, with lines written in between"""
    keep = {}

    def between():
        # What is written now stands in no file once the tool has truncated this one.
        keep["end"] = os.path.getsize(log.path)
        keep["from"] = len(log.expected)
        log.complete()
        if log.rng.random() < 0.8:
            log.write(log.rng.randint(1, 60))
        if log.rng.random() < 0.5:
            time.sleep(log.rng.random() * 0.02)
        log.complete()
        with open(log.path, "rb") as f:
            f.seek(keep["end"])
            keep["gone"] = f.read()

    torn = bool(log.rest)
    copytruncate(log, between)
    # Of the line that was torn when the copy was made, the copy has the first half.
    gone = set(log.expected[keep["from"]:])
    if torn and keep["from"] > 0:
        gone.add(log.expected[keep["from"] - 1])
    log.lost |= stands_nowhere(log, gone)


def stands_nowhere(log, numbers):
    """Those of the numbers whose line stands in no file of the log, whole and ended."""
    whole = set()
    for path in (log.path + ".1", log.path):
        with open(path, "rb") as f:
            for line in f.read().split(b"\n")[:-1]:
                told = TOLD.search(line)
                if told:
                    whole.add(int(told.group(1)))
    return set(numbers) - whole


def sparse(log):
    """copytruncate, and the server goes on at its old offset: a run of NUL"""
    log.complete()
    copytruncate(log, sparse=log.rng.random() < 0.5)


def compress(log, path, ending, keep_time=True):
    """As gzip does: beside the file, which is removed at the end."""
    log.world.did("compress %s to %s", path, ending)
    st = os.stat(path)
    out = path + ending
    with open(path, "rb") as f:
        data = f.read()
    if ending == ".gz":
        data = gzip.compress(data, 1)
    elif ending == ".xz":
        data = lzma.compress(data, preset=0)
    else:
        data = subprocess.run(["zstd", "-q", "-1", "-c"], input=data, check=True,
                              stdout=subprocess.PIPE).stdout
    with open(out, "wb", buffering=0) as f:
        while data:
            n = log.rng.randint(1, max(1, len(data)))
            f.write(data[:n])
            data = data[n:]
            if log.rng.random() < 0.3:
                log.world.strike()
    if keep_time:
        os.utime(out, ns=(st.st_atime_ns, st.st_mtime_ns))
    os.unlink(path)


def compressed(ending):
    def rotate(log):
        """older generations compressed, at once or one rotation later"""
        delayed = log.rng.random() < 0.6
        if delayed and os.path.exists(log.path + ".1"):
            compress(log, log.path + ".1", ending)
        rename(log)
        log.burst()
        if not delayed:
            compress(log, log.path + ".1", ending)
    return rotate


def deletion(log):
    """each old generation deleted as soon as it was read"""
    log.complete()
    if log.open_number is not None:
        log.write(1)
    to = log.shift()
    log.world.did("rename to .1, create")
    os.rename(log.path, to)
    log.rotated(to)
    log.reopen()
    if log.rng.random() < 0.5:
        log.burst()
    for path, last in log.older:
        log.world.wait_told(log, last)
        log.world.did("delete %s", path)
        os.unlink(path)
    log.older = []


def directory(log):
    """the directory moved away and made again"""
    world, rng = log.world, log.rng
    log.complete()
    log.write(1)
    # Who has not opened the file yet can't find it in a directory of another name.
    world.wait_told(log, log.last())
    world.kills_allowed = False
    log.burst()
    folder = os.path.dirname(log.path)
    old = folder + ".old%d" % world.rotations
    world.did("move %s to %s", folder, old)
    os.rename(folder, old)
    if rng.random() < 0.5:
        log.burst()
        log.complete()
    log.complete()
    if rng.random() < 0.3:
        time.sleep(rng.random() * 0.02)
    last = log.last()
    os.mkdir(folder)
    log.reopen()
    log.burst()
    world.wait_told(log, last)
    world.kills_allowed = True
    log.older = []
    shutil.rmtree(old)


def link(log):
    """a link to a link to the log, led to another file, in another directory or not"""
    world, rng = log.world, log.rng
    log.complete()
    if rng.random() < 0.5:
        real = os.path.realpath(log.path)
        to = real + "." + log.next_stamp()
        world.did("rename the target to %s, create", to)
        os.rename(real, to)
        log.rotated(to)
        log.reopen()
        return
    # Of a target that was never seen nobody knows.
    log.write(1)
    world.wait_told(log, log.last())
    log.burst()
    log.complete()
    if rng.random() < 0.5:
        world.strike()
    retarget(log)
    log.reopen()
    # What was never followed can't be found behind the next target.
    log.write(1)
    if rng.random() < 0.5:
        world.strike()
    world.wait_told(log, log.last())


def retarget(log):
    world, rng = log.world, log.rng
    log.stamp += 1
    base = world.folder / "data"
    folder = os.path.join(base, rng.choice(("a", "b", "c")))
    middle = os.path.join(base, "middle-log")
    target = os.path.join(folder, "%d.log" % log.stamp)
    world.did("lead the link to %s", target)
    os.makedirs(folder, exist_ok=True)
    open(target, "xb").close()
    os.symlink(target, middle + ".new")
    os.rename(middle + ".new", middle)
    if not os.path.islink(log.path):
        os.symlink(middle, log.path + ".new")
        os.rename(log.path + ".new", log.path)


def inode(log):
    """the log deleted and made until its inode number is the same"""
    log.complete()
    log.write(1)
    log.world.wait_told(log, log.last())
    before = os.stat(log.path).st_ino
    os.close(log.file)
    log.file = None
    os.unlink(log.path)
    same, others = False, []
    for _ in range(20):
        fd = os.open(log.path, os.O_WRONLY | os.O_CREAT, 0o644)
        same = os.fstat(fd).st_ino == before
        os.close(fd)
        if same:
            break
        others.append(log.path + "-spare%d" % len(others))
        os.rename(log.path, others[-1])
    log.reopen()
    log.world.did("deleted and made again, the inode is %s", "the same" if same else "another")
    for path in others:
        os.unlink(path)


def three_pieces(log):
    """a line in three pieces over some time, rotated behind it"""
    log.complete()
    data = b"".join(log.lines(1))
    a, b = sorted((log.rng.randint(0, len(data)), log.rng.randint(0, len(data))))
    log.world.did("write %d in three pieces", log.number)
    for piece in (data[:a], data[a:b], data[b:]):
        log.put(piece)
        log.world.strike()
        time.sleep(log.rng.random() * 0.15)
    log.rng.choice((rename, copytruncate_held))(log)


def long_line(log):
    """a line longer than 1 MiB in between"""
    log.complete()
    size = log.rng.choice((1 << 20, 1 << 21, 5 << 20)) + log.rng.randint(-100, 100)
    log.world.did("write a line of %d bytes", size)
    while size > 0:
        n = min(size, log.rng.randint(1, 1 << 20))
        log.put(b"y" * n)
        size -= n
        log.world.strike()
    log.put(log.eol)
    log.rng.choice((rename, copytruncate_held, lambda log: None))(log)


def several(log):
    """a glob of several logs, whose rotated names match it"""
    log.rng.choice((rename, rename, late, copytruncate_held) if log.numbered else (dated,))(log)


def appearing(log):
    """more logs of a glob, which appear while hearsay runs or does not"""
    world = log.world
    if len(world.logs) < LOGS:
        if world.rng.random() < 0.4:
            world.kill()
        user = "n%d" % len(world.logs)
        world.did("log %s appears", user)
        log = Log(world, os.path.join(os.path.dirname(log.path), user + ".log"), user)
        log.burst()
        world.strike()
    several(log)


def equal_heads(log):
    """files with equal heads, some of nothing else"""
    log.rng.choice((rename, copytruncate_held) if log.numbered else (dated,))(log)
    if log.rng.random() < 0.3:
        (rename if log.numbered else dated)(log)
        log.world.rotations += 1


def mixed(log):
    """all of them"""
    log.rng.choice((rename, rename, late, generations, copytruncate_held, three_pieces,
                    long_line, compressed(".gz"), compressed(".xz")))(log)


# ---- Worlds --------------------------------------------------------------------------


def one_log(folder, rng, **more):
    path = os.path.join(folder / "logs", "server.log")
    world = World(folder, rng, path)
    if more.get("linked"):
        os.makedirs(folder / "logs")
        log = Log.__new__(Log)
        log.world, log.path, log.rng, log.stamp = world, path, rng, 0
        retarget(log)
    log = Log(world, path, "a")
    log.stamp = 1  # the first target has it
    for name, value in more.items():
        setattr(log, name, value)
    if "append" in more or "head" in more:
        os.close(log.file)
        log.file = None
        os.unlink(path)
        log.reopen()
    return world


def many_logs(folder, rng, **more):
    world = World(folder, rng, os.path.join(folder / "logs", more.pop("pattern")), **more)
    for user in ("a", "b", "c"):
        Log(world, os.path.join(folder / "logs", user + ".log"), user)
    return world


HEAD = b"".join(b"  banner line %04d of a server that says the same at each start\n" % n
                for n in range(130))

KINDS = {
    "rename": (rename, one_log, {}),
    "late-writer": (late, one_log, {}),
    "generations": (generations, one_log, {}),
    "dated": (dated, one_log, {}),
    "copytruncate": (copytruncate_held, one_log, {}),
    "copytruncate-race": (copytruncate_race, one_log, {"two_lines": False}),
    "sparse": (sparse, one_log, {"append": False}),
    "gz": (compressed(".gz"), one_log, {}),
    "zst": (compressed(".zst"), one_log, {}),
    "xz": (compressed(".xz"), one_log, {}),
    "deletion": (deletion, one_log, {"two_lines": False}),
    "directory": (directory, one_log, {"two_lines": False}),
    "link": (link, one_log, {"linked": True, "two_lines": False}),
    "inode": (inode, one_log, {"two_lines": False}),
    "three-pieces": (three_pieces, one_log, {}),
    "long-line": (long_line, one_log, {}),
    "crlf": (mixed, one_log, {"eol": b"\r\n"}),
    "glob": (several, many_logs, {"pattern": "*.log*"}),
    "glob-dated": (several, many_logs, {"pattern": "*.log"}),
    "glob-appearing": (appearing, many_logs, {"pattern": "*.log", "begin": "end"}),
    "equal-heads": (equal_heads, one_log, {"head": HEAD}),
    "mixed": (mixed, one_log, {}),
}


def torment(world, rotate, seconds, steps):
    rng = world.rng
    end = time.monotonic() + seconds
    world.start()
    if world.begin == "end":
        world.wait_followed()
    # What was rotated before the first look is none of ours.
    for log in world.logs:
        log.write(3)
    world.settle()
    step = 0
    while step < steps and time.monotonic() < end:
        step += 1
        log = rng.choice(world.logs)
        for _ in range(rng.choice((0, 1, 1, 2, 4))):
            log.burst()
            world.strike()
            if rng.random() < 0.4:
                time.sleep(rng.random() * 0.01)
        rotate(log)
        world.rotations += 1
        world.strike()
        log.prune()
        if log.number - len(world.numbers(log)) > LEAD or rng.random() < 0.03:
            world.settle()
    for log in world.logs:
        log.complete()
        log.two_lines = False
        log.write(2)
        log.complete()
    world.recover()
    world.settle()
    # What comes twice may come late.
    world.end()


def run_kind(name, seed, seconds, steps, keep):
    """One kind in this process; a dict of what came of it."""
    rotate, make, more = KINDS[name]
    rng = random.Random("%d %s" % (seed, name))
    folder = lib.Folder()
    folder.path = tempfile.mkdtemp(prefix="hearsay-torture-")
    result = {"kind": name, "wrong": []}
    world = make(folder, rng, **more)
    try:
        torment(world, rotate, seconds, steps)
    except Failure as e:
        result["wrong"].append(str(e))
    except Exception as e:  # the harness's own
        result["wrong"].append("%s: %s" % (type(e).__name__, e))
        world.did("exception %s", traceback.format_exc())
    finally:
        world.close()
    lost, repeated, wrong = world.check()
    result["wrong"] += wrong
    statuses = world.receiver.statuses
    if statuses != [0]:
        result["wrong"].append("listen ended with %s" % statuses)
    said = world.receiver.program.said() if statuses != [0] else ""
    # Of a file that was removed while nobody looked, gap=0 says that nothing is known.
    gaps = sum(" gap=" in line and " gap=0 " not in line
               for line in open(folder / "run.log", errors="replace"))
    tool = sum(len(log.lost - set(world.numbers(log))) for log in world.logs)
    if gaps and name != "copytruncate-race":
        result["wrong"].append("%d gaps were told, and nothing was lost" % gaps)
    result.update(lost=lost, repeated=repeated, rotations=world.rotations, kills=world.kills,
                  stops=world.stops, ends=world.ends, gaps=gaps, tool=tool,
                  lines=sum(len(log.expected) for log in world.logs), said=said)
    if result["wrong"] or keep:
        result["folder"] = folder.path
        with open(folder / "arrived.json", "w", encoding="utf-8") as f:
            json.dump(world.got, f)
    else:
        shutil.rmtree(folder.path, ignore_errors=True)
    return result


# ---- All -------------------------------------------------------------------------------


def child(name, options, share):
    args = [sys.executable, os.path.abspath(__file__), "--child", "--kind", name, "--seed",
            str(options.seed), "--seconds", str(share), "--steps", str(options.steps)]
    if options.keep:
        args.append("--keep")
    out = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         check=False)
    try:
        return json.loads(out.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"kind": name, "wrong": ["the harness failed: " + out.stderr[-2000:]]}


def report(tap, seed, result):
    names = ("rotations", "kills", "stops", "ends", "lines", "lost", "repeated", "tool")
    figures = ", ".join("%s %s" % (result.get(n, "?"), n) for n in names)
    good = tap.ok(not result["wrong"], "%s: %s" % (
        result["kind"], figures.replace(" tool", " lost by the tool")))
    if not good:
        tap.say("\n".join(result["wrong"]))
        tap.say("again: --seed %d --kind %s; left in %s"
                % (seed, result["kind"], result.get("folder")))
        tap.say(result.get("said", ""))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int,
                        default=int(os.environ.get("HEARSAY_SEED") or
                                    random.SystemRandom().randrange(1 << 32)))
    parser.add_argument("--kind", action="append", choices=sorted(KINDS))
    parser.add_argument("--steps", type=int, default=1 << 62)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(run_kind(options.kind[0], options.seed, options.seconds,
                                  options.steps, options.keep)))
        return
    tap = lib.Tap()
    tap.say("HEARSAY_SEED=%d" % options.seed)
    kinds = options.kind or list(KINDS)
    share = options.seconds * min(options.jobs, len(kinds)) / len(kinds)
    results, todo, lock = [], list(kinds), threading.Lock()

    def work():
        while True:
            with lock:
                if not todo:
                    return
                name = todo.pop(0)
            result = child(name, options, share)
            with lock:
                results.append(result)
                report(tap, options.seed, result)

    threads = [threading.Thread(target=work) for _ in range(options.jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = ("rotations", "kills", "stops", "lines", "lost", "repeated")
    tap.say("all: " + ", ".join("%d %s" % (sum(r.get(n, 0) for r in results), n)
                                for n in names))
    tap.done()


if __name__ == "__main__":
    main()
