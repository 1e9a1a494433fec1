"""How the network computes on a device: the same each time."""

import os

import torch
import torch.distributed as dist


def set_deterministic(threads: int, device: torch.device) -> None:
    """Have torch give the same bytes for the same input: a fixed number of threads, deterministic algorithms.

    A GPU has no deterministic way for some operations, of which torch then warns.
    """
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # it guards against our bugs, at twice the time


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process, of those that its machine has: the one of its number, if none was named."""
    if device.type == "cuda" and device.index is None and dist.is_torchelastic_launched():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device
