"""Readers of other tools that are small enough to be installed by a test; `make importers` asks the others too."""

import pytest

from tests.importers.check import FORMAT_READERS, READERS, check, check_format
from tests.servers.environments import Unavailable, environment

pytestmark = pytest.mark.cluster


def test_label_studios_sdk_decodes_our_tasks_to_the_same_pixels():
    name = "label-studio-sdk"
    try:
        environment(name, READERS[name][0])
    except Unavailable as error:
        pytest.skip(str(error))
    assert check(name, "rle") == "ok, 3 images, pixels equal"


@pytest.mark.parametrize("tool", ["datasets", "mlcroissant", "labelme"])
def test_a_tool_reads_its_format_with_the_same_masks(tool):
    try:
        environment(tool, FORMAT_READERS[tool][1])
    except Unavailable as error:
        pytest.skip(str(error))
    assert check_format(tool) == "ok, 8 images, pixels equal"
