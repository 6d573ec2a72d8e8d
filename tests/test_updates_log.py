"""Updates that others put behind the owner's: a zombie's, or a request that arrives too late."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sim_worker import Worker
from sim_world import World, run
from toy_job import TOPICS, value

from agents.lane import IDLE_CHECK_MS
from agents.ports import Fenced, Output

OLD = Output("member-updates", b"m", b"old")


class Story:
    """One lane, whose member ``m`` has two carts."""

    def __init__(self) -> None:
        self.world = World(TOPICS)

    async def worker(self, name: str) -> Worker:
        worker = Worker(self.world, name=name)
        await worker.start()
        return worker

    async def cart(self, worker: Worker, member: bytes = b"m") -> None:
        self.world.produce("cart", member, value(0, ""))
        await worker.until(worker.all_done)

    def last(self) -> bytes | None:
        updates = [o for o in self.world.sent if (o.topic, o.key) == (OLD.topic, OLD.key)]
        return updates[-1].value

    async def old_update_comes(self) -> None:
        self.world.sent.append(OLD)


async def look(_: Story, __: Worker) -> None:
    """Let a lane that has nothing to do look whether others have written."""
    await asyncio.sleep((IDLE_CHECK_MS + 1_000) / 1000)


async def next_send(story: Story, owner: Worker) -> None:
    """Let the lane send something of another member."""
    await story.cart(owner, b"n")


@pytest.mark.parametrize("noticed", [look, next_send])
def test_what_a_zombie_says_after_its_heir_is_said_again_by_the_heir(
    noticed: Callable[[Story, Worker], Awaitable[None]],
) -> None:
    async def main() -> None:
        story = Story()
        zombie = await story.worker("zombie")
        await story.cart(zombie)
        zombie.process.freeze_at("send")
        story.world.produce("cart", b"m", value(0, ""))
        await zombie.process.frozen.wait()
        heir = await story.worker("heir")
        await story.cart(heir)
        await story.cart(heir)
        newest = story.last()
        zombie.process.thaw()
        await zombie.until(lambda: zombie.failure is not None)
        assert isinstance(zombie.failure, Fenced)
        assert story.last() != newest
        await noticed(story, heir)
        assert story.last() == newest
        assert heir.lane.stats.updates_repaired > 0
        await zombie.end()
        await heir.end()

    run(main())


def test_what_arrives_while_nobody_has_the_lane_is_noticed_by_the_next_owner() -> None:
    async def main() -> None:
        story = Story()
        first = await story.worker("first")
        await story.cart(first)
        assert await first.lane.stop()
        newest = story.last()
        await story.old_update_comes()
        second = await story.worker("second")
        assert story.last() == newest
        await second.end()

    run(main())


def test_a_lane_that_nobody_disturbs_says_everything_once() -> None:
    async def main() -> None:
        story = Story()
        first = await story.worker("first")
        for _ in range(20):
            await story.cart(first)
        assert await first.lane.stop()
        second = await story.worker("second")
        await look(story, second)
        assert sum(output.topic == OLD.topic for output in story.world.sent) == 20
        await second.end()

    run(main())


def test_an_update_of_a_member_that_is_gone_is_taken_back() -> None:
    async def main() -> None:
        story = Story()
        owner = await story.worker("owner")
        await story.cart(owner, b"n")
        await story.old_update_comes()
        await look(story, owner)
        assert story.last() is None
        await owner.end()

    run(main())


def test_acknowledgements_without_an_offset_do_not_make_it_repeat_itself_for_ever() -> None:
    async def main() -> None:
        story = Story()
        owner = await story.worker("owner")
        send, kept = owner.process.send, iter([True, True, False])

        async def forgetful(outputs: list[Output]) -> list[object]:
            told = await send(outputs)
            return [one._replace(offset=None) if next(kept, False) else one for one in told]

        owner.lane._publisher._outputs.send = forgetful  # type: ignore[method-assign, union-attr]
        await story.cart(owner)
        assert owner.failure is None
        updates = [o.value for o in story.world.sent if o.topic == OLD.topic]
        assert 2 <= len(updates) <= 4
        assert len(set(updates)) == 1
        await owner.end()

    run(main())
