import pytest
import torch

from landcover.errors import InputError
from landcover.training.determinism import own_device


@pytest.fixture
def processes(monkeypatch):
    """Be the second of two processes that torchrun started on a machine with so many GPUs; none is used."""

    def start(gpus: int) -> None:
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
        monkeypatch.setenv("LOCAL_RANK", "1")
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)

    return start


def test_each_process_has_a_gpu_of_its_own(processes):
    cuda, named = torch.device("cuda"), torch.device("cuda:1")
    assert own_device(cuda) == cuda  # alone, torch chooses
    assert own_device(named) == named
    processes(gpus=2)
    assert own_device(cuda) == named
    assert own_device(torch.device("cpu")) == torch.device("cpu")


def test_processes_without_a_gpu_of_their_own_are_refused(processes):
    processes(gpus=1)
    with pytest.raises(InputError, match=r"2 processes need a GPU each, and this machine has 1; start fewer"):
        own_device(torch.device("cuda"))
    processes(gpus=2)
    with pytest.raises(InputError, match=r"runtime\.device = cuda:0: 2 processes would share this GPU; use cuda"):
        own_device(torch.device("cuda:0"))
