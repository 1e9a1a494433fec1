"""Reproducible computation on a device."""

import os

import torch
import torch.distributed as dist

from landcover.errors import InputError


def set_deterministic(threads: int, device: torch.device) -> None:
    """Make torch return the same bytes for the same input: a fixed number of threads, deterministic algorithms.

    On a GPU, some operations have no deterministic algorithm; torch then warns.
    """
    torch.set_num_threads(threads)
    # As `use_deterministic_algorithms` does, but without importing the compiler, which nothing here uses.
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "warn")
    torch.utils.deterministic.fill_uninitialized_memory = False  # it would only expose bugs, and doubles the time
    torch.backends.cudnn.allow_tf32 = False  # a GPU would otherwise round what convolutions multiply to ten bits


def own_device(device: torch.device) -> torch.device:
    """The device of this process: under torchrun, each process on a machine has a GPU of its own.

    Raises:
        InputError: there are fewer GPUs than processes, or one GPU is named for several of them.
    """
    if device.type != "cuda" or not dist.is_torchelastic_launched():
        return device
    processes = int(os.environ["LOCAL_WORLD_SIZE"])
    if processes > 1 and device.index is not None:
        raise InputError(f"runtime.device = {device}: {processes} processes would share this GPU; use cuda")
    if processes > (gpus := torch.cuda.device_count()):
        raise InputError(
            f"runtime.launcher: {processes} processes need a GPU each, and this machine has {gpus}; start fewer, or "
            "set runtime.device to cpu"
        )
    if device.index is None:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device
