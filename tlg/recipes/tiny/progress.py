"""A training run that can be stopped and goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


class Resumable:
    """Keeps the state of the given parts in one file, with the number of steps done (`step`)."""

    def __init__(self, path: Path, **parts: Any) -> None:
        self.path, self.parts, self.step = path, parts, 0
        if path.exists():
            saved = torch.load(path, weights_only=True)
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            self.step = saved["step"]

    def save(self, step: int, every: int, last: int) -> None:
        if step % every and step != last:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save({"step": step, **{name: part.state_dict() for name, part in self.parts.items()}}, partial)
        partial.replace(self.path)
