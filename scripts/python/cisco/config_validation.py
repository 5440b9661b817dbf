"""What config scripts look at and amend: the configuration as a commit would make it.

    from cisco import config_validation as xr

    def check(root):
        for interface in root.get_list("/ifmgr-cfg:interface-configurations/interface-configuration"):
            if interface.get_node("description") is None:
                xr.add_error(interface, "an interface needs a description")

    xr.register_validate_callback(["/ifmgr-cfg:interface-configurations/*"], check)

A module is named by its prefix, or by its name with or without `Cisco-IOS-XR-`; a step without one is of its parent's
module. Callbacks are called at every commit that changes something at, below or above a registered path, and when the
script is switched on. What one callback sets all later ones see; a commit that was amended is looked at once more.

Secrets are not shown. Access rules, accounts, keys and the checksums of scripts cannot be set.
"""

from procyon_judge import judge, remark

__all__ = [
    "BadDatatype",
    "DataNode",
    "ErrListKey",
    "ErrVirtLeaf",
    "Error",
    "ExpiredNode",
    "InvalidAPICall",
    "InvalidArg",
    "InvalidNodeKind",
    "InvalidPath",
    "PathNotFound",
    "RootDataNode",
    "UnexpectedError",
    "add_error",
    "add_warning",
    "register_validate_callback",
]


class Error(Exception):
    """What the functions of this module raise."""


class UnexpectedError(Error):
    """Something else went wrong."""

    def __init__(self, errno, err_msg=""):
        Error.__init__(self, errno, err_msg)
        self.errno = errno
        self.err_msg = err_msg


class PathNotFound(Error):
    """There is no node of that path."""

    def __init__(self, path):
        Error.__init__(self, path)
        self.path = path


class InvalidNodeKind(Error):
    """The node is of another kind than what was asked of it."""


class ExpiredNode(Error):
    """The node is of an earlier commit, or was deleted."""


class InvalidArg(Error):
    """An argument of another type."""


class BadDatatype(Error):
    """The value does not fit the node."""


class InvalidPath(Error):
    """The path is none, or names what is not in the schema."""


class ErrListKey(Error):
    """Keys that the list does not have, or not all that it has."""


class ErrVirtLeaf(Error):
    """The leaf cannot be set."""


class InvalidAPICall(Error):
    """Not now, or not from here."""


judge.exceptions.update(
    {
        each.__name__: each
        for each in (BadDatatype, ErrListKey, InvalidAPICall, InvalidNodeKind, InvalidPath, UnexpectedError)
    }
)


class DataNode(object):
    """One node of the configuration.

    path    the path of the node with all keys
    name    the name of the node
    value   of a leaf: an int, bool, float or str; None of what is no leaf
    """

    def __init__(self, path, name, value, look):
        self.path = path
        self.name = name
        self._value = value
        self._look = look

    @property
    def value(self):
        return self._value

    def get_node(self, path):
        """The node at `path`, seen from here; None where there is none."""
        return _node_of(self._ask("get", path)["node"])

    def get_list(self, path):
        """The entries of the list or leaf-list at `path`, perhaps none."""
        return [_node_of(each) for each in self._ask("list", path)["nodes"]]

    def set_node(self, path, value=None):
        """Gives the leaf at `path` a value, or makes the node; `path` may be None, which means this node."""
        if path is None:
            return self.set(value)
        self._ask("set", path, value=_plain(value))
        return None

    def set(self, value):
        """Gives this leaf another value."""
        self._ask("set", "", value=_plain(value))
        self._value = value

    def delete_node(self, path=None):
        """Takes the node at `path`, or this one, out of the configuration."""
        self._ask("delete", "" if path is None else path)

    def _ask(self, word, path, **more):
        if not isinstance(path, str):
            raise InvalidArg("a path is a str, not {}".format(type(path).__name__))
        if self._look is not judge.errors:
            raise ExpiredNode("{} was seen in an earlier look; get it again".format(self.path or "/"))
        question = dict(more, path=path, base=self.path or None)
        return judge.ask({word: question})

    def __repr__(self):
        return "<{} {}>".format(type(self).__name__, self.path or "/")


class RootDataNode(DataNode):
    """The top of the configuration: paths from here begin with a module."""

    def __init__(self):
        DataNode.__init__(self, "", "", None, judge.errors)


judge.root = RootDataNode


def register_validate_callback(paths, callback):
    """Has `callback(root)` called at commits that change something around these schema paths (a str or a list)."""
    if isinstance(paths, str):
        paths = [paths]
    if not callable(callback):
        raise InvalidArg("the callback cannot be called")
    judge.register([str(path) for path in paths], callback)


def add_error(node, message):
    """Refuses the commit, with `message` at the node or at each of a list of nodes."""
    judge.errors.append(_remark(node, message))


def add_warning(node, message):
    """Tells `message` of the node, or of each of a list of nodes; the commit goes on."""
    judge.warnings.append(_remark(node, message))


def _remark(node, message):
    if not judge.is_looking:
        raise InvalidAPICall("errors and warnings are said in a callback")
    nodes = [] if node is None else [node] if isinstance(node, DataNode) else list(node)
    if not all(isinstance(each, DataNode) for each in nodes):
        raise InvalidArg("an error is about a DataNode, or a list of them")
    return remark([each.path for each in nodes if each.path], message)


def _node_of(seen):
    return None if seen is None else DataNode(seen["path"], seen["name"], seen["value"], judge.errors)


def _plain(value):
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise InvalidArg("a value is a str, int, float, bool or None, not {}".format(type(value).__name__))
