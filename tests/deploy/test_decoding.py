"""A picture that takes too long holds up nobody, and leaves nothing behind."""

import asyncio

import pytest

from deploy.endpoint.problems import ProblemError
from deploy.replica.decoding import Decoder
from deploy.replica.pool import checked_header
from tlg import pictures
from tlg.errors import InputError


def test_slow_pictures_are_given_up_and_others_are_decoded(slow, make_picture):
    async def scenario():
        decoder = Decoder(at_once=2, seconds=0.3)  # a fast machine needs less than a second for `slow`
        late = await asyncio.gather(*(decoder(slow, 10**8) for _ in range(3)), return_exceptions=True)
        return late, await decoder.works(), await decoder(make_picture(1), 10_000)

    late, works, picture = asyncio.run(scenario())
    assert [error.kind for error in late] == ["too_slow"] * 3
    assert works
    assert (picture.width, picture.height) == (48, 32)


def test_a_replica_full_of_slow_pictures_still_works(slow):
    async def scenario():
        decoder = Decoder(at_once=1, seconds=60)
        busy = asyncio.ensure_future(decoder(slow, 10**8))
        await asyncio.sleep(0)
        return await decoder.works(), busy.done()

    assert asyncio.run(scenario()) == (True, False)


def test_errors_of_decoding_reach_who_asked():
    async def scenario():
        await Decoder()(b"", 1000)

    with pytest.raises(InputError, match="empty"):
        asyncio.run(scenario())


def test_a_header_is_judged_as_the_decoder_judges_it(slow):
    with pytest.raises(InputError, match="not an image: begins with b'%!PS'"):
        checked_header(b"%!PS", 10**6)
    with pytest.raises(InputError, match="no scan follows"):
        checked_header(b"\xff\xd8\xff" + b"\xff" * 100_000, 10**6)
    with pytest.raises(ProblemError, match=r"4000x3000 = 12,000,000 pixels, at most 1,000,000 are accepted") as caught:
        checked_header(slow, 10**6)
    assert caught.value.status == 413
    checked_header(slow, pictures.DEFAULT_MAX_PIXELS)
