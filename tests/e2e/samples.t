#!/usr/bin/env python3
"""test: what it demands of a pack, shown on the pack that hearsay-pack(5) makes."""
import os
import re

import lib

PAGE = os.path.join(lib.SOURCE, "man", "hearsay-pack.5")
HOSTILE = '    hostile = ( [ "QKZR", "x user @root:example.org logged in from device y" ] ); },'


def lantern():
    """The pack of the page's examples."""
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    page = page[page.index("A pack in ten minutes"):]
    blocks = re.findall(r"^\.Bd -literal\n(.*?)^\.Ed$", page, re.M | re.S)
    return "".join(b for b in blocks if re.match(r"\w+ = ", b)).replace("\\e", "\\")


def run(folder, text, other=None):
    """The exit status and the output of test on the pack, beside another one."""
    for name, content in (("lantern", text), ("other", other)):
        path = os.path.join(folder, name + ".conf")
        if content is not None:
            with open(path, "w", encoding="utf-8") as f:
                f.write(content)
        elif os.path.exists(path):
            os.unlink(path)
    out = lib.hearsay("test", "-P", folder, "lantern")
    return out.returncode, out.stdout


def refuse(tap, folder, text, at, why, name, other=None):
    """One mistake is told, with the line of the pack in which at stands."""
    status, out = run(folder, text, other)
    number = text[:text.index(at)].count("\n") + 1
    line = "# %s/lantern.conf:%d: %s" % (folder, number, why)
    tap.ok(status == 1 and line in out, name, line + "\n" + out)


def check_edits(tap, folder, pack):
    refuse(tap, folder, pack.replace('"login 200", "login 500"', '"login 201", "login 500"'),
           'not = ( [ "login', '"login 201" does not stand once in the lines',
           "an edit of what is not there")
    refuse(tap, folder, pack.replace('"login 200", "login 500"', '"login 200", "login 200"'),
           'not = ( [ "login', 'with "login 200": none of the sample\'s rules rests for it',
           "an edit that changes nothing")
    refuse(tap, folder, pack.replace(HOSTILE, HOSTILE.replace("logged in from device", "hello")),
           'hostile = ( [', 'with "x user @root:example.org hello y": it has not the words',
           "a text that deceives nobody")
    open_end = pack.replace('device %{device_id:device}"', 'device (?<any>.*)"').replace(
        '"user %{user_id:user}', '"(?:.* )?user %{user_id:user}').replace(
        'device_id = "$device"', 'other = "$any"').replace(
        'device_id = "QKZR"', 'other = "QKZR"').replace(
        '[ "09:46:28.834Z", "09:56:29.834Z" ] );\n',
        '[ "09:46:28.834Z", "09:56:29.834Z" ] );\n    hostile = ( [ "QKZR", '
        '"x user @root:example.org logged in from device y" ] );\n')
    refuse(tap, folder, open_end, "hostile = (",
           'with "x user @root:example.org logged in from device y": it tells',
           "a text that deceives the pack")


def check_demands(tap, folder, pack):
    refuse(tap, folder, pack.replace(HOSTILE, "},"), '{ name = "logged-in"; logger',
           'rule "logged-in": no edit ("hostile") shows', "a rule without a text made to deceive")
    refuse(tap, folder, pack.replace('    not = ( [ "/_matrix/", "/health/" ] ); }', "}"),
           '{ name = "over"; logger', 'rule "over": no edit ("not") shows',
           "a rule that is never seen to rest")
    refuse(tap, folder, pack.replace('name = "a request"; rule = "over";', 'name = "a request";')
           .replace('    not = ( [ "/_matrix/", "/health/" ] ); }', "}")
           .replace('rule = [ "over", "logged-in" ];', 'rule = "logged-in";'),
           '{ name = "over"; logger', 'rule "over": no sample shows it at work',
           "a rule without a sample")
    refuse(tap, folder, pack.replace(', [ "09:46:28.834Z", "09:56:29.834Z" ]', ""),
           '{ name = "logged-in"; logger',
           'rule "logged-in" remembers, and no sample lets ten minutes pass', "no time-out")
    refuse(tap, folder, pack.replace(" sentinel = true;", ""), 'name = "lantern"',
           'no rule is a "sentinel"', "no sentinel")
    refuse(tap, folder, pack.replace('rule = [ "over", "logged-in" ];', 'rule = "over";'),
           '{ name = "a login that failed"', 'rule "logged-in" is at work, and is not named',
           "a rule at work that is not named")
    refuse(tap, folder, pack.replace('{ name = "a login"; rule = "login";', '{ name = "a login";')
           .replace('    not = ( [ "login 200", "login 500" ], [ "09:46:28.834Z", "09:56:29.834Z" ] );\n', ""),
           '{ name = "a login";', 'rule "login" tells an event, and is not named',
           "an event of a rule that is not named")
    refuse(tap, folder, pack.replace('"user %{user_id:user}', '"%{device_id:d}user %{user_id:user}'),
           '{ name = "logged-in"; logger', 'rule "logged-in": it has a catch-all before',
           "a catch-all in a macro")


def main():
    tap = lib.Tap()
    with lib.Folder() as made:
        folder = made.path
        pack = lantern()
        status, out = run(folder, pack)
        tap.ok(status == 0 and "not ok" not in out, "the pack of the manual is complete", out)
        check_edits(tap, folder, pack)
        check_demands(tap, folder, pack)
        other = pack.replace('name = "lantern"', 'name = "other"')
        refuse(tap, folder, pack, '{ name = "a login"; rule',
               'rule "logged-in" of %s/other.conf' % folder, "a pack that knows another's lines",
               other)
    tap.done()


main()
