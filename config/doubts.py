"""Names that look misspelt: of tiers, sources and channels, which any system may make more of."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from config.reading import suggestion
from models.audiences import Segment
from models.policy import Policy
from models.rules import Condition, IsIn, Reachable, Rule, TierEntered

# Nothing lists what names there are. These are usual ones: what is nearly one of them and is none
# is worth a look, and may well be meant.
_USUAL: dict[str, tuple[str, ...]] = {
    "tier": ("bronze", "silver", "gold", "platinum", "diamond"),
    "source": ("app", "web", "pos", "store", "crm", "douyin", "wechat", "tmall", "jd"),
    "channel": ("app_push", "sms", "email", "wechat"),
}


def doubtful_names(rules: Iterable[Rule], segments: Iterable[Segment], policy: Policy) -> list[str]:
    """Return a sentence for each name that is nearly a usual one."""
    said = [(f"rule {rule.name}", kind, name) for rule in rules for kind, name in _named(rule)]
    said += [(f"segment {one.name}", kind, name) for one in segments for kind, name in _named(one)]
    said += [("channels", "channel", name) for name in policy.channels]
    if policy.feeds is not None:
        said += [("feeds.delays", "source", name) for name in policy.feeds.delays]
    return [
        f"{where}: {name!r} is no usual {kind}{hint}"
        for where, kind, name in dict.fromkeys(said)
        if name not in _USUAL[kind] and (hint := suggestion(name, _USUAL[kind]))
    ]


def _named(part: Any) -> Iterator[tuple[str, str]]:
    """Yield each kind of name and name in a rule, a segment or a part of one."""
    match part:
        case Rule():
            yield from (("channel", name) for name in part.channels)
        case TierEntered(tier):
            yield "tier", tier
        case IsIn(what, names) if what in _USUAL:
            yield from ((what, name) for name in names)
        case Reachable(names):
            yield from (("channel", name) for name in names)
        case Condition(field, "in", values) if field in _USUAL:
            yield from ((field, str(value)) for value in values)
    if isinstance(part, msgspec.Struct):
        for name in part.__struct_fields__:
            yield from _named(getattr(part, name))
    elif isinstance(part, tuple):
        for one in part:
            yield from _named(one)
