"""One learner of labels of the horizon, and ways of doing it wrong."""

from collections import defaultdict
from collections.abc import Iterator
from random import Random

from msgspec import structs

from models.asking import Bought, Question
from models.churn import Blend, Churn
from models.features import OF_CHURN, Population, features
from models.learning import NEWTON, Learner
from models.model import Model
from models.training import Trainer

Labels = Iterator[tuple[Question, bool]]


class Plain:
    """Learns every label when it is due, in order of members; a ``models.course.Learner``."""

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon
        self.questions: defaultdict[int, list[Question]] = defaultdict(list)
        # The last purchase day of each member.
        self.last: dict[int, int] = {}
        self._learner = Learner(NEWTON, OF_CHURN)
        self._model = Trainer(horizon).close(0)

    def bought(self, bought: Bought) -> None:
        if bought.cents >= 0:
            self.last[bought.member] = bought.day

    def asked(self, question: Question) -> None:
        self.questions[question.day].append(question)

    def close(self, day: int) -> Model:
        for question, churned in self.labels(day):
            x = features(question.rhythm, question.day, Population())
            self._learner.learn(x, churned)
        churn = Churn(
            self.horizon, Population(), self._learner.snapshot(), None, None, Blend(1.0, 0.0, 0.0)
        )
        return structs.replace(self._model, version=day + 1, valid_from=day + 1, churn=churn)

    def labels(self, day: int) -> Labels:
        """What is learned on a day."""
        for question in sorted(self.questions[day - self.horizon], key=lambda one: one.member):
            yield question, self.last[question.member] <= question.day


class Early(Plain):
    """Learns that a member bought as soon as that is known, and the rest when it is due."""

    def __init__(self, horizon: int) -> None:
        super().__init__(horizon)
        self._told: set[tuple[int, int]] = set()

    def labels(self, day: int) -> Labels:
        for asked_on in range(day - self.horizon, day):
            for question in self.questions[asked_on]:
                churned = self.last[question.member] <= asked_on
                key = question.member, asked_on
                if key not in self._told and (not churned or asked_on == day - self.horizon):
                    self._told.add(key)
                    yield question, churned


class Shuffled(Plain):
    """Gives the answers of a day to the wrong members."""

    def __init__(self, horizon: int) -> None:
        super().__init__(horizon)
        self._chance = Random(5)

    def labels(self, day: int) -> Labels:
        answers = list(super().labels(day))
        mixed = [churned for _, churned in answers]
        self._chance.shuffle(mixed)
        for (question, _), churned in zip(answers, mixed, strict=True):
            yield question, churned
