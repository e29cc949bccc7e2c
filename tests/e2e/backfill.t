#!/usr/bin/env python3
"""replay --into: the past for an appservice that came later, once."""
import gzip
import json
import os
import re
import shutil

import lib


def backfill(config, appservice, *files, since="2000-01-01"):
    """How many events were queued, how many were before."""
    out = lib.hearsay("replay", "--into", appservice, "--since", since, "-c", config, "-P",
                      lib.PATTERNS, "-p", "synapse", "-z", "UTC", *files)
    found = re.search(r"(\d+) events queued for \S+ (\d+) were before", out.stderr)
    if out.returncode != 0 or out.stdout or not found:
        raise RuntimeError("replay --into ended with %d: %s" % (out.returncode, out.stderr))
    return int(found.group(1)), int(found.group(2))


def second_receiver(folder):
    receiver = lib.Receiver(folder)
    with open(receiver.registration, encoding="utf-8") as f:
        text = f.read()
    text = text.replace("id: audit", "id: late").replace("-token", "-other-token")
    with open(receiver.registration, "w", encoding="utf-8") as f:
        f.write(text)
    return receiver


def unmarked(event):
    content = dict(event["content"])
    mark = content.pop("org.hearsay.backfill", None)
    return mark, lib.same(dict(event, content=content))


def unseen(tap, folder, late, log):
    """A glob finds a file that appeared while run did not run."""
    config, new = folder / "glob.conf", folder / "homeserver-worker.log"
    lib.write_config(config, folder, late.registration, folder / "homeserver*.log",
                     store=folder / "glob.db", start="end")
    run = lib.Run(config, folder / "run.log")
    lib.wait_until_read(config, log)
    tap.equal(run.terminate(), 0, "run ends cleanly")
    before = len(late.events())
    shutil.copyfile(log, new)
    with open(new, "r+b") as f:
        f.write(b"# another file\n")
    want = [lib.same(e) for e in lib.replay(new) if e["type"] in lib.LISTED]
    tap.equal(backfill(config, "late", new), (0, 0), "a file that run will find is left to it")
    run = lib.Run(config, folder / "run.log")
    lib.wait_for(lambda: len(late.events()) >= before + len(want), "its events")
    lib.wait_until_read(config, new)
    tap.equal(run.terminate(), 0, "run ends cleanly")
    tap.equal([unmarked(e) for e in late.events()[before:]], [(None, e) for e in want],
              "which tells it live, and once")


def main():
    tap = lib.Tap()
    data, _ = lib.capture("synapse-text")
    with lib.Folder() as folder, lib.Folder() as other:
        want = lib.replay_listed(data, folder)
        log, config = folder / "homeserver.log", folder / "hearsay.conf"
        with open(log, "wb") as f:
            f.write(data)
        audit, late = lib.Receiver(folder), second_receiver(other)
        lib.write_config(config, folder, audit.registration, log)
        audit.start()
        run = lib.Run(config, folder / "run.log")
        lib.wait_for(lambda: len(audit.events()) == len(want), "the events of the first")
        tap.equal(run.terminate(), 0, "run ends cleanly")

        lib.write_config(config, folder, audit.registration + '", "' + late.registration, log)
        late.start()
        run = lib.Run(config, folder / "run.log")
        tap.equal(backfill(config, "audit", log), (0, len(want)),
                  "nothing of the past is queued for whom it was told live")
        tap.equal(backfill(config, "late", log), (len(want), 0),
                  "all of it is for one that came later")
        lib.wait_for(lambda: len(late.events()) >= len(want), "the events of the second")
        tap.equal([unmarked(e) for e in late.events()], [(True, e) for e in want],
                  "they arrive in order, and marked")
        tap.equal(backfill(config, "late", log), (0, len(want)), "once more queues nothing")

        shutil.copyfile(log, log + ".1")
        with open(log + ".1", "rb") as f, gzip.open(log + ".2.gz", "wb") as z:
            z.write(f.read())
        tap.equal(backfill(config, "late", log + ".1"), (0, len(want)), "nor does a copy")
        tap.equal(backfill(config, "late", log + ".2.gz"), (0, len(want)),
                  "nor does a compressed one")
        middle = want[len(want) // 2][2]
        tap.equal(sum(backfill(config, "late", log, since=lib.time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", lib.time.gmtime(middle / 1000 + 1)))),
                  sum(e[2] >= (middle // 1000 + 1) * 1000 for e in want), "--since is gone by")

        strange = folder / "strange.log"
        with open(strange, "wb") as f:
            f.write(data[data.index(b"\n", len(data) // 2) + 1:])
        first, known = backfill(config, "late", strange)
        tap.ok(first > 0 and known == 0, "a file that run does not know is another one",
               (first, known))
        tap.equal(backfill(config, "late", strange), (0, first), "but is one file, too")
        lib.wait_for(lambda: len(late.events()) == len(want) + first, "those")
        tap.equal(len(audit.events()), len(want), "the first got nothing of all this")
        tap.equal(run.terminate(), 0, "run ends cleanly")

        with open(log, "ab") as f:
            f.write(data)
        tap.equal(backfill(config, "late", log), (0, len(want)),
                  "what run has not read yet is left to it")
        run = lib.Run(config, folder / "run.log")
        lib.wait_for(lambda: len(audit.events()) == 2 * len(want), "the events behind it")
        lib.wait_for(lambda: len(late.events()) >= 2 * len(want) + first, "those of the second")
        tap.equal([unmarked(e) for e in late.events()[-len(want):]],
                  [(None, e) for e in want], "which tells it live, and once")
        tap.equal(run.terminate(), 0, "run ends cleanly")
        unseen(tap, folder, late, log)
        audit.stop()
        late.stop()

        out = lib.hearsay("replay", "--into", "nobody", "--since", "2000-01-01", "-c", config,
                          log)
        tap.ok(out.returncode == 1 and "nobody" in out.stderr, "--into of nobody", out)
        out = lib.hearsay("replay", "--into", "late", "-c", config, log)
        tap.equal(out.returncode, 2, "--into needs --since")
        told = lib.hearsay("history", "-c", config, "--json").stdout
        tap.equal(sum('"org.hearsay.backfill":true' in json.dumps(json.loads(line)["content"],
                                                                 separators=(",", ":"))
                      for line in told.split("\n") if line), len(want) + first,
                  "history has them")
        os.remove(strange)
    tap.done()


main()
