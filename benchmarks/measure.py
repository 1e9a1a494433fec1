"""Measure commands in a clone of the working tree: time, memory, and a description of the machine."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import yaml
from tabulate import tabulate

# A child's peak memory starts at what its parent holds when it forks. So this module, and those that start commands
# with it, import nothing large.

REPOSITORY = Path(__file__).resolve().parents[1]
README = Path(__file__).with_name("README.md")
WATCH_EVERY = 0.05  # seconds
MIB, GB = 1 << 20, 10**9


class Cost(NamedTuple):
    seconds: float
    rss: int  # bytes: peak of the largest process, with the files that it maps
    anonymous: int  # bytes: peak of the largest process, without them; 0 if not watched
    total: int  # bytes: peak of the sum over processes of their anonymous memory
    output: str


def _watch(pid: int) -> tuple[int, int]:
    """The peaks of anonymous memory until the process ends, of the largest process and of all together."""
    largest = total = 0
    process = psutil.Process(pid)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        sizes = [0]
        with suppress(psutil.Error):  # one has ended meanwhile: the next look sees the others
            for one in (process, *process.children(recursive=True)):
                memory = one.memory_info()
                sizes.append(memory.rss - memory.shared)
        largest, total = max(largest, *sizes), max(total, sum(sizes))
        time.sleep(WATCH_EVERY)
    return largest, total


class Clone:
    """A repository with the working tree's files, without the pipeline's outputs, to run commands in.

    Commands see none of the caller's variables, only an empty home and a PATH of the interpreter and the system.
    """

    def __init__(self, folder: Path):
        self.folder = folder / "clone"
        for name in ("clone", "home"):
            (folder / name).mkdir()
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
            "HOME": str(folder / "home"),
            "DVC_SITE_CACHE_DIR": str(folder / "home" / "dvc"),
        }
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=REPOSITORY, capture_output=True, text=True, check=True,
        ).stdout.split("\0")  # fmt: skip
        for name in listed:
            if name != "dvc.lock" and not name.startswith("reports/") and (REPOSITORY / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, self.folder / name)
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "benchmark")
        self.run("git", "config", "user.email", "benchmark@example.org")
        self.commit()

    def run(self, *command: str | Path, watch: bool = False, variables: Mapping[str, str] | None = None) -> Cost:
        """Run a command to its end; exit if it fails."""
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            start = time.perf_counter()
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment | (variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
            peaks = _watch(process.pid) if watch else (0, 0)
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
            process.returncode = os.waitstatus_to_exitcode(status)
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read())
        if process.returncode:
            sys.exit(f"error: {' '.join(map(str, command))}: ended with {process.returncode}\n{''.join(texts)}")
        return Cost(seconds, usage.ru_maxrss << 10, *peaks, texts[0])

    def stage(self, verb: str, watch: bool = False) -> Cost:
        """Run a stage alone, with its command from dvc.yaml, after removing its outputs and what it kept."""
        facts = yaml.safe_load((self.folder / "dvc.yaml").read_text())["stages"][verb]
        self.remove(".partial", *(out for out in facts.get("outs", []) if isinstance(out, str)))
        command = facts["cmd"].removeprefix("exec ").replace("${runtime.launcher}", "python").split()
        return self.run(*command, watch=watch)

    def remove(self, *names: str) -> None:
        for path in (self.folder / name for name in names):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def params(self) -> dict[str, Any]:
        return yaml.safe_load((self.folder / "params.yaml").read_text())

    def set(self, changes: dict[str, Any]) -> None:
        """Change parameters, named as `dvc exp run -S` names them."""
        params = self.params()
        for name, value in changes.items():
            *sections, key = name.split(".")
            section = params
            for part in sections:
                section = section[part]
            section[key] = value
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "state")


def machine() -> str:
    """The machine and the library versions, in one line."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "rasterio", "dvc"))
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB of memory, "
        f"{platform.system()}; Python {platform.python_version()}, {libraries}; "
        f"load average at the start {os.getloadavg()[0]:.1f}"
    )


def table(rows: list[dict[str, str | int]]) -> str:
    """Rows with the same keys in Markdown, the first column left-aligned."""
    sides = ("left", *["right"] * (len(rows[0]) - 1))
    return tabulate(rows, headers="keys", tablefmt="pipe", colalign=sides, disable_numparse=True)


def figure(value: float | None) -> str:
    """Three significant digits; a dash for what was not measured."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.{1 if value >= 10 else 2 if value >= 1 else 3}f}"


def publish(section: str, command: str, text: str, *, write_it: bool) -> None:
    """Print a result below the command that gave it and, if asked for, put it into the README."""
    content = f"`{command}`\n\n{text}"
    print(content)
    if write_it:
        write(section, content)


def write(section: str, text: str, page: Path = README) -> None:
    """Replace the text between the section's markers in the page."""
    start, end = f"<!-- {section} -->", f"<!-- /{section} -->"
    before, _, rest = page.read_text().partition(start)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{start}\n\n{text}\n\n{end}{after}")
