"""What is asked about all members together: stages, rules, the model, and one picture of it all."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from aiohttp import web

from app.redis_client import StoreUnavailable
from app.web import replying, shapes
from app.web.ports import Sources
from app.web.replying import Unknown
from models.model import Model, Quality
from models.rules import Rule
from models.stages import STAGES
from models.times import DAY, rfc3339
from models.wording import described, stage_in_words

DAYS = 14
"""Days of a rule that are told."""

RuleCounts = Mapping[str, Mapping[str, Mapping[str, int]]]


class Figures:
    """Puts the figures together; ``stream`` sends the same as ``FigurePages`` answers."""

    def __init__(self, sources: Sources) -> None:
        self._of = sources
        self._words = {
            rule.name: shapes.Words(described(rule, chinese=False), described(rule, chinese=True))
            for rule in sources.book.rules.values()
        }

    async def stages(self) -> shapes.Stages:
        """Return where members are and where they go; raises ``StoreUnavailable``."""
        counts, flows = await self._of.observed.stages(), await self._of.observed.flows()
        return shapes.Stages(stage_counts(counts), msgspec.convert(flows, list[shapes.Flow]))

    async def rules(self) -> list[shapes.RuleRow]:
        """Return the rules with their days; raises ``StoreUnavailable``."""
        return self.rule_rows(await self._of.observed.rule_counts(DAYS))

    def rule_rows(self, counts: RuleCounts | None) -> list[shapes.RuleRow]:
        """Return the rules; without counts nothing is told of their days."""
        today = rfc3339(self._of.now())[:10]
        breakers = self._of.breakers()
        return [
            self._rule_row(rule, None if counts is None else counts.get(name, {}), today, breakers)
            for name, rule in sorted(self._of.book.rules.items())
        ]

    def _rule_row(
        self,
        rule: Rule,
        by_day: Mapping[str, Mapping[str, int]] | None,
        today: str,
        breakers: Mapping[str, bool],
    ) -> shapes.RuleRow:
        days = [_day(day, counts) for day, counts in sorted((by_day or {}).items())]
        of_today = None if by_day is None else _day(today, by_day.get(today, {}))
        return shapes.RuleRow(
            rule=rule.name,
            about=rule.about,
            words=self._words[rule.name],
            chinese=self._of.book.chinese.rules.get(rule.name),
            mode=rule.mode,
            group=rule.group,
            priority=rule.priority,
            purpose=rule.purpose,
            today=of_today,
            days=days,
            breaker_open=breakers.get(rule.name, False),
        )

    def model(self) -> shapes.ModelRow | None:
        """Return the newest model's figures."""
        model = self._of.model()
        return None if model is None else model_row(model, self._of.drift())

    async def live(self) -> shapes.Live:
        """Return one picture; what Redis knows is left out when it is away."""
        observed = self._of.observed
        redis: Literal["up", "away"] = "up"
        try:
            counters = await self.totals()
            stages = await self.stages()
            feed: list[Any] = [
                {**entry, "id": name} for name, entry in await observed.feed(None, shapes.NEWS)
            ]
            rules = await self.rules()
        except StoreUnavailable:
            counters, stages, feed = shapes.Totals(), shapes.Stages([], []), []
            rules, redis = self.rule_rows(None), "away"
        return shapes.Live(
            now=rfc3339(self._of.now()),
            redis=redis,
            counters=counters,
            stages=stages.stages,
            flows=stages.flows,
            feed=feed,
            rules=rules,
            names=shapes.Names(self._of.book.chinese.segments, self._of.book.chinese.tags),
            model=self.model(),
        )

    async def totals(self) -> shapes.Totals:
        """Return what has been counted; raises ``StoreUnavailable``."""
        totals = await self._of.observed.totals()
        return shapes.Totals(
            events=totals.get("events", 0),
            triggers=totals.get("triggers", 0),
            cancelled=totals.get("cancelled", 0),
            members=totals.get("members", 0),
        )


class FigurePages:
    """Answers about all members together, and about the worker."""

    def __init__(self, sources: Sources, figures: Figures) -> None:
        self._of = sources
        self._figures = figures

    async def healthz(self, _: web.Request, __: shapes.NoQuery) -> web.StreamResponse:
        """Answer that the loop turns."""
        return replying.reply(shapes.Status("ok"))

    async def readyz(self, _: web.Request, __: shapes.NoQuery) -> web.StreamResponse:
        """Answer whether the lanes work."""
        health = self._of.health()
        if health.ready:
            return replying.reply(shapes.Status("ready"))
        reason = "; ".join(health.waiting_for)
        return replying.reply(shapes.NotReady("not_ready", reason, health.waiting_for), 503)

    async def metrics(self, request: web.Request, _: shapes.NoQuery) -> web.StreamResponse:
        """Answer Prometheus."""
        body, content_type = self._of.metrics(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def stages(self, _: web.Request, __: shapes.NoQuery) -> web.StreamResponse:
        """Answer where members are."""
        return replying.reply(await self._figures.stages())

    async def lifecycle(self, _: web.Request, __: shapes.NoQuery) -> web.StreamResponse:
        """Answer the lifecycle metrics."""
        report = self._of.report()
        return replying.reply(await self._of.observed.lifecycle() if report is None else report)

    async def rules(self, _: web.Request, __: shapes.NoQuery) -> web.StreamResponse:
        """Answer the rules."""
        return replying.reply(await self._figures.rules())

    async def model(self, _: web.Request, __: shapes.NoQuery) -> web.StreamResponse:
        """Answer how good the model is."""
        found = self._figures.model()
        if found is None:
            raise Unknown("no_model", "there is no churn model yet, or predictions are off")
        return replying.reply(found)

    async def live(self, _: web.Request, __: shapes.NoQuery) -> web.StreamResponse:
        """Answer one picture."""
        return replying.reply(await self._figures.live())


def stage_counts(counts: Mapping[str, int]) -> list[shapes.StageCount]:
    """Return every stage in its order, with words."""
    return [
        shapes.StageCount(
            stage,
            counts.get(stage, 0),
            shapes.Words(stage_in_words(stage, False), stage_in_words(stage, True)),
        )
        for stage in STAGES
    ]


def is_trusted(model: Model) -> bool:
    """Tell whether anything says how good the model is; before, its scores mean little."""
    return model.figures.active.auc is not None


def model_row(model: Model, drift: bool) -> shapes.ModelRow:
    """Return what is told of a model."""
    active = model.figures.active
    return shapes.ModelRow(
        version=model.version,
        valid_from=_date(model.valid_from),
        learned=model.figures.learned[0],
        trusted=is_trusted(model),
        labels=active.labels,
        auc=active.auc,
        ece=active.ece,
        log_loss=active.log_loss,
        drift=drift,
        active=_quality(active),
        everyone=_quality(model.figures.everyone),
        decisions=[shapes.Decided(_date(one.day), one.kind, one.about) for one in model.decisions],
    )


def _quality(said: Quality) -> shapes.QualityRow:
    return shapes.QualityRow(
        said.labels, said.churned, said.predicted, said.auc, said.ece, said.log_loss
    )


def _date(day: int) -> str:
    return rfc3339(day * DAY)[:10]


def _day(day: str, counts: Mapping[str, int]) -> shapes.DayCounts:
    return shapes.DayCounts(
        day,
        counts.get("triggers", 0),
        counts.get("held_back", 0),
        counts.get("cancelled", 0),
        counts.get("settled", 0),
    )
