"""The event manager from outside: something happens, and a script runs that knows what."""

import json
import os
import re
import signal

import pytest
from ncclient.operations import RPCError

import box as boxes
from device import FOREVER, App
from hands import local

MANAGER = boxes.CISCO + "um-event-manager-cfg"
POLICY = boxes.CISCO + "um-event-manager-policy-map-cfg"
STATE = boxes.CISCO + "ha-eem-policy-oper"

# Leaves what it learned in a file of its folder, whole or not at all.
SCRIPT = (
    b"import json, os\nfrom iosxr import eem\nrc, event = eem.event_reqinfo()\n"
    b"with open('seen.new', 'w') as handle:\n    json.dump([rc, event, os.environ.get('SITE')], handle)\n"
    b"os.rename('seen.new', 'seen')\nprint(event['event_name'])\n"
)


class Policy:
    """A trigger, an action that runs a script of its own, and the policy map that joins them."""

    def __init__(self, box, session, name, trigger, source=SCRIPT, checksum=None, more=""):
        self.box, self.session, self.script = box, session, name
        self.name = name[:-3][:31]
        path = os.path.join(box.root, "harddisk", name)
        with open(path, "wb") as handle:
            handle.write(source)
        box.call(session, box.add_request("harddisk:", name).replace(">process<", ">eem<"))
        os.unlink(path)
        config = (
            '<config xmlns="{netconf}"><event xmlns="{manager}"><manager><environment><global-variables><global-variable>'
            "<global-variable-name>SITE</global-variable-name><value>lab</value></global-variable></global-variables>"
            '</environment><event-trigger xmlns="{policy}"><event><event-name>{name}</event-name>{more}<type>{trigger}</type>'
            '</event></event-trigger><actions xmlns="{policy}"><action><action-name>{name}</action-name><type><script>'
            "<script-name>{script}</script-name><checksum><sha256>{sum}</sha256></checksum></script></type>"
            '<username>admin</username></action></actions><policy-maps xmlns="{policy}"><policy-map>'
            "<policy-map-name>{name}</policy-map-name><trigger><event>{name}</event></trigger><actions><action>"
            "<action-name>{name}</action-name></action></actions></policy-map></policy-maps></manager></event></config>"
        ).format(
            netconf=boxes.NETCONF,
            manager=MANAGER,
            policy=POLICY,
            name=self.name,
            script=name,
            trigger=trigger,
            more=more,
            sum=checksum or boxes.sha256(source),
        )
        box.configure(session, config)

    def seen(self):
        """(rc, event, SITE) as the script saw them, once it has run."""
        path = os.path.join(self.box.root, "state", "work", self.script + "_eem", "seen")
        boxes.wait_for("the event script", lambda: os.path.exists(path))
        with open(path) as handle:
            return json.load(handle)

    def state(self):
        asked = '<eem xmlns="{}"/>'.format(STATE)
        entries = {}
        for node in self.session.get(filter=("subtree", asked)).data.iter():
            keys = [leaf.text for leaf in node if boxes.local(leaf) in ("action-name", "event-name", "policy-name")]
            if keys[:1] == [self.name]:
                entries[boxes.local(node)] = {boxes.local(leaf): leaf.text for leaf in node}
        return entries


@pytest.fixture
def name(request):
    """Short: the module allows 31 characters."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[5:30].strip("-") + ".py"


def test_a_line_of_the_system_log_runs_a_script_that_knows_it(box, session, name):
    trigger = '<syslog><pattern>"user \'admin\'.*changes \\d+"</pattern><severity><info/></severity></syslog>'
    policy = Policy(box, session, name, trigger)
    # Any further commit leaves such a line.
    config = '<config xmlns="{}"><hostname xmlns="{}um-hostname-cfg"><system-network-name>{}</system-network-name></hostname></config>'
    box.configure(session, config.format(boxes.NETCONF, boxes.CISCO, "one"))
    rc, event, site = policy.seen()
    assert rc == 0 and site == "lab"
    assert event["event_name"] == event["action_name"] == event["policy_map_name"] == policy.name
    assert event["event_type_string"] == "syslog" and event["msg_count"] == 1 and event["priority"] == 6
    assert re.search(r"%MGBL-CONFIG-6-DB_COMMIT : Configuration committed by user 'admin'", event["msg"])
    state = boxes.wait_for(
        "the end of the run",
        lambda: (lambda seen: seen if "Executed" in seen["action-name"].get("last-run-status", "") else None)(policy.state()),
    )
    assert state["action-name"]["last-run-status"].endswith("Executed, return value 0")
    assert state["policy-map-name"]["policy-status"] == "active"
    assert int(state["event-trigger-name"]["event-triggered-count"]) >= 1


def test_the_command_line_shows_triggers_actions_and_policy_maps(box, session, name):
    policy = Policy(box, session, name, "<timer><watchdog><value>86400</value></watchdog></timer>", more="<occurrence>2</occurrence>")
    shell = lambda line: box.command("shell", "--root", box.root, "-c", line, check=False).stdout
    rows = {
        "policy-map": (policy.name, "active", "0", "1", "1"),
        "action": (policy.name, policy.script, "admin", "0", "-"),
        "event-trigger": (policy.name, "timer", "active", "0", "1"),
    }
    for what, row in rows.items():
        assert re.search(r"^{}\s*$".format(r"\s+".join(map(re.escape, row))), shell("show event manager " + what), re.M), what
        one = shell("show event manager {} {}".format(what, policy.name))
        assert re.search(r"name\s+: {}$".format(re.escape(policy.name)), one, re.M) and "Triggered count" in one
        assert shell("show event manager {} detail".format(what)).count("Triggered count") >= 1
        assert "% There is no" in shell("show event manager {} absent".format(what))
    assert re.search(r"^Occurrence\s+: 2$", shell("show event manager event-trigger " + policy.name), re.M)
    assert re.search(r"^Script name\s+: {}$".format(re.escape(policy.script)), shell("show event manager action " + policy.name), re.M)


# As people's guides write it.
PASTED = """
event manager action Pim
 username admin
 type script script-name pim.py maxrun seconds 3600 checksum sha256 {sum}
!
event manager policy-map Set-Priority-110
 trigger event Restore
 action Pim
!
event manager policy-map Activate
 occurrence 2
 period 60
 trigger multi-event "Startup OR (Isolate AND Commit)"
 action Pim
!
event manager event-trigger Restore
 type track name 1 status up
!
event manager event-trigger Startup
 type timer cron cron-entry "@reboot"
!
event manager event-trigger Commit
 occurrence 3
 period seconds 30
 rate-limit seconds 60
 type syslog pattern "%MGBL-CONFIG-6-DB_COMMIT : Configuration committed by user" severity notice severity info
!
event manager event-trigger Ours
 type app name poller status exit-failure
!
event manager track 1 app poller
event manager environment SITE value lab
"""


def test_what_guides_write_is_taken_and_shown_as_it_was_typed(own_box):
    typed = PASTED.format(sum="ab" * 32)
    shell = lambda *lines: local(own_box, typed="\n".join(("terminal exec prompt no-timestamp",) + lines) + "\n")
    status, out, errors = shell("configure", typed, "commit", "end", "show running-config event")
    assert (status, errors) == (0, ""), out
    for line in typed.strip().splitlines():
        assert "\n{}\n".format(line.replace('"@reboot"', "@reboot")) in "\n" + out, line
    formal = shell("show running-config formal event | include script-name")[1]
    assert formal == "event manager action Pim type script script-name pim.py maxrun seconds 3600 checksum sha256 {}\n".format("ab" * 32)
    told = shell("show event manager event-trigger detail")[1]
    for title, fact in (
        ("Pattern", "%MGBL-CONFIG-6-DB_COMMIT : Configuration committed by user"), ("Severity", "notice info"),
        ("Cron entry", "@reboot"), ("Track name", "1"), ("Track status", "up"),
    ):  # fmt: skip
        assert re.search(r"^{}\s*: {}$".format(title, re.escape(fact)), told, re.M), (title, told)
    again = shell("configure", "event manager action Pim type script script-name", "event manager action Pim type script sha256 x", "abort")
    assert again[0] == 1 and "% Incomplete command" in again[1] + again[2], again
    gone = shell("configure", "no event manager action Pim type script maxrun seconds", "no event manager environment SITE", "commit", "end", "show running-config event")
    assert "maxrun" not in gone[1] and "environment" not in gone[1] and "script-name pim.py checksum" in gone[1], gone
    assert shell("configure", "no event", "commit", "end")[0] == 0


def test_a_file_that_is_written_runs_a_script(box, session, name, tmp_path):
    path = str(tmp_path / "watched")
    policy = Policy(box, session, name, '<file xmlns="urn:procyon:eem"><path>{}</path></file>'.format(path))
    boxes.wait_for("the watch", lambda: policy.state()["event-trigger-name"]["event-status"] == "active")
    with open(path, "w") as handle:
        handle.write("x")
    rc, event, _ = policy.seen()
    assert (rc, event["event_type_string"], event["file_path"]) == (0, "file", path)


def test_an_app_that_comes_up_and_fails_runs_scripts(box, session, name):
    app = App(box, session, "of-" + name, FOREVER, restart="never")
    track = (
        '<config xmlns="{}"><event xmlns="{}"><manager><tracks xmlns="urn:procyon:eem"><track><name>{n}</name><app>{n}</app></track></tracks>'
        "</manager></event></config>"
    )
    box.configure(session, track.format(boxes.NETCONF, MANAGER, n=app.name))
    up = Policy(box, session, "up-" + name, "<track><name>{}</name><status><up/></status></track>".format(app.name))
    failed = Policy(
        box, session, "ko-" + name, '<app xmlns="urn:procyon:eem"><name>{}</name><status>exit-failure</status></app>'.format(app.name)
    )
    app.activate()
    rc, event, _ = up.seen()
    assert (rc, event["event_type_string"], event["track_name"], event["track_state"]) == (0, "track", app.name, "up")
    os.kill(app.pid(), signal.SIGKILL)
    rc, event, _ = failed.seen()
    assert (rc, event["event_type_string"], event["app_name"], event["app_status"]) == (0, "app", app.name, "exit-failure")
    app.end()


def test_an_alarm_runs_a_script(box, session, name):
    policy = Policy(box, session, name, '<alarm xmlns="urn:procyon:eem"><resource>{}</resource></alarm>'.format(name))

    def told():
        raised = "<raise-alarm xmlns='urn:procyon:alarms'><resource>{}</resource><name>q{}</name><severity>major</severity><text>hot</text></raise-alarm>"
        box.call(session, raised.format(name, next(count)))
        return int(policy.state()["event-trigger-name"]["event-triggered-count"])

    count = iter(range(1000))
    boxes.wait_for("the alarm", told)
    rc, event, _ = policy.seen()
    assert rc == 0 and (event["event_type_string"], event["alarm_resource"], event["alarm_severity"], event["alarm_text"]) == (
        "alarm", name, "major", "hot",
    ), event  # fmt: skip


def test_a_notification_runs_a_script(box, session, name):
    trigger = (
        '<notification xmlns="urn:procyon:eem"><name>ietf-netconf-notifications:netconf-config-change</name></notification>'
    )
    policy = Policy(box, session, name, trigger)
    config = '<config xmlns="{}"><hostname xmlns="{}um-hostname-cfg"><system-network-name>{}</system-network-name></hostname></config>'
    count = iter(range(1000))

    def told():
        box.configure(session, config.format(boxes.NETCONF, boxes.CISCO, "n{}".format(next(count))))
        return int(policy.state()["event-trigger-name"]["event-triggered-count"])

    boxes.wait_for("the notification", told)
    rc, event, _ = policy.seen()
    assert rc == 0 and "<hostname" not in event["event_name"] and "netconf-config-change" in event["notification_xml"]


def test_a_script_that_is_not_the_approved_one_does_not_run_and_is_told(box, session, name, tmp_path):
    path = str(tmp_path / "watched")
    trigger = '<file xmlns="urn:procyon:eem"><path>{}</path></file>'.format(path)
    policy = Policy(box, session, name, trigger, checksum="00" * 32)
    boxes.wait_for("the watch", lambda: policy.state()["event-trigger-name"]["event-status"] == "active")
    with open(path, "w"):
        pass
    state = boxes.wait_for("the refusal", lambda: policy.state()["action-name"].get("last-run-status"))
    assert "Checksum Mismatch" in state, state
    assert not os.path.exists(os.path.join(box.root, "state", "work", policy.script + "_eem", "seen"))


def test_what_cannot_be_watched_is_refused_at_commit(box, session, name):
    with pytest.raises(RPCError, match="is no regular expression: unclosed group"):
        Policy(box, session, name, "<syslog><pattern>(open</pattern></syslog>")
    with pytest.raises(RPCError, match="is no cron entry"):
        Policy(box, session, name, "<timer><cron><cron-entry>61 * * *</cron-entry></cron></timer>")
    with pytest.raises(RPCError, match="exactly one type"):
        Policy(box, session, name, "<timer><watchdog><value>10</value></watchdog></timer><syslog><pattern>x</pattern></syslog>")
