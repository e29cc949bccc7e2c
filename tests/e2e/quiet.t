#!/usr/bin/env python3
"""What following costs while nothing is written, and what is said when bytes are gone."""
import os
import re

import lib


class Followed:
    """A daemon on the logs that match a pattern in a folder of their own, two levels down."""

    def __init__(self, folder, pattern, **more):
        self.folder = folder
        self.logs = os.path.join(folder / "of", "logs")
        self.config = folder / "hearsay.conf"
        self.receiver = lib.Receiver(folder)  # for who starts it
        os.makedirs(self.logs)
        lib.write_config(self.config, folder, self.receiver.registration,
                         os.path.join(self.logs, pattern), **more)
        self.run = None

    def path(self, name):
        return os.path.join(self.logs, name)

    def write(self, name, text):
        with open(self.path(name), "ab") as f:
            f.write(text)

    def start(self):
        self.run = lib.Run(self.config, self.folder / "run.log")
        lib.wait_for(lambda: "started" in self.run.said(), "a start")

    def proc(self, name):
        with open("/proc/%d/%s" % (self.run.process.pid, name), encoding="ascii") as f:
            return f.read()


LINE = b"2026-01-01 00:00:00,000 - root - 1 - INFO - main - nothing is told of this line\n"


# ---- watches -------------------------------------------------------------------


def watches(one):
    """How many the kernel keeps for it, once every file is open."""
    fds = "/proc/%d/fd" % one.run.process.pid
    for fd in os.listdir(fds):
        try:
            if "inotify" in os.readlink(os.path.join(fds, fd)):
                return one.proc("fdinfo/" + fd).count("inotify wd:")
        except FileNotFoundError:  # it was closed meanwhile
            pass
    return None


def many_files(tap):
    counts = []
    for count in (1, 300):
        with lib.Folder() as folder:
            one = Followed(folder, "*.log")
            for i in range(count):
                one.write("%d.log" % i, LINE)
            one.start()
            lib.wait_for(lambda: one.run.said().count(" pack=synapse") == count, "all logs")
            counts.append(watches(one))
            one.run.terminate()
    tap.ok(counts[0] and counts[1] == counts[0], "a directory needs one watch, however many files are in it", counts)


# ---- idleness ------------------------------------------------------------------


def waits_ms(one):
    """For how long it waits for something to happen; None: it does not wait."""
    call = one.proc("syscall").split()
    # epoll_wait(fd, events, room, timeout): the kernel says what the arguments are.
    return int(call[4], 16) if len(call) == 9 else None


def waits_between(one, least, most):
    def fact():
        ms = waits_ms(one)
        return ms is not None and least < ms <= most
    return fact


def idle(tap):
    """Nothing is due before the slow look, and nothing happens beside that."""
    with lib.Folder() as folder:
        one = Followed(folder, "server.log")
        one.write("server.log", LINE)
        one.start()
        try:
            waits_ms(one)
        except OSError as e:
            tap.ok(True, "idle # SKIP the kernel does not tell in which call it is: %s" % e)
            one.run.terminate()
            return
        lib.wait_until_read(one.config, one.path("server.log"))
        lib.wait_for(waits_between(one, 200000, 300000), "nothing but the slow look to be due")
        before = re.findall(r"ctxt_switches:\s*(\d+)", one.proc("status"))[0]
        # Beside the way to the log names come and go.
        for i in range(1000):
            os.mkdir(folder / "beside")
            os.rmdir(folder / "beside")
        after = re.findall(r"ctxt_switches:\s*(\d+)", one.proc("status"))[0]
        tap.equal(after, before, "idle, it is not woken, whatever happens beside the log")

        os.rename(one.path("server.log"), one.path("server.log.1"))
        one.write("server.log", LINE)
        lib.wait_until_read(one.config, one.path("server.log"))
        lib.wait_for(waits_between(one, 30000, 60000), "a minute's hold to be due")
        tap.ok(True, "a file that was renamed is held for a minute")
        tap.equal(one.run.terminate(), 0, "it ends cleanly")


# ---- gaps ------------------------------------------------------------------------


def metric(one, name):
    try:
        with open(one.folder / "hearsay.prom", encoding="utf-8") as f:
            found = re.search(r"^hearsay_%s\S* (\d+)$" % name, f.read(), re.M)
    except FileNotFoundError:
        return None
    return int(found[1]) if found else None


def gap(tap):
    """Reading stands still, and what is not read yet is truncated: it is told how much that was."""
    data, _ = lib.capture("synapse-text")
    with lib.Folder() as folder:
        one = Followed(folder, "server.log",
                       extra='limits = { queue = 1; }; metrics = "%s";' % (folder / "hearsay.prom"))
        written = data + LINE * (4 << 20 >> 6)
        one.write("server.log", written)
        one.start()
        lib.wait_for(lambda: metric(one, "reading_blocked") == 1, "a full queue")
        os.truncate(one.path("server.log"), 0)
        one.receiver.start()
        lib.wait_for(lambda: "gap=" in one.run.said(), "the gap to be told")
        lost = int(re.search(r"gap=(\d+) bytes", one.run.said())[1])
        lib.wait_for(lambda: metric(one, "log_gaps_total") == 1, "the gap to be counted")
        tap.equal(metric(one, "log_lost_bytes_total"), lost, "what is said is what is counted")
        tap.equal(metric(one, "log_read_bytes_total") + lost, len(written),
                  "what was read and what was lost is all")
        tap.ok(lost > 0, "and something was", lost)
        tap.equal(one.run.terminate(), 0, "it ends cleanly behind a gap")
        one.receiver.stop()


def main():
    tap = lib.Tap()
    many_files(tap)
    idle(tap)
    gap(tap)
    tap.done()


main()
