"""Whole sessions, word for word: what is typed, and all that comes back."""

import textwrap

from hands import local, ssh


def text(block):
    return textwrap.dedent(block).lstrip("\n")


def session(box, typed):
    """Lines on standard input, without times."""
    return local(box, typed="terminal exec prompt no-timestamp\n" + text(typed))


def test_a_target_is_looked_at_from_all_sides_and_forgotten(box):
    status, out, errors = session(
        box,
        """
        configure
        ! a remark
        hostname golden
        appmgr process-script golden1
        executable g.py
        restart on-failure max-retries 2
        pwd
        show
        root
        pwd
        show configuration
        show configuration | formal
        show configuration | json
        show configuration merge | include golden
        commit check
        describe hostname
        describe commit
        clear
        show configuration
        """,
    )
    assert (status, errors) == (0, "")
    assert out == text(
        """
        appmgr process-script golden1
        Building configuration...
        !! IOS XR Configuration 7.5.1
        appmgr
         process-script golden1
          executable g.py
          restart on-failure max-retries 2
         !
        !
        end

        (top)
        Building configuration...
        !! IOS XR Configuration 7.5.1
        appmgr
         process-script golden1
          executable g.py
          restart on-failure max-retries 2
         !
        !
        hostname golden
        end

        appmgr process-script golden1 executable g.py
        appmgr process-script golden1 restart on-failure max-retries 2
        hostname golden
        {
          "Cisco-IOS-XR-um-appmgr-cfg:appmgr": {
            "process-scripts": {
              "process-script": [
                {
                  "process-script-name": "golden1",
                  "executable": "g.py",
                  "restart": "on-failure",
                  "max-retries": 2
                }
              ]
            }
          },
          "Cisco-IOS-XR-um-hostname-cfg:hostname": {
            "system-network-name": "golden"
          }
        }
         process-script golden1
        hostname golden
        Configuration node /Cisco-IOS-XR-um-hostname-cfg:hostname/system-network-name
        The name that prompts and log lines show.
        A command; `?` behind it tells its options
        Building configuration...
        !! IOS XR Configuration 7.5.1
        end

        """
    )


def test_commits_are_named_looked_at_and_undone(box):
    status, out, errors = session(
        box,
        """
        configure
        hostname first
        commit label before
        hostname second
        commit label after comment the second one
        show commit changes diff
        no hostname
        show configuration
        show commit changes diff
        abort
        show configuration commit changes after
        show configuration commit changes after diff
        show configuration commit list 1 detail | include Comment
        rollback configuration after label back comment it was wrong
        show running-config hostname
        show configuration commit changes back
        rollback configuration to before
        rollback configuration to-exclude before
        show running-config hostname
        """,
    )
    assert status == 0, errors
    lines = [line if "rolled back as commit" not in line else "rolled back" for line in out.splitlines()]
    assert "\n".join(lines) + "\n" == text(
        """
        Building configuration...
        !! IOS XR Configuration 7.5.1
        end

        Building configuration...
        !! IOS XR Configuration 7.5.1
        no hostname second
        end

        Building configuration...
        !! IOS XR Configuration 7.5.1
        -hostname second
        end

        Building configuration...
        !! IOS XR Configuration 7.5.1
        hostname second
        end

        Building configuration...
        !! IOS XR Configuration 7.5.1
        -hostname first
        +hostname second
        end

           Comment:  the second one
        rolled back
        hostname first

        Building configuration...
        !! IOS XR Configuration 7.5.1
        hostname first
        end

        rolled back
        rolled back
        hostname first

        """
    )


def test_text_is_loaded_from_the_terminal_and_from_files(box):
    status, out, errors = session(
        box,
        """
        configure
        load terminal
        hostname by-terminal
        appmgr
         process-script loaded1
          executable l.py
         !
        !
        end
        \x04
        show configuration | formal | file harddisk:/loaded.cfg
        clear
        load merge harddisk:/loaded.cfg
        show configuration | formal
        abort
        """,
    )
    assert (status, errors) == (0, "")
    formal = ["appmgr process-script loaded1 executable l.py", "hostname by-terminal"]
    parsed = sum(len(line) + 1 for line in formal)
    assert out.startswith("Loading.\n79 bytes parsed\nLoading.\n{} bytes parsed\n".format(parsed))
    # The order of the two is that of the datastore.
    assert sorted(out.splitlines()[4:]) == formal
    for name in ("harddisk:/none.cfg", "/etc/passwd", "harddisk:/../keys"):
        status, _, errors = session(box, "configure\nload {}\n".format(name))
        assert status == 1 and "cannot be read" in errors, errors


def test_what_is_invalid_is_told_line_by_line_and_stays_to_be_mended(box):
    status, out, errors = session(box, "configure\nappmgr process-script broken1\ncommit check\n")
    assert (status, out, errors) == (1, "", "% a process script needs an executable, run-args or a restart policy\n")
    status, out, errors = session(box, "configure\nload harddisk:/none\nhostname never\ncommit\n")
    assert status == 1 and "never" not in ssh(box, "show running-config")[1]


def test_a_configuration_is_replaced_only_when_somebody_says_so(box):
    status, out, errors = session(box, "configure\nhostname whole\ncommit replace\n")
    assert status == 1 and out == (
        "This commit will replace or remove the entire running configuration. This\noperation can be service affecting.\n"
        "Do you wish to proceed? [no]: no\n"
    )
    assert "hostname whole" not in ssh(box, "show running-config")[1]


def test_a_confirmed_commit_that_nobody_confirms_is_told_as_undone(box):
    status, out, errors = session(box, "configure\nhostname minutes\ncommit confirmed minutes 5\nend\nshow running-config hostname\n")
    assert status == 1 and "hostname minutes" in out and errors == (
        "% The commit is undone: the session has ended, and nobody has confirmed it\n"
    )
    assert "hostname minutes" not in ssh(box, "show running-config hostname")[1]
    status, out, errors = session(box, "configure\nhostname minutes\ncommit confirmed 60\ncommit\nend\n")
    assert (status, errors) == (0, "") and "hostname minutes" in ssh(box, "show running-config hostname")[1]
