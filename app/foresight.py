"""The worker's part in predictions: the models that it follows, and the trainer in it."""

from agents.lessons import Learner
from agents.model_follower import LearningConfig, ModelFollower
from agents.trainer import TrainerAgent
from app.kafka_security import for_aiokafka
from app.topology import output_topics
from config.settings import Settings
from models.checkpoint import Checkpoint
from models.known_models import KnownModels
from models.model import Model
from models.predictions import Predictions

PATIENCE_SECONDS = 0.25


class Foresight:
    """Started and stopped with the worker; ``live`` is False in stream time."""

    def __init__(self, settings: Settings, predictions: Predictions, *, live: bool) -> None:
        config = LearningConfig(
            broker=settings.broker,
            group=f"{settings.app_id}-trainer",
            questions=output_topics(settings).churn_questions,
            examples=settings.topic("churn-examples"),
            models=settings.topic("churn-model"),
            lanes=settings.partitions,
            session_timeout=settings.session_timeout_ms / 1000,
            patience=PATIENCE_SECONDS if live else 0.0,
            security=for_aiokafka(settings),
        )

        def learner(checkpoint: Checkpoint | None) -> Learner:
            # River is loaded by the worker that trains, and by no other.
            from models.training import Trainer

            if checkpoint is None:
                return Trainer(predictions.horizon)
            return Trainer.restored(checkpoint)

        self._known = KnownModels(predictions, live=live)
        self.follower = ModelFollower(config, self._known)
        self.trainer = TrainerAgent(config, learner, self.follower)

    def model(self) -> Model | None:
        """Return the newest model."""
        newest = self.follower.newest
        return None if newest is None else newest.model

    def drift_noticed(self) -> int | None:
        """Return the last day, of those whose models are known, on which drift was noticed."""
        return self._known.decided("drift")

    def drifts(self) -> bool:
        """Tell whether members behave otherwise than predicted, and it has not settled yet."""
        noticed, settled = self._known.decided("drift"), self._known.decided("settled")
        return noticed is not None and (settled is None or settled < noticed)

    def start(self) -> None:
        """Begin both."""
        self.follower.start()
        self.trainer.start()

    async def stop(self) -> None:
        """End both."""
        await self.trainer.stop()
        await self.follower.stop()
