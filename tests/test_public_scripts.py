"""Scripts that routers' users have published, one test for each way of using the library: the same calls, the same names of
arguments, the same treatment of what comes back. Config and precommit scripts are in test_commit_scripts.py, the process
script of the guide in test_main_job.py, scripts that events run in test_eem.py."""

import os
import sys

import pytest

from device import BINARIES, MISSING, TOP

sys.path.insert(0, os.path.join(TOP, "scripts", "python"))

from procyon_testing import Device  # noqa: E402


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    if MISSING:
        pytest.skip("NOTHING IS TESTED: {} not in {}; cargo build --bins first".format(MISSING, BINARIES))
    os.environ["PROCYON_BIN"] = BINARIES
    folder = tmp_path_factory.mktemp("public") / "device"
    with Device(folder, [os.path.join(TOP, "tests", "yang")], ["Cisco-IOS-XR-ifmgr-cfg"]) as made:
        yield made


@pytest.fixture
def run(device, tmp_path, request):
    def run(source, *arguments):
        path = tmp_path / (request.node.name.replace("[", "-").replace("]", "") + ".py")
        path.write_text(source)
        return device.run(path, *arguments)

    return run


def test_netconf_config(run, device):
    """Edits and commits an interface, looks for `<ok/>`, and never closes its session."""
    ran = run('''"""Configures a loopback."""
from cisco.script_mgmt import xrlog
from iosxr.netconf.netconf_lib import NetconfClient

log = xrlog.getScriptLogger('sample_script')
syslog = xrlog.getSysLogger('sample_script')

def test_netconf_edit(nc):
    config = """
    <interface-configurations xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-ifmgr-cfg">
     <interface-configuration>
      <active>act</active>
      <interface-name>Loopback123456</interface-name>
      <description>set by script</description>
     </interface-configuration>
    </interface-configurations>"""
    nc.rpc.edit_config(config=config)
    if '<ok/>' in nc.reply:
        log.info('edited')
    nc.rpc.commit()
    if '<ok/>' in nc.reply:
        syslog.info('Configuration committed')

nc = NetconfClient(debug=True)
nc.connect()
test_netconf_edit(nc)
''')
    assert ran.return_value == 0 and "INFO [sample_script]:: edited" in ran.output, ran
    assert any("Configuration committed" in line for line in ran.syslog)
    assert "Loopback123456" in device.get_config("<interface-configurations xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-ifmgr-cfg'/>")


def test_cli_show_version(run):
    ran = run('''"""Shows the version."""
import re
from iosxr.xrcli.xrcli_helper import *
from cisco.script_mgmt import xrlog

helper = XrcliHelper(debug=True)
cmd = "show version"
result = helper.xrcli_exec(cmd)
if result['status'] == 'success':
    print(re.search(r"Version[ :]+(\\S+)\\n", result['output']).group(1))
else:
    print("SHOW VERSION FAILED", result['output'])
''')
    assert ran.return_value == 0 and ran.output.strip()[0].isdigit(), ran


def test_cli_config(run, device):
    ran = run('''"""Applies configuration."""
from iosxr.xrcli.xrcli_helper import *

helper = XrcliHelper(debug=True)
config = "hostname from-script \\n\\r "
result = helper.xr_apply_config_string(config)
print(result['status'])
result = helper.xr_apply_config_string("no such thing at all")
print(result['status'], result['output'])
''')
    lines = ran.output.splitlines()
    assert lines[0] == "success" and lines[1].startswith("error "), ran
    assert "from-script" in device.get_config("<hostname xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg'/>")


def test_verify_bundle(run):
    """Options by argparse; a command that the device does not have says so, and the script goes on."""
    ran = run('''"""Verifies a bundle.

Arguments:
    -n name
"""
import argparse
from iosxr.xrcli.xrcli_helper import XrcliHelper
from cisco.script_mgmt import xrlog

log = xrlog.getScriptLogger('Bundle')
parser = argparse.ArgumentParser()
parser.add_argument("-n", "--name", help="Interface name", required=True)
args = parser.parse_args()
helper = XrcliHelper()
cmd = "show interfaces {} accounting rates".format(args.name)
result = helper.xrcli_exec(cmd)
if result['status'] != 'success':
    log.error(result['output'])
''', "-n", "Bundle-Ether1")
    assert ran.return_value == 0 and "ERROR [Bundle]:: " in ran.output, ran
    assert ran.output.split("ERROR [Bundle]:: ", 1)[1].strip(), "it says why"


def test_interface_counters_with_a_helper_module(run, device, tmp_path):
    """Imports its neighbour through secure_import, hands its client around, and ends with its own status."""
    helper = tmp_path / "xr_data_collector.py"
    helper.write_text('''"""Collects."""
def collect(nc, helper):
    nc.rpc.get(request="<system-time xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-shellutil-oper'/>")
    return "<system-time" in nc.reply, helper.xrcli_exec("show clock")['status']
''')
    device.add(helper)
    ran = run('''"""Counters."""
import sys
from cisco.script_mgmt import xr_utils
from iosxr.xrcli.xrcli_helper import XrcliHelper
from iosxr.netconf.netconf_lib import NetconfClient

collector = xr_utils.secure_import(module_file_name="xr_data_collector.py")
nc = NetconfClient(debug=True)
nc.connect()
print(collector.collect(nc, XrcliHelper(debug=True)))
nc.close()
sys.exit(1)
''')
    assert ran.status == "Executed" and ran.return_value == 1 and ran.output.startswith("(True, "), ran


def test_the_whole_method_set(run, tmp_path):
    file = tmp_path / "request.xml"
    file.write_text("<hostname xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg'><system-network-name>by-file</system-network-name></hostname>")
    ran = run('''"""Every method of the client, and what was sent and received."""
import sys
from iosxr.netconf.netconf_lib import NetconfClient

FILTER = "<hostname xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg'/>"
nc = NetconfClient(debug=True)
nc.connect()
for call in [
    lambda: nc.rpc.get(file=None, request=FILTER),
    lambda: nc.rpc.get_config(datastore='running', config_filter=FILTER),
    lambda: nc.rpc.lock(datastore='candidate'),
    lambda: nc.rpc.edit_config(file=sys.argv[1]),
    lambda: nc.rpc.validate(config=None, file=None),
    lambda: nc.rpc.discard(),
    lambda: nc.rpc.unlock(datastore='candidate'),
    lambda: nc.rpc.commit(),
    lambda: nc.rpc.capability_list(),
    lambda: nc.rpc.schema_list(),
]:
    call()
    print(type(nc.request).__name__, 'rpc-error' in nc.reply, len(nc.reply) > 0)
nc.close()
''', str(file))
    assert ran.return_value == 0 and ran.output.splitlines() == ["str False True"] * 10, ran


def test_a_script_that_no_python_parses_is_an_exception_with_its_line(run):
    ran = run("def f():\n\tx = 1\n        return x\n")
    assert ran.status == "Exception" and "line 3" in ran.errors and "TabError" in ran.errors, ran


def test_a_program_of_the_router_that_is_not_here_is_the_scripts_to_notice(run):
    ran = run('''"""Spawns a program."""
import subprocess
from cisco.script_mgmt import xrlog
syslog = xrlog.getSysLogger('LPTS')
try:
    subprocess.run(['platform_show_pifib', '-z'], stdout=subprocess.PIPE)
except OSError as error:
    syslog.error(error)
''')
    assert ran.return_value == 0 and any("Script-LPTS: " in line and "platform_show_pifib" in line for line in ran.syslog), ran


def test_a_script_writes_into_its_working_folder_and_logs_what_is_no_text(run):
    source = '''"""Counts."""
from cisco.script_mgmt import xrlog
syslog = xrlog.getSysLogger('count of alarms')
try:
    with open('count.txt') as handle:
        count = int(handle.read())
except IOError:
    count = 0
with open('count.txt', 'w') as handle:
    handle.write(str(count + 1))
syslog.info(count)
print(count)
'''
    assert [run(source).output.strip() for _ in range(2)] == ["0", "1"]
