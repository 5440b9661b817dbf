"""What a process definition says, sentence by sentence, as installers and operators find it to hold."""

import os

import pytest
from lxml import etree
from ncclient.operations import RPCError

from device import boxes
from processes import (
    PROCESS,
    config,
    define,
    definition,
    kill_agent,
    names,
    path_of,
    rpc,
    sleeper,
    start,
    state,
    states,
    wait_state,
    why,
)
from test_hostile import group_config, user_config

EVERYTHING = (
    '<file configAccess="read-only" required="false">/etc/one</file><osconfig>/etc/two</osconfig><imdb>prices</imdb>'
    "<process>other</process><sqldb><server>db</server><dbname>orders</dbname><username>u</username></sqldb>"
    '<directory configAccess="no-access" required="false"><path>/etc/ssl/private</path>'
    '<filePattern configAccess="no-access">*.key</filePattern></directory><directory><path>/etc/bare</path></directory>'
)


def tables(session):
    wanted = '<processes-state xmlns="{}"><registered-table/></processes-state>'.format(PROCESS)
    data = session.get(filter=("subtree", wanted)).data
    return [leaf.text for leaf in data.iterfind(".//{*}registered-table")]


def canonical(text):
    return etree.tostring(etree.fromstring(text, etree.XMLParser(remove_blank_text=True)), method="c14n")


def stop(box, session, *processes):
    rpc(box, session, "process-stop", names(*processes))
    for name in processes:
        wait_state(session, name, "Disabled")


def told(listener, name, count):
    """The states that notifications tell of a process, until so many were told."""
    found = []
    while len(found) < count:
        notice = listener.take_notification(timeout=20)
        assert notice is not None, "only {} of {} changes were told".format(found, count)
        change = notice.notification_ele.find(".//{*}process-state-change")
        if change is not None and change.findtext("{*}name") == name:
            found.append((change.findtext("{*}cause"), change.findtext("{*}to")))
    return found


def test_what_is_exported_is_what_was_installed(box, session, tmp_path):
    define(box, "whole", **sleeper(tmp_path, "whole"), pid="/run/whole.pid", resources=EVERYTHING)
    boxes.wait_for("the definition", lambda: state(session, "whole"))
    with open(os.path.join(box.root, "process.d", "whole-process.xml"), encoding="utf-8") as handle:
        installed = handle.read()
    reply = etree.fromstring(rpc(box, session, "process-export", names("whole")).xml.encode())
    assert reply.findtext("{*}file-name") == "whole-process.xml"
    assert canonical(reply.findtext("{*}xml").encode()) == canonical(installed.encode())


def test_every_step_is_told_and_is_a_line_of_its_history(box, session, tmp_path):
    define(box, "told", **sleeper(tmp_path, "told"))
    with box.connect() as listener:
        listener.create_subscription(filter=("subtree", '<process-state-change xmlns="{}"/>'.format(PROCESS)))
        start(box, session, "told")
        steps = told(listener, "told", 5)
        assert steps == [
            ("start command", "ConfigurationMismatch"), ("versions matched", "ResourceRequired"),
            ("resources ready", "Testing"), ("passed", "Starting"), ("started", "Running"),
        ]
        assert path_of(session, "told") == [to for _, to in steps]
        rpc(box, session, "process-restart", names("told"))
        again = told(listener, "told", 6)
        assert again[:2] == [("restart command", "Stopping"), ("stopped", "ConfigurationMismatch")]
        assert states(session)["told"]["enabled"] == "true"
        stop(box, session, "told")
        assert told(listener, "told", 2) == [("stop command", "Stopping"), ("stopped", "Disabled")]


@pytest.mark.parametrize("folder", [None, "elsewhere"])
def test_commands_run_in_the_log_folder_unless_another_is_named(box, session, tmp_path, folder):
    name, place = "placed-{}".format(folder).lower(), tmp_path / "place"
    made = sleeper(tmp_path, name)
    (tmp_path / (name + ".sh")).write_text("#!/bin/sh\necho $$ > {0}/{1}.own\npwd > {2}\nexec sleep 1000\n".format(tmp_path, name, place))
    text = definition(name, **made)
    if folder:
        (tmp_path / folder).mkdir()
        text = text.replace("<start>", "<start><defaultdir>{}</defaultdir>".format(tmp_path / folder))
    with open(os.path.join(box.root, "process.d", name + "-process.xml"), "w", encoding="utf-8") as handle:
        handle.write(text)
    start(box, session, name)
    wait_state(session, name, "Running")
    logs = os.path.join(box.root, "harddisk", "mirror", "script-mgmt", "logs", "process", name)
    where = boxes.wait_for("where it runs", lambda: place.exists() and place.read_text().strip())
    assert os.path.realpath(where) == os.path.realpath(str(tmp_path / folder) if folder else logs)
    stop(box, session, name)


def test_directories_and_osconfigs_are_waited_for_like_files(box, session, tmp_path):
    place = tmp_path / "conf.d"
    resources = "<directory><path>{0}</path><filePattern>*.conf</filePattern></directory><osconfig>{0}/os</osconfig>".format(place)
    define(box, "folder", **sleeper(tmp_path, "folder"), resources=resources)
    start(box, session, "folder")
    wait_state(session, "folder", "ResourceRequired")
    assert "directory '{0}'".format(place) in why(box, session, "folder")[0] and "osconfig" in why(box, session, "folder")[0]
    place.mkdir()
    boxes.wait_for("the folder to be there", lambda: "directory" not in why(box, session, "folder")[0])
    (place / "os").write_text("A : 1\n")
    wait_state(session, "folder", "Running")
    stop(box, session, "folder")


def test_a_table_stays_registered_until_somebody_takes_it_out(own_box, tmp_path):
    box = own_box
    define(box, "needs", **sleeper(tmp_path, "needs"), resources="<imdb>prices</imdb>")
    with box.connect() as session:
        rpc(box, session, "imdb-register", "<table>prices</table>")
    kill_agent(box)
    with box.connect() as session:
        assert tables(session) == ["prices"]
        start(box, session, "needs")
        wait_state(session, "needs", "Running")
        rpc(box, session, "imdb-unregister", "<table>prices</table>")
        assert tables(session) == [] and state(session, "needs") == "Running"
        rpc(box, session, "process-restart", names("needs"))
        wait_state(session, "needs", "ResourceRequired")


def test_a_failure_waits_as_long_as_is_configured(box, session, tmp_path):
    box.configure(session, config("<settings><retry-delay><index>1</index><seconds>3600</seconds></retry-delay></settings>"))
    define(box, "patient", start=("/bin/false",))
    start(box, session, "patient")
    failed = wait_state(session, "patient", "Failed")
    assert failed["next-retry"] > failed["since"] and "next start in 3" in failed["why"]
    rpc(box, session, "process-start", names("patient"))
    boxes.wait_for("another try", lambda: states(session)["patient"]["since"] > failed["since"])
    stop(box, session, "patient")
    box.configure(session, config('<settings nc:operation="delete"/>'))


def test_files_and_orders_are_for_those_whom_the_access_rules_let(box, session, tmp_path):
    declared = tmp_path / "declared"
    declared.write_text("secret\n")
    define(box, "ruled", **sleeper(tmp_path, "ruled"), resources="<file>{}</file>".format(declared))
    boxes.wait_for("the definition", lambda: state(session, "ruled"))
    box.configure(session, user_config("looker", "$0$looker"), group_config("lookers", "looker"))
    content = "<path>{}</path><mode>640</mode><content>eA==</content>".format(declared)
    with box.connect(username="looker", password="looker", key_filename=None) as looker:
        for name, inside in (
            ("file-read", "<path>{}</path>".format(declared)), ("file-replace", content),
            ("file-delete", "<path>{}</path>".format(declared)), ("process-start", names("ruled")),
            ("process-configtest", names("ruled")), ("imdb-register", "<table>x</table>"),
        ):
            with pytest.raises(RPCError) as refused:
                rpc(box, looker, name, inside)
            assert refused.value.tag == "access-denied", name
    assert declared.read_text() == "secret\n" and state(session, "ruled") == "Disabled"
