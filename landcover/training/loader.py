"""Feeding patches to the network: held on the device if they fit, else read from disk as needed."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Self

import numpy as np
import torch

from landcover.data import tensors
from landcover.training.distributed import ALONE, Group, Rows

AHEAD = 2  # batches read in advance
# One thread for all passes: each thread has its own memory arena and keeps some of it when it ends.
READER = ThreadPoolExecutor(1)
SHARE_OF_GPU = 0.7  # of its free memory for patches; the rest is for the network
PIECE = 32  # patches copied to the device at a time: 7 MB, which the processor's cache may hold


class Patches(NamedTuple):
    """A split, or a batch of it, in the form that the network reads."""

    images: torch.Tensor | np.ndarray | tensors.Shards  # float32 (N, C, H, W); tensors are on the device, channels last
    labels: torch.Tensor  # int64 (N,), on the device
    context: torch.Tensor | None = None  # float32 (N, F), on the device, if there are context features
    rows: torch.Tensor | None = None  # int64 (N,), on the device, of `images`, if they are of more patches than these
    shares: torch.Tensor | None = None  # float32 (N, K), on the device, if the network is to predict them

    @property
    def targets(self) -> torch.Tensor:
        """What the network is to predict: shares, or labels."""
        return self.labels if self.shares is None else self.shares

    def select(self, rows: np.ndarray) -> Self:
        """These patches alone, from int64 (M,), without a copy of their images."""
        rows = torch.from_numpy(rows).to(self.labels.device)
        context, shares = (None if values is None else values[rows] for values in (self.context, self.shares))
        return Patches(self.images, self.labels[rows], context, rows, shares)

    def batches(self, order: Iterable[Rows]) -> Iterator[Self]:
        """The patches of each item of `order`, on the device."""
        if isinstance(self.images, torch.Tensor):
            for rows in order:
                yield self._batch(rows)
            return
        waiting = deque()
        for rows in order:
            waiting.append((rows, READER.submit(self._read, rows)))
            if len(waiting) > AHEAD:
                yield self._to_device(*waiting.popleft())
        while waiting:
            yield self._to_device(*waiting.popleft())

    def _read(self, rows: Rows) -> torch.Tensor:
        if self.rows is not None:
            rows = self.rows.cpu()[rows]
        images = torch.from_numpy(self.images[rows if isinstance(rows, slice) else rows.numpy()])
        return images.pin_memory() if self.labels.is_cuda else images

    def _to_device(self, rows: Rows, images: Future[torch.Tensor]) -> Self:
        images = images.result().to(self.labels.device, non_blocking=True)
        return self._batch(rows, images.contiguous(memory_format=torch.channels_last))

    def _batch(self, rows: Rows, images: torch.Tensor | None = None) -> Self:
        rows = rows if isinstance(rows, slice) else rows.to(self.labels.device, non_blocking=True)
        if images is None:
            images = self.images[rows if self.rows is None else self.rows[rows]]
        context, shares = (None if values is None else values[rows] for values in (self.context, self.shares))
        return Patches(images, self.labels[rows], context, shares=shares)

    def in_order(self, batch_size: int, group: Group = ALONE) -> Iterator[Self]:
        """This process's share of the patches, batch by batch."""
        mine = range(group.rank, len(self.labels), group.size)
        order = [
            slice(mine[i], mine[min(i + batch_size, len(mine)) - 1] + 1, group.size)
            for i in range(0, len(mine), batch_size)
        ]
        return self.batches(order)


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
    context, shares = (
        None if values is None else torch.from_numpy(values).to(device) for values in (split.context, split.shares)
    )
    return Patches(images, torch.from_numpy(split.labels).to(device), context, shares=shares)
