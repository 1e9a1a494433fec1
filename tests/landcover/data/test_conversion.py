import json
import os
import shutil
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
from tiny import REPOSITORY, Dataset, write_tile

from landcover import processes
from landcover.config import Runtime
from landcover.data import conversion, tensors
from landcover.data.patches import without_offset
from landcover.data.tables import read_tables
from landcover.errors import InputError
from landcover.processes import executor


def test_every_digital_number_scales_as_in_the_notebook():
    numbers = np.arange(1 << 16, dtype=np.uint16)
    notebook = np.clip(numbers.astype(float) / 10000, 0, 1).astype(np.float32)
    assert (conversion.to_reflectance(numbers) == notebook).all()


def test_the_offset_is_subtracted_and_only_nodata_is_zero():
    numbers = without_offset(np.array([0, 1, 1000, 1001, 1500, 11_000, 65_535], np.uint16), 1000)
    assert (numbers.dtype, numbers.tolist()) == (np.uint16, [0, 1, 1, 1, 500, 10_000, 64_535])
    assert conversion.to_reflectance(numbers).tolist() == pytest.approx([0, 1e-4, 1e-4, 1e-4, 0.05, 1, 1])


@pytest.fixture
def few_patches_a_shard(monkeypatch, tmp_path):
    monkeypatch.setattr(conversion, "PATCHES_PER_SHARD", 3)
    monkeypatch.chdir(tmp_path)


def convert(dataset: Dataset, pool: Executor | None = None, **changes) -> dict[str, bytes]:
    """The shards of five train, one val and two test patches, by name."""
    table = read_tables(dataset.root)
    table["split"] = ["train"] * 5 + ["val", "test", "test"]
    options = {"bands": ["B02"], "resampling": "nearest", "offset": 0} | changes
    with ThreadPoolExecutor(1) as alone:
        shards, summaries = conversion.convert(table, dataset.root, pool=pool or alone, **options)
    assert [int(summary.histogram.sum()) for summary in summaries.values()] == [5 * 14400, 14400, 2 * 14400]
    return {name: path.read_bytes() for name, path in shards.items()}


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The ids of the patches whose tiles are read."""
    read, found = conversion.read_patch, []
    monkeypatch.setattr(
        conversion, "read_patch", lambda root, name, *rest: found.append(name) or read(root, name, *rest)
    )
    return found


def test_more_patches_than_a_shard_holds_go_on_in_the_next(dataset, few_patches_a_shard, tmp_path):
    made = convert(dataset)
    assert list(made) == [
        "train-00000.safetensors", "train-00001.safetensors", "val-00000.safetensors", "test-00000.safetensors"
    ]  # fmt: skip
    for name, content in made.items():
        (tmp_path / name).write_bytes(content)
    train = tensors.load_split(tmp_path, "train")
    assert train.images[:, 0, 0, 0].tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])


def test_shards_that_are_done_are_not_read_again(dataset, few_patches_a_shard, reads):
    first = convert(dataset)
    assert reads == dataset.ids
    (conversion.UNFINISHED / next(iter(sorted(p.name for p in conversion.UNFINISHED.glob("*.safetensors"))))).unlink()
    reads.clear()
    assert convert(dataset) == first
    assert len(reads) in (1, 2, 3)  # those of the shard that is gone
    for path in conversion.UNFINISHED.iterdir():
        path.write_bytes(bytes(50))  # as a crash of the machine may leave them
        reads.clear()
        assert convert(dataset) == first
        assert 1 <= len(reads) <= 3


@pytest.mark.parametrize("change", ["tile", "label", "offset", "bands", "code"])
def test_nothing_is_taken_up_that_was_made_of_something_else(dataset, few_patches_a_shard, reads, change, monkeypatch):
    before = convert(dataset)
    reads.clear()
    options, expected = {}, dataset.ids
    if change == "tile":
        path = dataset.tile(dataset.ids[4], "B02")
        facts = path.stat()
        write_tile(path, np.full((120, 120), 7, np.uint16))
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # of the same size, and of the old date
        expected = dataset.ids[3:5]
    elif change == "label":
        dataset.cover[5] |= {"cropland": 0.0, "grassland": 0.75}
        dataset.write_tables()
        expected = dataset.ids[5:6]
    elif change == "offset":
        options = {"offset": 50}
    elif change == "bands":
        options = {"bands": ["B08"]}
    else:
        monkeypatch.setattr(conversion.partial, "code", lambda *libraries: ["another"])
    after = convert(dataset, **options)
    assert reads == expected
    if change == "bands":
        assert before.keys() == after.keys()
    elif change != "code":
        assert after != before


def test_a_shard_without_a_good_patch_is_remembered_too(dataset, few_patches_a_shard, reads):
    for patch_id in dataset.ids[3:5]:
        dataset.tile(patch_id, "B02").unlink()
    table = read_tables(dataset.root).assign(split="train")
    options = {"bands": ["B02"], "resampling": "nearest", "offset": 0}
    with ThreadPoolExecutor(1) as pool:
        for expected in (dataset.ids, []):
            reads.clear()
            shards, summaries = conversion.convert(table.iloc[:5], dataset.root, pool=pool, **options)
            assert reads == expected[:5]
            assert list(shards) == ["train-00000.safetensors"]
            assert summaries["train"].problems == dict.fromkeys(dataset.ids[3:5], "B02 is missing")


def runtime(**changes) -> Runtime:
    defaults = yaml.safe_load((REPOSITORY / "params.yaml").read_text())["runtime"]
    return Runtime.model_validate(defaults | changes)


def test_a_killed_worker_is_told_and_its_parent_takes_the_others_along():
    with (
        pytest.raises(InputError, match=r"one of 1 helper processes was killed, .* lower runtime.workers"),
        executor(runtime(workers=1)) as pool,
    ):
        pool.submit(os.kill, pool.submit(os.getpid).result(), signal.SIGKILL).result()

    code = """if True:
        import os, time, yaml
        from landcover import config
        from landcover.processes import executor
        runtime = config.validate("runtime", config.Runtime, yaml.safe_load(open("params.yaml"))["runtime"])
        with executor(runtime) as pool:
            print(pool.submit(os.getpid).result(), flush=True)
            time.sleep(60)"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


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


@pytest.fixture
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    found = Cluster(tmp_path_factory.mktemp("cluster"))
    yield found
    for process in found.processes:
        process.kill()
        process.wait()


def test_a_cluster_writes_the_same_bytes_and_survives_the_death_of_a_worker(
    tmp_path, monkeypatch, default_params, cluster
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(conversion, "PATCHES_PER_SHARD", 1)
    dataset = Dataset(tmp_path / "many", [0, 3] * 60, ("B02",))
    table = read_tables(dataset.root).assign(split="train")
    options = {"bands": ["B02"], "resampling": "nearest", "offset": 0}

    def convert(settings: Runtime) -> tuple[dict[str, bytes], int]:
        with executor(settings) as pool:
            shards, summaries = conversion.convert(table, dataset.root, pool=pool, **options)
        made = {name: path.read_bytes() for name, path in shards.items()}
        shutil.rmtree(conversion.UNFINISHED)
        return made, int(summaries["train"].histogram.sum())

    def kill_one() -> None:
        while len(list(conversion.UNFINISHED.glob("*.summary"))) < 5:
            time.sleep(0.002)
        cluster.workers[0].kill()
        left.append(120 - len(list(conversion.UNFINISHED.glob("*.summary"))))

    local = convert(runtime())
    left: list[int] = []
    killer = threading.Thread(target=kill_one)
    killer.start()
    assert convert(runtime(dask=cluster.address)) == local, cluster.logs()
    killer.join()
    assert left[0] > 0
    assert len(local[0]) == 120


def test_the_stage_converts_on_a_cluster(dataset, run_stage, tmp_path, cluster):
    params = {
        "dataset": "tiny",
        "datasets": {"tiny": {"source": "x", "split": {"method": "order", "train": 4, "val": 2, "test": 2}}},
        "bands": ["B02", "B08"],
    }
    made = {}
    for dask in (None, cluster.address):
        done = run_stage("preprocess", "data/patches", "t", "d.json", params=params | {"runtime": {"dask": dask}})
        assert (done.returncode, done.stderr) == (0, ""), cluster.logs()
        made[dask] = [path.read_bytes() for path in sorted((tmp_path / "t").iterdir())]
    assert made[None] == made[cluster.address]
    # So distributed tells that the scheduler was started elsewhere, and does not find the code.
    refused = pytest.raises(InputError, match="start it in the repository with `python -m dask scheduler`")
    with refused, executor(runtime(dask=cluster.address)):
        raise RuntimeError("Error during deserialization of the task graph. This frequently\noccurs if ...")
    assert not (tmp_path / conversion.UNFINISHED).exists()


def test_a_cluster_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(processes, "DASK_TIMEOUT", 0.5)
    refused = pytest.raises(
        InputError, match=r"runtime\.dask = tcp://127\.0\.0\.1:9: .*; start `python -m dask scheduler`"
    )
    with refused, executor(runtime(dask="tcp://127.0.0.1:9")):
        raise AssertionError
