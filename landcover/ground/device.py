"""Which device there is to compute on. Any stage may ask; most do so without torch, which is slow to import."""

from typing import TYPE_CHECKING

from landcover.ground.errors import InputError

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> "torch.device":
    """The device named, or of `auto` the best there is: CUDA, else MPS, else CPU.

    Raises:
        InputError: the device named is not there.
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
        raise InputError(f"runtime.device: {name} is not on this machine; use auto or cpu")
    return device


def demand_device(name: str) -> None:
    """Refuse a device that is not there, as `choose_device` does; that there is a CPU needs no asking."""
    if name not in ("auto", "cpu"):
        choose_device(name)
