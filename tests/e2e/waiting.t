#!/usr/bin/env python3
"""Events that wait until their log has shown that they are genuine.

They are told when a text of a user's can reach them no more, once, and in the
order of the log, though the daemon is killed meanwhile.
"""
import datetime

import lib

ACCOUNT = "register: conduwuit_service::users::account: "


def line(text):
    now = datetime.datetime.now(datetime.timezone.utc)
    return now.strftime("%Y-%m-%dT%H:%M:%S.%fZ") + "  INFO " + text + "\n"


def login(user):
    return line("login: conduwuit_api::client::session: @%s:%s logged in" % (user, lib.SERVER))


def registration(user):
    """As its owner's device has a name, some of what follows may be of that."""
    return (line('%sNew user "@%s:%s" registered on this server from IP 192.0.2.7 and device '
                 'display name "x".' % (ACCOUNT, user, lib.SERVER)) +
            line("%sCreated new user account for @%s:%s" % (ACCOUNT, user, lib.SERVER)))


def main():
    tap = lib.Tap()
    with lib.Folder() as folder:
        log = folder / "server.log"
        config = folder / "hearsay.conf"
        receiver = lib.Receiver(folder)
        lib.write_config(config, folder, receiver.registration, log, pack="continuwuity")
        receiver.start()

        def write(text):
            with open(log, "a", encoding="utf-8") as f:
                f.write(text)

        def users():
            return [e["content"]["user_id"].split(":")[0][1:] for e in receiver.events()]

        def arrived(count):
            try:
                lib.wait_for(lambda: len(users()) >= count or not run.running(),
                             "%d events" % count)
            except TimeoutError as e:
                tap.say(e)
            return users()

        write(login("ann") + registration("ben") + login("cem"))
        run = lib.Run(config, folder / "run.log")
        lib.wait_until_read(config, log)
        killed = run.kill()
        run = lib.Run(config, folder / "run.log")
        good = tap.equal(killed, -9, "killed while an event waits")
        good &= tap.equal(arrived(3), ["ann", "ben", "cem"], "it is told after the next start")
        write(login("dan"))
        good &= tap.equal(arrived(4), ["ann", "ben", "cem", "dan"],
                          "what is written long behind it is told, and nothing twice")
        good &= tap.equal(run.terminate(), 0, "SIGTERM ends it cleanly")
        if not good:
            tap.say(run.said()[-4000:])
        receiver.stop()
    tap.done()


main()
