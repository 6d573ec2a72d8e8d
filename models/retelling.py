"""What records say in one language, told in Chinese: by the rule book, which knows what they mean.

Whatever it has no words for is not told again (None): then what was said stands.
"""

import re

import msgspec

from models.explaining import told_again
from models.rulebook import RuleBook
from models.rules import Rule, SegmentEntered, SegmentLeft
from models.triggers import Reason
from models.whys import in_language

_NO_LONGER = "no longer: "
_NAME = re.compile(r"(?<![\w.])[a-z][a-z0-9_]*(?![\w.])")


class Retelling:
    """Tells in Chinese what was decided, why a stage was entered, and why a trigger was raised.

    The last is said in the member's language, and told in English, too.
    """

    def __init__(self, book: RuleBook) -> None:
        words = book.chinese
        self._rules = book.rules
        self._titles = {name: called.title for name, called in words.rules.items()}
        self._segments = {name: called.title for name, called in words.segments.items()}
        self._reasons = words.reasons | {
            one.about: words.segments[one.name].about
            for one in book.audiences.segments
            if one.name in words.segments
        }

    def why(self, why: str, rule: str) -> str | None:
        """Return why something was decided about a rule, or taken back."""
        told = in_language(why, self._rules.get(rule), True)
        if told == why:
            return None
        return _NAME.sub(lambda found: self._titles.get(found[0], found[0]), told)

    def move(self, why: str) -> str | None:
        """Return why a stage or a band was entered, or a segment entered or left."""
        if why.startswith(_NO_LONGER):
            told = self._reasons.get(why.removeprefix(_NO_LONGER))
            return None if told is None else f"不再符合:{told}"
        return self._reasons.get(why)

    def trigger(
        self, rule: str, version: int, due: int, occasion: str, reason: Reason
    ) -> tuple[str, str | None]:
        """Return why a trigger was raised, in English and in Chinese.

        Of another version of its rule it is what was said, in whatever language, and None.
        """
        known = self._rules.get(rule)
        if known is None or known.version != version:
            return reason.text, None
        key = _key(known, occasion, reason)
        chinese = told_again(known, due, key, reason, "zh")
        english = reason.text
        if english == chinese:
            english = told_again(known, due, key, reason, "en")
        match known.when:
            case SegmentEntered(segment=name) | SegmentLeft(segment=name):
                chinese = chinese.replace(f" {name} ", self._segments.get(name, f" {name} "))
        return english, chinese


def _key(rule: Rule, occasion: str, reason: Reason) -> str:
    """Return the value that ties the events of a trigger together, as far as it says so."""
    same = getattr(rule.when, "same", None)
    if same is None:
        return reason.offer_id or ""
    if occasion.startswith(f"{same}="):
        return occasion.removeprefix(f"{same}=").partition("|")[0]
    said = [msgspec.structs.asdict(one).get(same) for one in reason.evidence]
    return next((value for value in said if isinstance(value, str)), "")
