"""Scripts that run on request, from outside: run, stop, limits, history, and NETCONF with the caller's rights."""

import os
import re
import signal

import pytest
from ncclient.operations import RPCError

import box as boxes

OPER = boxes.SCRIPT_OPER


class Exec:
    """An exec script that is in the repository with its checksum."""

    def __init__(self, box, session, name, source):
        self.box, self.session, self.name = box, session, name
        path = os.path.join(box.root, "harddisk", name)
        with open(path, "wb") as handle:
            handle.write(source)
        box.call(session, box.add_request("harddisk:", name).replace(">process<", ">exec<"))
        os.unlink(path)
        config = box.checksum_config(name, boxes.sha256(source))
        for old, new in (("processes", "execs"), ("process-name", "exec-name"), ("process", "exec")):
            config = re.sub(r"(</?){}>".format(old), r"\1{}>".format(new), config)
        box.configure(session, config)

    def run(self, **options):
        """The request id."""
        leaves = "".join("<{0}>{1}</{0}>".format(leaf.replace("_", "-"), text) for leaf, text in options.items())
        request = '<run xmlns="{}"><script-name>{}</script-name>{}</run>'.format(boxes.SCRIPT_ACT, self.name, leaves)
        reply = self.box.call(self.session, request).xml
        found = re.search(r"Script run scheduled: {}\. Request ID: (\d+)<".format(re.escape(self.name)), reply)
        assert found and "<request-id>{}</request-id>".format(found.group(1)) in reply, reply
        return found.group(1)

    def stop(self, request_id):
        request = '<stop xmlns="{}"><request-id>{}</request-id></stop>'.format(boxes.SCRIPT_ACT, request_id)
        return self.box.call(self.session, request).xml

    def view(self, request_id, view="detail"):
        """{leaf: text} of one run by one view; what comes several times is a list."""
        asked = (
            '<script xmlns="{}"><execution><requests><request><request-id>{}</request-id><{}/></request></requests>'
            "</execution></script>"
        ).format(OPER, request_id, view)
        leaves = {}
        for node in self.session.get(filter=("subtree", asked)).data.iter():
            if len(node) == 0 and isinstance(node.tag, str):
                leaves.setdefault(boxes.local(node), []).append(node.text)
        return leaves

    def wait(self, request_id, status):
        return boxes.wait_for(
            "{} of {}".format(status, request_id),
            lambda: (lambda seen: seen if seen.get("status") == [status] else None)(self.view(request_id)),
        )


def test_a_script_runs_on_request_and_stands_in_the_history(box, session, name):
    source = (
        b"import sys\nfrom cisco.script_mgmt import xrlog\n"
        b"xrlog.getScriptLogger('one').info('info line')\nxrlog.getScriptLogger('one').debug('debug line')\n"
        b"print(sys.argv[1:], __file__)\nprint('to stderr', file=sys.stderr)\nsys.exit(3)\n"
    )
    script = Exec(box, session, name, source)
    first = script.run(argument_list="'-t' 'a b'", log_level="INFO")
    seen = script.wait(first, "Executed")
    assert seen["return-val"] == ["3"] and seen["script-type"] == ["exec"] and seen["script-name"] == [name]
    assert seen["event"] == ["New", "Started", "Executed"]
    assert re.fullmatch(r"Script execution started\.( PID \(\d+\))?", seen["description"][1])
    assert seen["run-options"] == ["Logging level - INFO, Max. Runtime - 300s"]
    assert seen["log-path"] == ["/harddisk:/mirror/script-mgmt/logs/{}_exec_{}".format(name, first)]
    output = script.view(first, "output-error")
    expected = "['-t', 'a b'] /harddisk:/mirror/script-mgmt/exec/{}\n".format(name)
    assert output["output-file-content"][0].endswith(expected) and "info line" in output["output-file-content"][0]
    assert "debug line" not in output["output-file-content"][0]
    assert output["error-file-content"][0].endswith("to stderr\n")
    by_path = "/o:script/o:execution/o:requests/o:request[o:request-id='{}']/o:output-error".format(first)
    told = session.get(filter=("xpath", ({"o": OPER}, by_path))).data_xml
    assert "info line" in told and "to stderr" in told, told
    second = script.run()
    assert int(second) == int(first) + 1


def test_the_logs_of_a_run_stand_where_it_is_told(box, session, name):
    script = Exec(box, session, name, b"print('told')\n")
    for asked, folder in (("harddisk:/probes/today", "probes/today/"), ("/harddisk:/", "")):
        request = script.run(log_path=asked)
        seen = script.wait(request, "Executed")
        assert seen["log-path"] == ["/harddisk:/{}{}_exec_{}".format(folder, name, request)]
        with open(os.path.join(box.root, "harddisk", folder, "{}_exec_{}".format(name, request), "stdout.log")) as handle:
            assert handle.read() == "told\n"
        assert script.view(request, "output")["output-file-content"] == ["told\n"]


def test_logs_stay_on_the_harddisk_and_out_of_the_repository(box, session, name, tmp_path):
    script = Exec(box, session, name, b"pass\n")
    os.symlink(str(tmp_path), os.path.join(box.root, "harddisk", "away"))
    with open(os.path.join(box.root, "harddisk", "a-file"), "w"):
        pass
    for asked, said in (
        ("/etc", "cannot be used"),
        ("harddisk:/../keys", "cannot be used"),
        ("harddisk:/mirror/script-mgmt/exec", "lies in the script repository"),
        ("harddisk:/away/logs", "cannot be made"),
        ("harddisk:/away", "cannot be made"),
        ("harddisk:/a-file", "cannot be made"),
    ):
        with pytest.raises(RPCError, match=said):
            script.run(log_path=asked)
    assert os.listdir(str(tmp_path)) == []


def test_a_script_has_the_rights_of_who_runs_it(box, session, name):
    source = (
        b"from iosxr.netconf.netconf_lib import NetconfClient\nnc = NetconfClient()\nnc.connect()\n"
        b"nc.rpc.edit_config(config='''<hostname xmlns=\"http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg\">"
        b"<system-network-name>by-script</system-network-name></hostname>''')\nprint('<ok/>' in nc.reply)\n"
        b"nc.rpc.commit()\nprint('<ok/>' in nc.reply)\nnc.close()\n"
    )
    script = Exec(box, session, name, source)
    request = script.run()
    script.wait(request, "Executed")
    assert script.view(request, "output")["output-file-content"] == ["True\nTrue\n"], script.view(request, "error")
    hostname = '<hostname xmlns="{}um-hostname-cfg"/>'.format(boxes.CISCO)
    assert "by-script" in session.get_config("running", filter=("subtree", hostname)).xml


def test_a_run_is_stopped_on_request_and_another_has_its_time(box, session, name):
    script = Exec(box, session, name, b"import signal\nprint('begun', flush=True)\nwhile True:\n    signal.pause()\n")
    first = script.run()
    assert "is stopped" in script.stop(first)
    seen = script.view(first)
    assert (seen["status"], seen["return-val"]) == (["Stopped"], ["-15"])
    with pytest.raises(RPCError, match="request {} is over: Stopped".format(first)):
        script.stop(first)
    with pytest.raises(RPCError, match="there is no request 7"):
        script.stop(7)
    second = script.run(max_runtime=1)
    seen = script.wait(second, "Timed-out")
    assert seen["return-val"] == ["-15"] and "longer than max-runtime, 1 s" in seen["description"][-1]


def test_what_cannot_run_is_refused_with_its_remedy(box, session, name):
    with pytest.raises(RPCError, match="there is no exec script `absent.py`"):
        absent = Exec.__new__(Exec)
        absent.box, absent.session, absent.name = box, session, "absent.py"
        absent.run()
    script = Exec(box, session, name, b"raise ValueError('no')\n")
    with pytest.raises(RPCError, match="argument-list: the quote ' is never closed"):
        script.run(argument_list="'open")
    request = script.run()
    seen = script.wait(request, "Exception")
    assert seen["return-val"] == ["1"] and "ValueError: no" in seen["description"][-1]
    with open(os.path.join(os.path.dirname(box.repository), "exec", name), "ab") as handle:
        handle.write(b"# changed\n")

    def refused():
        try:
            script.wait(script.run(), "Exception")
        except RPCError as error:
            return "Checksum Mismatch" in str(error) and "script exec" in str(error)
        return False

    boxes.wait_for("refusal of the changed script", refused)


def test_a_script_is_run_from_a_server_if_it_has_the_configured_checksum(box, session, server, name):
    script = Exec(box, session, name, b"print('first')\n")
    file = script.name
    shelf = os.path.join(os.path.dirname(box.repository), "exec", file)
    os.unlink(shelf)
    script.name = server.url + "/tools/" + file
    server.content["/tools/" + file] = b"print('another')\n"
    with pytest.raises(RPCError, match="nothing was run: checksum of `{}` is wrong".format(re.escape(file))):
        script.run()
    assert not os.path.exists(shelf)
    server.content["/tools/" + file] = b"print('first')\n"
    reply = box.call(session, '<run xmlns="{}"><script-name>{}</script-name></run>'.format(boxes.SCRIPT_ACT, script.name)).xml
    request = re.search(r"Request ID: (\d+)<", reply).group(1)
    script.wait(request, "Executed")
    assert script.view(request, "output")["output-file-content"] == ["first\n"]
    script.name = server.url + "/tools/never-" + file
    with pytest.raises(RPCError, match="no checksum is configured for `never-"):
        script.run()


def test_a_script_imports_a_checked_neighbour_by_its_file_name(box, session, name):
    importing = (
        b"from cisco.script_mgmt.xr_utils import secure_import\n"
        b"print(secure_import(module_file_name='exec_neighbour.py').ANSWER)\n"
        b"for other in ('exec_stranger.py', '../x.py'):\n"
        b"    try:\n        secure_import(module_file_name=other)\n    except ImportError as error:\n        print(error)\n"
    )
    Exec(box, session, "exec_neighbour.py", b"ANSWER = 42\n")
    stranger = os.path.join(os.path.dirname(box.repository), "exec", "exec_stranger.py")
    with open(stranger, "wb") as handle:
        handle.write(b"raise SystemExit('ran unchecked')\n")
    script = Exec(box, session, name, importing)
    request = script.run()
    script.wait(request, "Executed")
    lines = script.view(request, "output")["output-file-content"][0].splitlines()
    assert lines[0] == "42" and "script exec exec_stranger.py checksum SHA256 " in lines[1], lines
    assert "is no module file of the script repository" in lines[2]


def test_a_run_goes_on_when_the_agent_is_killed_and_is_known_to_the_next(own_box):
    source = b"import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\nprint('done')\n"
    with own_box.connect() as session:
        script = Exec(own_box, session, "long.py", source)
        request = script.run()
        pid = re.search(r"PID \((\d+)\)", script.view(request)["description"][1]).group(1)
    known = len(own_box.readies)
    os.kill(own_box.ready.pid, signal.SIGKILL)
    own_box.wait_ready(known)
    with own_box.connect() as session:
        script.session = session
        assert script.view(request)["status"] == ["Started"]
        with open("/proc/{}/cwd/go".format(pid), "w"):
            pass
        script.wait(request, "Executed")
        assert script.view(request, "output")["output-file-content"] == ["begun\ndone\n"]
        assert int(script.run()) == int(request) + 1
