"""What every program here is told on its command line."""

from __future__ import annotations

import argparse
from pathlib import Path


def parsed(description: str | None, *places: str) -> argparse.Namespace:
    """These folders, in their order, and the model."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    for place in places:
        parser.add_argument(place, type=Path)
    parser.add_argument("--model", default="tlg-tiny")
    return parser.parse_args()
