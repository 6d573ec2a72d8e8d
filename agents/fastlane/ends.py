"""End offsets, asked for many partitions at once however many ask."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, KafkaTimeoutError

log = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
REQUEST_TIMEOUT_MS = 5_000


def is_curable(error: KafkaError) -> bool:
    """Return whether waiting for the broker may cure it; aiokafka counts time-outs as fatal."""
    return bool(error.retriable) or isinstance(error, KafkaTimeoutError)


class EndOffsets:
    """Asks the broker where partitions end.

    Lanes ask at the same moments (a deadline shared by many members); whoever asks while a
    request is under way is served by the next one, together with all others that wait: an answer
    is never older than its question. ``linger`` tells how many seconds to keep between an answer
    and the next request.
    """

    def __init__(
        self,
        brokers: list[str],
        client_id: str,
        security: Mapping[str, Any] | None = None,
        linger: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._brokers = brokers
        self._security = security or {}
        self._client_id = client_id
        self._linger = linger
        self._consumer: AIOKafkaConsumer | None = None
        self._waiting: dict[TopicPartition, list[asyncio.Future[int]]] = {}
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect; raises ``KafkaConnectionError`` when no broker answers."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._brokers,
            client_id=self._client_id,
            enable_auto_commit=False,
            # The end that a reader of committed records can reach.
            isolation_level="read_committed",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            **self._security,
        )
        await self._consumer.start()
        self._task = asyncio.create_task(self._serve(self._consumer))

    async def stop(self) -> None:
        """Disconnect; questions still open are cancelled."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for futures in self._waiting.values():
            for future in futures:
                future.cancel()
        self._waiting.clear()
        if self._consumer is not None:
            await self._consumer.stop()

    async def ask(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the end offset of each partition, as of some moment after the call.

        Waits as long as no broker answers; raises ``KafkaError`` for what no waiting cures.
        """
        loop = asyncio.get_running_loop()
        answers: dict[TopicPartition, asyncio.Future[int]] = {}
        for tp in tps:
            answers[tp] = loop.create_future()
            self._waiting.setdefault(tp, []).append(answers[tp])
        self._asked.set()
        return dict(zip(answers, await asyncio.gather(*answers.values()), strict=True))

    async def _serve(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            asked, self._waiting = self._waiting, {}
            try:
                ends = await self._ends(consumer, list(asked))
                for tp, futures in asked.items():
                    for future in futures:
                        if not future.done():
                            future.set_result(ends[tp])
            except Exception as error:
                for futures in asked.values():
                    for future in futures:
                        if not future.done():
                            future.set_exception(error)
            await asyncio.sleep(self._linger())

    async def _ends(
        self, consumer: AIOKafkaConsumer, tps: list[TopicPartition]
    ) -> dict[TopicPartition, int]:
        while True:
            try:
                return await consumer.end_offsets(tps)  # type: ignore[no-any-return]
            except KafkaError as error:
                if not is_curable(error):
                    raise
                log.warning("end offsets are not to be had, asking again: %r", error)
                await asyncio.sleep(RETRY_SECONDS)
