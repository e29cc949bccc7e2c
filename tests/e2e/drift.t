#!/usr/bin/env python3
"""A log that stops showing what a healthy one must: run warns, status says degraded."""
import json
import os
import time

import lib

SERVED = ("2026-11-23 09:46:28,834 - synapse.access.http.8008 - 643 - INFO - GET-%d - 192.0.2.7 - 8008"
          " - {None} Processed request: 0.038sec/0.001sec ru=(0.005sec, 0.001sec)"
          ' db=(0.018sec/0.006sec/7) 149B 200 "GET /_matrix/client/versions HTTP/1.1" "a" [0 dbevts]\n')
NOISE = "2026-11-23 09:46:28,834 - synapse.state - 1 - WARNING - sentinel - Something else\n"
DAY = 24 * 60 * 60


def write(log, text):
    with open(log, "a", encoding="utf-8") as f:
        f.write(text)


def start(config, said):
    """run, once it has its store."""
    run = lib.Run(config, said)
    lib.wait_for(lambda: lib.hearsay("status", "-c", config).returncode == 0 or not run.running(),
                 "run to begin: " + run.said())
    return run


def degraded(config):
    """What status says of the only log."""
    log = json.loads(lib.hearsay("status", "-c", config, "--json").stdout)["logs"][0]
    return log["degraded"]


def check_silence(tap, folder, config, log):
    """The newest sentinel was written more than a day ago, and now something else is."""
    write(log, SERVED % 1)
    os.utime(log, (time.time() - 2 * DAY,) * 2)
    run = start(config, folder / "run.log")
    lib.wait_until_read(config, log)
    tap.equal(degraded(config), None, "a log that shows its sentinel is well")

    write(log, NOISE * 300)
    lib.wait_for(lambda: degraded(config), "status to say degraded")
    tap.ok("level too high" in degraded(config), "status says why", degraded(config))
    write(log, NOISE * 300)
    lib.wait_until_read(config, log)
    tap.equal(run.said().count("degraded"), 1, "run warns once")
    run.terminate()
    words = lib.hearsay("status", "-c", config).stdout
    tap.ok("  degraded " in words and "level too high" in words, "status says it without run",
           words)

    run = start(config, folder / "run.log")
    write(log, SERVED % 2)
    lib.wait_for(lambda: degraded(config) is None, "status to say no more")
    tap.equal(run.terminate(), 0, "a sentinel ends it")


def check_foreign(tap, folder):
    """A log that no pack knows is degraded, too."""
    config, log = folder / "foreign.conf", folder / "foreign.log"
    lib.write_config(config, folder, folder / "appservice.yaml", log)
    with open(config, encoding="utf-8") as f:
        text = f.read()
    with open(config, "w", encoding="utf-8") as f:
        f.write("\n".join(line for line in text.split("\n") if "pack =" not in line)
                .replace("hearsay.db", "foreign.db"))
    write(log, "nothing that a homeserver would write\n" * 10)
    run = start(config, folder / "foreign.said")
    lib.wait_until_read(config, log)
    lib.wait_for(lambda: degraded(config), "status to say degraded")
    tap.ok("no pack knows" in degraded(config), "so is a log that no pack knows", degraded(config))
    write(log, SERVED % 1)
    lib.wait_for(lambda: degraded(config) is None, "status to say no more")
    tap.ok("is well again" in run.said(), "until one does", run.said())
    run.terminate()


def main():
    tap = lib.Tap()
    with lib.Folder() as folder:
        config, log = folder / "hearsay.conf", folder / "homeserver.log"
        lib.write_registration(folder / "appservice.yaml", lib.free_port())
        lib.write_config(config, folder, folder / "appservice.yaml", log)
        check_silence(tap, folder, config, log)
        check_foreign(tap, folder)
    tap.done()


main()
