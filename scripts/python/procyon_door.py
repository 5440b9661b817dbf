"""The door of a run: how a script gets a stream to the device that it runs on.

Who holds the door is who was started; nothing that is said through it makes anybody somebody else.

Environment:
    PROCYON_DOOR_FD   a descriptor inherited from the app manager
"""

import array
import os
import socket


class DoorError(Exception):
    """There is no stream to be had. Says what to do about it."""


def stream(word):
    """A connected socket whose other half the device has taken for what `word` names: netconf, shell or judge."""
    text = os.environ.get("PROCYON_DOOR_FD", "")
    if not text.isdigit():
        raise DoorError("not started by the app manager: no PROCYON_DOOR_FD; activate it as an app")
    closed = (
        "PROCYON_DOOR_FD is {}, which is not the app manager's socket: a child that was started with its descriptors "
        "closed has to be given it (pass_fds)"
    ).format(text)
    try:
        door = socket.fromfd(int(text), socket.AF_UNIX, socket.SOCK_SEQPACKET)
    except (OSError, OverflowError):
        raise DoorError(closed)
    with door:
        try:
            if door.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) != socket.SOCK_SEQPACKET:
                raise DoorError(closed)
        except OSError:
            raise DoorError(closed)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            # The door is shared with everyone who inherited it: its own mode is not changed, the call does not wait.
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
            door.sendmsg([word], rights, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except BlockingIOError:
            ours.close()
            raise DoorError("the device has too many sessions waiting; connect() again a little later")
        except OSError as error:
            ours.close()
            raise DoorError("the device does not take sessions now ({}); connect() again later".format(error))
        finally:
            theirs.close()
    return ours
