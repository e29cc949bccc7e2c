#!/usr/bin/env python3
"""test --captures: the counts of score.py, and a failure for whatever is false."""
import gzip
import json
import os
import re

import lib
import score

ROW = re.compile(r"# (\S+): true (\d+), told (\d+), exact (\d+), false (\d+)$")


class Result:
    """One TAP result with its rows, {type: (true, told, exact, false)}."""

    def __init__(self, line):
        self.good = line.startswith("ok ")
        self.name = line.split(" - ", 1)[1]
        self.rows = {}
        self.notes = []


def run(folder, *packs):
    """The exit status and the results of the captures."""
    out = lib.hearsay("test", "-P", lib.PATTERNS, "--captures", folder, *packs)
    results = []
    for line in out.stdout.splitlines():
        row = ROW.match(line)
        if re.match(r"(not )?ok \d+ - ", line):
            results.append(Result(line))
        elif row:
            results[-1].rows[row[1]] = tuple(int(n) for n in row.groups()[1:])
        elif results:
            results[-1].notes.append(line)
    return out.returncode, results[1:]


def put_capture(folder, name, acts, **logs):
    """A folder with a truth and logs, {name: bytes}."""
    path = os.path.join(folder.path, name)
    os.makedirs(path)
    with open(os.path.join(path, "truth.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(act) + "\n" for act in acts)
    for log, data in logs.items():
        with open(os.path.join(path, log), "wb") as f:
            f.write(data)
    return path


def rows_of(name):
    """What score.py counts in a capture of tests/captures."""
    _, acts = lib.capture(name)
    events = lib.replay(os.path.join(lib.CAPTURES, name, "homeserver.log.gz"))
    return {t: (true, told, exact, false)
            for t, true, _, told, exact, false in score.Score(events, acts).rows()}


def check_ours(tap):
    status, results = run(lib.CAPTURES)
    tap.equal((status, len(results)), (0, 2), "every capture has one result")
    for result in results:
        name = result.name.split(":")[0]
        tap.equal((result.good, result.rows), (True, rows_of(name)),
                  name + ": the counts of score.py")
    status, results = run(lib.CAPTURES, "dendrite")
    tap.ok(status == 1 and not results[0].good, "another pack's captures are passed over", results)


def check_false(tap, folder, data, acts):
    """The truth lacks one login that the log has, and one says another device."""
    logins = [act for act in acts if [e["type"] for e in act["events"]] == ["m.user.login"]]
    lacks, other = logins[3], logins[7]
    wrong = []
    for act in acts:
        act = json.loads(json.dumps(act))
        if act["t0"] == lacks["t0"]:
            act["events"] = []
        elif act["t0"] == other["t0"]:
            act["events"][0]["content"]["device_id"] = "ANOTHER"
        wrong.append(act)
    path = put_capture(folder, "wrong", wrong, **{"homeserver.log": data})
    status, results = run(path)
    whole = rows_of("synapse-terse-json")["m.user.login"]
    tap.equal((status, results[0].good, results[0].rows["m.user.login"]),
              (1, False, (whole[0] - 1, whole[1] - 2, whole[2] - 2, 2)),
              "what no act explains is false")
    user = lacks["events"][0]["content"]["user_id"]
    tap.ok(any(n.startswith("# false: m.user.login") and user in n for n in results[0].notes),
           "and is shown", results[0].notes)


def check_logs(tap, folder, data, acts):
    """Pieces of one log, logs of one server, and copies."""
    lines = data.splitlines(keepends=True)
    rows = rows_of("synapse-terse-json")

    third = len(lines) // 3
    path = put_capture(folder, "pieces", acts, **{
        "homeserver.log.2.gz": gzip.compress(b"".join(lines[:third])),
        "homeserver.log.1": b"".join(lines[third:2 * third]),
        "homeserver.log": b"".join(lines[2 * third:]),
        "README.md": b"Not a log.\n"})
    status, results = run(path)
    tap.equal((status, [r.rows for r in results]), (0, [rows]), "rotated pieces are one log")

    halves = [[], []]
    for line in lines:
        number = re.search(r"-(\d+)$", json.loads(line).get("request") or "")
        halves[int(number[1]) % 2 if number else 0].append(line)
    path = put_capture(folder, "two", acts, **{
        "main.log": b"".join(halves[0]), "worker.log": b"".join(halves[1]),
        "other.log": b"nothing that a homeserver would write\n"})
    status, results = run(path)
    tap.equal((status, [r.rows for r in results]), (0, [rows]),
              "several logs of one server are read together")
    tap.ok("# other.log: no pack knows its lines" in results[0].notes,
           "a log that is none is named", results[0].notes)

    path = put_capture(folder, "copies", acts, **{"a.log": data, "b.log": data})
    status, results = run(path)
    tap.equal((status, [r.rows for r in results]), (0, [rows, rows]),
              "a log that was written twice is scored twice, not told twice")


def check_mistakes(tap, folder):
    os.makedirs(folder / "empty")
    put_capture(folder, "foreign", [], **{"a.log": b"foo\n"})
    put_capture(folder, "broken", [{"t0": 1}], **{
        "homeserver.log": lib.capture("synapse-text")[0]})
    for name in ("empty", "foreign", "broken", "nowhere"):
        status, results = run(folder / name)
        tap.ok(status == 1 and [r.good for r in results] == [False], name + " is a failure",
               [vars(r) for r in results])


def main():
    tap = lib.Tap()
    check_ours(tap)
    with lib.Folder() as folder:
        data, acts = lib.capture("synapse-terse-json")
        check_false(tap, folder, data, acts)
        check_logs(tap, folder, data, acts)
        check_mistakes(tap, folder)
    tap.done()


main()
