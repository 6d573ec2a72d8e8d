"""The trainer: a pure function from the log of questions and purchases to a model for each day.

Days are closed one after the other. Closing day d learns what is due on it, members in the order of
their numbers: questions of d - 7 for the weekly twins, of d - horizon for the direct ones, with the
vector of the day of the question; never earlier, whatever is known. So it does not matter in which
order messages came, nor who read them.

A restart takes the checkpoint of some day and reads the log again from ``oldest`` on: what belongs
to days that are closed fills the open questions again, and teaches nothing a second time.
"""

from collections.abc import Iterator
from copy import deepcopy

import msgspec
import numpy as np

from models.asking import Bought, Example, Question
from models.blending import BlendState
from models.btyd import BgNbd
from models.btyd_fit import fit_bgnbd
from models.checkpoint import Checkpoint, Sums, TwinState
from models.churn import WEEK, Blend, Churn, Opinions, Scorer
from models.drift import REGULAR, SELDOM_AWAY, Drift
from models.features import OF_CHURN, ROLLING, SCHEMA, Population, features
from models.learning import ADAPTIVE, NEWTON, STEADY, Learner
from models.leveling import Level, steps_to
from models.logistic import Logistic, log_odds
from models.model import Decision, Figures, Model
from models.next_order_training import NextOrderTrainer
from models.predictions import HORIZON, LONGEST, SHORTEST
from models.quality import Tally, log_loss
from models.value_training import ValueTrainer

# A twin speaks once it has learned so many labels (Newton's steps need fewer than plain ones), and
# over those of about the last week lost no more than this multiple of what BG/NBD lost.
LEAST_LABELS = {NEWTON: 400, STEADY: 1000, ADAPTIVE: 1000}
_NO_WORSE = 1.2
_TRIAL_KEEP = 0.5 ** (1 / 7)
# BG/NBD is fitted on the last day of epoch weeks.
_FIT_DAY = 6
# A shadow takes over when it lost so much less a label, over no fewer days than these.
_MARGIN = 0.002
_LEAST_DAYS = 56
_KEEP = 0.5 ** (1 / 60)
# What counts after an alarm: mostly what knows the last weeks. (Alone it would follow the season.)
_AFTER_ALARM = Blend(0.15, 0.85, 0.0)


class Twin:
    """The learner that decides and the one that only answers along, on the same labels.

    What is usual is the same for both, and learned once.
    ``trusted``: the champion has been not much worse than BG/NBD over a good many labels. Before
    that it learns and says nothing.
    """

    def __init__(self, champion: Learner, shadow: Learner) -> None:
        self.champion = champion
        self.shadow = shadow
        shadow.share_scale(champion)
        self.trusted = False
        self._lost = [0.0, 0.0]
        self._compared = 0.0
        self._days = 0
        self._trial = [0.0, 0.0, 0.0]

    def learn(self, x: tuple[float, ...], churned: bool, anchor: float) -> None:
        """Answer, then learn one label; ``anchor`` is what BG/NBD answers."""
        row = self.champion.row(x)
        asked = self.champion.scaled(row)
        self.champion.learn_scale(row)
        taught = self.champion.scaled(row)
        for index, learner in enumerate((self.champion, self.shadow)):
            loss = log_loss(learner.probability(asked), churned)
            learner.learn_scaled(taught, churned)
            if self.trusted:
                self._lost[index] += loss
            elif index == 0:
                self._trial[0] += loss
        if self.trusted:
            self._compared += 1.0
        else:
            self._trial[1] += log_loss(anchor, churned)
            self._trial[2] += 1.0

    def close(self) -> str | None:
        """End a day; return what it decided: ``trusted``, ``promoted`` or nothing."""
        if not self.trusted:
            mine, anchor, labels = self._trial
            enough = LEAST_LABELS[self.champion.kind]
            self.trusted = self.champion.labels >= enough and mine <= anchor * _NO_WORSE
            if labels:
                self._trial = [lost * _TRIAL_KEEP for lost in self._trial]
            return "trusted" if self.trusted else None
        self._days += 1
        champion, shadow = self._lost
        if self._days >= _LEAST_DAYS and champion - shadow > _MARGIN * self._compared:
            self.champion, self.shadow = self.shadow, self.champion
            self._lost = [0.0, 0.0]
            self._compared = 0.0
            self._days = 0
            return "promoted"
        self._lost = [lost * _KEEP for lost in self._lost]
        self._compared *= _KEEP
        return None

    def snapshot(self) -> Logistic | None:
        """Return what the champion says; None while it is not trusted."""
        return self.champion.snapshot() if self.trusted else None

    @property
    def state(self) -> TwinState:
        """Return what it takes to go on."""
        first, second = self._lost
        mine, anchor, labels = self._trial
        return TwinState(
            champion=self.champion.state(),
            shadow=self.shadow.state(),
            lost=(first, second),
            compared=self._compared,
            days=self._days,
            trial=(mine, anchor, labels),
            trusted=self.trusted,
        )

    @classmethod
    def restored(cls, state: TwinState) -> "Twin":
        """Return the twin that goes on where ``state`` was."""
        twin = cls(Learner.restored(state.champion), Learner.restored(state.shadow))
        twin._lost = list(state.lost)
        twin._compared = state.compared
        twin._days = state.days
        twin._trial = list(state.trial)
        twin.trusted = state.trusted
        return twin


class Trainer:
    """Learns from one shop's log. Give it messages, close days; the same log, the same models."""

    def __init__(self, horizon: int = HORIZON, margin: float = 1.0) -> None:
        if not SHORTEST <= horizon <= LONGEST:
            raise ValueError(f"a horizon has {SHORTEST} to {LONGEST} days, not {horizon}")
        self.horizon = horizon
        # The last day that is closed; None before the first.
        self.closed: int | None = None
        # The answers that the last close learned from.
        self.examples: list[Example] = []
        self._sums = Sums()
        self._population = self._sums.population()
        self._populations: dict[int, Population] = {}
        # What is known of a member goes together in many ways; a week's labels follow changes.
        self._direct = Twin(Learner(NEWTON, OF_CHURN), Learner(STEADY, OF_CHURN))
        self._weekly = Twin(Learner(STEADY, ROLLING), Learner(ADAPTIVE, ROLLING))
        self._bgnbd: BgNbd | None = None
        self._blend = BlendState()
        self._level = Level()
        self._steps = steps_to(horizon)
        self._drift = Drift()
        self._active = Tally()
        self._everyone = Tally()
        # Questions by day, as bytes: they are many, and wait for long.
        self._questions: dict[int, list[bytes]] = {}
        # Purchases of days that are not closed; each member's last one, as far as it matters.
        self._bought: dict[int, list[Bought]] = {}
        self._last: dict[int, int] = {}
        self._buyers: dict[int, list[int]] = {}
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Question)
        self._residual: float | None = None
        self._value = ValueTrainer(margin)
        self._next_order = NextOrderTrainer()
        self._scorer = Scorer(self._churn())

    @property
    def oldest(self) -> int | None:
        """The oldest day whose messages a restart from this state needs; None before the first."""
        if self.closed is None:
            return None
        days = (self._first_open(self.closed), self._value.oldest, self._next_order.oldest)
        return min(day for day in days if day is not None)

    def _first_open(self, day: int) -> int:
        """Return the first day whose questions matter after ``day`` is closed."""
        return day - max(self.horizon, WEEK) + 1

    def bought(self, bought: Bought) -> None:
        """Take note of a purchase; a refund (below 0 cents) tells nothing of who comes back.

        One of a day that is closed answers the questions that are still open, and no more.
        """
        self._value.bought(bought)
        self._next_order.bought(bought)
        if bought.cents < 0:
            return
        if self.closed is None or bought.day > self.closed:
            self._bought.setdefault(bought.day, []).append(bought)
        else:
            self._came(bought.member, bought.day)

    def asked(self, question: Question) -> None:
        """Take note of a question; its answers are due 7 days and the horizon after its day."""
        self._questions.setdefault(question.day, []).append(self._encoder.encode(question))
        population = self._populations.get(question.day)
        if population is not None:
            self._tell(question, population)

    def close(self, day: int) -> Model:
        """Learn what is due at the end of ``day``, the one after the last; return the next model.

        Everything of the day must have been said; what was said of days before the first one is
        taken in its turn. Raises ``ValueError`` for a day out of turn.
        """
        if self.closed is None:
            for earlier in range(min((day, *self._bought, *self._questions)), day):
                self._close(earlier)
        elif day != self.closed + 1:
            raise ValueError(f"day {day} does not follow {self.closed}")
        return self._close(day)

    def _close(self, day: int) -> Model:
        self.closed = day
        self.examples = []
        self._populations[day] = self._population
        gaps = [bought.gap for bought in self._take(day) if bought.gap > 0]
        self._level.fade()
        for question, _ in self._answers(day):
            self._tell(question, self._population)
            self._compare(question)
        self._look_back(day)
        decisions = [*self._learn_week(day), *self._learn_horizon(day)]
        self._level.claim(day + 1, len(self._steps))
        for gap in gaps:
            self._sums.add_gap(gap)
        self._population = self._sums.population()
        if day % WEEK == _FIT_DAY:
            self._fit(day)
        self._forget(day)
        churn = self._churn()
        self._scorer = Scorer(churn)
        return Model(
            version=day + 1,
            valid_from=day + 1,
            schema=SCHEMA,
            churn=churn,
            value=self._value.close(day, self._bgnbd),
            next_order=self._next_order.close(day),
            figures=self._figures(),
            decisions=tuple(decisions),
            champions=(self._direct.champion.kind, self._weekly.champion.kind),
        )

    def _tell(self, question: Question, population: Population) -> None:
        self._value.asked(question, features(question.rhythm, question.day, population))
        self._next_order.asked(question, population)

    def _take(self, day: int) -> list[Bought]:
        taken: list[Bought] = []
        for due in sorted(known for known in self._bought if known <= day):
            for bought in self._bought.pop(due):
                self._came(bought.member, bought.day)
                taken.append(bought)
        return taken

    def _came(self, member: int, day: int) -> None:
        if day > self._last.get(member, day - 1):
            self._last[member] = day
            self._buyers.setdefault(day, []).append(member)

    def _answers(self, asked_on: int) -> Iterator[tuple[Question, bool]]:
        """Yield a day's questions in order of members, each with whether nothing was bought."""
        questions = [self._decoder.decode(raw) for raw in self._questions.get(asked_on, ())]
        questions.sort(key=lambda question: question.member)
        for question in questions:
            yield question, self._last.get(question.member, asked_on) <= asked_on

    def _learn_week(self, day: int) -> list[Decision]:
        asked_on = day - WEEK
        residuals: list[tuple[float, float]] = []
        for question, stayed_away in self._answers(asked_on):
            x = features(question.rhythm, asked_on, self._populations[asked_on])
            self._weekly.learn(x, stayed_away, self._anchor(question, WEEK))
            self._example(question, WEEK, question.p_week, stayed_away)
            if question.p_week is not None:
                residuals.append((question.p_week, stayed_away - question.p_week))
        answers = len(residuals)
        self._residual = sum(off for _, off in residuals) / answers if answers else None
        residuals.sort()
        regulars = [each for each in residuals[: answers // REGULAR] if each[0] < SELDOM_AWAY]
        return self._watch(day, regulars) + _decided(day, "weekly", self._weekly)

    def _compare(self, question: Question) -> None:
        """Note what the blend says of the level of active members."""
        if self._was_active(question):
            blended = self._scorer.unshifted(self._scorer.opinions(question.rhythm, question.day))
            if blended is not None:
                self._level.compare(blended)

    def _look_back(self, day: int) -> None:
        """Count who of the active members asked so many weeks ago has stayed away until now."""
        for step, days in enumerate(self._steps):
            asked_on = day - days
            away = [
                stayed_away
                for question, stayed_away in self._answers(asked_on)
                if self._was_active(question)
            ]
            self._level.look(step, asked_on, sum(away), len(away))

    def _was_active(self, question: Question) -> bool:
        return question.day - question.rhythm.last_day < self.horizon

    def _watch(self, day: int, regulars: list[tuple[float, float]]) -> list[Decision]:
        """Look for drift, once all parts count; before, models change more than members do."""
        if not regulars or not self._direct.trusted:
            return []
        if self._drift.add(day, regulars):
            off = sum(each for _, each in regulars) / len(regulars)
            about = f"of regular members {off:+.3f} more stayed away for a week than predicted"
            return [Decision(day, "drift", about)]
        if self._drift.settles(day):
            return [Decision(day, "settled", "labels of the horizon have caught up")]
        return []

    def _learn_horizon(self, day: int) -> list[Decision]:
        asked_on = day - self.horizon
        self._blend.fade()
        self._active.fade()
        self._everyone.fade()
        for question, churned in self._answers(asked_on):
            rhythm = question.rhythm
            population = self._populations[asked_on]
            self._blend.add(self._scorer.opinions(rhythm, asked_on), churned)
            anchor = self._anchor(question, self.horizon)
            self._direct.learn(features(rhythm, asked_on, population), churned, anchor)
            self._example(question, self.horizon, question.p, churned)
            self._sums.labels += 1
            self._sums.churned += churned
            if question.p is not None:
                self._everyone.add(question.p, churned)
                if self._was_active(question):
                    self._active.add(question.p, churned)
                    self._level.answer(question.version, log_odds(question.p), churned)
        return _decided(day, "direct", self._direct)

    def _anchor(self, question: Question, days: int) -> float:
        """Return the probability that BG/NBD has for a question; the base's before it is fitted."""
        if self._bgnbd is None:
            return self._population.base
        rhythm = question.rhythm
        age = question.day - rhythm.first_day
        return self._bgnbd.p_no_order(rhythm.gaps, rhythm.span, age, days)

    def _example(self, question: Question, days: int, p: float | None, churned: bool) -> None:
        self.examples.append(Example(question.member, question.day, days, p, churned))

    def _fit(self, day: int) -> None:
        """Fit BG/NBD on everybody: each member was asked on one of the last seven days."""
        seen: list[tuple[int, int, int, int]] = []
        for asked_on in range(day - WEEK + 1, day + 1):
            for raw in self._questions.get(asked_on, ()):
                question = self._decoder.decode(raw)
                rhythm = question.rhythm
                age = asked_on - rhythm.first_day
                seen.append((question.member, rhythm.gaps, rhythm.span, age))
        if not seen:
            return
        seen.sort()
        rows = np.array([row[1:] for row in seen], dtype=np.float64)
        fitted = fit_bgnbd(rows[:, 0], rows[:, 1], rows[:, 2], self._bgnbd)
        if fitted is not None:
            self._bgnbd = fitted[0]

    def _forget(self, day: int) -> None:
        """Drop what no open question needs."""
        first = self._first_open(day)
        for known in [known for known in self._questions if known < first]:
            del self._questions[known]
        self._level.forget(first)
        oldest = self.oldest
        assert oldest is not None
        for known in [known for known in self._populations if known < oldest]:
            del self._populations[known]
        for known in [known for known in self._buyers if known < first]:
            for member in self._buyers.pop(known):
                if self._last.get(member) == known:
                    del self._last[member]

    def _churn(self) -> Churn:
        return Churn(
            horizon=self.horizon,
            population=self._population,
            direct=self._direct.snapshot(),
            weekly=self._weekly.snapshot(),
            bgnbd=self._bgnbd,
            blend=_AFTER_ALARM if self._drift.adapting_until is not None else self._blend.blend(),
            shift=0.0 if self.closed is None else self._level.shift_of(self.closed + 1),
        )

    def _figures(self) -> Figures:
        answers = self._blend.answers
        names = Opinions._fields
        return Figures(
            active=self._active.quality(),
            everyone=self._everyone.quality(),
            opinions={
                name: lost / answers
                for name, lost in zip(names, self._blend.alone, strict=True)
                if answers
            },
            week_residual=self._residual,
            learned=(self._direct.champion.labels, self._weekly.champion.labels),
        )

    def checkpoint(self) -> Checkpoint:
        """Return all that a restart needs beside the log from ``oldest`` on."""
        return Checkpoint(
            closed=self.closed,
            horizon=self.horizon,
            schema=SCHEMA,
            sums=deepcopy(self._sums),
            populations=dict(self._populations),
            direct=self._direct.state,
            weekly=self._weekly.state,
            bgnbd=self._bgnbd,
            blend=deepcopy(self._blend),
            level=deepcopy(self._level),
            drift=self._drift.state,
            residual=self._residual,
            active=deepcopy(self._active),
            everyone=deepcopy(self._everyone),
            value=self._value.checkpoint(),
            next_order=self._next_order.checkpoint(),
        )

    @classmethod
    def restored(cls, checkpoint: Checkpoint) -> "Trainer":
        """Return the trainer that goes on, to the bit, once the log was read from ``oldest`` on.

        Raises ``ValueError`` for a checkpoint of other features: there is nothing to go on from.
        """
        if checkpoint.schema != SCHEMA:
            raise ValueError(f"a checkpoint of other features ({checkpoint.schema}, not {SCHEMA})")
        trainer = cls(checkpoint.horizon)
        trainer.closed = checkpoint.closed
        trainer._sums = deepcopy(checkpoint.sums)
        trainer._population = trainer._sums.population()
        trainer._populations = dict(checkpoint.populations)
        trainer._direct = Twin.restored(checkpoint.direct)
        trainer._weekly = Twin.restored(checkpoint.weekly)
        trainer._bgnbd = checkpoint.bgnbd
        trainer._blend = deepcopy(checkpoint.blend)
        trainer._level = deepcopy(checkpoint.level)
        trainer._drift = Drift(checkpoint.drift)
        trainer._residual = checkpoint.residual
        trainer._active = deepcopy(checkpoint.active)
        trainer._everyone = deepcopy(checkpoint.everyone)
        trainer._value = ValueTrainer.restored(checkpoint.value)
        trainer._next_order = NextOrderTrainer.restored(checkpoint.next_order)
        trainer._scorer = Scorer(trainer._churn())
        return trainer


def _decided(day: int, name: str, twin: Twin) -> list[Decision]:
    kind = twin.close()
    if kind is None:
        return []
    about = {
        "trusted": f"the {name} twin has learned enough and is not far behind BG/NBD",
        "promoted": f"{twin.champion.kind} leads the {name} twin: {twin.shadow.kind} lost more",
    }
    return [Decision(day, kind, about[kind])]
