"""The setting of the faults: clones of the working tree, an undisturbed run to compare with, and a slow server."""

import copy
import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import psutil
import yaml

from benchmarks.measure import Clone
from landcover.dataset import tensors
from landcover.sample import writer

PATCHES = 40
SMALL = {
    "train.epochs": 60,  # a second or two of them
    "repeat.seeds": [1, 2],
    "evaluate.resamples": 200,
    "runtime.threads": 1,
    "runtime.workers": 2,
}
SPLIT = {"method": "order", "train": 24, "val": 8, "test": 8}
PIECE, PAUSE = 1 << 16, 0.01  # a megabyte takes a sixth of a second
PATIENCE = 120  # seconds that a run may take, many times what it takes on a busy machine
LINGER = 5  # seconds that processes may take to end after what they belong to
MADE = ("data", "models", "reports", "dvc.lock")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        source: Source = self.server
        body, etag = source.body, f'"{hashlib.md5(source.body).hexdigest()}"'
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        source.ranges.append(self.headers.get("Range"))
        start = int(wanted[1]) if wanted and self.headers.get("If-Range", etag) == etag else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        with suppress(ConnectionError):  # a client that was killed
            for place in range(start, len(body), PIECE):
                self.wfile.write(body[place : place + PIECE])
                time.sleep(source.pause)

    def log_message(self, *_: Any) -> None:
        pass


class Source(ThreadingHTTPServer):
    """Serves one archive on loopback, slowly; `ranges` are the Range headers that it was asked with."""

    daemon_threads = True

    def __init__(self, body: bytes):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.body, self.pause, self.ranges = body, PAUSE, []
        self.url = f"http://127.0.0.1:{self.server_port}/small.tar.gz"
        Thread(target=self.serve_forever, daemon=True).start()


class Ended(NamedTuple):
    code: int | None  # None if it hung
    output: str


class Running:
    """A command in a process group of its own, as a terminal has it."""

    def __init__(self, victim: "Victim", *command: str):
        self.victim = victim
        # A file, since whoever reads a pipe would wait for the orphans that hold it open.
        self._log = open(victim.home / "log", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            command, cwd=victim.folder, env=victim.environment, process_group=0,
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def stage(self) -> tuple[str, psutil.Process] | None:
        """The stage that runs now, and its process."""
        with suppress(psutil.Error):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    arguments = child.cmdline()[1:]
                    # `-m stages <stage>`, by python itself or by torchrun
                    if "stages" in arguments[:-1] and child.status() != psutil.STATUS_ZOMBIE:
                        return arguments[arguments.index("stages") + 1], child
        return None

    def wait_for(self, *stages: str) -> psutil.Process | None:
        """The process of one of `stages` once it began; None if the command ends before."""
        while self.process.poll() is None:
            found = self.stage()
            if found and found[0] in stages:
                return found[1]
            time.sleep(0.01)
        return None

    def end(self) -> Ended:
        """Wait for its end; a command that hangs is killed and told by the code None."""
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            code = None
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self._log.seek(0)
        with self._log:
            return Ended(code, self._log.read())


class Victim(Clone):
    """A repository to do harm to.

    `benchmarks.measure.Clone` makes the first, of the working tree and without any of the caller's variables; the
    others are copies of it.
    """

    @property
    def home(self) -> Path:
        return self.folder.parent / "home"

    def copy(self, folder: Path) -> "Victim":
        other = copy.copy(self)
        other.folder = folder / "clone"
        shutil.copytree(self.folder, other.folder, symlinks=True)
        (folder / "home").mkdir()
        other.environment = self.environment | {"HOME": str(other.home), "DVC_SITE_CACHE_DIR": str(other.home / "dvc")}
        return other

    def start(self, *command: str) -> Running:
        return Running(self, *command)

    def repro(self, *stages: str) -> Ended:
        return self.start("dvc", "repro", *stages).end()

    def command(self, stage: str) -> list[str]:
        stages = yaml.safe_load((self.folder / "dvc.yaml").read_text())["stages"]
        return stages[stage]["cmd"].replace("${runtime.launcher}", "python").split()

    def call(self, stage: str, *prefix: str) -> tuple[int, str]:
        """Run a stage without DVC: its exit code, and its stderr."""
        done = subprocess.run(
            [*prefix, *self.command(stage)], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=PATIENCE,
        )  # fmt: skip
        return done.returncode, done.stderr

    def outputs(self, stage: str) -> list[Path]:
        return [self.folder / out["path"] for out in self.lock()[stage].get("outs", [])]

    def lock(self) -> dict[str, Any]:
        """What dvc.lock says, stage by stage."""
        path = self.folder / "dvc.lock"
        return ((yaml.safe_load(path.read_text()) or {}).get("stages") or {}) if path.is_file() else {}

    def forget(self, *stages: str) -> None:
        """As if `stages`, by default all, had never run here."""
        self.remove(".dvc/cache/runs")
        if not stages:
            self.remove(*MADE[1:], "data/archive.tar.gz", "data/patches", "data/tensors", ".dvc/cache")
            return
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        for stage in stages:
            self.remove(*(out["path"] for out in lock["stages"].pop(stage)["outs"]))
        (self.folder / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))

    def made(self) -> dict[str, str]:
        """All that the pipeline made, dvc.lock's meaning and the bytes of the rest."""
        files = [p for name in MADE for p in (self.folder / name).rglob("*") if p.is_file() and p.name != ".gitignore"]
        digests = {str(p.relative_to(self.folder)): hashlib.md5(p.read_bytes()).hexdigest() for p in files}
        return digests | {f"dvc.lock: {stage}": str(entry) for stage, entry in self.lock().items()}

    def leftovers(self) -> list[str]:
        """What a pipeline that is done should not have left: kept pieces, half-written files, processes."""
        parts = [p for p in self.folder.rglob(".*.part") if ".dvc" not in p.parts]
        kept = [p for p in (self.folder / ".partial").rglob("*") if p.is_file() and p not in parts]
        return [str(path.relative_to(self.folder)) for path in parts + kept] + self.processes()

    def processes(self, seconds: float = LINGER) -> list[str]:
        """Those that are still at work here after so many seconds."""
        deadline = time.monotonic() + seconds
        while True:
            found = []
            for process in psutil.process_iter(["pid", "cwd", "cmdline", "status"]):
                facts = process.info
                if str(facts["cwd"]).startswith(str(self.folder)) and facts["status"] != psutil.STATUS_ZOMBIE:
                    found.append(f"process {facts['pid']}: {' '.join(facts['cmdline'] or [])}")
            if not found or time.monotonic() > deadline:
                return found
            time.sleep(0.05)

    def epochs_kept(self) -> list[int]:
        """The epochs that are done in each training that is under way."""
        kept = (self.folder / ".partial").glob("*-*.safetensors")
        return [len(tensors.load(path)[1]["history"]) for path in kept if not path.name.startswith(".")]

    def bytes_kept(self) -> int:
        """How far a download that is under way came."""
        return sum(path.stat().st_size for path in (self.folder / ".partial").glob("*.tar.gz"))


def archive(folder: Path, seed: int) -> bytes:
    writer.write_sample(folder / "archive.tar.gz", patches=PATCHES, seed=seed)
    return (folder / "archive.tar.gz").read_bytes()


class Arena:
    """A victim in which the pipeline ran undisturbed, and what came out; others are held against it.

    Args:
        targets: the stages that are run, with those before them; by default all.
    """

    def __init__(self, folder: Path, params: dict[str, Any], *targets: str):
        self.folder, self.targets, self._count = folder, targets, 0
        self.archives = [archive(folder, seed) for seed in (0, 1)]
        self.source = Source(self.archives[0])
        (folder / "0").mkdir()
        self.finished = Victim(folder / "0")
        self.finished.environment["PYTHONUNBUFFERED"] = "1"
        datasets = {"small": {"source": self.source.url, "split": SPLIT}}
        self.finished.set(params | {"dataset": "small", "datasets": datasets})
        self.finished.commit()
        self.seconds = self._run_watched()
        self.finished.commit()
        self.stages = list(self.seconds)
        self.expected = self.finished.made()
        self._others: dict[str, dict[str, str]] = {}

    def _run_watched(self) -> dict[str, float]:
        """Run the pipeline to its end: how long each of its stages takes."""
        running, began = self.finished.start("dvc", "repro", *self.targets), {}
        while running.process.poll() is None:
            if found := running.stage():
                first, _ = began.get(found[0], (time.monotonic(), 0))
                began[found[0]] = first, time.monotonic()
            time.sleep(0.01)
        if (ended := running.end()).code:
            raise SystemExit(f"error: the pipeline fails undisturbed: fix it first\n{ended.output}")
        return {stage: last - first for stage, (first, last) in began.items()}

    def victim(self, *forgotten: str) -> Victim:
        """A copy of the finished repository, in which the stages named never ran."""
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir()
        found = self.finished.copy(folder)
        found.forget(*forgotten) if forgotten else found.remove(".dvc/cache/runs")
        return found

    def expect(self, name: str, change: Callable[[Victim], None], *stages: str) -> dict[str, str]:
        """What an undisturbed run of `stages`, by default all, makes after `change`; run once for each name."""
        if (key := f"{name} {stages}") not in self._others:
            victim = self.victim()
            change(victim)
            if (ended := victim.repro(*stages)).code:
                raise SystemExit(f"error: {name} fails undisturbed\n{ended.output}")
            self._others[key] = victim.made()
            shutil.rmtree(victim.folder.parent)
        return self._others[key]


def differences(found: dict[str, str], expected: dict[str, str]) -> list[str]:
    names = [name for name in sorted(found.keys() | expected.keys()) if found.get(name) != expected.get(name)]
    return [f"differs: {', '.join(names)}"] if names else []
