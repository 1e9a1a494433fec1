"""The device to compute on. Every stage checks it, most of them without torch, which is slow to import."""

from typing import TYPE_CHECKING

from landcover.errors import InputError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> "torch.device":
    """The named device, or for `auto` the best available: CUDA, else MPS, else CPU.

    Raises:
        InputError: the named device is not available.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    there = {
        "cpu": True,
        "mps": torch.backends.mps.is_available(),
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
    }[device.type]
    if not there:
        raise InputError(f"runtime.device: {name} is not available on this machine; use auto or cpu")
    return device


def demand_device(name: str) -> None:
    """Refuse an unavailable device, as `choose_device` does; auto and cpu need no check."""
    if name not in ("auto", "cpu"):
        choose_device(name)
