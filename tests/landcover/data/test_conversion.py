import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from tiny import REPOSITORY, Dataset

from landcover import processes
from landcover.config import Runtime
from landcover.constants import CLASSES
from landcover.data import conversion, tensors
from landcover.data.conversion import Reading, Summary
from landcover.errors import InputError
from landcover.processes import executor

BYTES = 4 * 120 * 120  # of a patch with one band, in the tensors


def test_every_digital_number_scales_as_in_the_notebook():
    numbers = np.arange(1 << 16, dtype=np.uint16)
    notebook = np.clip(numbers.astype(float) / 10000, 0, 1).astype(np.float32)
    assert (conversion.to_reflectance(numbers) == notebook).all()


def convert(dataset: Dataset, folder: Path, splits: list[str], pool: Executor | None = None) -> dict[str, Summary]:
    """Write the band B02 of patches, whose splits these are, to a folder."""
    patches = dataset.patches(["B02"])
    folder.mkdir()
    with ThreadPoolExecutor(2) as threads:
        table = patches.table.assign(split=splits)
        return conversion.convert(table, folder, pool or threads, Reading.of(patches), CLASSES)


def test_more_patches_than_a_shard_holds_go_on_in_the_next(dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(conversion, "SHARD_BYTES", 3 * BYTES)
    summaries = convert(dataset, tmp_path / "t", ["train"] * 5 + ["val", "test", "test"])
    assert [int(summary.histogram.sum()) for summary in summaries.values()] == [5 * 14400, 14400, 2 * 14400]
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [
        "test-00000.safetensors", "train-00000.safetensors", "train-00001.safetensors", "val-00000.safetensors"
    ]  # fmt: skip
    train = tensors.load_split(tmp_path / "t", "train")
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])


def test_a_shard_without_a_good_patch_is_not_written(dataset, monkeypatch, tmp_path):
    monkeypatch.setattr(conversion, "SHARD_BYTES", 2 * BYTES)
    for patch_id in dataset.ids[2:4]:
        dataset.tile(patch_id, "B02").unlink()
    summaries = convert(dataset, tmp_path / "t", ["train"] * 8)
    assert summaries["train"].problems == dict.fromkeys(dataset.ids[2:4], "B02 is missing")
    assert len(list((tmp_path / "t").iterdir())) == 3
    assert tensors.load_split(tmp_path / "t", "train").labels.tolist() == [0, 3, 0, 3, 0, 3]


def test_threads_do_not_read_each_others_tiles(dataset, monkeypatch, tmp_path):
    """As a Dask worker may have."""
    monkeypatch.setattr(conversion, "SHARD_BYTES", BYTES)
    with ThreadPoolExecutor(4) as pool:
        for run in range(5):
            convert(dataset, tmp_path / str(run), ["train"] * 8, pool)
            images = tensors.load_split(tmp_path / str(run), "train").images
            assert (images == np.arange(1, 9, dtype=np.float32)[:, None, None, None] / 100).all()


def runtime(**changes) -> Runtime:
    defaults = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["runtime"]
    return Runtime.model_validate(defaults | changes)


def test_a_killed_worker_is_an_error_with_the_remedy():
    with (
        pytest.raises(InputError, match=r"one of 1 helper processes was killed, .* lower runtime.workers"),
        executor(runtime(workers=1)) as pool,
    ):
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL).result()


# -- Dask


class Cluster:
    """A real scheduler and its workers, each a process of its own, started as docs/scaling.md says."""

    def __init__(self, folder: Path):
        self.folder, self.processes = folder, []
        file = folder / "scheduler.json"
        self._start("dask", "scheduler", "--scheduler-file", str(file), "--port", "0", "--dashboard-address", ":0")
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]
        worker = ("landcover", "worker", self.address, "--no-nanny", "--nthreads", "1")
        self.workers = [self._start(*worker) for _ in range(2)]

    def _start(self, *command: str) -> subprocess.Popen:
        with open(self.folder / f"{len(self.processes)}.log", "w") as log:
            process = subprocess.Popen([sys.executable, "-m", *command], cwd=REPOSITORY, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    for process in found.processes:
        process.kill()
        process.wait()


def test_a_cluster_writes_the_same_bytes_and_survives_the_death_of_a_worker(tmp_path, monkeypatch, cluster):
    monkeypatch.setattr(conversion, "SHARD_BYTES", BYTES)
    dataset = Dataset(tmp_path / "many", [0, 3] * 60, ("B02",))
    done = []

    def kill_one() -> None:
        while len(list((tmp_path / "cluster").glob("*"))) < 5:
            time.sleep(0.002)
        cluster.workers[0].kill()
        done.append(len(list((tmp_path / "cluster").glob("*"))))

    summaries = {"local": convert(dataset, tmp_path / "local", ["train"] * 120)}
    killer = threading.Thread(target=kill_one)
    killer.start()
    with executor(runtime(dask=cluster.address)) as pool:
        summaries["cluster"] = convert(dataset, tmp_path / "cluster", ["train"] * 120, pool)
    killer.join()
    assert done[0] < 120
    shards = {name: [path.read_bytes() for path in sorted((tmp_path / name).iterdir())] for name in summaries}
    assert len(shards["local"]) == 120
    assert shards["cluster"] == shards["local"], cluster.logs()
    assert (summaries["cluster"]["train"].histogram == summaries["local"]["train"].histogram).all()


def test_the_stage_converts_on_a_cluster(dataset, run_stage, tmp_path, cluster):
    params = {
        "dataset": "tiny",
        "datasets": {"tiny": {"source": "x", "split": {"method": "order", "train": 4, "val": 2, "test": 2}}},
        "bands": ["B02", "B08"],
    }
    made = {}
    for dask in (None, cluster.address):
        done = run_stage("preprocess", "data/patches", "t", "sh", "d.json", params=params | {"runtime": {"dask": dask}})
        assert (done.returncode, done.stderr) == (0, ""), cluster.logs()
        made[dask] = [path.read_bytes() for path in sorted((tmp_path / "t").iterdir())]
    assert made[None] == made[cluster.address]
    # What distributed says if the scheduler was started elsewhere and does not find the code.
    refused = pytest.raises(InputError, match="start it in the repository with `python -m dask scheduler`")
    with refused, executor(runtime(dask=cluster.address)):
        raise RuntimeError("Error during deserialization of the task graph. This frequently\noccurs if ...")


def test_a_cluster_that_does_not_answer_is_an_error(monkeypatch):
    monkeypatch.setattr(processes, "DASK_TIMEOUT", 0.5)
    refused = pytest.raises(
        InputError, match=r"runtime\.dask = tcp://127\.0\.0\.1:9: .*; start `python -m dask scheduler`"
    )
    with refused, executor(runtime(dask="tcp://127.0.0.1:9")):
        raise AssertionError
