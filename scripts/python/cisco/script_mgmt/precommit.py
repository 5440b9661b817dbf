"""What precommit scripts look at: what a commit would change, and nothing else of the configuration.

    from cisco.script_mgmt import precommit

    for line in precommit.get_target_configs():
        if line.startswith("router bgp"):
            precommit.config_error("no BGP here")

The whole script is run at every commit, in the order of priorities. An error refuses the commit, a warning is told. A
script that ends with another status than 0, or by an exception, refuses the commit.
"""

from procyon_judge import judge, remark

__all__ = ["ConfigItem", "config_error", "config_warning", "get_target_configs"]


class ConfigItem(object):
    """One change: the name of the item as a path, and `value`, the kind of the value and the value."""

    def __init__(self, name, value):
        self.name = name
        self.value = value

    def __repr__(self):
        return "<ConfigItem {} {!r}>".format(self.name, self.value)


def get_target_configs(format="cli"):
    """The changes of this commit: lines of configuration, or with `format="sysdb"` items with a name and a value."""
    word = str(format).lower()
    if word not in ("cli", "sysdb"):
        raise ValueError("format is 'cli' or 'sysdb', not {!r}".format(format))
    answer = judge.ask({"target": {"format": word}})
    if word == "cli":
        return answer["lines"]
    return [ConfigItem(item["name"], _typed(*item["value"])) for item in answer["items"]]


def config_error(message):
    """Refuses the commit."""
    _say(judge.errors, message)


def config_warning(message):
    """Tells the message; the commit goes on."""
    _say(judge.warnings, message)


def _say(where, message):
    if not judge.is_looking:
        raise RuntimeError("this script is not run for a commit: configure `script precommit NAME activate`")
    where.append(remark([], message))


def _typed(kind, value):
    return (kind, int(value) if kind == "uint" else value)
