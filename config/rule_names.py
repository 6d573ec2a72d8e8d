"""What the rules of a folder name, broken files included: what the policy may speak about."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from config.rule_files import rule_paths
from config.yaml_source import Node, parse_file
from models.rules import Rule


class RuleNames(msgspec.Struct, frozen=True):
    """Names of rules, the groups that they are in, and the channels of those that choose theirs."""

    rules: frozenset[str]
    groups: frozenset[str]
    channels: frozenset[str]


def rule_names(directory: Path, right: Iterable[Rule]) -> RuleNames:
    """Return the names in a folder; of files that are no ``right`` rule what can be read of them.

    Who is told of a broken rule is not told too that the policy speaks of one that is not there.
    """
    rules: set[str] = set()
    groups: set[str] = set()
    channels: set[str] = set()
    for rule in right:
        rules.add(rule.name)
        groups |= {rule.group} if rule.group is not None else set()
        channels |= {*rule.channels}
    for path in rule_paths(directory):
        if path.stem not in rules:
            rules.add(path.stem)
            root, _ = parse_file(path)
            groups |= _texts(root, "group")
            channels |= _texts(root, "channels")
    return RuleNames(frozenset(rules), frozenset(groups), frozenset(channels))


def _texts(root: Node | None, key: str) -> set[str]:
    fields = root.value if root is not None and isinstance(root.value, dict) else {}
    node = fields.get(key)
    nodes = node.value if node is not None and isinstance(node.value, list) else [node]
    return {one.value for one in nodes if one is not None and isinstance(one.value, str)}
