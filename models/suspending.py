"""Whether a rule has to wait for something that is no member's doing."""

from models.closures import SilentFeed
from models.outcome import Context
from models.policy import Override
from models.rules import Rule
from models.times import rfc3339


def suspended(rule: Rule, at: int, context: Context) -> str | None:
    """Return why a rule's candidates wait at an instant, in words; None when they need not.

    An operator's word about the rule goes before everything else; what silent feeds and the
    breaker say comes after a word about feeds, and after one about everything. Of words about the
    same a hold goes before a release, in whatever order they are written.
    """
    book, closed = context.book, context.closed
    if not (book.policy.overrides or closed.rules or closed.feeds):
        return None
    awaited = book.awaited[rule.name]
    words = [word for word in book.policy.overrides if word.since <= at < word.until]
    of_rule = [word for word in words if word.rule == rule.name]
    if of_rule:
        return next((_said(word) for word in of_rule if word.then == "hold"), None)
    for word in words:
        if word.then == "hold" and (word.everything or word.type in awaited):
            return _said(word)
    if any(word.everything for word in words):
        return None
    run_away = closed.rules.get(rule.name)
    if run_away is not None:
        return run_away
    for kind in sorted(closed.feeds.keys() & awaited):
        for feed in closed.feeds[kind]:
            if not any(_is_about(word, feed) for word in words):
                return feed.why
    return None


def _is_about(word: Override, feed: SilentFeed) -> bool:
    return word.type == feed.type and word.source in (None, feed.source)


def _said(word: Override) -> str:
    return f"held until {rfc3339(word.until)} by {word.by}: {word.reason}"
