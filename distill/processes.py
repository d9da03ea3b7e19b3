"""Training in one process or several: the settings of ``torchrun``, and the network that all processes train together.

Each process draws its share of a step's examples, gradients are averaged (``DistributedDataParallel``, Li et al. 2020,
doi:10.14778/3415478.3415530), and only the first one writes. Batch normalisation uses the statistics of the share of
each process; those of the first process are kept.

>>> Processes.from_environment({}).count
1
>>> Processes(rank=1, count=4).share
slice(1, None, 4)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Processes:
    """Rank of this process, and number of processes."""

    rank: int = 0
    count: int = 1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Processes":
        """Read what ``torchrun`` sets: ``RANK`` and ``WORLD_SIZE``."""
        return cls(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """Examples of a step that this process takes."""
        return slice(self.rank, None, self.count)

    def join(self, device: torch.device) -> None:
        """Join the group of processes."""
        if self.count > 1 and not torch.distributed.is_initialized():
            torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")

    def leave(self) -> None:
        """Leave the group of processes."""
        if self.count > 1:
            torch.distributed.barrier()
            torch.distributed.destroy_process_group()

    def wrapped(self, module: nn.Module) -> nn.Module:
        """The module, which averages its gradients with other processes if there are any."""
        return nn.parallel.DistributedDataParallel(module) if self.count > 1 else module

    def agreed(self, value: bool, device: torch.device) -> bool:
        """The decision of the first process."""
        if self.count == 1:
            return value
        flag = torch.tensor([float(value)], device=device)
        torch.distributed.broadcast(flag, 0)
        return bool(flag.item())
