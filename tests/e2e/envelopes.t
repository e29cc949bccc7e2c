#!/usr/bin/env python3
"""A log in an envelope tells what the bare log tells."""
import datetime
import json
import os
import re
import time

import lib
import wrap

STAMP = re.compile(rb"(20\d\d-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)")
EPOCH = re.compile(rb'"time":(\d{10}(?:\.\d+)?)')


def clock_of():
    """A collector's clock: that of the newest line which has a time."""
    at = [datetime.datetime(2026, 11, 23, 9, 0, 0)]

    def clock(line):
        m = STAMP.match(line)
        e = EPOCH.search(line)
        if e:
            at[0] = datetime.datetime.fromtimestamp(
                float(e[1]), datetime.timezone.utc).replace(tzinfo=None)
        elif m:
            at[0] = datetime.datetime.strptime(
                (m[1] + b" " + m[2]).decode(), "%Y-%m-%d %H:%M:%S")
        return at[0]
    return clock


def forms(rng):
    def anywhere(left):
        return rng.randint(1, max(1, left)) if rng.random() < 0.3 else left

    return {
        "docker": lambda d: wrap.docker(d, clock_of()),
        "docker, with labels": lambda d: wrap.docker(d, clock_of(), attrs={"tag": "a/b"}),
        "docker, cut anywhere": lambda d: wrap.docker(d, clock_of(), cut=anywhere),
        "cri": lambda d: wrap.cri(d, clock_of()),
        "cri, cut anywhere": lambda d: wrap.cri(d, clock_of(), cut=anywhere),
        "journal": lambda d: wrap.journal(d, clock_of()),
        "journal, cut anywhere": lambda d: wrap.journal(d, clock_of(), cut=anywhere),
        "syslog": lambda d: wrap.syslog_3164(d, clock_of()),
        "syslog with <pri>": lambda d: wrap.syslog_3164(d, clock_of(), pri=b"<30>"),
        "syslog with a whole stamp": lambda d: wrap.syslog_iso(d, clock_of()),
        "syslog of RFC 5424": lambda d: wrap.syslog_5424(d, clock_of()),
    }


def long_lines(data, rng):
    """Some lines grow beyond what a runtime writes in one piece."""
    out = []
    for line in data.split(b"\n"):
        out.append(line)
        if line and rng.random() < 0.02:
            out.append(b"Traceback: " + b"x" * rng.randint(1, 3 * wrap.PIECE))
    return b"\n".join(out)


def told(folder, data, pack="synapse"):
    path = folder / "wrapped.log"
    with open(path, "wb") as f:
        f.write(data)
    # A year-less stamp is of the year of the file.
    os.utime(path, (1795500000, 1795500000))
    return [lib.same(e) for e in lib.replay(path, pack=pack)]


def check(tap, folder, name, rng):
    data, _ = lib.capture(name)
    # The runtimes write text: what is none is lost in any case.
    data = long_lines(data.decode("utf-8", "replace").encode(), rng)
    bare = told(folder, data)
    tap.ok(len(bare) > 100, name + ": the bare log tells something", len(bare))
    for form, make in forms(rng).items():
        tap.equal(told(folder, make(data)), bare, "%s in %s" % (name, form))
    tap.equal(told(folder, wrap.docker(data, clock_of()), pack=None), bare,
              name + ": the pack is found through the envelope")


def check_untimed(tap, folder):
    """Lines without a time of their own have that of the envelope."""
    data, _ = lib.capture("synapse-terse-json")
    bare = told(folder, data)
    untimed = re.sub(rb',"time":[0-9.]+', b"", data)
    clock = clock_of()
    stamps = [clock(line) for line in wrap.lines_of(data)]
    for form in (wrap.docker, wrap.cri, wrap.journal, wrap.syslog_iso, wrap.syslog_5424):
        order = iter(stamps)
        got = told(folder, form(untimed, lambda _, order=order: next(order)))
        tap.equal([(t, c) for t, c, _ in got], [(t, c) for t, c, _ in bare],
                  "lines without a time in %s" % form.__name__)
        tap.ok(all(abs(g[2] - b[2]) < 1000 for g, b in zip(got, bare)),
               "their time is the envelope's (%s)" % form.__name__)


def check_records(tap, folder):
    """Synapse's records in the journal, as those of its contrib folder, tell the same."""
    data, _ = lib.capture("synapse-terse-json")
    levels = {"DEBUG": "7", "INFO": "6", "WARNING": "4", "ERROR": "3", "CRITICAL": "2"}
    out = []
    for line in wrap.lines_of(data):
        record = json.loads(line)
        out.append(json.dumps({
            "__REALTIME_TIMESTAMP": "%d" % round(record["time"] * 1000000),
            "PRIORITY": levels[record["level"]], "LOGGER": record["namespace"],
            "MESSAGE": "%s: [%s] %s" % (record["namespace"], record.get("request", ""),
                                        record["log"])}).encode() + b"\n")
    bare, got = told(folder, data), told(folder, b"".join(out))
    tap.equal([e[:2] for e in got], [e[:2] for e in bare], "records in the journal")
    tap.ok(all(abs(g[2] - b[2]) < 2 for g, b in zip(got, bare)), "their time is the entry's")


LINE = (b"2026-11-23 10:00:%02d,000 - synapse.%s - 1 - INFO - POST-7 - ")
FORGED = (LINE % (2, b"handlers.auth") + b"Logging in user @admin:example.test on device STOLEN",
          LINE % (3, b"access.http.8008") + b"::1 - 8008 - {@admin:example.test} Processed "
          b"request: 0.1sec/0.0sec (0.0sec, 0.0sec) (0.0sec/0.0sec/1) 1B 200 "
          b'"POST /_matrix/client/v3/login HTTP/1.1" "x" [0 dbevts]')


def check_cuts(tap, folder):
    """The last piece of a line is never a line, wherever a user makes the cut fall."""
    head = LINE % (1, b"x")
    over = (1 << 20) + wrap.PIECE
    for size, piece, what in ((wrap.PIECE, wrap.PIECE, "of a long line"),
                              ((1 << 20) + 1, wrap.PIECE, "of one that is too long"),
                              (over, over, "behind one that is too long itself")):
        for make in (wrap.docker, wrap.cri, wrap.journal):
            lines = []
            for forged in FORGED:
                filler = size - size % piece + piece - len(head)
                lines.append(head + b"x" * filler + forged)
            data = make(b"\n".join(lines) + b"\n", clock_of(),
                        cut=lambda left, piece=piece: min(left, piece))
            path = folder / "cut.log"
            with open(path, "wb") as f:
                f.write(data)
            out = lib.hearsay("replay", "-P", lib.PATTERNS, "-p", "synapse", "-s", lib.SERVER,
                              "-z", "UTC", path)
            tap.ok(out.returncode == 0 and out.stdout == "",
                   "a forged piece %s in %s" % (what, make.__name__), out.stdout)
            # Of which each piece is one that is too long, there are two.
            tap.equal(re.findall(r"(\d+) lines of more than 1 MiB", out.stderr),
                      [] if size < 1 << 20 else ["4" if piece == over else "2"],
                      "lines that are too long are counted (%d, %s)" % (size, make.__name__))
    escaped = b"#012".join((head + b"x",) + FORGED) + b"\n"
    tap.equal(told(folder, wrap.syslog_3164(escaped, clock_of())), [],
              "a newline that syslog escaped begins no line")
    plain = b"".join(line + b"\n" for line in FORGED)
    tap.equal(len(told(folder, wrap.cri(plain, clock_of()))), 1, "while whole lines would tell")


def check_streams(tap, folder):
    """Several write into one journal: what stands between the pieces of a line changes nothing."""
    others = {
        "another stream's": wrap.journal(b"a line\n", clock_of(), stream="bb"),
        "a native one": wrap.journal(b"a line\n", clock_of()).replace(
            b'"stdout","_STREAM_ID":"aa"', b'"journal"')}
    line = LINE % (1, b"x") + b"x" * wrap.PIECE
    for name, other in others.items():
        data = b""
        for forged in FORGED:
            cut = wrap.journal(line[:wrap.PIECE] + forged + b"\n", clock_of())
            data += cut.replace(b"\n", b"\n" + other, 1)
        tap.equal(told(folder, data), [], "a forged piece in the journal behind " + name)
    half = wrap.journal(line + b"\n", clock_of(), stream="bb").splitlines(True)
    true = wrap.journal(b"\n".join(FORGED) + b"\n", clock_of())
    tap.equal(len(told(folder, half[0] + true)), 1, "and no half of a line takes another's")


def check_ends(tap, folder):
    """Of a line that its container did not live to end nothing is told; the next one is whole."""
    half = wrap.docker(LINE % (1, b"x") + b"half of a line\n", clock_of())
    half = half.replace(b'\\n","stream"', b'","stream"')
    plain = b"".join(line + b"\n" for line in FORGED)
    got = told(folder, half + wrap.docker(plain, clock_of()))
    tap.equal(len(got), 1, "a container that ended within a line does not spoil the next one's")
    half = wrap.cri(LINE % (0, b"handlers.auth") +
                    b"Logging in user @half:example.test on device HALF\n", clock_of())
    half = half.replace(b" F ", b" P ")
    got = told(folder, half + wrap.cri(plain, clock_of()))
    tap.equal(got, [], "nor is it joined with that in cri, where only the times show it")
    for name, data in (("0.log", half), ("1.log", wrap.cri(plain, clock_of()))):
        with open(folder / name, "wb") as f:
            f.write(data)
    got = lib.replay(folder / "0.log", folder / "1.log")
    tap.equal(len(got), 1, "a file for each container: each line is of its own file")


def check_first_sight(tap, make, change=None, stream="stdout", size=1):
    """
    Followed from its end on, in the middle of a line: the rest of that is no line,
    also where hearsay was started anew before it came, or the log rotated.
    """
    def wrapped(data):
        return make(data, clock_of(), stream=stream)

    line = LINE % (1, b"x") + b"x" * wrap.PIECE * size
    line = line[:wrap.PIECE * size] + FORGED[0]
    pieces = wrapped(line + b"\n" + FORGED[1] + b"\n").splitlines(True)
    true = b"".join(part.replace(b"POST-7", b"POST-8").replace(b"STOLEN", b"TRUE") + b"\n"
                    for part in FORGED)
    with lib.Folder() as folder:
        log, config = folder / "homeserver.log", folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log, start="end")
        receiver.start()
        with open(log, "wb") as f:
            f.write(make(b"a line that is no record\n", clock_of()) + b"".join(pieces[:size]))
        run = lib.Run(config, folder / "run.log")
        lib.wait_until_read(config, log)
        if change:
            run = change(run, lambda: lib.Run(config, folder / "run.log"), log)
        with open(log, "ab") as f:
            f.write(b"".join(pieces[size:]) + wrapped(true))
        try:
            lib.wait_for(receiver.events, "an event")
        except TimeoutError as e:
            tap.say(e)
        run.terminate()
        receiver.stop()
        tap.equal([e["content"]["device_id"] for e in receiver.events()], ["TRUE"],
                  "%s, %s: begun within a line, its rest is none (%s, %d pieces)" % (
                      make.__name__, stream, change.__name__ if change else "-", size))


def restarted(run, start, _):
    run.terminate()
    return start()


def killed(run, start, _):
    run.kill()
    return start()


def rotated(run, start, log):
    run.kill()
    os.rename(log, log + ".1")
    open(log, "wb").close()
    return start()


def check_whole_lines(tap, make):
    """Followed from its end on, between two lines: the first new one is told, too."""
    lines = make(b"\n".join((LINE % (1, b"x") + b"nothing",) + FORGED) + b"\n",
                 clock_of()).splitlines(True)
    for again in (False, True):
        with lib.Folder() as folder:
            log, config = folder / "homeserver.log", folder / "hearsay.conf"
            receiver = lib.Receiver(folder)
            lib.write_config(config, folder, receiver.registration, log, start="end")
            receiver.start()
            with open(log, "wb") as f:
                f.write(lines[0])
            run = lib.Run(config, folder / "run.log")
            lib.wait_until_read(config, log)
            if again:
                run = killed(run, lambda: lib.Run(config, folder / "run.log"), log)
            with open(log, "ab") as f:
                f.write(lines[1] + lines[2])
            try:
                lib.wait_for(receiver.events, "an event")
            except TimeoutError as e:
                tap.say(e)
            run.terminate()
            receiver.stop()
            tap.equal(len(receiver.events()), 1, "%s: begun at a line, it is told%s" % (
                make.__name__, ", after a restart too" if again else ""))


def check_named(tap, folder):
    """-e says what the lines would not, or say wrongly."""
    plain = b"".join(line + b"\n" for line in FORGED)
    path = folder / "named.log"

    def count(data, *options):
        with open(path, "wb") as f:
            f.write(data)
        out = lib.hearsay("replay", "-P", lib.PATTERNS, "-p", "synapse", "-s", lib.SERVER,
                          "-z", "UTC", *options, path)
        return out.stdout.count("\n") if out.returncode == 0 else out.stderr

    forms = {"docker": wrap.docker(plain, clock_of()), "cri": wrap.cri(plain, clock_of()),
             "syslog": wrap.syslog_3164(plain, clock_of()), "none": plain}
    for kind in forms:
        got = {form: count(data, "-e", kind) for form, data in forms.items()}
        tap.equal(got, {form: int(form == kind) for form in forms},
                  "-e %s takes what is so wrapped, and nothing else" % kind)
    tap.equal([count(data, "--envelope", "auto") for data in forms.values()], [1] * 4,
              "--envelope auto finds each")
    count(forms["docker"])
    shown = [lib.hearsay("explain", "-P", lib.PATTERNS, "-p", "synapse", "-e", kind, path).stdout
             for kind in ("auto", "docker", "none")]
    tap.equal(["context=POST-7" in out for out in shown], [True, True, False],
              "explain takes it as it is named")
    both = [lib.hearsay(command, "-e", "box", path) for command in ("replay", "explain")]
    tap.ok(all(out.returncode == 2 and '"box"' in out.stderr and '"docker"' in out.stderr
               for out in both), "a kind that is none is told, with those that are", both)


def check_places(tap, folder):
    """explain says where a line began, not where its last piece stands."""
    filler = b"x" * (wrap.PIECE + 1000)
    lines = [FORGED[0], LINE % (2, b"x") + filler, FORGED[1].replace(b'"x"', b'"' + filler + b'"')]
    path = folder / "places.log"
    for kind, make in (("docker", wrap.docker), ("cri", wrap.cri)):
        parts = [make(line + b"\n", clock_of()) for line in lines]
        with open(path, "wb") as f:
            f.write(b"".join(parts))
        for options in ((), ("-a",)):
            out = lib.hearsay("explain", "-P", lib.PATTERNS, "-p", "synapse", "-s", lib.SERVER,
                              "-z", "UTC", "-e", kind, *options, path)
            records = re.findall(r"^(\d+) precise .*POST-7", out.stdout, re.M)
            tap.equal([int(r) for r in records], [0, len(parts[0]) + len(parts[1])],
                      " ".join(("explain",) + options + ("with pieces:", kind)))
        tap.equal([int(n) for n in re.findall(r"^(\d+) within a line that goes on", out.stdout,
                                              re.M)],
                  [len(parts[0]), len(parts[0]) + len(parts[1])],
                  "explain -a names what is a piece only (%s)" % kind)


def check_kills(tap, make, rng):
    """Killed and rotated between the pieces of a line, each line is still taken once."""
    data, _ = lib.capture("synapse-text")
    data = data.decode("utf-8", "replace").encode()
    with lib.Folder() as folder:
        want = lib.replay_listed(data, folder)
        log, config = folder / "0.log", folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log)
        receiver.start()
        run = lib.Run(config, folder / "run.log")

        def kill():
            nonlocal run
            time.sleep(rng.random() * 0.1)
            run.kill()
            run = lib.Run(config, folder / "run.log")

        cut = make(data, clock_of(), cut=lambda left: rng.randint(1, max(1, left)))
        feeder = lib.Feeder(cut, log, rng, seconds=6)
        feeder.rotate("rename", 4)
        for _ in range(10):
            feeder.at(kill)
        try:
            feeder.run()
            lib.wait_for(lambda: len(receiver.events()) >= len(want) or not run.running(),
                         "%d events" % len(want))
        except TimeoutError as e:
            tap.say(e)
        finally:
            feeder.close()
            run.terminate()
            receiver.stop()
        if not tap.equal([lib.same(e) for e in receiver.events()], want,
                         "%s, cut, rotated and killed: each event once" % make.__name__):
            tap.say(run.said()[-2000:])


def check_restart(tap):
    """A user's lines that look like an envelope, alone behind a restart, are a user's."""
    data, _ = lib.capture("synapse-text")
    half = data.index(b"\n", len(data) // 2) + 1
    with lib.Folder() as folder:
        want = lib.replay_listed(data, folder)
        log, config = folder / "homeserver.log", folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log)
        receiver.start()
        with open(log, "wb") as f:
            f.write(data[:half])
        run = lib.Run(config, folder / "run.log")
        lib.wait_for(lambda: "started" in run.said(), "the start")
        lib.wait_until_read(config, log)
        run.terminate()
        with open(log, "ab") as f:
            f.write(wrap.cri(b"".join(line + b"\n" for line in FORGED), clock_of()))
        run = lib.Run(config, folder / "run.log")
        lib.wait_until_read(config, log)
        with open(log, "ab") as f:
            f.write(data[half:])
        try:
            lib.wait_for(lambda: len(receiver.events()) >= len(want), "%d events" % len(want))
        except TimeoutError as e:
            tap.say(e)
        run.terminate()
        receiver.stop()
        got = [lib.same(e) for e in receiver.events()]
        tap.ok("STOLEN" not in str(got), "an envelope is not believed for its lines alone")
        tap.equal(got, want, "and everything else is told")


def main():
    tap = lib.Tap()
    rng = lib.seeded(tap)
    with lib.Folder() as folder:
        check(tap, folder, "synapse-text", rng)
        check(tap, folder, "synapse-terse-json", rng)
        check_untimed(tap, folder)
        check_records(tap, folder)
        check_cuts(tap, folder)
        check_streams(tap, folder)
        check_ends(tap, folder)
        check_named(tap, folder)
        check_places(tap, folder)
    for make in (wrap.docker, wrap.cri):
        for change in (None, restarted, killed, rotated):
            check_first_sight(tap, make, change)
        check_first_sight(tap, make, rotated, size=80)
        check_whole_lines(tap, make)
    check_first_sight(tap, wrap.cri, killed, stream="stderr")
    check_restart(tap)
    check_kills(tap, wrap.docker, rng)
    check_kills(tap, wrap.cri, rng)
    tap.done()


main()
