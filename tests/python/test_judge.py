"""Scripts that look at commits and helpers on the command line, against an agent made of a few lines."""

import contextlib
import json
import os
import struct

import pytest

from fake_device import FakeDevice
from iosxr.xrcli.xrcli_helper import XrcliHelper
from launching import DEVICE, start


class Agent(FakeDevice):
    """Plays one look after another: `looks` are callables that are given the agent and return what `done` said."""

    def __init__(self, *looks):
        self.looks = list(looks)
        self.done = []
        self.registered = []
        super().__init__()

    def converse(self, stream):
        with stream.makefile("rwb") as self.file:
            said = self.hear()
            while said != "ready":
                self.registered.append(said["register"]["paths"])
                self.say("ok")
                said = self.hear()
            while self.looks:
                self.done.append(self.looks.pop(0)(self))

    def hear(self):
        line = self.file.readline()
        if not line:
            raise EOFError
        return json.loads(line)

    def say(self, what):
        self.file.write(json.dumps(what).encode() + b"\n")
        self.file.flush()


def look(*answers, callbacks=(0,)):
    """A look in which the questions are answered by these."""

    def play(agent):
        agent.say({"look": {"callbacks": list(callbacks), "user": "ann"}})
        waiting = list(answers)
        while True:
            said = agent.hear()
            if "done" in said:
                assert not waiting, waiting
                return said["done"]
            agent.questions = getattr(agent, "questions", []) + [said]
            agent.say(waiting.pop(0))

    return play


@contextlib.contextmanager
def judged(source, kind, *looks):
    with Agent(*looks) as agent:
        environment = dict(agent.environment, PROCYON_JUDGE=kind)
        process = start(source, name="judge.py", environment=environment, pass_fds=[agent.door.fileno()])
        try:
            while len(agent.done) < len(looks) and process.poll() is None:
                for session in agent.sessions:
                    session.join(0.05)
            yield agent, process
        finally:
            process.kill()
            process.communicate()


NODE = {"path": "/m:a/b", "name": "b", "value": 7}


def test_a_callback_asks_for_nodes_and_says_what_is_wrong():
    source = """
from cisco.config_validation import register_validate_callback, add_error, add_warning

def check(root):
    node = root.get_node('/m:a/b')
    assert node.value + 1 == 8 and root.get_node('/m:a/c') is None
    for each in node.get_list('x'):
        add_error([each, node], 'wrong')
    node.set(9)
    root.set_node('/m:a/c', 'text')
    add_warning(root, 'odd')

register_validate_callback('/m:a/*', check)
"""
    answers = [{"node": NODE}, {"node": None}, {"nodes": [dict(NODE, path="/m:a/b/x")]}, "ok", "ok"]
    with judged(source, "config", look(*answers), look(*answers)) as (agent, _):
        assert agent.registered == [["/m:a/*"]]
        said = {
            "errors": [{"paths": ["/m:a/b/x", "/m:a/b"], "message": "wrong"}],
            "warnings": [{"paths": [], "message": "odd"}],
        }
        calls = [done.pop("calls") for done in agent.done]
        assert agent.done == [said, said]
        for (called,) in calls:
            assert called.pop("microseconds") >= 0
            assert called == {"callback": 0, "errors": 1, "warnings": 1, "modifications": 2}
        assert agent.questions[2] == {"list": {"path": "x", "base": "/m:a/b"}}
        assert agent.questions[3] == {"set": {"path": "", "base": "/m:a/b", "value": 9}}
        assert agent.words == [b"judge"]


def test_a_refusal_is_raised_and_what_is_not_caught_is_told_without_our_frames():
    source = """
from cisco.config_validation import *

def check(root):
    try:
        root.get_node('/m:nothing')
    except InvalidPath as error:
        add_error(None, str(error))
    raise ValueError('not mine')

register_validate_callback(['/m:a'], check)
"""
    refused = {"refused": {"exception": "InvalidPath", "message": "no such node"}}
    with judged(source, "config", look(refused)) as (agent, process):
        (done,) = agent.done
        assert done["errors"] == [{"paths": [], "message": "no such node"}]
        lines = done["crash"].splitlines()
        assert lines[1] == '  File "{}judge.py", line 9, in check'.format(DEVICE), done["crash"]
        assert lines[-1] == "ValueError: not mine"


def test_a_precommit_script_is_run_anew_for_each_commit():
    source = """
import sys
from cisco.script_mgmt import precommit

count = globals().get('count', 0) + 1
sys.modules['leftover'] = sys.modules.get('leftover', 0) or count
precommit.config_warning('run {}'.format(count))
for line in precommit.get_target_configs():
    if line == 'bad':
        precommit.config_error('bad line')
for item in precommit.get_target_configs(format='sysdb'):
    precommit.config_warning('{} {}'.format(item.name, item.value[1] + 1))
if 'exit' in precommit.get_target_configs():
    sys.exit(4)
"""
    items = {"items": [{"name": "gl/a", "value": ["uint", "7"]}]}
    first = look({"lines": ["good", "bad"]}, items, {"lines": []})
    second = look({"lines": []}, {"items": []}, {"lines": ["exit"]})
    with judged(source, "precommit", first, second) as (agent, _):
        warnings = [[each["message"] for each in done["warnings"]] for done in agent.done]
        assert warnings == [["run 1", "gl/a 8"], ["run 1"]]
        assert [each["message"] for each in agent.done[0]["errors"]] == ["bad line"]
        assert agent.done[1]["crash"] == "the script ended with status 4"


class CommandLine(FakeDevice):
    """Answers each shell with the frames that `frames` makes of the commands."""

    def __init__(self, frames):
        self.frames = frames
        self.asked = []
        super().__init__()

    def converse(self, stream):
        with stream.makefile("rwb") as file:
            asking = json.loads(file.readline())
            self.asked.append(asking["commands"])
            for kind, content in self.frames(asking["commands"]):
                file.write(struct.pack(">cI", kind, len(content)) + content)


@pytest.fixture
def helper(monkeypatch):
    made = []

    def make(frames):
        device = CommandLine(frames)
        made.append(device)
        monkeypatch.setenv("PROCYON_DOOR_FD", str(device.door.fileno()))
        return XrcliHelper(debug=True), device

    yield make
    for device in made:
        device.__exit__(None, None, None)


def status(number):
    return (b"x", struct.pack(">I", number))


def test_a_command_has_a_status_and_an_output(helper):
    line, device = helper(lambda commands: [(b"o", b"Version: 1.2\n"), (b"o", "\u00e4".encode()), status(0)])
    assert line.xrcli_exec("show version | include Version") == {"status": "success", "output": "Version: 1.2\n\u00e4"}
    assert device.asked == ["show version | include Version"] and device.words == [b"shell"]


def test_a_command_that_fails_says_why(helper):
    line, _ = helper(lambda commands: [(b"o", b"shown\n"), (b"e", b"% access denied\n"), status(1)])
    assert line.xrcli_exec("show run") == {"status": "error", "output": "shown\n% access denied\n"}
    line, _ = helper(lambda commands: [])
    result = line.xrcli_exec("show run")
    assert result["status"] == "error" and "the device ended it" in result["output"]


def test_configuration_is_applied_whole_and_committed(helper, tmp_path):
    line, device = helper(lambda commands: [status(0)])
    assert line.xr_apply_config_string("interface Loopback1 \n\r description x\n\r end")["status"] == "success"
    file = tmp_path / "config.txt"
    file.write_text("  hostname a\n  end\n")
    assert line.xr_apply_config_file(str(file))["status"] == "success"
    assert device.asked == [
        "configure\ninterface Loopback1\n description x\nroot\ncommit\nend",
        "configure\nhostname a\nroot\ncommit\nend",
    ]
    assert line.xr_apply_config_string(" \n")["status"] == "error"
    assert line.xr_apply_config_file(str(tmp_path / "none"))["status"] == "error"


def test_without_a_door_the_command_line_says_so(monkeypatch):
    monkeypatch.delenv("PROCYON_DOOR_FD", raising=False)
    result = XrcliHelper().xrcli_exec("show version")
    assert result["status"] == "error" and "not started by the app manager" in result["output"]
    assert os.environ.get("PROCYON_DOOR_FD") is None
