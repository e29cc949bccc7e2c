#!/usr/bin/env python3
"""A log in a FIFO, and on standard input."""
import os
import subprocess

import lib


def kind_of_log(config):
    """The configuration says what the path is."""
    with open(config, encoding="utf-8") as f:
        text = f.read()
    with open(config, "w", encoding="utf-8") as f:
        f.write(text.replace('start = "beginning"', 'kind = "fifo"; envelope = "none"'))


def write_all(path, data, parts):
    with open(path, "wb", buffering=0) as f:
        for at in range(0, len(data), parts):
            f.write(data[at:at + parts])


def wait_for_all(receiver, want):
    lib.wait_for(lambda: len(receiver.events()) >= len(want), "all events")
    return [lib.same(e) for e in receiver.events()]


def fifo(tap, data, want):
    """Writers come and go; what was written before the end is told."""
    with lib.Folder() as folder:
        path, config = folder / "homeserver.fifo", folder / "hearsay.conf"
        os.mkfifo(path)
        receiver = lib.Receiver(folder)
        receiver.start()
        lib.write_config(config, folder, receiver.registration, path)
        kind_of_log(config)
        check = lib.hearsay("check", "-c", config)
        tap.ok(check.returncode == 0 and "homeserver.fifo" in check.stdout,
               "check looks at a FIFO without reading from it", check.stderr)
        run = lib.Run(config, folder / "run.log")
        half = data.index(b"\n", len(data) // 2) - 5  # a line is cut between two writers
        write_all(path, data[:half], 3000)
        write_all(path, data[half:], 70000)
        tap.equal(wait_for_all(receiver, want), want, "each event once and in order, of a FIFO")
        tap.ok("is a pipe" in run.said(), "it is said what a pipe can't do", run.said())
        tap.equal(run.terminate(), 0, "it ends cleanly")
        receiver.stop()

        os.remove(path)
        with open(path, "wb"):
            pass
        again = lib.hearsay("run", "-c", config)
        tap.ok(again.returncode != 0 and "is no FIFO" in again.stderr,
               "a file is no FIFO", again.stderr)


def standard_input(tap, data, want):
    with lib.Folder() as folder:
        config = folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        receiver.start()
        lib.write_config(config, folder, receiver.registration, "-")
        with open(folder / "run.log", "wb") as said, subprocess.Popen(
                [lib.HEARSAY, "run", "-c", config], stdin=subprocess.PIPE, stderr=said) as run:
            run.stdin.write(data.rstrip(b"\n"))  # the last line ends with the input
            run.stdin.close()
            tap.equal(wait_for_all(receiver, want), want,
                      "each event once and in order, of standard input")
            run.terminate()
            tap.equal(run.wait(lib.PATIENCE), 0, "the end of the input is not that of hearsay")
        receiver.stop()


def closed_input(tap):
    """Nothing of ours gets the number of standard input, to be read as a log."""
    with lib.Folder() as folder:
        config = folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, "-")
        run = subprocess.run("exec %s run -c %s <&-" % (lib.HEARSAY, config), shell=True,
                             capture_output=True, text=True, check=False,
                             timeout=lib.PATIENCE)
        tap.ok(run.returncode != 0 and "standard input is closed" in run.stderr,
               "a standard input that is closed is no log", run.stderr)


def main():
    tap = lib.Tap()
    data, _ = lib.capture("synapse-text")
    with lib.Folder() as folder:
        want = lib.replay_listed(data, folder)
    fifo(tap, data, want)
    standard_input(tap, data, want)
    closed_input(tap)
    tap.done()


main()
