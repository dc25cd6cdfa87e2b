"""The batcher: what waits while the network is busy goes through it together."""

import asyncio

import pytest

from deploy.replica.batching import Batcher


class Network:
    """Doubles numbers; each batch ends when the test says so."""

    def __init__(self):
        self.batches: list[list[int]] = []
        self.free = asyncio.Semaphore(0)
        self.started = asyncio.Event()

    async def run(self, batch):
        self.batches.append(list(batch))
        self.started.set()
        await self.free.acquire()
        return [2 * item for item in batch]


async def at_work_on_one():
    """A network, its batcher, and the answer it is at work on."""
    network = Network()
    batcher = Batcher(network.run, size=4, wait_seconds=0)
    first = asyncio.create_task(batcher(0))
    await network.started.wait()
    return network, batcher, first


def test_what_waits_during_a_batch_becomes_the_next_one():
    async def scenario():
        network, batcher, first = await at_work_on_one()
        others = [asyncio.create_task(batcher(item)) for item in range(1, 7)]
        for _ in range(3):
            network.free.release()
        answers = await asyncio.gather(first, *others)
        return network.batches, answers

    batches, answers = asyncio.run(scenario())
    assert batches == [[0], [1, 2, 3, 4], [5, 6]]
    assert answers == [0, 2, 4, 6, 8, 10, 12]


def test_an_error_reaches_its_batch_and_the_next_batch_is_answered():
    async def scenario():
        async def run(batch):
            if batch == [1]:
                raise ValueError("out of memory")
            return batch

        batcher = Batcher(run, size=1, wait_seconds=0)
        return await asyncio.gather(batcher(1), batcher(2), return_exceptions=True)

    failed, answered = asyncio.run(scenario())
    assert isinstance(failed, ValueError)
    assert answered == 2


def test_who_went_away_is_not_worked_for():
    async def scenario():
        network, batcher, first = await at_work_on_one()
        gone, waits = asyncio.create_task(batcher(1)), asyncio.create_task(batcher(2))
        await asyncio.sleep(0)
        gone.cancel()
        network.free.release()
        network.free.release()
        with pytest.raises(asyncio.CancelledError):
            await gone
        return await asyncio.gather(first, waits), network.batches

    answers, batches = asyncio.run(scenario())
    assert answers == [0, 4]
    assert batches == [[0], [2]]


def test_a_network_that_answers_too_few_fails_its_batch_alone():
    async def scenario():
        async def run(batch):
            return [] if batch == [1] else batch

        batcher = Batcher(run, size=1, wait_seconds=0)
        return await asyncio.wait_for(asyncio.gather(batcher(1), batcher(2), return_exceptions=True), 20)

    failed, answered = asyncio.run(scenario())
    assert "0 results for 1 items" in str(failed)
    assert answered == 2
