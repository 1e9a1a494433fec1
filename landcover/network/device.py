"""Reproducible computation on a device."""

import os

import torch
import torch.distributed as dist


def set_deterministic(threads: int, device: torch.device) -> None:
    """Make torch return the same bytes for the same input: a fixed number of threads, deterministic algorithms.

    On a GPU, some operations have no deterministic algorithm; torch then warns.
    """
    torch.set_num_threads(threads)
    # As `use_deterministic_algorithms` does, but without importing the compiler, which nothing here uses.
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "warn")
    torch.utils.deterministic.fill_uninitialized_memory = False  # it would only expose bugs, and doubles the time


def own_device(device: torch.device) -> torch.device:
    """The GPU of this process: under torchrun, the one with its local rank unless a GPU is named."""
    if device.type == "cuda" and device.index is None and dist.is_torchelastic_launched():
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device
