#!/usr/bin/env python3
"""The store's disk has no byte free: all that is stored is delivered all the same.

Thousands of events wait while the receiver is away.  Then another file takes the
disk to its last byte, and goes on to take every byte that is given back.  The
receiver returns, and hearsay is killed and stopped on the way.  What the disk has
no room for is not read until there is room again.

It needs root and mounts a file system of its own, in a namespace of its own.
"""
import datetime
import os
import re
import subprocess
import sys
import threading
import time

import lib

INSIDE = "HEARSAY_FULL_DISK_INSIDE"
SIZE = 64 * 1024 * 1024
BEFORE, BEHIND = 12, 8  # times the capture, before the disk is full and then
STAMP = re.compile(rb"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3})", re.M)


def enter():
    """Go on in a mount namespace; why not, where that can't be."""
    if os.environ.get(INSIDE):
        return None
    if os.geteuid() != 0:
        return "only root can mount a small file system"
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        return "no mount namespace is to be had here"
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "-m", "--propagation", "private", sys.executable, __file__])


def run(*args):
    return subprocess.run(args, capture_output=True, text=True, check=False)


def mount_tmpfs(_, at):
    return run("mount", "-t", "tmpfs", "-o", "size=%d" % SIZE, "tmpfs", at)


def mount_ext4(folder, at):
    image = folder / "ext4.image"
    with open(image, "wb") as f:
        f.truncate(SIZE)
    made = run("mkfs.ext4", "-q", "-m", "0", image)
    return made if made.returncode else run("mount", "-o", "loop", image, at)


class Disk:
    """A small file system, and the file that takes what is free of it."""

    def __init__(self, path):
        self.path = path
        self.file = None
        self.taken = 0
        self.sleeps = threading.Event()
        self.ends = threading.Event()
        self.thread = None

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def free(self):
        return os.statvfs(self.path).f_bavail

    def _take(self):
        for size in (1 << 20, 4096, 1):
            while True:
                try:
                    self.taken += os.write(self.file, bytes(size))
                    os.fsync(self.file)
                except OSError:
                    break

    def fill(self):
        self.file = os.open(self / "filler", os.O_WRONLY | os.O_CREAT)
        while self.free() > 0:
            self._take()
        self._take()
        self.taken = 0
        self.thread = threading.Thread(target=self._stay_full, daemon=True)
        self.thread.start()

    def _stay_full(self):
        while not self.ends.wait(0.002):
            if not self.sleeps.is_set() and self.free() > 0:
                self._take()

    def empty(self):
        self.ends.set()
        self.thread.join()
        os.close(self.file)
        os.unlink(self / "filler")


class Log:
    """The capture again and again, each time a minute later."""

    def __init__(self, path):
        self.path = path
        self.data, _ = lib.capture("synapse-text")
        self.times = 0

    def _later(self):
        by = datetime.timedelta(seconds=60 * self.times)

        def shift(m):
            at = datetime.datetime.fromisoformat(m[1].decode()) + by
            return at.strftime("%Y-%m-%d %H:%M:%S").encode() + b"," + m[2]

        self.times += 1
        return STAMP.sub(shift, self.data)

    def write(self, times):
        with open(self.path, "ab") as f:
            for _ in range(times):
                f.write(self._later())

    def events(self):
        return [lib.same(e) for e in lib.replay(self.path) if e["type"] in lib.LISTED]


class Scene:
    def __init__(self, tap, name, folder, disk):
        self.tap, self.name, self.folder, self.disk = tap, name, folder, disk
        self.log = Log(folder / "homeserver.log")
        self.receiver = lib.Receiver(folder, "--delay", "60")
        self.config = folder / "hearsay.conf"
        lib.write_config(self.config, disk, self.receiver.registration, self.log.path)
        self.run = None

    def ok(self, good, what, detail=None):
        return self.tap.ok(good, "%s: %s" % (self.name, what), detail)

    def start(self):
        before = self.run.said().count("started") if self.run else 0
        self.run = lib.Run(self.config, self.folder / "run.log")
        lib.wait_for(lambda: self.run.said().count("started") > before or
                     not self.run.running(), "the start")

    def arrived(self, count):
        lib.wait_for(lambda: len(self.receiver.events()) >= count or not self.run.running(),
                     "%d events" % count)
        return len(self.receiver.events())

    def again(self, end, want):
        """
        End it and start it.  SQLite makes its -shm anew at a start, so that for a
        moment 28 KiB of the disk are free: the filler waits for that long.
        """
        self.disk.sleeps.set()
        status = end()
        left = self.disk.free()
        self.start()
        self.disk.sleeps.clear()
        self.ok(status == want and self.run.running() and left == 0,
                "ended with %d, it starts on the full disk" % want,
                "status %r, %d blocks free\n%s" % (status, left, self.run.said()[-1500:]))

    def play(self):
        self.log.write(BEFORE)
        waiting = self.log.events()
        self.start()
        lib.wait_until_read(self.config, self.log.path)
        self.disk.fill()
        self.log.write(BEHIND)
        want = self.log.events()
        lib.wait_for(lambda: "reading stops" in self.run.said(), "reading to stop")
        self.ok(self.disk.free() == 0, "no block of the disk is free")

        self.receiver.start()
        self.arrived(len(waiting) // 4)
        self.again(self.run.kill, -9)
        self.arrived(len(waiting) // 2)
        self.again(self.run.terminate, 1)  # what it read last could not be stored
        got = self.arrived(len(waiting))
        self.ok(got >= len(waiting), "all of %d events that waited arrived" % len(waiting),
                self.run.said()[-3000:])
        self.ok(self.disk.free() == 0 and self.disk.taken == 0,
                "with no block free all the while", "%d bytes were free" % self.disk.taken)
        time.sleep(0.5)  # more of the log might come now, and must not
        got = len(self.receiver.events())
        self.ok(got < len(want), "what has no room is not read: %d of %d" % (got, len(want)))

        self.disk.empty()
        self.arrived(len(want))
        said = self.run.said()
        self.ok(self.run.terminate() == 0 and "reading goes on" in said,
                "with room again it goes on by itself", said[-3000:])
        self.receiver.stop()
        got = [lib.same(e) for e in self.receiver.events()]
        self.ok(got == want, "%d events, each once, in the order of the log" % len(want),
                "%d of %d" % (len(got), len(want)))
        self.ok(self.receiver.statuses == [0], "no transaction id has two bodies")
        out = lib.hearsay("store", "check", "-c", self.config)
        self.ok(out.returncode == 0, "the store is sound", out)


def main():
    tap = lib.Tap()
    why = enter()
    if why:
        print("1..0 # SKIP " + why)
        return
    for name, mount in (("tmpfs", mount_tmpfs), ("ext4", mount_ext4)):
        with lib.Folder() as folder:
            disk = folder / "disk"
            os.mkdir(disk)
            out = mount(folder, disk)
            if out.returncode:
                tap.ok(True, "%s # SKIP cannot be mounted: %s" % (name, out.stderr.strip()))
                continue
            try:
                Scene(tap, name, folder, Disk(disk)).play()
            finally:
                run("umount", "-l", disk)
    tap.done()


main()
