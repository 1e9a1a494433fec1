"""Where the network computes, and how: on the device named, and the same each time."""

import os

import torch
import torch.distributed as dist

from landcover.ground.errors import InputError


def choose_device(name: str) -> torch.device:
    """The device named, or of `auto` the best there is: CUDA, else MPS, else CPU.

    Raises:
        InputError: the device named is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    there = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
    }[device.type]
    if not there:
        raise InputError(f"runtime.device: {name} is not on this machine; use auto or cpu")
    return device


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
