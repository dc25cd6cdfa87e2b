"""The processes of a training run: one by default, as many as torchrun started otherwise."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Processes:
    rank: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device: str | None) -> Processes:
        """Reads what torchrun put into the environment; without it this process is alone."""
        count, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
        name = device or ("cuda" if torch.cuda.is_available() else "cpu")
        if name == "cuda":
            name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
            torch.cuda.set_device(name)
        if count > 1:
            dist.init_process_group("nccl" if name.startswith("cuda") else "gloo")
        return cls(rank, count, torch.device(name))

    def leave(self) -> None:
        if self.count > 1:
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """Gradients are averaged over the processes; a step may leave parameters of a skipped part unused."""
        if self.count == 1:
            return module
        return nn.parallel.DistributedDataParallel(module, find_unused_parameters=True)

    def gather(self, value: Any) -> list[Any]:
        """The value of every process, in order of rank."""
        if self.count == 1:
            return [value]
        gathered: list[Any] = [None] * self.count
        dist.all_gather_object(gathered, value)
        return gathered

    def wait(self) -> None:
        if self.count > 1:
            dist.barrier()
