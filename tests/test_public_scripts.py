"""Scripts that routers' users have published, one test for each way of using the library: the same calls, the same names of
arguments, the same treatment of what comes back. Config and precommit scripts are in test_commit_scripts.py, the process
script of the guide in test_main_job.py, scripts that events run in test_eem.py."""

import ast
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
    with Device(folder, [os.path.join(TOP, "tests", "yang")], ["Cisco-IOS-XR-ifmgr-cfg", "router"]) as made:
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


def test_netconf_show_route_total(run, device, tmp_path):
    """Uses names that nobody has defined, as on a router: the run ends by that exception, whose line is told."""
    helper = tmp_path / "netconf_test_common.py"
    helper.write_text("DEFAULT_LOG_PATH = './'\nlogf = None\ndef do_get(nc, filter=None, path=None):\n    nc.rpc.get(request=filter)\n")
    device.add(helper)
    ran = run('''"""Checks the routes."""
import os
import re
import xmltodict
import netconf_test_common
from cisco.script_mgmt import xrlog

syslog = xrlog.getSysLogger('test_netconf_show_route_total')
LOG_FILE = "netconf_oper_1_" + str(os.getpid()) + ".txt"

def route_check():
    netconf_test_common.logf = open(netconf_test_common.DEFAULT_LOG_PATH + LOG_FILE, 'w')
    nc = NetconfClient(debug=True)
    nc.connect()
    netconf_test_common.do_get(nc, filter="<rib xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-ip-rib-ipv4-oper'/>")

syslog.info('Checking rib statistics')
route_check()
''')
    assert any("Checking rib statistics" in line for line in ran.syslog), ran
    assert ran.status == "Exception" and ran.events[-1].endswith("NameError: name 'NetconfClient' is not defined"), ran


ALARMS = '''"""Counts alarms."""
import re
import smtplib as SMTP
import sys
import xmltodict
from email.mime.text import MIMEText
from cisco.script_mgmt import xrlog
from iosxr.netconf.netconf_lib import NetconfClient

syslog = xrlog.getSysLogger('Alarm')

def check_curr_alarm_num(prev_count):
    filter_string = """
    <alarms xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-alarmgr-server-oper">
        <detail>
            <detail-system>
                <stats>
                    <reported/>
                </stats>
            </detail-system>
        </detail>
    </alarms>"""
    nc = NetconfClient(debug=True)
    nc.connect()
    do_get(nc, filter=filter_string)
    ret_dict = _xml_to_dict(nc.reply, 'alarms')
    curr_count = int(ret_dict['alarms']['detail']['detail-system']['stats']['reported'])
    count_file = open("count.txt", "wt")
    count_file.write("Current number of alarms: %s \\n" %curr_count)
    count_file.close()
    if curr_count != prev_count:
        syslog.error("New Alarm Detected: new count = %s, old count = %s" %(curr_count, prev_count))
        _send_email(curr_count, prev_count)
    nc.close()

def _send_email(curr_count, prev_count):
    msg = MIMEText("%s %s" %(curr_count, prev_count), 'plain')
    try:
        SMTP.SMTP('127.0.0.1', 9).sendmail('a@b.example', 'a@b.example', msg.as_string())
    except Exception:
        syslog.error("Message Failed to Send")

def _xml_to_dict(xml_output, xml_tag=None):
    pattern = "<data>\\s+(<%s.*</%s>).*</data>" % (xml_tag, xml_tag)
    xml_output = xml_output.replace('\\n', ' ')
    xml_data_match = re.search(pattern, xml_output)
    return xmltodict.parse(xml_data_match.group(1))

def do_get(nc, filter=None, path=None):
    try:
        if path is not None:
            nc.rpc.get(file=path)
        elif filter is not None:
            nc.rpc.get(request=filter)
        else:
            return False
    except Exception as e:
        return False
    return True

if __name__ == '__main__':
    check_curr_alarm_num(-1)
    count_file = open("count.txt", "rt")
    print(int(count_file.readline()[26:]))
    count_file.close()
'''


def test_alarm_process(run):
    """Reads a reply with `xmltodict`, keeps its count in a file of its working folder, and has nobody who takes its mail."""
    ran = run(ALARMS)
    assert ran.return_value == 0 and ran.output.strip().isdigit(), ran
    assert any("New Alarm Detected: new count = {}, old count = -1".format(ran.output.strip()) in line for line in ran.syslog)
    assert any("Message Failed to Send" in line for line in ran.syslog)


def test_storm(run):
    """Reads a program of the router line by line, which is not here."""
    ran = run('''"""Watches storms.

Arguments:
  -i INTERVAL, --interval INTERVAL
"""
import argparse
import subprocess
from cisco.script_mgmt import xrlog

syslog = xrlog.getSysLogger('Storm')

def monitor():
    bd_name = ''
    with subprocess.Popen(['l2vpn_show', '-d', '0x9'], stdout=subprocess.PIPE, universal_newlines=True) as proc:
        for line in proc.stdout:
            bd_name = line
    if not bd_name:
        syslog.error('Could not get bridge-domain details')

parser = argparse.ArgumentParser()
parser.add_argument('-i', '--interval', default=60, type=int)
parser.add_argument('-t', '--thres', nargs='+', default=[100], type=int)
args = parser.parse_args()
print(args.interval, args.thres)
monitor()
''', "-i", "60", "-t", "10", "20", "30")
    assert ran.output == "60 [10, 20, 30]\n" and ran.status == "Exception", ran
    assert "FileNotFoundError" in ran.events[-1] and "l2vpn_show" in ran.events[-1], ran


@pytest.fixture
def on_event(device, tmp_path):
    """Runs a script once for an event of its own: a file that is written. Its name is the policy map's, too."""

    def on_event(name, source):
        path = tmp_path / (name + ".py")
        path.write_text(source)
        trigger = tmp_path / (name + ".trigger")
        script = device.on_event(path, '<file xmlns="urn:procyon:eem"><path>{}</path></file>'.format(trigger))
        before = len(device.syslog)
        trigger.write_text("now")
        return device.next_run(script), device.syslog[before:]

    return on_event


def test_eem_of_a_line_of_the_log(device, tmp_path):
    """Takes the message apart, and logs what it found."""
    path = tmp_path / "test_eem.py"
    path.write_text('''"""Says which process."""
from cisco.script_mgmt import xrlog
from iosxr import eem
import re

syslog = xrlog.getSysLogger("test_eem")
rc, event_dict = eem.event_reqinfo()
msg = event_dict['msg']
p=re.compile("by user '(\\w+[a-zA-Z])")
process_name = p.search(msg).group()
syslog.info("EVENT SCRIPT EXECUTED: changed "+ process_name)
''')
    script = device.on_event(path, '<syslog><pattern>"DB_COMMIT"</pattern></syslog>')
    device.configure("<hostname xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg'><system-network-name>eem</system-network-name></hostname>")
    ran = device.next_run(script)
    assert ran.return_value == 0, ran
    assert any("EVENT SCRIPT EXECUTED: changed by user '" in line for line in ran.syslog), ran
    device.configure(
        "<event xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-event-manager-cfg' xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0' nc:operation='remove'/>"
    )


BGP = '''"""Switches graceful maintenance."""
import re
from cisco.script_mgmt import xrlog
from iosxr.xrcli.xrcli_helper import *
from iosxr import eem

syslog = xrlog.getSysLogger('BGP')
helper = XrcliHelper()
rc, event_dict = eem.event_reqinfo()

def conf_gr_maint(state):
    command = 'show running formal router bgp | include graceful-maintenance'
    result = helper.xrcli_exec(command)
    if result['status'] == 'error':
        syslog.error(result['output'])
        return
    match = re.search(r'router bgp (\\d+)', result['output'])
    if not match:
        syslog.warning('Could not get BGP AS')
        return
    if 'all-neighbors' in result['output'] and state:
        syslog.info('BGP Graceful Maintenance (All Neighbors) already active')
        return
    if state:
        config = 'router bgp %s graceful-maintenance activate all-neighbors'
    else:
        config = 'no router bgp %s graceful-maintenance activate'
    result = helper.xr_apply_config_string(config % match.group(1))
    if result['status'] == 'success':
        syslog.info('Commit success')
    else:
        syslog.error(result['output'])

if __name__ == '__main__':
    syslog.info(event_dict['event_name'] + ' event occurred')
    match = re.search(r'(?<!de)activate', event_dict['policy_map_name'], re.I)
    conf_gr_maint(bool(match))
'''
ROUTER = "<router xmlns='urn:router'>{}</router>"


def test_eem_that_configures_by_the_command_line(device, on_event):
    """Finds its number in formal configuration, sets and takes away by one line, and acts by the name of its policy map."""
    device.configure(ROUTER.format("<bgp><as>65000</as><graceful-maintenance><activate/></graceful-maintenance></bgp>"))
    ran, said = on_event("Activate", BGP)
    assert ran.return_value == 0 and any("Commit success" in line for line in said), (ran, said)
    assert "<all-neighbors/>" in device.get_config(ROUTER.format(""))
    ran, said = on_event("Deactivate", BGP)
    assert any("Commit success" in line for line in said), (ran, said)
    assert "activate" not in device.get_config(ROUTER.format(""))


def test_eem_that_rewrites_lines_of_configuration(device, on_event):
    """Takes the value off the end of each formal line, and applies them with another one."""
    interfaces = "".join(
        "<interface><interface-name>GigabitEthernet0/0/0/{}</interface-name><dr-priority>{}</dr-priority></interface>".format(*each)
        for each in ((0, 100), (1, 95))
    )
    device.configure(ROUTER.format("<pim><address-family><ipv4>{}</ipv4></address-family></pim>".format(interfaces)))
    ran, said = on_event("Set-Priority-95", '''"""Sets priorities."""
import re
from cisco.script_mgmt import xrlog
from iosxr.xrcli.xrcli_helper import *
from iosxr import eem

syslog = xrlog.getSysLogger('PIM')
helper = XrcliHelper()
rc, event_dict = eem.event_reqinfo()

def conf_dr_prio(new):
    command = 'show running-config formal router pim | include dr-priority'
    result = helper.xrcli_exec(command)
    if result['status'] == 'error':
        syslog.error(result['output'])
        return
    matches = re.findall(r'(router.*?)(\\d+)$', result['output'], re.M)
    config = [line + new for line, old in matches if old != new]
    if not config:
        syslog.info('PIM DR priorities already set')
        return
    result = helper.xr_apply_config_string('\\n'.join(config))
    if result['status'] == 'success':
        syslog.info('Commit success: %d' % len(config))
    else:
        syslog.error(result['output'])

match = re.search(r'prio.*?(\\d+)', event_dict['policy_map_name'], re.I)
conf_dr_prio(match.group(1) if match else '100')
''')
    assert any("Commit success: 1" in line for line in said), (ran, said)
    assert device.get_config(ROUTER.format("")).count("<dr-priority>95<") == 2


def test_eem_that_logs_each_line_of_a_commit(device, tmp_path):
    """Finds the commit in the message, asks the command line for its changes, and logs them line by line."""
    path = tmp_path / "commit.py"
    path.write_text('''"""Logs commits."""
import re
from cisco.script_mgmt import xrlog
from iosxr.xrcli.xrcli_helper import *
from iosxr import eem

syslog = xrlog.getSysLogger('Commit')
helper = XrcliHelper()
rc, event_dict = eem.event_reqinfo()

if __name__ == '__main__':
    m = re.search(r"user '(\\S+)'.*?changes (\\d+)", event_dict['msg'])
    if m:
        user = m.group(1)
        command = 'show configuration commit changes ' + m.group(2)
        result = helper.xrcli_exec(command)
        if result['status'] == 'success':
            m = re.match(r'.*!!.*?\\n(.*)end', result['output'], re.DOTALL)
            if m:
                for line in m.group(1).splitlines():
                    syslog.info('User:%s  logged command:%s' % (user, line))
        else:
            syslog.error(result['output'])
''')
    trigger = '<syslog><pattern>"%MGBL-CONFIG-6-DB_COMMIT : Configuration committed by user"</pattern></syslog>'
    script = device.on_event(path, trigger)
    device.configure("<hostname xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-hostname-cfg'><system-network-name>logged</system-network-name></hostname>")
    ran = device.next_run(script)
    if not any("event manager" in line for line in ran.syslog):
        pytest.fail("the commit of the trigger is one, too: {}".format(ran))
    ran = device.next_run(script, after=ran)
    assert any("logged command:hostname logged" in line for line in ran.syslog), ran
    device.configure(
        "<event xmlns='http://cisco.com/ns/yang/Cisco-IOS-XR-um-event-manager-cfg' xmlns:nc='urn:ietf:params:xml:ns:netconf:base:1.0' nc:operation='remove'/>"
    )


# Each script that was found in public, and the tests that use the library as it does.
SURFACES = {
    "the guide's example, process/test_process.py": "test_seed.py::test_the_script_of_the_guide_reports_the_cpu_utilization",
    "process/test_alarm_process.py": "test_public_scripts.py::test_alarm_process",
    "exec/test_netconf_config.py": "test_public_scripts.py::test_netconf_config",
    "exec/test_netconf_show_route_total.py": "test_public_scripts.py::test_netconf_show_route_total",
    "exec/test_cli_show_version.py": "test_public_scripts.py::test_cli_show_version",
    "exec/test_cli_config.py": "test_public_scripts.py::test_cli_config",
    "exec/verify_bundle.py": "test_public_scripts.py::test_verify_bundle",
    "exec/show_interfaces_counters_*.py": "test_public_scripts.py::test_interface_counters_with_a_helper_module",
    "exec/netconf_test_common.py": "test_public_scripts.py::test_the_whole_method_set",
    "exec/test_ospf_neighbors.py": "test_public_scripts.py::test_a_script_that_no_python_parses_is_an_exception_with_its_line",
    "config/test_config.py, check_acl.py, check_bgp.py, check_ospf.py": "test_commit_scripts.py::test_a_public_config_script_is_used_as_it_was_written",
    "eem/test_eem.py": "test_public_scripts.py::test_eem_of_a_line_of_the_log",
    "bgp.py": "test_public_scripts.py::test_eem_that_configures_by_the_command_line",
    "pim.py": "test_public_scripts.py::test_eem_that_rewrites_lines_of_configuration",
    "commit.py": "test_public_scripts.py::test_eem_that_logs_each_line_of_a_commit",
    "precommit/verify_bgp.py": "test_commit_scripts.py::test_a_precommit_script_sees_what_is_changed_and_refuses_or_warns",
    "lpts.py": "test_public_scripts.py::test_a_program_of_the_router_that_is_not_here_is_the_scripts_to_notice",
    "storm.py": "test_public_scripts.py::test_storm",
}


@pytest.mark.parametrize("surface", SURFACES)
def test_each_surface_has_its_test(surface):
    file, test = SURFACES[surface].split("::")
    with open(os.path.join(TOP, "tests", file), "rb") as handle:
        tests = [node.name for node in ast.walk(ast.parse(handle.read())) if isinstance(node, ast.FunctionDef)]
    assert test in tests
