#!/usr/bin/env python3
"""The end on SIGTERM, while a receiver takes requests and never answers.

What is complete in the log when the signal comes is stored, within the time that
hearsay(1) states, and delivered once by the next start.
"""
import json
import os
import signal
import socket
import time

import lib

READING = 3  # seconds, as hearsay(1) states
TIMEOUT = 4  # of a request, as configured here
SLACK = 10   # for a machine that is busy


class Hole:
    """In the receiver's place: a door behind which nobody answers."""

    def __init__(self, port):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(("127.0.0.1", port))
        self.socket.listen()
        self.socket.settimeout(lib.PATIENCE)

    def await_request(self):
        self.request, _ = self.socket.accept()

    def close(self):
        self.request.close()
        self.socket.close()


def write(log, data):
    with open(log, "ab") as f:
        f.write(data)


def waiting(config):
    out = lib.hearsay("status", "-c", config, "--json")
    return sum(a["waiting"] for a in json.loads(out.stdout)["appservices"])


def once(tap, rng):
    data, _ = lib.capture("synapse-text")
    with lib.Folder() as folder:
        log, config = folder / "homeserver.log", folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log,
                         send="timeout = %d; first_byte_timeout = %d" % (TIMEOUT, TIMEOUT))
        # The signal comes with half a line behind the complete ones.
        end = data.index(b"\n", rng.randrange(len(data) // 2, len(data) * 3 // 4)) + 1
        want, stored = lib.replay_listed(data, folder), lib.replay_listed(data[:end], folder)

        hole = Hole(receiver.port)
        run = lib.Run(config, folder / "run.log")
        write(log, data[:end // 2])
        hole.await_request()
        write(log, data[end // 2:end + 20])
        begun = time.monotonic()
        status = run.terminate()
        took = time.monotonic() - begun
        tap.equal(status, 0, "it ends cleanly while a receiver hangs")
        tap.ok(took < READING + TIMEOUT + SLACK, "in the time that is stated", "%.1f s" % took)
        tap.equal(waiting(config), len(stored), "what was complete is stored")
        hole.close()

        receiver.start()
        run = lib.Run(config, folder / "run.log")
        write(log, data[end + 20:])
        try:
            lib.wait_for(lambda: len(receiver.events()) >= len(want) or not run.running(),
                         "%d events" % len(want))
        except TimeoutError as e:
            tap.say(e)
        run.terminate()
        receiver.stop()
        if not tap.equal([lib.same(e) for e in receiver.events()], want,
                         "all is delivered once and in order by the next start"):
            tap.say(run.said()[-4000:])


def unread(tap):
    """
    What was written before the signal is taken though no news of it were read, and
    it is more than what is read while the last things are done.
    """
    data, _ = lib.capture("synapse-text")
    with lib.Folder() as folder:
        log, config = folder / "homeserver.log", folder / "hearsay.conf"
        registration = folder / "appservice.yaml"
        lib.write_registration(registration, lib.free_port())
        lib.write_config(config, folder, registration, log)
        filler = b"nothing is told of this line\n" * 200000
        write(log, filler[:29])
        run = lib.Run(config, folder / "run.log")
        lib.wait_until_read(config, log)
        run.process.send_signal(signal.SIGSTOP)
        os.waitpid(run.process.pid, os.WUNTRACED)
        write(log, filler + data)
        run.process.send_signal(signal.SIGTERM)
        run.process.send_signal(signal.SIGCONT)
        tap.equal(run.process.wait(lib.PATIENCE), 0, "it ends cleanly with news unread")
        tap.equal(waiting(config), len(lib.replay_listed(data, folder)),
                  "what they would have told of is stored")


def twice(tap):
    """Who has no time signals again."""
    data, _ = lib.capture("synapse-text")
    with lib.Folder() as folder:
        log, config = folder / "homeserver.log", folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log,
                         send="timeout = 3600; first_byte_timeout = 3600")
        write(log, data)
        hole = Hole(receiver.port)
        run = lib.Run(config, folder / "run.log")
        hole.await_request()
        run.process.send_signal(signal.SIGTERM)
        lib.wait_for(lambda: "ending on SIGTERM" in run.said(), "the first signal to be taken")
        run.process.send_signal(signal.SIGTERM)
        tap.equal(run.process.wait(lib.PATIENCE), 0, "a second signal ends it at once")
        hole.close()


def main():
    tap = lib.Tap()
    rng = lib.seeded(tap)
    once(tap, rng)
    unread(tap)
    twice(tap)
    tap.done()


main()
