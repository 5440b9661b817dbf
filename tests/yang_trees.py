#!/usr/bin/env python3
"""Compares our standard modules with the ones that the pyang package ships, statement by statement.

Needs only `pyang` (pip install pyang). Prose (descriptions, references, contacts) and the order of meta statements do
not count; names, types, constraints, defaults, features, order of data nodes and revisions do. Every other module of
ours must pass pyang without an error. Exits 1 on a difference and names it.
"""

import pathlib
import sys

from pyang import context, repository

HERE = pathlib.Path(__file__).resolve().parent.parent / "yang"
STANDARD = [
    "ietf-alarms",
    "iana-crypt-hash",
    "ietf-netconf",
    "ietf-netconf-acm",
    "ietf-netconf-monitoring",
    "ietf-netconf-notifications",
    "ietf-netconf-with-defaults",
    "ietf-system",
    "ietf-x509-cert-to-name",
]
PROSE = {"description", "reference", "organization", "contact", "_comment"}
# Statements whose order carries meaning: where data nodes stand among their siblings.
ORDERED = {"leaf", "leaf-list", "list", "container", "choice", "case", "anyxml", "anydata", "uses", "enum", "bit", "type"}
# RFC 7950: absent and written-out defaults mean the same.
IMPLIED = {("config", "true"), ("mandatory", "false"), ("status", "current"), ("yang-version", "1"),
           ("ordered-by", "system"), ("yin-element", "false"), ("min-elements", "0"), ("max-elements", "unbounded")}


def standard_folder():
    found = [pathlib.Path(folder) for folder in repository.FileRepository("", use_env=True).dirs]
    found += [pathlib.Path(sys.prefix) / "share" / "yang" / "modules"]
    for folder in found:
        if (folder / "ietf" / "ietf-netconf.yang").exists():
            return folder
    sys.exit("yang_trees: the modules that pyang ships were not found; install it with `pip install pyang`")


def argument(statement):
    text = statement.arg
    if text is not None and statement.keyword in ("must", "when", "path"):
        text = " ".join(text.split())
    return text


def shape(statement):
    """The statement as (keyword, argument, unordered children, ordered children)."""
    loose, kept = [], []
    for child in statement.substmts:
        keyword = child.keyword if isinstance(child.keyword, str) else ":".join(child.keyword)
        if keyword in PROSE or (keyword, child.arg) in IMPLIED:
            continue
        (kept if keyword in ORDERED else loose).append(shape(child))
    keyword = statement.keyword if isinstance(statement.keyword, str) else ":".join(statement.keyword)
    return (keyword, argument(statement), sorted(loose, key=repr), kept)


def differences(ours, theirs, path):
    if ours[:2] != theirs[:2]:
        yield f"{path}: ours is {ours[0]} {ours[1]!r}, the standard has {theirs[0]} {theirs[1]!r}"
        return
    here = f"{path}/{ours[1] or ours[0]}"
    for mine, other in ((ours[2], theirs[2]), (ours[3], theirs[3])):
        names = lambda side: [(item[0], item[1]) for item in side]
        if names(mine) != names(other):
            missing = [item for item in names(other) if item not in names(mine)]
            extra = [item for item in names(mine) if item not in names(other)]
            yield f"{here}: missing {missing}, extra {extra}" if missing or extra else f"{here}: another order"
            continue
        for left, right in zip(mine, other):
            yield from differences(left, right, here)


def load(path, folders):
    ctx = context.Context(repository.FileRepository(":".join(str(folder) for folder in folders), use_env=False))
    module = ctx.add_module(str(path), path.read_text(encoding="utf-8"))
    ctx.validate()
    errors = [f"{position.ref}:{position.line}: {code} {arguments}" for position, code, arguments in ctx.errors
              if code not in ("UNUSED_IMPORT",)]
    return module, errors


def main():
    standard = standard_folder()
    findings = []
    compared = set()
    for path in sorted(HERE.glob("*.yang")):
        module, errors = load(path, [HERE, standard])
        findings += errors
        name, _, revision = path.stem.partition("@")
        if module is None:
            continue
        if module.arg != name or module.search_one("revision").arg != revision:
            findings.append(f"{path.name}: holds {module.arg} at another revision")
        if name not in STANDARD:
            continue
        folder = "iana" if name.startswith("iana") else "ietf"
        theirs, _ = load(standard / folder / f"{name}.yang", [standard])
        if theirs.search_one("revision").arg != revision:
            findings.append(f"{name}: pyang ships revision {theirs.search_one('revision').arg}, ours is {revision}")
            continue
        findings += differences(shape(module), shape(theirs), "")
        compared.add(name)
    findings += [f"{name}: not compared" for name in STANDARD if name not in compared]
    for finding in findings:
        print(finding)
    print(f"{len(compared)} standard modules compared, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
