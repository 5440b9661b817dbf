"""What must hold against users, scripts and accidents that mean no good: on real binaries, from outside."""

import os
import re
import signal
import socket
import subprocess

import pytest
from ncclient.operations import RPCError

from device import FOREVER, HELLO, App, boxes, filled, one_box, openssh, quick, refusal, while_the_agent_is_away

SYSTEM = "urn:ietf:params:xml:ns:yang:ietf-system"
NACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"
LIBRARY = "urn:ietf:params:xml:ns:yang:ietf-yang-library"


def config(inside):
    return '<config xmlns="{0}" xmlns:nc="{0}">{1}</config>'.format(boxes.NETCONF, inside)


def user_config(user, password):
    return config(
        '<system xmlns="{}"><authentication><user><name>{}</name><password>{}</password></user></authentication></system>'.format(
            SYSTEM, user, password
        )
    )


def group_config(group, user):
    return config(
        '<nacm xmlns="{}"><groups><group><name>{}</name><user-name>{}</user-name></group></groups></nacm>'.format(NACM, group, user)
    )


def processes_of(box, word):
    needles = (word, box.root.encode())
    return [pid for pid in boxes.processes() if all(needle in boxes.command_line(pid).split(b"\0") for needle in needles)]


def stop(box):
    return subprocess.run(
        [box.procyon, "agent", "--root", box.root, "--stop"], capture_output=True, text=True, timeout=boxes.STOP_SECONDS_MAX
    )


# Passwords


# The second form hides the dollar from whoever looks at the text only.
@pytest.mark.parametrize("prefix", ["$0$", "&#36;0$"])
def test_a_password_in_clear_text_is_never_shown_kept_or_logged(box, session, name, prefix):
    user, password = "u-" + name[:-3][-20:], "open sesame " + name[:-3]
    box.edit(session, user_config(user, prefix + password))
    candidate = session.get_config("candidate").data_xml
    assert password not in candidate and "$6$" in candidate
    session.commit()
    assert password not in session.get_config("running").data_xml
    with box.connect(username=user, password=password, key_filename=None) as other:
        assert other.session_id
    with pytest.raises(Exception, match="(?i)auth"):
        box.connect(username=user, password="another", key_filename=None)
    for folder, _, files in os.walk(box.root):
        for each in files:
            if each.endswith(".sock"):
                continue
            with open(os.path.join(folder, each), "rb") as handle:
                assert password.encode() not in handle.read(), each
    assert not any(password in line for line in box.said)


def test_a_password_in_clear_text_in_the_first_configuration_is_hashed(tmp_path):
    with one_box(tmp_path, start=False) as made:
        first = os.path.join(made.root, "config", "initial.xml")
        with open(first, encoding="utf-8") as handle:
            text = handle.read()
        with open(first, "w", encoding="utf-8") as handle:
            handle.write(text.replace("<name>admin</name>", "<name>admin</name><password>$0$by hand</password>", 1))
        made.start()
        with made.connect() as session:
            data = session.get_config("running").data_xml
        assert "$6$" in data and "by hand" not in data


# Rights


def test_a_user_without_rights_reads_but_no_hashes_and_changes_nothing(box, session):
    box.configure(session, user_config("guest", "$0$guest"), group_config("guests", "guest"))
    with box.connect(username="guest", password="guest", key_filename=None) as guest:
        data = guest.get_config("running").data_xml
        assert "<name>guest</name>" in data and "$6$" not in data and "nacm" not in data
        for refused in (
            lambda: box.edit(guest, box.app_config("not-mine", "x.py")),
            guest.commit,
            lambda: guest.lock("candidate"),
            lambda: guest.kill_session("1"),
            lambda: box.act(guest, "activate", "nobody"),
            lambda: box.call(guest, box.add_request("harddisk:", "x.py")),
        ):
            assert refusal(refused).tag == "access-denied"


def test_a_user_in_no_group_is_told_what_is_missing(box, session):
    box.configure(session, user_config("stray", "$0$stray"))
    with box.connect(username="stray", password="stray", key_filename=None) as stray:
        assert "group" in refusal(stray.get_config, "running").message


def test_a_path_in_a_rule_may_have_a_prefix_at_each_step(box, session):
    rule = (
        '<nacm xmlns="{}"><rule-list><name>steps</name><group>nobody</group><rule><name>one</name>'
        '<path xmlns:s="{}">/s:system/s:authentication/s:user[s:name="x"]/s:password</path><access-operations>read</access-operations>'
        "<action>deny</action></rule></rule-list></nacm>"
    ).format(NACM, SYSTEM)
    box.configure(session, config(rule))


def test_a_script_writes_with_the_rights_of_its_username_only(box, session, name):
    source = b"""
from iosxr.netconf.netconf_lib import NetconfClient
nc = NetconfClient()
nc.connect()
nc.rpc.edit_config(config='''
<hostname xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg"><system-network-name>by-a-script</system-network-name></hostname>''')
nc.rpc.commit()
print("<ok/>" in nc.reply, flush=True)
nc.close()
"""
    app = App(box, session, name, source, restart="never")
    app.act("activate")
    box.wait_log(name, app.name, "False")
    assert "by-a-script" not in session.get_config("running").data_xml
    app.end()
    named = box.app_config(app.name, name, restart="never").replace("</executable>", "</executable><username>admin</username>")
    box.configure(session, named)
    app.act("activate")
    box.wait_log(name, app.name, "True")
    assert "by-a-script" in session.get_config("running").data_xml
    app.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="THE SCRIPTS' ACCOUNT IS NOT TESTED: only root can run them as another user")
def test_a_script_reaches_neither_keys_nor_configuration_nor_sockets_nor_logs(box, session, name):
    source = b"""
import os, socket, sys
root = sys.argv[1]
for base, folders, files in os.walk(root):
    for each in files:
        path = os.path.join(base, each)
        if os.access(path, os.W_OK) or os.access(path, os.R_OK) and "/script-mgmt/process/" not in path:
            print("OPEN", path)
for each in ("agent.sock", "keeper.sock", "custodian.sock"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        try:
            socket.socket(socket.AF_UNIX, kind).connect(os.path.join(root, "run", each))
            print("OPEN", each)
        except OSError:
            pass
with open("/proc/self/status") as status:
    print("new privileges", [line.split()[1] for line in status if line.startswith("NoNewPrivs")])
print("user", os.getuid() == 0, os.getgid() == 0, 0 in os.getgroups())
"""
    app = App(box, session, name, source, arguments=box.root, restart="never")
    app.act("activate")
    said = box.wait_log(name, app.name, "user ")
    assert "OPEN" not in said, said
    assert "new privileges ['1']" in said and "user False False False" in said
    app.end()


# Checksums


def test_a_script_whose_checksum_is_deleted_runs_no_further_time(box, session, name):
    app = App(box, session, name, FOREVER, restart="always")
    app.activate()
    deletion = (
        '<script xmlns="{}"><processes><process nc:operation="delete"><process-name>{}</process-name></process></processes></script>'
    )
    box.configure(session, config(deletion.format(boxes.SCRIPT_CFG, name)))
    os.kill(app.pid(), signal.SIGKILL)
    assert "no checksum is configured" in app.wait(status="exit-failure")["why"]
    for verb in ("start", "restart"):
        error = refusal(app.act, verb)
        assert error.app_tag == "config-checksum" and name in error.message
    assert box.pids_of(name) == []
    box.configure(session, box.checksum_config(name, boxes.sha256(FOREVER)))
    app.wait(status="started")
    app.end()


def test_the_pause_of_a_script_that_keeps_ending_is_shown(box, session, name):
    app = App(box, session, name, b"import sys\nsys.exit(3)\n", restart="always")
    app.act("activate")
    state = boxes.wait_for("a pause", lambda: app.state() if "next-restart" in app.state() else None)
    assert state["status"] == "start-requested"
    assert "exit status 3" in state["why"]
    app.end()


# Processes that die


@pytest.mark.parametrize(
    "killed", [["keeper", "keeper"], ["agent", "keeper"], ["custodian"], ["custodian", "agent"]], ids=lambda killed: "-and-".join(killed)
)
def test_stop_ends_everything_whoever_has_died_before(own_box, name, killed):
    box = own_box
    with box.connect() as session:
        app = App(box, session, name, FOREVER)
        app.activate()
        pid = app.pid()
    words = {"keeper": b"--keeper", "agent": b"--serve", "custodian": b"--custodian"}
    for each in killed:
        found = boxes.wait_for(each, lambda: processes_of(box, words[each]))
        os.kill(found[0], signal.SIGKILL)
        boxes.wait_for("its end", lambda: not boxes.alive(found[0]))
    assert boxes.alive(pid)
    done = stop(box)
    assert done.returncode == 0, done.stderr
    assert not boxes.alive(pid)
    boxes.wait_for("nothing", lambda: box.leftovers() == [])


def test_a_dead_custodian_is_told_and_everything_else_goes_on(own_box, name):
    box = own_box
    with box.connect() as session:
        app = App(box, session, name, FOREVER)
        app.activate()
        pid = app.pid()
        os.kill(processes_of(box, b"--custodian")[0], signal.SIGKILL)
        boxes.wait_for("word of it", lambda: any("custodian" in line and "ERROR" in line for line in list(box.said)))
        app.wait(status="started", pid=pid)
        app.act("stop")
        app.wait(status="stopped")


def test_no_connection_is_refused_while_the_agent_is_restarted(own_box):
    box = own_box
    for _ in while_the_agent_is_away(box):
        with socket.create_connection(box.ready.ssh, timeout=boxes.READY_SECONDS_MAX) as peer:
            assert peer.recv(4) == b"SSH-"


def test_a_refused_start_says_why_and_ends_its_output(own_box):
    box = own_box
    box.stop()
    # Whoever reads this through a pipe must see its end: run waits for it.
    done = subprocess.run(
        [*box.agent_command(), "--module", "no-such-module"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=boxes.READY_SECONDS_MAX,
    )
    assert done.returncode == 1 and "no-such-module" in done.stderr
    assert stop(box).returncode == 0


# Modules


def test_a_module_of_the_user_is_served_whole_and_outlives_the_agent(own_box, tmp_path):
    box = own_box
    box.stop()
    (tmp_path / "lamps.yang").write_text(
        'module lamps { namespace "urn:lamps"; prefix l; revision 2026-01-01; container lamps { list lamp { key name;'
        " leaf name { type string; } leaf watts { type uint16; mandatory true; } } } }"
    )
    command = box.agent_command
    box.agent_command = lambda: [*command(), "--yang-dir", str(tmp_path), "--module", "lamps"]
    box.start()
    lamp = '<lamps xmlns="urn:lamps"><lamp><name>{}</name>{}</lamp></lamps>'
    with box.connect() as session:
        assert any("module=lamps" in each for each in session.server_capabilities)
        assert "urn:lamps" in session.get_schema("lamps").data
        box.configure(session, config(lamp.format("desk", "<watts>7</watts>")))
        assert "watts" in refusal(box.configure, session, config(lamp.format("hall", ""))).path
        assert refusal(box.configure, session, config(lamp.format("hall", "<watts>bright</watts>"))).tag == "invalid-value"
    known = len(box.readies)
    os.kill(box.ready.pid, signal.SIGKILL)
    box.wait_ready(known)
    with box.connect() as session:
        assert "<watts>7</watts>" in session.get_config("running").data_xml


def test_every_module_that_is_announced_has_its_text_and_stands_in_the_library(box, session):
    library = session.get(filter=("subtree", '<yang-library xmlns="{}"/>'.format(LIBRARY))).data_xml
    announced = [re.search(r"module=([^&]+)&revision=([^&]+)", each) for each in session.server_capabilities]
    announced = [each.groups() for each in announced if each]
    assert len(announced) > 20
    for module, revision in announced:
        assert "<name>{}</name><revision>{}</revision>".format(module, revision) in library, module
        assert re.match(r"(sub)?module {} ".format(module), session.get_schema(module, version=revision).data), module
    assert "<content-id>" in library and "ietf-datastores:running" in library.replace("ds:", "ietf-datastores:")


def test_a_config_element_without_a_namespace_is_taken(box, session):
    bare = box.app_config("bare-config", "x.py").replace(' xmlns="{}"'.format(boxes.NETCONF), "", 1)
    try:
        session.edit_config(target="candidate", config=bare)
        assert "bare-config" in session.get_config("candidate").data_xml
    finally:
        session.discard_changes()


# Full disks


def test_a_full_disk_refuses_an_added_script_and_keeps_what_was_there(small_disk, name):
    def on_the_shelf(box):
        with open(os.path.join(box.repository, name), "rb") as handle:
            return handle.read()

    with one_box(small_disk) as box, box.connect() as session, boxes.Files() as server:
        old, new = FOREVER, b"#" * 100000 + b"\n"
        server.content["/" + name] = old
        box.call(session, box.add_request(server.url, name))
        server.content["/" + name] = new
        with filled(small_disk):
            error = refusal(box.call, session, box.add_request(server.url, name))
            assert "space" in error.message.lower(), error.message
            assert on_the_shelf(box) == old
        box.call(session, box.add_request(server.url, name))
        assert on_the_shelf(box) == new


# Peers that go away


@pytest.mark.parametrize(
    "last_words",
    [b"<hello xmlns=", HELLO[:-6], HELLO + b"<rpc xmlns='urn:ietf:params:xml:ns:netconf:base:1.0' message-id='1'><lo"],
    ids=["in the middle of its hello", "without ending its hello", "in the middle of an rpc"],
)
def test_a_client_that_goes_away_hurts_nobody(box, session, last_words):
    client = openssh(box)
    client.stdin.write(last_words)
    client.stdin.flush()
    os.read(client.stdout.fileno(), 1)
    client.kill()
    client.communicate()
    assert quick(session.get_config, "running").ok
    with box.connect() as other:
        assert other.lock("candidate").ok
        assert other.unlock("candidate").ok


def test_a_client_that_goes_away_with_a_dirty_candidate_leaves_none(box, session):
    other = box.connect()
    other.lock("candidate")
    box.edit(other, box.app_config("half-made", "x.py"))
    other._session.transport.close()

    def is_clean():
        try:
            session.lock("candidate")
        except RPCError:
            return False
        session.unlock("candidate")
        return "half-made" not in session.get_config("candidate").data_xml

    boxes.wait_for("a clean candidate", is_clean)
