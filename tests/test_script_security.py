"""What runs is what was approved, whoever writes where the script, the host or the network can write."""

import importlib.util
import itertools
import os
import py_compile
import re
import threading

import pytest
from ncclient.operations import RPCError

import box as boxes
from test_exec_scripts import Exec


def printed(script, request):
    """What a run that came to its end printed, and what it left in its error log."""
    over = lambda seen: seen if seen["status"][0] not in ("Scheduled", "Started") else None
    seen = boxes.wait_for("the end of the run", lambda: over(script.view(request)))
    assert seen["status"] == ["Executed"], seen["description"]
    written = script.view(request, "output-error")
    errors = [line for line in (written["error-file-content"][0] or "").splitlines() if not line.startswith("-----Run ID:")]
    return (written["output-file-content"][0] or "").splitlines(), errors


def work_folder(box, name):
    return os.path.join(box.root, "state", "work", name + "_exec")


IMPORTS = b"""
import json, os, site, sys
print(json.__file__.startswith(sys.prefix), os.getcwd() in sys.path, "" in sys.path, site.ENABLE_USER_SITE)
print([each for each in sys.modules if str(getattr(sys.modules[each], "__file__", "")).startswith(os.getcwd())])
"""

PLANTS = b"""
import os, site
places = [os.getcwd(), site.getusersitepackages()]
for place in places:
    try:
        os.makedirs(place, exist_ok=True)
    except OSError:
        # The account has no home.
        continue
    for name in ("json.py", "planted.py", "sitecustomize.py", "usercustomize.py"):
        with open(os.path.join(place, name), "w") as handle:
            handle.write("print('PLANTED')\\n")
    with open(os.path.join(place, "planted.pth"), "w") as handle:
        handle.write("import planted\\n")
print(sorted(each for each in os.listdir(".") if not each.startswith(".")))
"""


def test_what_a_script_leaves_in_its_folder_and_its_home_is_never_imported(box, session, name):
    script = Exec(box, session, name, PLANTS)
    assert "'json.py', 'planted.pth', 'planted.py'" in printed(script, script.run())[0][0]
    # Another version of the same script runs in the same folder.
    with open(os.path.join(os.path.dirname(box.repository), "exec", name), "wb") as handle:
        handle.write(IMPORTS)
    config = box.checksum_config(name, boxes.sha256(IMPORTS))
    for old, new in (("processes", "execs"), ("process-name", "exec-name"), ("process", "exec")):
        config = re.sub(r"(</?){}>".format(old), r"\1{}>".format(new), config)
    box.configure(session, config)
    boxes.wait_for("the new file to be seen", lambda: status(session, name) == "Ready")
    output, errors = printed(script, script.run())
    assert output == ["True False False False", "[]"] and errors == []


def status(session, name):
    asked = '<script xmlns="{}"><status><status-names/></status></script>'.format(boxes.SCRIPT_OPER)
    for row in session.get(filter=("subtree", asked)).data.iter("{%s}status-summary" % boxes.SCRIPT_OPER):
        leaves = {boxes.local(leaf): leaf.text for leaf in row}
        if leaves.get("script-name") == name:
            return leaves["status"]
    return None


def test_the_environment_of_the_device_reaches_no_script(own_box, tmp_path, monkeypatch):
    planted = tmp_path / "planted"
    planted.mkdir()
    planted.chmod(0o755)
    (planted / "sitecustomize.py").write_text("print('PLANTED')\n")
    (planted / "json.py").write_text("print('PLANTED')\n")
    orders = {
        "PYTHONPATH": str(planted),
        "PYTHONSTARTUP": str(planted / "json.py"),
        "PYTHONHOME": str(planted),
        "PYTHONINSPECT": "1",
        "LD_LIBRARY_PATH": str(planted),
        "PROCYON_CHECKSUMS_FD": "0",
        "SECRET_OF_THE_OPERATOR": "hush",
    }
    own_box.stop()
    for variable, value in orders.items():
        monkeypatch.setenv(variable, value)
    own_box.start()
    with own_box.connect() as session:
        script = Exec(own_box, session, "clean.py", b"import json, os\nprint(sorted(set(os.environ) & set(%r)))\n" % sorted(orders))
        output, errors = printed(script, script.run())
    assert output == ["[]"] and errors == []


def test_an_event_sets_no_variable_that_changes_what_runs(box, session):
    config = (
        '<config xmlns="{}"><event xmlns="{}um-event-manager-cfg"><manager><environment><global-variables><global-variable>'
        "<global-variable-name>{}</global-variable-name><value>/tmp/evil</value></global-variable></global-variables></environment>"
        "</manager></event></config>"
    )
    for variable in ("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONPATH", "PYTHONHOME", "GCONV_PATH"):
        with pytest.raises(RPCError, match="would change what the script runs"):
            box.configure(session, config.format(boxes.NETCONF, boxes.CISCO, variable))


def test_a_file_that_is_exchanged_while_it_is_started_runs_as_approved_or_not_at_all(box, session, name):
    good, evil = b"print('good')\n", b"print('EVIL')\n"
    script = Exec(box, session, name, good)
    path = os.path.join(os.path.dirname(box.repository), "exec", name)
    is_over = threading.Event()

    def exchange():
        for content in itertools.cycle((evil, good)):
            with open(path + ".new", "wb") as handle:
                handle.write(content)
            os.rename(path + ".new", path)
            if is_over.wait(0.002):
                return

    enemy = threading.Thread(target=exchange)
    enemy.start()
    try:
        seen = set()
        for _ in range(12):
            try:
                request = script.run()
            except RPCError as error:
                assert "Checksum Mismatch" in error.message or "there is no exec script" in error.message, error.message
                seen.add("refused")
                continue
            found = boxes.wait_for("its end", lambda: script.view(request)["status"][0] not in ("Scheduled", "Started") and script.view(request))
            if found["status"] == ["Executed"]:
                assert printed(script, request)[0] == ["good"]
                seen.add("ran")
            else:
                assert found["status"] == ["Exception"] and "Checksum Mismatch" in found["description"][-1], found
                seen.add("refused")
    finally:
        is_over.set()
        enemy.join()
    assert seen and seen <= {"ran", "refused"}


def test_a_link_on_the_shelf_is_no_script(box, session, name):
    secret = os.path.join(box.root, "keys", "secrets.key")
    assert os.path.exists(secret)
    shelf = os.path.join(os.path.dirname(box.repository), "exec")
    os.symlink(secret, os.path.join(shelf, name))
    beside = "beside-" + name
    with open(os.path.join(shelf, beside), "w") as handle:
        handle.write("pass\n")
    boxes.wait_for("the file beside the link", lambda: status(session, beside))
    assert status(session, name) is None
    script = Exec.__new__(Exec)
    script.box, script.session, script.name = box, session, name
    with pytest.raises(RPCError, match="there is no exec script"):
        script.run()
    os.unlink(os.path.join(shelf, name))


def test_a_neighbour_that_was_approved_and_then_changed_is_not_imported(box, session, name):
    neighbour = "neighbour_of_" + re.sub(r"\W", "_", name[:-3]) + ".py"
    module = neighbour[:-3]
    Exec(box, session, neighbour, b"ANSWER = 42\n")
    source = "try:\n    import {0}\n    print({0}.ANSWER)\nexcept ImportError as error:\n    print(error)\n".format(module)
    script = Exec(box, session, name, source.encode())
    assert printed(script, script.run())[0] == ["42"]
    shelf = os.path.join(os.path.dirname(box.repository), "exec")
    # Neither planted byte code nor changed source.
    evil = os.path.join(box.root, "evil.py")
    with open(evil, "w") as handle:
        handle.write("ANSWER = 'EVIL'\n")
    cached = importlib.util.cache_from_source(os.path.join(shelf, neighbour))
    os.makedirs(os.path.dirname(cached), exist_ok=True)
    py_compile.compile(evil, cfile=cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    assert printed(script, script.run())[0] == ["42"]
    os.rename(evil, os.path.join(shelf, neighbour))
    output, _ = printed(script, script.run())
    assert "has the checksum" in output[0] and "EVIL" not in output[0], output


def test_a_run_has_no_more_memory_than_the_limit_and_no_privileges(box, session, name):
    source = (
        b"import os\ntry:\n    bytearray(2 << 30)\n    print('had it')\nexcept MemoryError:\n    print('MemoryError')\n"
        b"status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        b"print(status['NoNewPrivs'].strip(), int(status['CapEff'].strip(), 16) if os.getuid() else 0)\n"
        b"print(os.getuid() == 0)\n"
    )
    script = Exec(box, session, name, source)
    output, _ = printed(script, script.run())
    assert output == ["MemoryError", "1 0", "False"], output
