"""A picture that takes too long holds up nobody, and a process full of them says so."""

import asyncio
import threading

import pytest

from deploy.replica import decoding
from deploy.replica.decoding import Decoder
from tlg import pictures
from tlg.errors import InputError

SLOW = b"a picture that takes for ever"


@pytest.fixture
def slow(monkeypatch):
    """Decoding of SLOW, which ends when the test does."""
    end, decode = threading.Event(), pictures.decode

    def held_up(content, max_pixels=pictures.DEFAULT_MAX_PIXELS):
        if content == SLOW:
            end.wait()
        return decode(content, max_pixels)

    monkeypatch.setattr(decoding.pictures, "decode", held_up)
    yield end
    end.set()


def test_slow_pictures_are_given_up_and_others_are_decoded(slow, make_picture):
    async def scenario():
        decoder = Decoder(at_once=2, seconds=1)
        late = await asyncio.gather(*(decoder(SLOW, 1000) for _ in range(2)), return_exceptions=True)
        return late, await decoder(make_picture(1), 10_000), await decoder.works(), decoder.is_stuck

    late, picture, works, is_stuck = asyncio.run(scenario())
    assert [error.kind for error in late] == ["too_slow"] * 2
    assert (picture.width, picture.height) == (48, 32)
    assert works
    assert is_stuck  # as many threads as places work for nobody: the process should be replaced


def test_a_process_whose_slow_pictures_ended_is_not_stuck(slow):
    async def scenario():
        decoder = Decoder(at_once=1, seconds=0.1)
        with pytest.raises(InputError):
            await decoder(SLOW, 1000)
        (thread,) = decoder._given_up
        before = decoder.is_stuck
        slow.set()
        await asyncio.to_thread(thread.join)
        return before, decoder.is_stuck

    assert asyncio.run(scenario()) == (True, False)


def test_errors_of_decoding_reach_who_asked():
    async def scenario():
        await Decoder()(b"", 1000)

    with pytest.raises(InputError, match="empty"):
        asyncio.run(scenario())
