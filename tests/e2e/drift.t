#!/usr/bin/env python3
"""A log that stops showing what a healthy one must: run warns, status says degraded."""
import json
import os
import time

import lib

SERVED = ("%s,834 - synapse.access.http.8008 - 643 - INFO - GET-1 - 192.0.2.7 - 8008"
          " - {None} Processed request: 0.038sec/0.001sec ru=(0.005sec, 0.001sec)"
          ' db=(0.018sec/0.006sec/7) 149B 200 "GET /_matrix/client/versions HTTP/1.1" "a" [0 dbevts]\n')
NOISE = "%s,834 - synapse.state - 1 - WARNING - sentinel - Something else\n"
UNKNOWN = ("%s,834 - synapse.handlers.auth - 1 - INFO - POST-1 - Logging in user"
           " @ada:example.test at the device X\n")
DAY = 24 * 60 * 60


def at(text, ago=0):
    """A line of so many seconds ago."""
    return text % time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - ago))


def metrics(path):
    """The values of the file of metrics, by their names and labels."""
    values = {}
    try:
        with open(path, encoding="utf-8") as f:
            for line in f:
                if not line.startswith("#"):
                    name, value = line.rsplit(" ", 1)
                    values[name] = float(value)
    except FileNotFoundError:
        pass
    return values


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


def check_metrics(tap, path, log):
    """What is wrong is counted, too."""
    write(log, at(UNKNOWN) * 3)
    label = '{server="%s",log="%s"}' % (lib.SERVER, log)

    def counted():
        values = metrics(path)
        return values.get("hearsay_log_unknown_lines_total" + label) == 3 and values

    values = lib.wait_for(counted, "the unknown lines to be counted")
    tap.equal(values["hearsay_log_degraded" + label], 1, "metrics have a degraded log")
    seen = values["hearsay_log_sentinel_timestamp_seconds" + label]
    tap.ok(2 * DAY <= time.time() - seen < 2 * DAY + 3600, "and when its sentinel was seen", seen)
    tap.equal(values["hearsay_log_read_bytes_total" + label], os.path.getsize(log),
              "and what was read")
    tap.equal(values["hearsay_reading_blocked"], 0, "and that reading goes on")


def check_silence(tap, folder, config, log):
    """By the log's own clock the newest sentinel was two days ago; the file is new."""
    write(log, at(SERVED, 2 * DAY))
    run = start(config, folder / "run.log")
    lib.wait_until_read(config, log)
    tap.equal(degraded(config), None, "a log that shows its sentinel is well")

    write(log, at(NOISE, 2 * DAY - 60) * 300)
    lib.wait_until_read(config, log)
    tap.equal(degraded(config), None, "so is one without it for a minute, by its own clock")
    write(log, at(NOISE) * 300)
    lib.wait_for(lambda: degraded(config), "status to say degraded")
    tap.ok("level too high" in degraded(config), "status says why", degraded(config))
    write(log, at(NOISE) * 300)
    lib.wait_until_read(config, log)
    tap.equal(run.said().count("degraded"), 1, "run warns once")
    check_metrics(tap, folder / "hearsay.prom", log)
    run.terminate()
    tap.ok(not os.path.exists(folder / "hearsay.prom"), "the metrics go with run")
    words = lib.hearsay("status", "-c", config).stdout
    tap.ok("  degraded " in words and "level too high" in words, "status says it without run",
           words)

    run = start(config, folder / "run.log")
    write(log, at(SERVED))
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
    write(log, at(SERVED))
    lib.wait_for(lambda: degraded(config) is None, "status to say no more")
    tap.ok("is well again" in run.said(), "until one does", run.said())
    run.terminate()


def main():
    tap = lib.Tap()
    with lib.Folder() as folder:
        config, log = folder / "hearsay.conf", folder / "homeserver.log"
        lib.write_registration(folder / "appservice.yaml", lib.free_port())
        lib.write_config(config, folder, folder / "appservice.yaml", log,
                         extra='metrics = "%s";' % (folder / "hearsay.prom"))
        check_silence(tap, folder, config, log)
        check_foreign(tap, folder)
    tap.done()


main()
