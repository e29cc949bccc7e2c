#!/usr/bin/env python3
"""A request that is open over two kills and a rotation is told whole.

The second kill comes when the position was committed anew, and before what the
first life had read was needed again.
"""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

import lib  # noqa: E402

CONTEXT = b"POST-579"  # a logout: a line with the device, and the access line


def main():
    tap = lib.Tap()
    data, _ = lib.capture("synapse-text")
    lines = [line for line in data.splitlines(True) if CONTEXT in line]
    with lib.Folder() as folder:
        want = lib.replay_listed(b"".join(lines), folder)
        tap.ok(len(want) == 1 and "device_id" in want[0][1], "one logout with its device", want)
        log, config = folder / "homeserver.log", folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log)
        receiver.start()

        def committed():
            logs = json.loads(lib.hearsay("status", "-c", config, "--json").stdout or "{}")
            return (logs.get("logs") or [{}])[0].get("read_ms")

        with open(log, "wb") as f:
            f.write(b"".join(lines[:-1]))
        run = lib.Run(config, folder / "run.log")
        lib.wait_for(lambda: "started" in run.said(), "the start")
        lib.wait_until_read(config, log)
        run.kill()
        before = committed()
        os.rename(log, log + ".1")
        with open(log, "wb"):
            pass
        run = lib.Run(config, folder / "run.log")
        lib.wait_for(lambda: committed() != before, "a position of the second life")
        run.kill()
        run = lib.Run(config, folder / "run.log")
        with open(log, "ab") as f:
            f.write(lines[-1])
        try:
            lib.wait_for(receiver.events, "the event")
        except TimeoutError as e:
            tap.say(e)
        tap.equal([lib.same(e) for e in receiver.events()], want, "it is told with its device")
        tap.equal(run.terminate(), 0, "SIGTERM ends it cleanly")
        receiver.stop()
    tap.done()


main()
