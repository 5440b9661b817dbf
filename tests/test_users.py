"""Users as configuration: who gets in, for how long, and what they are shown."""

import subprocess

import pytest

from test_hostile import SYSTEM, config, group_config, user_config
from device import boxes, refusal

LOGIN = "urn:procyon:login"


def withdraw(user):
    return config(
        '<system xmlns="{}"><authentication><user nc:operation="delete"><name>{}</name></user></authentication></system>'.format(
            SYSTEM, user
        )
    )


def login_config(inside):
    return config('<system xmlns="{}"><login xmlns="{}">{}</login></system>'.format(SYSTEM, LOGIN, inside))


def test_a_user_who_is_taken_out_is_sent_away_and_another_stays(box, session):
    box.configure(session, user_config("leaver", "$0$leaver"), user_config("stayer", "$0$stayer"), group_config("few", "stayer"))
    leaver = box.connect(username="leaver", password="leaver", key_filename=None)
    with box.connect(username="stayer", password="stayer", key_filename=None) as stayer:
        box.configure(session, withdraw("leaver"))
        boxes.wait_for("end of the session", lambda: not leaver.connected)
        assert stayer.get_config("running").data_xml


def test_whoever_takes_out_himself_hears_that_it_is_done(box, session):
    box.configure(session, user_config("suicide", "$0$suicide"), group_config("admin", "suicide"))
    last = box.connect(username="suicide", password="suicide", key_filename=None)
    assert box.configure(last, withdraw("suicide")).ok
    boxes.wait_for("end of the session", lambda: not last.connected)


def test_the_banner_is_shown_to_whoever_connects(box, session):
    box.configure(session, login_config("<banner>property of the observatory</banner>"))
    host, port = box.ready.ssh
    shown = subprocess.run(
        ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        + ["-o", "IdentityFile=none", "-p", str(port), "nobody@" + host, "-s", "netconf"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=boxes.REPLY_SECONDS_MAX,
    )
    assert "property of the observatory" in shown.stderr
    box.configure(session, login_config('<banner nc:operation="delete"/>'))


@pytest.mark.parametrize("wrong", ["<grace-time>0</grace-time>", "<grace-time>soon</grace-time>", "<banner/>"])
def test_what_makes_no_sense_is_refused(box, session, wrong):
    assert refusal(lambda: box.configure(session, login_config(wrong))).tag in ("invalid-value", "bad-element")
    session.discard_changes()
