"""Readers of other tools that are small enough to be installed by a test; `make importers` asks the others too."""

import pytest

from tests.importers.check import READERS, check
from tests.servers.environments import Unavailable, environment

pytestmark = pytest.mark.cluster


def test_label_studios_sdk_decodes_our_tasks_to_the_same_pixels():
    name = "label-studio-sdk"
    try:
        environment(name, READERS[name][0])
    except Unavailable as error:
        pytest.skip(str(error))
    assert check(name, "rle") == "ok, 3 images, pixels equal"
