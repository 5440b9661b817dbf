"""Clients that other people wrote, beside ncclient and OpenSSH: each reads, edits, commits and hears why something is refused."""

import os
import subprocess
import sys

import pytest
from lxml import etree

from device import boxes
from sample import SampleBox as Device, top  # noqa: F401

CONFIG = '<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">{}</config>'
FILTER = '<filter xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" type="subtree">{}</filter>'
MTU = "{urn:sample}mtu"


SYSTEM = "urn:ietf:params:xml:ns:yang:ietf-system"
PASSWORD = "open sesame"


def mtu_in(text):
    root = etree.fromstring(text if isinstance(text, bytes) else text.encode())
    return [node.text for node in root.iter(MTU)]


@pytest.fixture
def password(box):
    """For clients that know RSA keys only."""
    user = "<user><name>admin</name><password>$0${}</password></user>".format(PASSWORD)
    system = '<system xmlns="{}"><authentication>{}</authentication></system>'.format(SYSTEM, user)
    with box.connect() as session:
        box.configure(session, CONFIG.format(system))
    return PASSWORD


@pytest.fixture
def clean(box):
    yield
    with box.connect() as session:
        session.discard_changes()
        session.edit_config(target="candidate", config=CONFIG.format(top('<mtu xmlns:n="{0}" n:operation="remove"/>'.format(boxes.NETCONF))))
        session.commit()


def test_netconf_client(box, clean):
    from netconf_client.connect import connect_ssh
    from netconf_client.error import RpcError
    from netconf_client.ncclient import Manager

    host, port = box.ready.ssh
    with connect_ssh(host=host, port=port, username="admin", key_filename=box.key) as session:
        manager = Manager(session, timeout=boxes.REPLY_SECONDS_MAX)
        manager.lock(target="candidate")
        manager.edit_config(target="candidate", config=CONFIG.format(top("<mtu>1234</mtu>")))
        manager.validate(source="candidate")
        manager.commit(confirmed=True, confirm_timeout=60)
        manager.commit()
        manager.unlock(target="candidate")
        assert mtu_in(manager.get_config(source="running", filter=FILTER.format(top("<mtu/>"))).data_xml) == ["1234"]
        found = manager.get_data(datastore="ds:operational", filter='<subtree-filter>{}</subtree-filter>'.format(top("<mtu/>")))
        assert mtu_in(found.data_xml) == ["1234"]
        with pytest.raises(RpcError) as refused:
            manager.edit_config(target="candidate", config=CONFIG.format(top("<mtu>7</mtu>")))
        assert refused.value.tag == "invalid-value"


def test_scrapli_netconf(box, clean, password):
    from scrapli_netconf.driver import NetconfDriver

    host, port = box.ready.ssh
    options = dict(auth_username="admin", auth_password=password, auth_strict_key=False, transport="paramiko")
    with NetconfDriver(host=host, port=port, **options) as driver:
        assert not driver.lock(target="candidate").failed
        assert not driver.edit_config(config=CONFIG.format(top("<mtu>1235</mtu>")), target="candidate").failed
        assert not driver.validate(source="candidate").failed
        assert not driver.commit().failed
        assert not driver.unlock(target="candidate").failed
        found = driver.get_config(source="running", filter_=top("<mtu/>"), filter_type="subtree")
        assert mtu_in(found.result) == ["1235"]
        refused = driver.edit_config(config=CONFIG.format(top("<mtu>7</mtu>")), target="candidate")
        assert refused.failed and "invalid-value" in refused.result


def test_netconf_console(box, clean, password, tmp_path):
    host, port = box.ready.ssh
    console = [os.path.join(os.path.dirname(sys.executable), "netconf-console2"), "--host", host, "--port", str(port)]
    console += ["-u", "admin", "-p", password]

    def run(*arguments):
        done = subprocess.run(
            console + list(arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=boxes.REPLY_SECONDS_MAX
        )
        return done.stdout + done.stderr

    assert "confirmed-commit:1.1" in run("--hello")
    edit = tmp_path / "edit.xml"
    edit.write_text(top("<mtu>1236</mtu>"))
    # A sequence of commands is one session.
    said = run("--db", "candidate", "--edit-config", str(edit), "--validate", "candidate", "--commit")
    assert "rpc-error" not in said and "failed" not in said, said
    assert "<mtu>1236</mtu>" in run("--db", "running", "--get-config"), said
    edit.write_text(top("<mtu>7</mtu>"))
    assert "invalid-value" in run("--db", "candidate", "--edit-config", str(edit))
