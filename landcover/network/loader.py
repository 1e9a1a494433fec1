"""Feeding patches to the network: held on the device if they fit, else read from disk as needed."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch

from landcover.dataset import tensors
from landcover.network.distributed import ALONE, Group, Rows

AHEAD = 2  # batches read in advance
# One thread for all passes: each thread has its own memory arena and keeps some of it when it ends.
READER = ThreadPoolExecutor(1)
SHARE_OF_GPU = 0.7  # of its free memory for patches; the rest is for the network
PIECE = 100  # patches copied to the device at a time


class Patches(NamedTuple):
    """A split in the form that the network reads."""

    images: torch.Tensor | np.ndarray | tensors.Shards  # float32 (N, C, H, W); tensors are on the device, channels last
    labels: torch.Tensor  # int64 (N,), on the device

    def batches(self, order: Iterable[Rows]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(images, labels) for each item of `order`, on the device."""
        device = self.labels.device
        if isinstance(self.images, torch.Tensor):
            for rows in order:
                rows = rows if isinstance(rows, slice) else rows.to(device, non_blocking=True)
                yield self.images[rows], self.labels[rows]
            return
        waiting = deque()
        for rows in order:
            waiting.append((rows, READER.submit(self._read, rows)))
            if len(waiting) > AHEAD:
                yield self._to_device(*waiting.popleft())
        while waiting:
            yield self._to_device(*waiting.popleft())

    def _read(self, rows: Rows) -> torch.Tensor:
        images = torch.from_numpy(self.images[rows if isinstance(rows, slice) else rows.numpy()])
        return images.pin_memory() if self.labels.is_cuda else images

    def _to_device(self, rows: Rows, images) -> tuple[torch.Tensor, torch.Tensor]:
        device = self.labels.device
        rows = rows if isinstance(rows, slice) else rows.to(device, non_blocking=True)
        images = images.result().to(device, non_blocking=True)
        return images.contiguous(memory_format=torch.channels_last), self.labels[rows]

    def in_order(self, batch_size: int, group: Group = ALONE) -> Iterator[torch.Tensor]:
        """This process's share of the images, batch by batch."""
        mine = range(group.rank, len(self.labels), group.size)
        order = [
            slice(mine[i], mine[min(i + batch_size, len(mine)) - 1] + 1, group.size)
            for i in range(0, len(mine), batch_size)
        ]
        return (images for images, _ in self.batches(order))


def load(split: tensors.Split, device: torch.device, gigabytes: float = math.inf) -> Patches:
    """Hold a split on the device, channels last, which is fastest for convolutions; stream it if it does not fit.

    Args:
        gigabytes: the largest size to hold.
    """
    images = split.images
    fits = images.nbytes <= gigabytes * 1e9
    if fits and device.type == "cuda":
        fits = images.nbytes <= SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0]
    if fits:
        held = torch.empty(images.shape, device=device, memory_format=torch.channels_last)
        for start in range(0, len(images), PIECE):  # to avoid a second copy of the whole split
            held[start : start + PIECE] = torch.from_numpy(images[start : start + PIECE])
        images = held
    return Patches(images, torch.from_numpy(split.labels).to(device))
