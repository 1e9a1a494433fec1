import pytest

from landcover.device import choose_device
from landcover.errors import InputError


def test_a_device_that_is_not_there_is_refused():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(InputError, match=r"runtime\.device: cuda:63 is not available on this machine"):
        choose_device("cuda:63")


@pytest.mark.parametrize("stage", ["unpack", "train", "report"])
def test_no_stage_runs_where_the_device_is_not_there(run_stage, stage):
    done = run_stage(stage, "a", params={"runtime": {"device": "cuda:63"}})
    line = "error: runtime.device: cuda:63 is not available on this machine; use auto or cpu\n"
    assert (done.returncode, done.stderr) == (1, line)
