"""Configuration as text over NETCONF, as napalm and others use it."""

import box as boxes
import pytest
from ncclient.operations import RPCError
from ncclient.xml_ import to_ele

CLI = boxes.CISCO + "cli-cfg"
LINES = "appmgr\n process-script {0}\n  executable n.py\n  run-args --say 'a b' <&>\n  restart on-failure max-retries 2\n !\n!\n"


@pytest.fixture
def device(box):
    import napalm

    host, port = box.ready.ssh
    driver = napalm.get_network_driver("iosxr_netconf")
    options = {"port": port, "key_file": box.key, "hostkey_verify": False, "allow_agent": False, "look_for_keys": False}
    with driver(host, box.admin, "", timeout=20, optional_args=options) as opened:
        yield opened


def escaped(text):
    # napalm puts the text into XML as it is.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def test_napalm_merges_compares_commits_and_goes_back(device):
    device.load_merge_candidate(config=escaped(LINES.format("napalm1") + "hostname napalmed\n"))
    difference = device.compare_config()
    assert "+ process-script napalm1" in difference and "hostname napalmed" in difference, difference
    device.commit_config()
    config = device.get_config()
    assert LINES.format("napalm1").split("\n", 1)[1].split(" !")[0] in config["running"], config["running"]
    assert config["running"] == config["candidate"]
    assert device.get_facts()["hostname"] == "napalmed"
    # The same again changes nothing.
    device.load_merge_candidate(config=escaped(LINES.format("napalm1")))
    assert device.compare_config() == ""
    device.discard_config()
    device.load_merge_candidate(config="no appmgr process-script napalm1")
    assert "- process-script napalm1" in device.compare_config()
    device.discard_config()
    assert device.compare_config() == ""
    device.rollback()
    assert "napalm1" not in device.get_config("running")["running"]


def test_a_text_replaces_all_and_loses_nothing_that_it_was_given(box, session):

    def running():
        data = session.get_config(source="running", filter=("subtree", '<cli xmlns="{}"/>'.format(CLI))).data
        return data.findtext("{*}cli")

    def replace(lines):
        session.dispatch(
            to_ele(
                '<copy-config xmlns="{}"><target><candidate/></target><source><config><cli xmlns="{}">{}</cli></config></source>'
                "</copy-config>".format(boxes.NETCONF, CLI, escaped(lines))
            )
        )
        session.commit()

    before = running()
    replace(before + "\n" + LINES.format("napalm2"))
    assert "process-script napalm2" in running()
    replace(before)
    assert running() == before
    with pytest.raises(RPCError):
        replace(before + "\nno hostname\n")
    assert running() == before


def test_napalm_replaces_all(device):
    before = device.get_config("running")["running"]
    device.load_replace_candidate(config=escaped(before + "\n" + LINES.format("napalm3")))
    assert "+ process-script napalm3" in device.compare_config()
    device.commit_config()
    assert "process-script napalm3" in device.get_config("running")["running"]
    device.load_replace_candidate(config=escaped(before))
    assert "- process-script napalm3" in device.compare_config()
    device.commit_config()
    assert device.get_config("running")["running"] == before


def test_text_may_stand_beside_xml(box, session):
    hostname = '<hostname xmlns="{}um-hostname-cfg"><system-network-name>{{}}</system-network-name></hostname>'.format(boxes.CISCO)
    config = '<config xmlns="{}"><cli xmlns="{}">appmgr process-script beside executable b.py</cli>{{}}</config>'.format(boxes.NETCONF, CLI)

    def running():
        return session.get_config(source="running", filter=("subtree", '<cli xmlns="{}"/>'.format(CLI))).data.findtext("{*}cli")

    before = running()
    with pytest.raises(RPCError):
        session.edit_config(target="candidate", config=config.format(hostname.format("x" * 300)))
    session.commit()
    assert running() == before
    session.edit_config(target="candidate", config=config.format(hostname.format("mixed")))
    session.commit()
    assert "process-script beside" in running() and "hostname mixed" in running()


def test_wrong_lines_are_refused_with_their_numbers_and_change_nothing(device):
    from napalm.base.exceptions import MergeConfigException

    with pytest.raises(MergeConfigException) as refused:
        device.load_merge_candidate(config="hostname half\nappmgr process-script x1 restart sometimes\nnonsense\n")
    assert "line 2" in str(refused.value) and "sometimes" in str(refused.value)
    device.pending_changes = True
    assert device.compare_config() == ""


def test_text_that_needs_several_messages_is_taken_whole_or_not_at_all(box, session):
    def edit(lines):
        config = '<config xmlns="{}"><cli xmlns="{}">{}</cli></config>'.format(boxes.NETCONF, CLI, lines)
        session.edit_config(target="candidate", config=config, error_option="rollback-on-error")

    def difference():
        return session.dispatch(to_ele('<get-cli-config-diff xmlns="{}cli-diff-act"/>'.format(boxes.CISCO))).xml

    edit("hostname one\nno hostname\nhostname two")
    assert "hostname two" in difference()
    session.discard_changes()
    with pytest.raises(RPCError):
        edit("hostname one\nno hostname\nhostname {}".format("x" * 300))
    assert "hostname" not in difference()
