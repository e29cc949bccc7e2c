#!/usr/bin/env python3
"""Figures of following logs: many files, idle time, bursts, a backlog, latency.

    HEARSAY=… tests/bench/tail.py [many] [idle] [burst] [backlog] [latency]

Not a test: nothing here fails.  strace counts the system calls.
"""
import datetime
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import lib  # noqa: E402

PACK = os.path.join(os.path.dirname(HERE), "torture", "pack")


def line(number, fill=""):
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    return ("%sZ INFO torture[r-%d] @a:%s told at once: %d, %sand that is all\n"
            % (now, number, lib.SERVER, number, fill)).encode()


class Bench:
    def __init__(self, folder, where):
        self.config, self.count, self.times = folder / "hearsay.conf", 0, {}
        self.receiver = lib.Receiver(folder, types=("m.user.login",), on_event=self.take)
        self.receiver.start()
        os.makedirs(folder / "logs", exist_ok=True)
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("""store = "%s"; patterns = [ "%s" ]; registrations = [ "%s" ];
servers = ( { name = "%s"; pack = "torture"; timezone = "UTC";
              logs = ( { path = "%s"; start = "beginning"; } ); } );
""" % (folder / "hearsay.db", PACK, self.receiver.registration, lib.SERVER, where))
        self.folder = folder

    def take(self, event):
        self.count += 1
        self.times[int(event["content"]["device_id"])] = time.monotonic()

    def start(self):
        began, starts = time.monotonic(), self.starts()
        self.run = lib.Run(self.config, self.folder / "run.log")
        lib.wait_for(lambda: self.starts() > starts, "the start", 300)
        return time.monotonic() - began

    def starts(self):
        if not os.path.exists(self.folder / "run.log"):
            return 0
        with open(self.folder / "run.log", encoding="utf-8") as f:
            return f.read().count(": started")

    def memory(self, what="VmRSS"):
        with open("/proc/%d/status" % self.run.process.pid, encoding="ascii") as f:
            return int(re.search(what + r":\s+(\d+)", f.read()).group(1))

    def switches(self):
        with open("/proc/%d/status" % self.run.process.pid, encoding="ascii") as f:
            return int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", f.read()).group(1))

    def cpu(self):
        with open("/proc/%d/stat" % self.run.process.pid, encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def strace(self, seconds, meanwhile=None):
        tracer = subprocess.Popen(["strace", "-f", "-c", "-p", str(self.run.process.pid)],
                                  stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        if meanwhile:
            meanwhile()
        time.sleep(seconds)
        tracer.send_signal(2)
        return tracer.communicate()[1]

    def close(self):
        self.run.terminate()
        self.receiver.stop()


def many(folder, files=10000):
    b = Bench(folder, os.path.join(folder / "logs", "*.log"))
    for n in range(files):
        with open(os.path.join(folder / "logs", "worker-%05d.log" % n), "wb") as f:
            f.write(b"2026-11-23T09:46:28.829Z INFO other[r] a line that tells nothing\n")
    for name, how in (("first", ""), ("second", " (all known)")):
        took = b.start()
        time.sleep(3)
        print("many: %d files, %s start%s %.2f s, cpu %.2f s, %d KiB resident, %.2f KiB a file"
              % (files, name, how, took, b.cpu(), b.memory(), b.memory() / files))
        if name == "first":
            b.run.terminate()
    switches, cpu, began = b.switches(), b.cpu(), time.monotonic()
    for turn in range(10):
        for n in range(0, files, 100):
            with open(os.path.join(folder / "logs", "worker-%05d.log" % n), "ab") as f:
                f.write(line(turn * files + n))
        time.sleep(0.5)
    lib.wait_for(lambda: b.count >= 10 * files // 100, "the events")
    print("many: 1%% written ten times, %d lines in %.1f s: %d wake-ups, cpu %.2f s, %d KiB"
          % (b.count, time.monotonic() - began, b.switches() - switches, b.cpu() - cpu,
             b.memory()))
    b.close()


def idle(folder, seconds=60):
    b = Bench(folder, os.path.join(folder / "logs", "server.log"))
    with open(os.path.join(folder / "logs", "server.log"), "wb") as f:
        f.write(line(1))
    b.start()
    lib.wait_for(lambda: b.count == 1, "the event")
    time.sleep(8)  # positions alone wait five seconds
    out = b.strace(seconds)
    print("idle: system calls of %d s:\n%s" % (seconds, out))
    b.close()


def burst(folder, writes=10000):
    b = Bench(folder, os.path.join(folder / "logs", "server.log"))
    open(os.path.join(folder / "logs", "server.log"), "wb").close()
    b.start()

    def write():
        began = time.monotonic()
        with open(os.path.join(folder / "logs", "server.log"), "ab", buffering=0) as f:
            for n in range(writes):
                f.write(b"2026-11-23T09:46:28.829Z INFO other[r] nothing is told by this\n")
                while time.monotonic() < began + n / writes:
                    pass
        print("burst: %d writes in %.2f s" % (writes, time.monotonic() - began))

    print("burst:\n" + b.strace(1, write))
    b.close()


def backlog(folder, size=1 << 30):
    b = Bench(folder, os.path.join(folder / "logs", "server.log"))
    number, written = 0, 0
    with open(os.path.join(folder / "logs", "server.log"), "wb") as f:
        while written < size:
            out = [b"2026-11-23T09:46:28.829Z INFO other[r-%d] a dense line of the usual length, "
                   b"as a server writes many of them in a day\n" % n for n in range(1000)]
            number += 1
            out.append(line(number))
            block = b"".join(out)
            f.write(block)
            written += len(block)
    began = time.monotonic()
    b.start()
    peak = 0
    while b.count < number:
        peak = max(peak, b.memory())
        time.sleep(0.05)
    took = time.monotonic() - began
    print("backlog: %.0f MB, %d events, %.1f s, %.1f MB/s, cpu %.1f s, peak %d KiB"
          % (written / 1e6, number, took, written / 1e6 / took, b.cpu(), b.memory("VmHWM")))
    b.close()


def latency(folder, count=200):
    b = Bench(folder, os.path.join(folder / "logs", "server.log"))
    log = open(os.path.join(folder / "logs", "server.log"), "wb", buffering=0)
    b.start()
    times = []
    for n in range(1, count + 1):
        began = time.monotonic()
        log.write(line(n))
        while n not in b.times:
            time.sleep(0.0002)
        times.append(b.times[n] - began)
        time.sleep(0.02)
    times.sort()
    print("latency: %d lines, median %.1f ms, 95%% %.1f ms, worst %.1f ms"
          % (count, times[count // 2] * 1e3, times[count * 95 // 100] * 1e3, times[-1] * 1e3))
    b.close()


def main():
    for name in sys.argv[1:] or ("many", "idle", "burst", "backlog", "latency"):
        with lib.Folder() as folder:
            {"many": many, "idle": idle, "burst": burst, "backlog": backlog,
             "latency": latency}[name](folder)
        sys.stdout.flush()


main()
