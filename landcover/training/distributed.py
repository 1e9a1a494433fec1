"""The group of processes that train together: one, unless `torchrun` started several."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist

Rows = slice | torch.Tensor  # row numbers of patches: a slice, or int64 (N,)


class Group(NamedTuple):
    rank: int = 0
    size: int = 1

    def share(self, rows: Rows) -> Rows:
        """The rows of this process: every `size`-th one, so that the shares differ by at most one."""
        if self.size == 1:
            return rows
        if isinstance(rows, slice):
            return slice(rows.start + self.rank, rows.stop, self.size)
        return rows[self.rank :: self.size]

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, returned in each of them."""
        if self.size > 1:
            dist.all_reduce(values)
        return values


ALONE = Group()


@contextmanager
def join(device: torch.device) -> Iterator[Group]:
    """Join the processes that `torchrun` started, over NCCL on GPUs and gloo on CPUs."""
    if not dist.is_torchelastic_launched():
        yield Group()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
