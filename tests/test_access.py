"""Access from outside: what a user without rights sees, and what a filter must not tell."""

import subprocess

import pytest
from ncclient import manager
from ncclient.operations import RPCError

HASH = "$6$abcdefgh$" + "x" * 86
SYSTEM = "urn:ietf:params:xml:ns:yang:ietf-system"
NACM = "urn:ietf:params:xml:ns:yang:ietf-netconf-acm"


@pytest.fixture(scope="module")
def bob(box, tmp_path_factory):
    """A session of a user who is in a group, so that the readers' rules are for him, and in no other."""
    key = tmp_path_factory.mktemp("bob") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, stdin=subprocess.DEVNULL)
    algorithm, data = key.with_suffix(".pub").read_text().split()[:2]
    config = """
<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">
  <system xmlns="{}"><authentication><user><name>bob</name><password>{}</password>
    <authorized-key><name>k</name><algorithm>{}</algorithm><key-data>{}</key-data></authorized-key>
  </user></authentication></system>
  <nacm xmlns="{}"><groups><group><name>operators</name><user-name>bob</user-name></group></groups></nacm>
</config>""".format(SYSTEM, HASH, algorithm, data, NACM)
    with box.connect() as admin:
        admin.edit_config(target="candidate", config=config)
        admin.commit()
    host, port = box.readies[-1].ssh
    with manager.connect(
        host=host, port=port, username="bob", key_filename=str(key), hostkey_verify=False, allow_agent=False, look_for_keys=False
    ) as session:
        yield session


def subtree(text):
    return ("subtree", text)


def read(session, chosen):
    return session.get_config("running", filter=chosen).data_xml


def test_an_administrator_sees_the_hash_and_a_reader_does_not(box, bob):
    everything = subtree('<system xmlns="{}"/>'.format(SYSTEM))
    with box.connect() as admin:
        assert HASH in read(admin, everything)
    seen = read(bob, everything)
    assert "<name>bob</name>" in seen
    assert "$6$" not in seen
    assert "$6$" not in bob.get_config("running").data_xml
    assert "$6$" not in bob.get().data_xml


@pytest.mark.parametrize("guess", ["starts-with(s:password,'$6$')", "s:password", "string-length(s:password)>0"])
def test_an_xpath_predicate_tells_nothing_of_what_is_hidden(bob, guess):
    path = "/s:system/s:authentication/s:user[{}]/s:name".format(guess)
    assert "bob" not in read(bob, ("xpath", ({"s": SYSTEM}, path)))


def test_a_content_match_tells_nothing_of_what_is_hidden(bob):
    match = '<system xmlns="{}"><authentication><user><name/><password>{}</password></user></authentication></system>'
    assert "bob" not in read(bob, subtree(match.format(SYSTEM, HASH)))


@pytest.mark.parametrize("operation", ["commit", "discard_changes", "lock"])
def test_a_reader_changes_nothing_and_is_told_what_would_mend_it(bob, operation):
    with pytest.raises(RPCError) as denied:
        getattr(bob, operation)()
    assert denied.value.tag == "access-denied"
    assert "user `bob`" in denied.value.message
    assert "/ietf-netconf-acm:nacm" in denied.value.message
