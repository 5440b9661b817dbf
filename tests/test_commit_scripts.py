"""Scripts that look at commits, from outside: they refuse, amend and warn, and what goes wrong with them is told."""

import os
import re
import threading

import pytest
from lxml import etree
from ncclient.operations import RPCError

from device import TOP, boxes

VALIDATION = boxes.CISCO + "um-config-validation-cfg"
IFMGR = boxes.CISCO + "ifmgr-cfg"
OSPF = boxes.CISCO + "ipv4-ospf-cfg"
LOOK_SECONDS = 2


class Device(boxes.Box):
    """Knows the native modules that public config scripts speak of."""

    def initialise(self):
        done = super().initialise()
        with open(self.settings, "a", encoding="utf-8") as handle:
            handle.write("[limits]\ncommit_script_seconds = {}\n".format(LOOK_SECONDS))
        return done

    def agent_command(self):
        words = ["--yang-dir", os.path.join(TOP, "tests", "yang")]
        for module in ("Cisco-IOS-XR-ifmgr-cfg", "Cisco-IOS-XR-ipv4-ospf-cfg"):
            words += ["--module", module]
        return super().agent_command() + words


@pytest.fixture
def scripts(box, session):
    """Puts scripts into the repository and takes them out of the configuration again."""
    shelf = Shelf(box, session)
    yield shelf
    shelf.clear()


class Shelf:
    def __init__(self, box, session):
        self.box, self.session = box, session
        self.configs, self.precommits = [], []

    def add(self, kind, name, source):
        path = os.path.join(self.box.root, "harddisk", name)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(source)
        self.box.call(self.session, self.box.add_request("harddisk:", name).replace(">process<", ">{}<".format(kind)))
        os.unlink(path)
        return boxes.sha256(source.encode())

    def config(self, name, source, priority=None):
        """A config script that looks at commits from now on."""
        checksum = self.add("config", name, source)
        self.box.configure(self.session, config_script(name, checksum, priority))
        self.configs.append(name)

    def precommit(self, name, source, priority=10):
        checksum = self.add("precommit", name, source)
        self.box.configure(self.session, script(
            "<precommit><script-names><script-name><script-name>{}</script-name><checksum><sha256>{}</sha256>"
            "<priority>{}</priority></checksum><activate/></script-name></script-names></precommit>".format(
                name, checksum, priority
            )
        ))
        self.precommits.append(name)

    def clear(self):
        self.session.discard_changes()
        gone = [
            '<configs xmlns="{}"><config xmlns:nc="{}" nc:operation="remove"><config-name>{}</config-name></config></configs>'.format(
                VALIDATION, boxes.NETCONF, name
            )
            for name in self.configs
        ] + [
            '<precommit><script-names><script-name xmlns:nc="{}" nc:operation="remove"><script-name>{}</script-name>'
            "</script-name></script-names></precommit>".format(boxes.NETCONF, name)
            for name in self.precommits
        ]
        if gone:
            self.box.configure(self.session, *(script(each) for each in gone))


def script(inside):
    return '<config xmlns="{}"><script xmlns="{}">{}</script></config>'.format(boxes.NETCONF, boxes.SCRIPT_CFG, inside)


def config_script(name, checksum, priority=None):
    leaf = "" if priority is None else "<priority>{}</priority>".format(priority)
    return (
        '<config xmlns="{}"><script xmlns="{}"><configs xmlns="{v}"><config><config-name>{}</config-name><checksum>'
        '<sha256>{}</sha256></checksum>{}</config></configs></script><configuration xmlns="{v}"><validation><scripts/>'
        "</validation></configuration></config>"
    ).format(boxes.NETCONF, boxes.SCRIPT_CFG, name, checksum, leaf, v=VALIDATION)


def interface(name, inside=""):
    return (
        '<config xmlns="{}"><interface-configurations xmlns="{}"><interface-configuration><active>act</active>'
        "<interface-name>{}</interface-name>{}</interface-configuration></interface-configurations></config>"
    ).format(boxes.NETCONF, IFMGR, name, inside)


def running(session, top="interface-configurations", namespace=IFMGR):
    found = session.get_config(source="running", filter=("subtree", '<{} xmlns="{}"/>'.format(top, namespace))).data
    return etree.tostring(found, encoding="unicode")


def refusal(box, session, *configs):
    with pytest.raises(RPCError) as raised:
        box.configure(session, *configs)
    return raised.value


HEAD = "from cisco.config_validation import *\nfrom cisco.script_mgmt import xrlog\n"


def test_a_script_refuses_a_commit_with_an_error_on_a_node(box, session, scripts, name):
    scripts.config(name, HEAD + """
def check(root):
    for each in root.get_list('/ifmgr-cfg:interface-configurations/interface-configuration'):
        if each.get_node('description') is None:
            add_error(each, 'an interface needs a description')

register_validate_callback(['/ifmgr-cfg:interface-configurations/*'], check)
""")
    error = refusal(box, session, interface("Loopback1"))
    assert error.message.startswith("ERROR: an interface needs a description (config script `{}`)".format(name))
    assert "interface-name='Loopback1'" in error.path or 'interface-name="Loopback1"' in error.path
    assert "Loopback1" not in running(session)
    box.configure(session, interface("Loopback1", "<description>here</description>"))
    assert "Loopback1" in running(session)
    # What has nothing to do with it is not shown to it.
    box.configure(session, ospf(1))


def ospf(cost):
    return (
        '<config xmlns="{}"><ospf xmlns="{}"><processes><process><process-name>1</process-name><default-vrf><areas>'
        "<area-area-id><area-id>0</area-id><cost>{}</cost></area-area-id></areas></default-vrf></process></processes></ospf>"
        "</config>"
    ).format(boxes.NETCONF, OSPF, cost)


def test_scripts_amend_a_commit_in_the_order_of_their_priorities(box, session, scripts, name):
    amend = HEAD + """
def check(root):
    for each in root.get_list('/ifmgr-cfg:interface-configurations/interface-configuration'):
        if each.get_node('interface-name').value == 'Loopback2':
            seen = each.get_node('bandwidth')
            {}

register_validate_callback('/ifmgr-cfg:interface-configurations/interface-configuration', check)
"""
    scripts.config("b-" + name, amend.format("seen is None and each.set_node('bandwidth', 100)"), 20)
    scripts.config("a-" + name, amend.format("""each.get_node('description') is None and each.set_node('description', 'before {}'.format(seen.value if seen else None))"""), 10)
    scripts.config("c-" + name, amend.format("""each.get_node('mtus/mtu[owner=\\'loopback\\']') or each.set_node('mtus/mtu[owner=\\'loopback\\']/mtu', seen.value + 1)"""), 30)
    box.configure(session, interface("Loopback2"))
    seen = running(session)
    assert "<description>before None</description>" in seen and "<bandwidth>100</bandwidth>" in seen
    assert "<mtu>101</mtu>" in seen, "an integer is an integer"
    changes = session.dispatch(etree.fromstring(
        '<get-commit-changes xmlns="urn:procyon:history"><last>1</last></get-commit-changes>'
    )).xml
    assert "before None" in changes and "Loopback2" in changes, "the commit has what was amended"


def test_scripts_that_undo_each_others_work_do_not_settle(box, session, scripts, name):
    scripts.config(name, HEAD + """
def check(root):
    node = root.get_node("/ifmgr-cfg:interface-configurations/interface-configuration[active='act',interface-name='Loopback3']")
    if node is not None:
        node.set_node('bandwidth', (node.get_node('bandwidth').value if node.get_node('bandwidth') else 0) + 1)

register_validate_callback(['/ifmgr-cfg:interface-configurations/*'], check)
""")
    error = refusal(box, session, interface("Loopback3"))
    assert "does not settle" in error.message and "bandwidth" in error.path
    assert "Loopback3" not in running(session)


def test_a_script_that_crashes_refuses_the_commit_and_leaves_its_traceback_in_its_log(box, session, scripts, name):
    scripts.config(name, HEAD + """
def check(root):
    if root.get_node("/ifmgr-cfg:interface-configurations/interface-configuration[active='act',interface-name='Loopback4']"):
        return {}['nothing']

register_validate_callback(['/ifmgr-cfg:interface-configurations/*'], check)
""")
    error = refusal(box, session, interface("Loopback4"))
    assert "KeyError: 'nothing'" in error.message and 'in check' in error.message and name in error.message
    assert "procyon_judge" not in error.message, "none of our own frames"
    log = os.path.join(box.root, "harddisk/mirror/script-mgmt/logs", name + "_config", "stderr.log")
    boxes.wait_for("traceback", lambda: "KeyError: 'nothing'" in open(log, encoding="utf-8").read())
    box.configure(session, interface("Loopback5"))


def test_a_script_that_ends_or_hangs_refuses_the_commit_and_the_next_one_is_looked_at_again(box, session, scripts, name):
    scripts.config(name, HEAD + """
import os, time

def check(root):
    for each in root.get_list('/ifmgr-cfg:interface-configurations/interface-configuration'):
        if each.get_node('interface-name').value == 'Exit':
            os._exit(7)
        if each.get_node('interface-name').value == 'Hang':
            time.sleep(3600)
        if each.get_node('interface-name').value == 'Wrong':
            add_error(each, 'wrong')

register_validate_callback(['/ifmgr-cfg:interface-configurations/*'], check)
""")
    assert "exited with code 7" in refusal(box, session, interface("Exit")).message
    boxes.wait_for("the script again", lambda: state(session, name) == "ready")
    assert "within {} s".format(LOOK_SECONDS) in refusal(box, session, interface("Hang")).message
    boxes.wait_for("the script again", lambda: state(session, name) == "ready")
    assert "wrong" in refusal(box, session, interface("Wrong")).message


def state(session, name):
    asked = '<commit-scripts xmlns="urn:procyon:validation"><script><script-name>{}</script-name></script></commit-scripts>'
    data = session.get(filter=("subtree", asked.format(name))).data
    return data.findtext(".//{urn:procyon:validation}state")


def test_a_script_that_commits_itself_is_told_in_use_while_others_read(box, session, scripts, name):
    scripts.config(name, HEAD + """
from iosxr.netconf.netconf_lib import NetconfClient

def check(root):
    nc = NetconfClient()
    nc.connect()
    nc.rpc.get_config(datastore='running', config_filter='<interface-configurations xmlns="{0}"/>')
    read = 'Mine' not in nc.reply
    nc.rpc.commit()
    if root.get_node("/ifmgr-cfg:interface-configurations/interface-configuration[active='act',interface-name='Mine']"):
        add_error(None, 'read {{}}, commit {{}}'.format(read, 'in-use' in nc.reply))
    nc.close()

register_validate_callback(['/ifmgr-cfg:interface-configurations/*'], check)
""".format(IFMGR))
    assert "read True, commit True" in refusal(box, session, interface("Mine")).message


def test_others_commit_when_the_look_is_over(box, session, scripts, name):
    scripts.config(name, HEAD + """
import time

def check(root):
    time.sleep(0.2)

register_validate_callback(['/ifmgr-cfg:interface-configurations/*'], check)
""")
    done = []

    def commit(number):
        with box.connect() as other:
            other.lock("candidate")
            box.configure(other, interface("Many{}".format(number)))
            other.unlock("candidate")
            done.append(number)

    with box.connect() as first:
        thread = threading.Thread(target=commit, args=(1,))
        box.edit(session, ospf(5))
        thread.start()
        running(first)
        session.commit()
        thread.join()
    assert done == [1] or "Many1" in running(session)


def test_a_script_that_cannot_run_refuses_commits_until_it_is_taken_out(box, session, scripts, name):
    scripts.add("config", name, "import no_such_module\n")
    with open(os.path.join(box.root, "harddisk/mirror/script-mgmt/config", name), "rb") as handle:
        checksum = boxes.sha256(handle.read())
    error = refusal(box, session, config_script(name, checksum))
    assert "no_such_module" in error.message and "no script config " + name in error.message
    other = refusal(box, session, config_script(name, "ab" * 32))
    assert "Checksum Mismatch" in other.message
    box.configure(session, interface("Loopback6"))


def test_what_is_wrong_with_a_call_is_raised_under_its_name(box, session, scripts, name):
    scripts.config(name, HEAD + """
def check(root):
    top = '/ifmgr-cfg:interface-configurations'
    for call, kind in [
        (lambda: root.get_node('/nobody:top'), InvalidPath),
        (lambda: root.get_node(top + '/interface-configuration[active=\\'act\\']'), ErrListKey),
        (lambda: root.get_node(top + '/interface-configuration'), InvalidNodeKind),
        (lambda: root.get_list(top), InvalidNodeKind),
        (lambda: root.set_node('/ipv4-ospf-cfg:ospf/processes/process[process-name=1]/default-vrf/areas/area-area-id[area-id=0]/cost', 'much'), BadDatatype),
        (lambda: root.set_node('/um-script-cfg:script/execs/exec[exec-name=\\'a\\']', None), InvalidAPICall),
        (lambda: root.get_node(7), InvalidArg),
        (lambda: register_validate_callback('/x:y', print), InvalidAPICall),
    ]:
        try:
            call()
            add_error(None, 'nothing raised instead of ' + kind.__name__)
        except Error as error:
            if type(error) is not kind:
                add_error(None, '{!r} instead of {}'.format(error, kind.__name__))
    kept.append(root)
    if len(kept) > 1:
        try:
            kept[0].get_node(top)
            add_error(None, 'an old node is of no use')
        except ExpiredNode:
            pass

kept = []
register_validate_callback(['/ifmgr-cfg:interface-configurations/*'], check)
""")
    box.configure(session, interface("Loopback7"))
    box.configure(session, interface("Loopback8"))


def test_a_public_config_script_is_used_as_it_was_written(box, session, scripts, name):
    """The calls of the public samples on bundles, access lists, BGP and OSPF, on the models that are here."""
    scripts.config(name, """
import cisco.config_validation as xr
from cisco.script_mgmt import xrlog

syslog = xrlog.getSysLogger('xr_cli_config')

def check_config(root):
    SHUT = "/ifmgr-cfg:interface-configurations/interface-configuration[active='act',interface-name='TenGigE0/0/0/1']/shutdown"
    int_config = root.get_node("/ifmgr-cfg:interface-configurations")
    if int_config:
        shut = root.get_node(SHUT)
        if not shut:
            root.set_node(SHUT, None)
            syslog.info("shut down")
    for area in root.get_list("/ipv4-ospf-cfg:ospf/processes/process[process-name='7']/default-vrf/areas/area-area-id"):
        cost = area.get_node("/cost")
        if cost and cost.value > 10:
            xr.add_error(cost, "cost of more than 10")
        if cost and cost.value > 5:
            xr.add_warning([area, cost], "cost of more than 5")

xr.register_validate_callback(["/ifmgr-cfg:interface-configurations/interface-configuration/*", "/ipv4-ospf-cfg:ospf/*"], check_config)
""")
    box.configure(session, interface("TenGigE0/0/0/1"))
    assert re.search("TenGigE0/0/0/1</interface-name><shutdown ?/>", running(session))
    costly = ospf(11).replace("<process-name>1<", "<process-name>7<")
    error = refusal(box, session, costly)
    assert "cost of more than 10" in error.message and error.path.endswith("cost")
    box.configure(session, costly.replace(">11<", ">7<"))
    line = boxes.wait_for("warning", lambda: next((each for each in log_lines(session) if "more than 5" in each), None))
    assert name in line


def log_lines(session):
    asked = '<syslog xmlns="{}infra-syslog-oper"><messages/></syslog>'.format(boxes.CISCO)
    return [leaf.text for leaf in session.get(filter=("subtree", asked)).data.iter("{%sinfra-syslog-oper}text" % boxes.CISCO)]


VALIDATE = '<validate-config-scripts xmlns="urn:procyon:history">{}</validate-config-scripts>'
APPLY = VALIDATE.format("<apply-policy-modifications/>")


def execution(session, part):
    """The rows that the router's tree has of one script, and of its callbacks."""
    asked = '<config xmlns="{}config-cfgmgr-oper"><global><validation xmlns="{}config-valid-ccv-oper"/></global></config>'
    data = session.get(filter=("subtree", asked.format(boxes.CISCO, boxes.CISCO))).data
    rows = [node for node in data.iter() if boxes.local(node) in ("script", "callback") and part in [boxes.local(up) for up in node.iterancestors()]]
    return {boxes.local(row): {boxes.local(leaf): leaf.text for leaf in row.iter() if len(leaf) == 0} for row in rows}


AMENDING = HEAD + """
def check(root):
    for one in root.get_list("/ifmgr-cfg:interface-configurations/interface-configuration"):
        if one.get_node("interface-name").value.startswith("Loopback77") and one.get_node("description") is None:
            one.set_node("description", "by a script")

register_validate_callback(["/ifmgr-cfg:interface-configurations/*"], check)
"""


def of_one(session, datastore):
    """Loopback771, as it stands there."""
    asked = (
        '<interface-configurations xmlns="{}"><interface-configuration><interface-name>Loopback771</interface-name>'
        "</interface-configuration></interface-configurations>"
    ).format(IFMGR)
    return session.get_config(datastore, filter=("subtree", asked)).xml


def test_scripts_look_at_a_candidate_without_a_commit(box, session, scripts, name):
    scripts.config(name, AMENDING)
    box.edit(session, interface("Loopback771"))
    told = box.call(session, VALIDATE.format("")).xml
    modified = "interface-configuration[active='act'][interface-name='Loopback771']/description</modified>"
    assert modified in told, told
    assert "by a script" not in of_one(session, "candidate") and "Loopback771" not in of_one(session, "running")
    rows = execution(session, "last-validation")
    assert rows["script"]["script-name"] == name and rows["callback"]["callback-name"] == "check", rows
    assert rows["callback"]["modifications"] == rows["callback"]["pending-modifications"] == "1"
    assert execution(session, "running-config")["script"]["modifications"] == "0", "the commit that switched it on"
    assert modified in box.call(session, APPLY).xml
    assert "by a script" in of_one(session, "candidate") and "Loopback771" not in of_one(session, "running")
    assert "<ok/>" in box.call(session, VALIDATE.format("")).xml, "nothing is left to amend"
    session.commit()
    assert "by a script" in of_one(session, "running")
    assert execution(session, "last-validation")["script"]["pending-modifications"] == "0"
    assert execution(session, "running-config")["script"]["currently-configured"] == "true"


def test_a_client_learns_what_scripts_amended(box, session, scripts, name):
    """The answer is `<ok/>`; what was amended stands in the commit's changes and in the script's state."""
    scripts.config(name, AMENDING)
    box.edit(session, interface("Loopback774"))
    assert session.commit().ok
    state = session.get(filter=("subtree", '<commit-scripts xmlns="urn:procyon:validation"/>')).data
    amended = [leaf.text for leaf in state.iter("{urn:procyon:validation}last-amended")]
    assert any(path.endswith("interface-name='Loopback774']/description") for path in amended), amended
    asked = '<config-manager xmlns="{}config-cfgmgr-exec-oper"><global><config-commit/></global></config-manager>'.format(boxes.CISCO)
    commits = [int(leaf.text) for leaf in session.get(filter=("subtree", asked)).data.iter("{*}commit-id")]
    changes = '<get-commit-changes xmlns="urn:procyon:history"><commit-id>{}</commit-id></get-commit-changes>'.format(max(commits))
    assert "by a script" in box.call(session, changes).xml


def test_what_scripts_refuse_is_the_error_of_the_validation(box, session, scripts, name):
    scripts.config(name, AMENDING.replace('one.set_node("description", "by a script")', 'add_error(one, "it needs a description")'))
    box.edit(session, interface("Loopback772"))
    with pytest.raises(RPCError, match="ERROR: it needs a description"):
        box.call(session, APPLY)
    session.discard_changes()
    assert execution(session, "last-validation")["callback"]["validation-errors"] == "1"


NAMING = HEAD + """
def check(root):
    name = root.get_node("/um-hostname-cfg:hostname/system-network-name")
    if name is not None and name.value == "as-typed":
        name.set("as-amended")

register_validate_callback(["/um-hostname-cfg:hostname/*"], check)
"""


def shell(box, *lines):
    words = [word for line in lines for word in ("-c", line)]
    return box.command("shell", "--root", box.root, *words, check=False).stdout


def test_the_command_line_shows_what_scripts_amend(box, session, scripts, name):
    scripts.config(name, NAMING)
    would = shell(box, "configure", "hostname as-typed", "validate config-scripts", "show configuration", "abort")
    assert "The scripts would modify" in would, would
    assert "hostname as-typed" in would and "as-amended" not in would, would
    applied = shell(
        box, "configure", "hostname as-typed", "validate config-scripts apply-policy-modifications", "show configuration", "abort"
    )
    assert (
        "% Policy modifications were made to target configuration, please issue 'show configuration' from this session to"
        " view the resulting configuration\n" in applied
    ), applied
    assert "hostname as-amended" in applied and "hostname as-typed" not in applied
    committed = shell(box, "configure", "hostname as-typed", "commit", "end")
    told = committed.partition("% Policy modifications were made to target configuration, and committed with it:\n")[2]
    assert told.splitlines()[:1] == ["hostname as-amended"], committed
    plain = shell(box, "configure", "hostname plainly", "commit", "end")
    assert "Policy" not in plain, plain


def test_an_exception_is_taken_apart_in_the_routers_tree(box, session, scripts, name):
    scripts.config(name, AMENDING.replace("one.set_node(", "one.no_such("))
    with pytest.raises(RPCError):
        box.configure(session, interface("Loopback773"))
    row = execution(session, "last-validation")["callback"]
    assert row["error-message"].startswith("AttributeError") and row["file-name"].endswith("/config/" + name)
    assert row["line"] == "7" and row["backtrace"].startswith("Traceback"), row


def test_a_precommit_script_sees_what_is_changed_and_refuses_or_warns(box, session, scripts, name):
    scripts.precommit(name, """
import re
from cisco.script_mgmt import precommit

lines = list(precommit.get_target_configs())
for line in lines:
    if re.match(r'^ospf', line):
        cost = [item for item in precommit.get_target_configs(format='sysdb') if item.name.endswith('cost')]
        if cost and cost[0].value[1] > 60000:
            precommit.config_error('cost {} is too much; {}'.format(cost[0].value[1], cost[0].name))
        else:
            precommit.config_warning('OSPF is changed')
""")
    error = refusal(box, session, ospf(65000))
    assert "cost 65000 is too much; gl/ospf/processes/process/1/default-vrf/areas/area-area-id/0/cost" in error.message
    box.configure(session, ospf(9))
    boxes.wait_for("warning", lambda: any("OSPF is changed" in line for line in log_lines(session)))
    box.configure(session, interface("Loopback9"))


def test_a_precommit_script_that_fails_refuses(box, session, scripts, name):
    scripts.precommit(name, """
import os, sys
from cisco.script_mgmt import precommit

text = ' '.join(precommit.get_target_configs())
if 'Status' in text:
    sys.exit(3)
if 'Crash' in text:
    raise ValueError('crash')
if 'Kill' in text:
    os.kill(os.getpid(), 9)
""")
    assert "ended with status 3" in refusal(box, session, interface("Status")).message
    assert "ValueError: crash" in refusal(box, session, interface("Crash")).message
    assert "signal 9" in refusal(box, session, interface("Kill")).message
    box.configure(session, interface("Fine"))


def test_scripts_look_at_commits_after_a_restart_of_the_agent(box, name):
    # Its connection ends with the agent.
    scripts = Shelf(box, box.connect())
    scripts.config(name, HEAD + """
def check(root):
    if root.get_node("/ifmgr-cfg:interface-configurations/interface-configuration[active='act',interface-name='Late']"):
        add_error(None, 'late')

register_validate_callback(['/ifmgr-cfg:interface-configurations/*'], check)
""")
    known = len(box.readies)
    os.kill(box.ready.pid, 9)
    box.wait_ready(known)
    with box.connect() as again:
        assert "late" in refusal(box, again, interface("Late")).message
        scripts.session = again
        scripts.clear()
