"""What users of routers complain of, and the test of each that shows that it is better here."""

import ast
import os
import re

import pytest
from ncclient.operations import RPCError
from ncclient.transport.errors import TransportError

import box as boxes
from device import TOP, App
from hands import Hands, configure, local
from test_exec_scripts import Exec

HERE = "test_complaints.py::"

# The complaint, and the tests.
COMPLAINTS = {
    "commands of a script fail without saying why": [
        HERE + "test_a_command_that_is_denied_says_why_and_what_mends_it",
        "test_shell_bad_input.py::test_what_is_wrong_is_marked_at_its_column_and_changes_nothing",
    ],
    "the log is filled with errors though the script works": [HERE + "test_commands_that_work_leave_no_errors_in_any_log"],
    "a run counts as executed though its command failed": [HERE + "test_a_failed_command_stands_beside_the_return_value"],
    "a session that failed leaves its lock": [
        "test_main_job.py::test_a_client_that_goes_away_in_the_middle_leaves_no_lock",
        HERE + "test_a_lock_names_its_owner_and_can_be_cleared",
    ],
    "an rpc-error has no message": [HERE + "test_every_refusal_has_a_message"],
    "a confirmed commit cannot be confirmed by another session": [
        "test_history.py::test_a_persistent_one_is_confirmed_or_cancelled_by_whoever_knows_its_token",
    ],
    "a replacing commit cannot be a confirmed one": [HERE + "test_a_replacing_commit_may_be_a_confirmed_one"],
    "a failed commit is in the way of those that follow": [HERE + "test_a_failed_commit_is_in_nobodys_way"],
    "the errors of a replacing commit go unnoticed": [HERE + "test_a_replacing_commit_that_fails_says_so"],
    "questions keep programs waiting": [
        "test_shell_bad_input.py::test_somebody_else_s_commit_is_told_word_for_word_and_nobody_is_no",
        "test_shell_bad_input.py::test_end_asks_and_nobody_is_cancel",
        "test_shell_sessions.py::test_a_configuration_is_replaced_only_when_somebody_says_so",
    ],
    "process scripts have no user": [
        "test_hostile.py::test_a_script_writes_with_the_rights_of_its_username_only",
        HERE + "test_a_process_script_with_a_user_uses_the_command_line",
    ],
    "process scripts are not started when the device boots": [HERE + "test_an_app_with_autorun_runs_again_after_a_full_stop"],
    "checksums are written in three ways, and pasted with the name of the file": [HERE + "test_a_checksum_is_taken_as_people_write_it"],
    "scripts cannot share code, or share it unchecked": [
        "test_exec_scripts.py::test_a_script_imports_a_checked_neighbour_by_its_file_name",
        "test_script_security.py::test_a_neighbour_that_was_approved_and_then_changed_is_not_imported",
    ],
}


@pytest.mark.parametrize("complaint", COMPLAINTS)
def test_each_complaint_has_its_tests(complaint):
    for each in COMPLAINTS[complaint]:
        file, test = each.split("::")
        with open(os.path.join(TOP, "tests", file), "rb") as handle:
            tests = [node.name for node in ast.walk(ast.parse(handle.read())) if isinstance(node, ast.FunctionDef)]
        assert test in tests, each


def ran(box, session, name, source):
    """The view of an exec script's run at its end."""
    script = Exec(box, session, name, source)
    request = script.run()
    over = lambda seen: seen if seen["status"][0] not in ("Scheduled", "Started") else None
    return script, request, boxes.wait_for("the end of the run", lambda: over(script.view(request)))


CLI = "from iosxr.xrcli.xrcli_helper import *\nhelper = XrcliHelper()\n"


def test_a_command_that_is_denied_says_why_and_what_mends_it(box, session, name):
    source = CLI + "print(helper.xr_apply_config_string('hostname denied'), flush=True)\n"
    app = App(box, session, name, source.encode(), restart="never")
    app.act("activate")
    said = box.wait_log(name, app.name, "'status'")
    assert "'status': 'error'" in said and "Failed to get command output" not in said
    assert "username" in said and "denied" in said, said
    app.end()


def test_commands_that_work_leave_no_errors_in_any_log(box, session, name):
    source = CLI + "for each in range(5):\n    assert helper.xrcli_exec('show version')['status'] == 'success'\nprint('done')\n"
    known = len(log_lines(session))
    script, request, seen = ran(box, session, name, source.encode())
    assert seen["status"] == ["Executed"], seen
    errors = script.view(request, "error")["error-file-content"][0] or ""
    assert [line for line in errors.splitlines() if not line.startswith("-----Run ID:")] == []
    assert [line for line in log_lines(session)[known:] if re.search(r"-[0-4]-[A-Z_]+ :", line)] == []


def log_lines(session):
    asked = '<syslog xmlns="{}infra-syslog-oper"><messages/></syslog>'.format(boxes.CISCO)
    found = session.get(filter=("subtree", asked)).data
    return [leaf.text or "" for leaf in found.iter("{%sinfra-syslog-oper}text" % boxes.CISCO)]


def test_a_failed_command_stands_beside_the_return_value(box, session, name):
    script, request, seen = ran(box, session, name, (CLI + "helper.xrcli_exec('show nonsense')\nprint('on')\n").encode())
    assert (seen["status"], seen["return-val"]) == (["Executed"], ["0"])
    assert re.match(r"Script execution complete, though a command failed: show nonsense: % ", seen["description"][-1]), seen
    assert "xrcli: show nonsense: % " in script.view(request, "error")["error-file-content"][0]


def test_a_lock_names_its_owner_and_can_be_cleared(box, session):
    other = box.connect()
    other.lock("running")
    with pytest.raises(RPCError) as raised:
        session.lock("running")
    owner = re.search(r"<session-id[^>]*>(\d+)<", raised.value.info).group(1)
    assert raised.value.tag == "lock-denied" and owner == other.session_id and owner in raised.value.message
    status, out, _ = local(box, "-c", "clear netconf session {}".format(owner))
    assert status == 0, out
    session.lock("running")
    session.unlock("running")
    with pytest.raises(TransportError):
        other.close_session()


def test_every_refusal_has_a_message(box, session):
    for operation in (
        '<edit-config><target><candidate/></target><config><nothing xmlns="urn:nobody"/></config></edit-config>',
        "<edit-config><target><startup/></target><config/></edit-config>",
        "<get-config><source><nowhere/></source></get-config>",
        "<kill-session><session-id>1</session-id></kill-session>",
        "<unlock><target><running/></target></unlock>",
        "<cancel-commit><persist-id>nobody</persist-id></cancel-commit>",
        '<run xmlns="{}"><script-name>absent.py</script-name></run>'.format(boxes.SCRIPT_ACT),
        '<appmgr-process-script-start xmlns="{}"><name>absent</name></appmgr-process-script-start>'.format(boxes.APP_ACT),
        "<no-such-operation/>",
    ):
        with pytest.raises(RPCError) as raised:
            box.call(session, operation)
        assert raised.value.message and raised.value.message.strip(), operation


def hostname(session):
    asked = '<hostname xmlns="{}um-hostname-cfg"/>'.format(boxes.CISCO)
    return re.findall(r"<system-network-name[^>]*>([^<]*)<", session.get_config("running", filter=("subtree", asked)).xml)


def test_a_replacing_commit_may_be_a_confirmed_one(own_box):
    with own_box.connect() as session:
        configure(own_box, "hostname before")
        running = local(own_box, "-c", "show running-config")[1]
        lines = [line for line in running.splitlines() if line and not line.startswith(("!!", "Building", "end", "hostname"))]
        typed = ["configure", *lines, "hostname replaced", "commit replace confirmed 300"]
        # The question of a replacing commit is answered; the session then ends without the confirmation.
        with Hands(own_box) as shell:
            for line in typed:
                shell.child.sendline(line)
            shell.child.expect_exact("Do you wish to proceed? [no]:")
            shell.child.sendline("yes")
            boxes.wait_for("the commit", lambda: hostname(session) == ["replaced"])
        boxes.wait_for("it to be undone", lambda: hostname(session) == ["before"])


def test_a_replacing_commit_that_fails_says_so(box, session):
    before = session.get_config("running").data_xml
    with Hands(box) as shell:
        for line in ("configure", "appmgr process-script whole", "root", "commit replace"):
            shell.child.sendline(line)
        shell.child.expect_exact("Do you wish to proceed? [no]:")
        shell.child.sendline("yes")
        shell.child.expect_exact("% Failed to commit one or more configuration items")
        shell.child.sendline("show configuration failed")
        shell.child.expect_exact("!!% ")
    assert session.get_config("running").data_xml == before


def test_a_failed_commit_is_in_nobodys_way(box, session, name):
    source = (
        "from iosxr.netconf.netconf_lib import NetconfClient\nnc = NetconfClient()\nnc.connect()\n"
        "nc.rpc.edit_config(config='''<appmgr xmlns=\"{}\"><process-scripts><process-script><process-script-name>half</process-script-name>"
        "</process-script></process-scripts></appmgr>''')\nnc.rpc.commit()\nprint('rpc-error' in nc.reply)\n"
    ).format(boxes.APP_CFG)
    script, request, seen = ran(box, session, name, source.encode())
    assert script.view(request, "output")["output-file-content"] == ["True\n"], seen
    # Neither the next commit of anybody else nor the next run of the same script sees what was left.
    configure(box, "hostname next")
    assert hostname(session) == ["next"] and "half" not in session.get_config("candidate").data_xml
    status, out, _ = local(box, typed="configure\nappmgr process-script half2\nroot\ncommit\nclear\nhostname third\ncommit\nend\n")
    assert hostname(session) == ["next"] or "third" in hostname(session), out


def test_a_process_script_with_a_user_uses_the_command_line(box, session, name):
    source = CLI + "print(helper.xrcli_exec('show running-config | include hostname'), flush=True)\n"
    app = App(box, session, name, source.encode(), restart="never")
    named = box.app_config(app.name, name, restart="never").replace("</executable>", "</executable><username>admin</username>")
    box.configure(session, named)
    app.act("activate")
    assert "'status': 'success'" in box.wait_log(name, app.name, "'status'")
    app.end()


def test_an_app_with_autorun_runs_again_after_a_full_stop(own_box):
    source = b"import signal\nprint('running', flush=True)\nsignal.pause()\n"
    with own_box.connect() as session:
        apps = {}
        for name, more in (("always.py", "<autorun/>"), ("once.py", "")):
            apps[name] = App(own_box, session, name, source)
            config = own_box.app_config(apps[name].name, name).replace("</executable>", "</executable>" + more)
            own_box.configure(session, config)
            apps[name].activate()
    own_box.stop()
    own_box.start()
    with own_box.connect() as session:
        for app in apps.values():
            app.session = session
        apps["always.py"].wait(status="started")
        assert apps["once.py"].state()["is-activated"] == "false"


def test_a_checksum_is_taken_as_people_write_it(box, session, name):
    content = b"print('sum')\n"
    checksum = boxes.sha256(content)
    folder = os.path.join(box.root, "harddisk", "sums")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as handle:
        handle.write(content)
    for words in ("checksum SHA256 {}".format(checksum), "checksum sha256 {}".format(checksum.upper()), "checksum {}".format(checksum)):
        status, out, errors = local(box, "-c", "script add process harddisk:/sums {} {}".format(name, words))
        assert status == 0 and "has been added" in out, (words, out, errors)
    ways = (
        "checksum SHA256 {}".format(checksum),
        "checksum sha256 {}".format(checksum.upper()),
        "checksum {}".format(checksum),
        # As `sha256sum` prints it.
        "checksum SHA256 {}  {}".format(checksum, name),
        'checksum "{}  {}"'.format(checksum, name),
    )
    for words in ways:
        configure(box, "script process {} {}".format(name, words))
        shown = local(box, "-c", "show script status name {}".format(name))[1]
        assert "| Ready" in shown, (words, shown)
        configure(box, "no script process {}".format(name))
    # Those that have a priority behind it, too.
    for kind in ("config", "precommit"):
        for words in ways:
            typed = "configure\nscript {} {} {} priority 7\nshow configuration\nabort\n".format(kind, name, words)
            status, out, errors = local(box, typed=typed)
            wanted = "script {} {} checksum SHA256 {} priority 7\n".format(kind, name, checksum)
            assert (status, errors) == (0, "") and wanted in out, (words, out)
