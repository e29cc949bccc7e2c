#!/usr/bin/env python3
"""The command line: help, versions, exit statuses, and what each command says."""
import json
import os
import re
import subprocess

import lib
import score

COMMANDS = ("run", "replay", "explain", "test", "packs", "check", "status", "queue", "history",
            "store", "listen")


def check_usage(tap):
    out = lib.hearsay("--version")
    tap.ok(out.returncode == 0 and out.stdout.startswith("hearsay "), "--version", out)
    out = lib.hearsay("--help")
    tap.ok(out.returncode == 0 and all(c in out.stdout for c in COMMANDS),
           "--help names every command", out)
    for args in ((), ("nonsense",), ("--nonsense",)):
        out = lib.hearsay(*args)
        tap.ok(out.returncode == 2 and out.stderr and not out.stdout,
               "wrong usage: hearsay " + " ".join(args), out)
    for command in COMMANDS:
        out = lib.hearsay(command, "--help")
        tap.ok(out.returncode == 0 and out.stdout.startswith("usage: hearsay " + command),
               command + " --help", out)
        out = lib.hearsay(command, "--nonsense")
        tap.ok(out.returncode == 2 and not out.stdout, command + " --nonsense is wrong usage", out)
    for command in ("replay", "explain", "listen"):
        tap.equal(lib.hearsay(command).returncode, 2, command + " needs an argument")


def check_manual(tap):
    """Every option that --help tells is in the manual, and the other way round."""
    with open(os.path.join(lib.SOURCE, "man", "hearsay.1"), encoding="utf-8") as f:
        page = f.read()
    told = set()
    for command in COMMANDS:
        told.update(re.findall(r"--[a-z][a-z-]*", lib.hearsay(command, "--help").stdout))
    in_manual = {"-" + o for o in re.findall(r"Fl (?:[a-zA-Z] , )?(-[a-z][a-z-]*)", page)}
    tap.equal(sorted(in_manual), sorted(told), "hearsay(1) has the options that --help tells")


def check_packs(tap):
    out = lib.hearsay("packs", "-P", lib.PATTERNS)
    tap.ok(out.returncode == 0 and "synapse" in out.stdout, "packs lists the packs", out)
    out = lib.hearsay("packs", "-P", lib.PATTERNS, "synapse")
    tap.ok(out.returncode == 0 and all(t in out.stdout for t in score.TYPES),
           "packs synapse says what it can tell", out)
    out = lib.hearsay("packs", "-P", lib.PATTERNS, "nonsense")
    tap.ok(out.returncode == 1 and "nonsense" in out.stderr, "packs of an unknown name", out)
    out = lib.hearsay("test", "-P", lib.PATTERNS)
    lines = out.stdout.splitlines()
    count = sum(line.startswith("ok ") for line in lines)
    tap.ok(out.returncode == 0 and count > 0 and "1..%d" % count in lines,
           "test runs all samples", out)


def check_explain(tap, folder):
    data, _ = lib.capture("synapse-text")
    log = folder / "explained.log"
    with open(log, "wb") as f:
        f.write(data[:60000])
    out = lib.hearsay("explain", "-P", lib.PATTERNS, "-s", lib.SERVER, "-z", "UTC", log)
    tap.ok(out.returncode == 0 and "m.user.registration" in out.stdout and
           "\033" not in out.stdout, "explain says why, without colours in a pipe",
           out.stderr + out.stdout[-2000:])


def good_folder(folder):
    """A configuration in which everything is as it should be."""
    data, _ = lib.capture("synapse-text")
    log, config = folder / "homeserver.log", folder / "hearsay.conf"
    registration = folder / "appservice.yaml"
    with open(log, "wb") as f:
        f.write(data)
    lib.write_registration(registration, lib.free_port())
    os.chmod(registration, 0o600)
    lib.write_config(config, folder, registration, log)
    return config, registration, log


def check_check(tap, folder):
    config, registration, log = good_folder(folder)
    out = lib.hearsay("check", "-c", config)
    tap.ok(out.returncode == 0, "check finds nothing wrong where nothing is", out)

    bad = folder / "bad.conf"
    with open(config, encoding="utf-8") as f:
        text = f.read()
    with open(bad, "w", encoding="utf-8") as f:
        f.write(text + "nonsense = 1;\nsend = 3;\n")
    out = lib.hearsay("check", "-c", bad)
    tap.ok(out.returncode == 1 and "bad.conf:" in out.stderr + out.stdout,
           "check names file and line of a syntax error or a second value", out)
    with open(bad, "w", encoding="utf-8") as f:
        f.write(text + "nonsense = 1;\nmore_nonsense = 2;\n")
    out = lib.hearsay("check", "-c", bad)
    said = out.stderr + out.stdout
    last = text.count("\n") + 1
    tap.ok(out.returncode == 1 and "bad.conf:%d" % last in said and
           "bad.conf:%d" % (last + 1) in said, "check tells all mistakes at once", out)
    out = lib.hearsay("run", "-c", bad)
    tap.ok(out.returncode == 1 and "bad.conf:%d" % last in out.stderr,
           "run refuses what check does", out)

    with open(bad, "w", encoding="utf-8") as f:
        f.write(text + "appservices = ( { id = \"nobody\"; ca = \"/nowhere.pem\"; } );\n")
    out = lib.hearsay("check", "-c", bad)
    tap.ok(out.returncode == 1 and "bad.conf:%d: /nowhere.pem" % last in out.stderr and
           "\"nobody\"" in out.stderr, "check looks at the ways to appservices", out)

    os.symlink(log, folder / "link.log")
    with open(bad, "w", encoding="utf-8") as f:
        f.write(text.replace('path = "%s";' % log, 'path = "%s"; }, { path = "%s";'
                             % (log, folder / "link.log")))
    for command in ("check", "run"):
        out = lib.hearsay(command, "-c", bad)
        said = out.stderr + out.stdout
        tap.ok(out.returncode == 1 and "link.log leads to the same file as" in said and
               "homeserver.log on line" in said,
               "%s refuses two paths that lead to one file" % command, out)

    out = lib.hearsay("check", "-c", folder / "nothing.conf")
    tap.ok(out.returncode == 1 and "nothing.conf" in out.stderr,
           "check of a configuration that is not there", out)
    os.rename(log, log + ".away")
    out = lib.hearsay("check", "-c", config)
    tap.ok(out.returncode == 1 and "homeserver.log" in out.stderr + out.stdout,
           "check names a log that is not there", out)
    os.rename(log + ".away", log)
    with open(registration, "a", encoding="utf-8") as f:
        f.write("  - : [\n")
    out = lib.hearsay("check", "-c", config)
    tap.ok(out.returncode == 1 and "appservice.yaml:" in out.stderr + out.stdout,
           "check names file and line of a broken registration", out)


def check_status(tap, folder):
    config, registration, log = good_folder(folder)
    receiver = lib.Receiver(folder)
    lib.write_config(config, folder, receiver.registration, log)
    receiver.start()
    run = lib.Run(config, folder / "run.log")
    with open(log, "rb") as f:
        want = len(lib.replay_listed(f.read(), folder))
    try:
        lib.wait_for(lambda: len(receiver.events()) >= want or not run.running(), "the events")
        out = lib.hearsay("status", "-c", config, "--json")
        tap.ok(out.returncode == 0 and isinstance(json.loads(out.stdout), dict),
               "status --json is JSON while run runs", out)
        second = lib.hearsay("run", "-c", config)
        tap.ok(second.returncode == 1 and str(run.process.pid) in second.stderr,
               "a second run is refused with the first one's pid", second)
    finally:
        tap.equal(run.terminate(), 0, "run ends cleanly")
        receiver.stop()
    out = lib.hearsay("status", "-c", config, "--json")
    tap.ok(out.returncode == 0 and log in out.stdout and "audit" in out.stdout,
           "status --json names log and appservice when run does not run", out)
    out = lib.hearsay("status", "-c", config)
    tap.ok(out.returncode == 0 and log in out.stdout and "audit" in out.stdout,
           "status says it in words", out)
    secret = "an-hs-token-made-up-for-the-test"
    with open(folder / "hearsay.db", "rb") as f:
        tap.ok(secret.encode() not in f.read(), "the store holds no token")
    tap.ok(secret not in run.said() + receiver.program.said() + out.stdout,
           "no token is ever printed")


def check_odd_names(tap, folder):
    """A file's name need not be UTF-8; what tells of it is."""
    config, metrics = folder / "hearsay.conf", folder / "hearsay.prom"
    data, _ = lib.capture("synapse-text")
    receiver = lib.Receiver(folder)
    lib.write_config(config, folder, receiver.registration, folder / "caf*.log",
                     extra='metrics = "%s";' % metrics)
    with open(os.fsencode(folder / "caf") + b"\xe9.log", "wb") as f:
        f.write(data)
    with open(os.fsencode(folder / "caf\\xe9.log"), "wb") as f:
        f.write(data)
    receiver.start()
    run = lib.Run(config, folder / "run.log")
    names = [folder / "caf\\x5cxe9.log", folder / "caf\\xe9.log"]
    try:
        lib.wait_for(lambda: len(receiver.events()) > 0 or not run.running(), "events")

        def status():
            out = subprocess.run([lib.HEARSAY, "status", "-c", config, "--json"],
                                 capture_output=True, check=True).stdout
            logs = json.loads(out.decode())["logs"]
            return sorted(log["log"] for log in logs if log["behind"] == 0)

        lib.wait_for(lambda: len(status()) == 2, "both logs to be read")
        tap.equal(status(), names, "status --json is UTF-8, and two names are two")
        out = subprocess.run([lib.HEARSAY, "history", "-c", config, "--json"],
                             capture_output=True, check=True).stdout
        told = {json.loads(line)["log"] for line in out.decode().splitlines()}
        tap.ok(told and told <= set(names), "history --json is, too", told)
        with open(metrics, "rb") as f:
            text = f.read().decode()
        tap.ok(all('log="%s"' % name.replace("\\", "\\\\") in text for name in names),
               "and the metrics", text)
    finally:
        tap.equal(run.terminate(), 0, "run ends cleanly with odd names")
        receiver.stop()
    with open(folder / "run.log", "rb") as f:
        tap.ok(b"\xe9" not in f.read(), "what run says is UTF-8")


def main():
    tap = lib.Tap()
    check_usage(tap)
    check_manual(tap)
    check_packs(tap)
    with lib.Folder() as folder:
        check_explain(tap, folder)
        check_check(tap, folder)
    with lib.Folder() as folder:
        check_status(tap, folder)
    with lib.Folder() as folder:
        check_odd_names(tap, folder)
    tap.done()


main()
