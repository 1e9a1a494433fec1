"""The faults that the pipeline must survive.

A fault is a function of the arena and of a seeded generator that draws its moments and sizes. It returns how many
faults it injected and what failed.
"""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import yaml

from torture.arena import LINGER, PATIENCE, Arena, Ended, Running, Victim, differences

MOST_KILLS = 3  # of one run
DISK = 256 << 20  # bytes of a disk that is then filled up
PAGE = 4096
FILLER = ".filler"
KEEPERS = ("download", "preprocess", "train", "repeat")  # stages that keep something in .partial
# By the stage itself; by the signal, while the stage still imports or has done all, as dvc or its shell tells it.
INTERRUPTED = ("130", "-2", "-15", "143")
SETTLED = 3  # runs that may be needed after a kill that left a stage at work


class SkipError(Exception):
    """This machine does not permit the fault; says why."""


@dataclass
class Outcome:
    injected: int = 0
    bad: list[str] = field(default_factory=list)  # what was lost or failed otherwise
    remedies: list[str] = field(default_factory=list)  # what it took beyond one more `dvc repro`


Fault = Callable[[Arena, random.Random], Outcome]


# -- killed


def strike(running: Running, stage: psutil.Process, sign: signal.Signals, target: str) -> bool:
    """Send the signal to `all` of dvc and its stage, as a terminal's Ctrl-C does, or to one; False if they ended."""
    if running.process.poll() is not None or (target != "all" and not stage.is_running()):
        return False
    with suppress(psutil.NoSuchProcess, ProcessLookupError):
        if target == "all":
            os.killpg(running.process.pid, sign)
        elif target == "stage":
            stage.send_signal(sign)
        else:
            running.process.send_signal(sign)
    return True


def mend(victim: Victim, outcome: Outcome) -> None:
    """DVC writes its list of readers and writers in place, and refuses to go on after one that it wrote half."""
    path = victim.folder / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(path.read_text() if path.is_file() else "{}")
    except ValueError:
        path.unlink()
        outcome.remedies.append("`rm .dvc/tmp/rwlock`, which dvc was writing when it was killed")


def cut_off(entry: str, whole: str) -> bool:
    """Whether DVC was stopped while it wrote the last entry of its lock; it runs that stage again."""
    return whole.startswith(re.sub(r"(None)?['\]}]*$", "", entry))


def after_kill(arena: Arena, outcome: Outcome, ended: Ended, victim: Victim, sign: signal.Signals, target: str) -> None:
    """What is wrong at once: processes left, a status that DVC would take for success, a record of something else."""
    bad = outcome.bad
    if ended.code is None:
        bad.append("dvc hung")
    mend(victim, outcome)
    if target != "dvc":
        bad += victim.processes()
        status = ended.output.rpartition("exited with ")[2].split()[:1] if "exited with " in ended.output else []
        if status and sign != signal.SIGKILL and status[0] not in INTERRUPTED:
            bad.append(f"the stage exited with {status[0]} after {sign.name}\n{ended.output}")
    try:
        lock = victim.lock()
    except yaml.YAMLError as error:
        bad.append(f"dvc.lock cannot be read: {error}")
        return
    for stage, entry in lock.items():
        whole = arena.expected.get(f"dvc.lock: {stage}", "")
        if str(entry) != whole and not (stage == list(lock)[-1] and cut_off(str(entry), whole)):
            bad.append(f"dvc.lock records another {stage}")


def settle(victim: Victim, expected: dict[str, str], outcome: Outcome, *stages: str, orphans: bool = False) -> str:
    """A plain `dvc repro` must end with what an undisturbed run makes, and leave nothing behind; returns its output."""
    output = ""
    for attempt in range(SETTLED if orphans else 1):
        ended = victim.repro(*stages)
        output += ended.output
        if attempt:
            outcome.remedies.append("run dvc repro once more, since the orphan of a killed dvc was still running")
        left = victim.leftovers() if ended.code == 0 else []
        wrong = differences(victim.made(), expected) if ended.code == 0 else [f"dvc repro fails\n{ended.output}"]
        if not left + wrong:
            break
    outcome.bad += left + wrong + damaged_objects(victim.folder / ".dvc" / "cache")
    return output


def damaged_objects(cache: Path) -> list[str]:
    """Objects of DVC's cache that are not what their name says."""
    found = []
    for path in (cache / "files" / "md5").glob("??/*"):
        name = (path.parent.name + path.name).removesuffix(".dir")
        if len(name) == 32 and hashlib.md5(path.read_bytes()).hexdigest() != name:
            found.append(f"damaged in the cache: {name}")
    return found


def killed(arena: Arena, rng: random.Random, *, stage: str, sign: signal.Signals, target: str) -> Outcome:
    """Kill `dvc repro` in a stage, up to three times; then a plain one goes on where it was and ends as undisturbed."""
    outcome, victim = Outcome(), arena.victim(stage)
    for _ in range(rng.randint(1, MOST_KILLS)):
        running = victim.start("dvc", "repro", *arena.targets)
        if process := running.wait_for(stage):
            time.sleep(rng.uniform(0, arena.seconds[stage]))
            if strike(running, process, sign, target):
                outcome.injected += 1
            else:
                arena.seconds[stage] *= 0.8  # it was measured on a busier machine
        ended = running.end()
        after_kill(arena, outcome, ended, victim, sign, target)
    # What an orphan keeps it goes on with itself.
    size, epochs = (0, []) if target == "dvc" else (victim.bytes_kept(), victim.epochs_kept())
    arena.source.ranges.clear()
    output = settle(victim, arena.expected, outcome, *arena.targets, orphans=target == "dvc")
    if 0 < size < len(arena.source.body) and f"bytes={size}-" not in arena.source.ranges:
        outcome.bad.append(f"{size} bytes were kept, but the requested ranges were {arena.source.ranges}")
    for count in epochs:
        whole = count == victim.params()["train"]["epochs"]  # nothing was left to resume
        if not whole and f"resuming after epoch {count}\n" not in output:
            outcome.bad.append(f"{count} epochs were kept, but training did not resume after them\n{output}")
    return outcome


def killed_anywhere(arena: Arena, rng: random.Random) -> Outcome:
    """Kill dvc and what it runs at any moment of a run from nothing."""
    outcome, victim = Outcome(), arena.victim()
    victim.forget()
    for _ in range(MOST_KILLS):
        running, sign = victim.start("dvc", "repro"), rng.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(rng.uniform(0, sum(arena.seconds.values())))
        outcome.injected += running.process.returncode is None
        with suppress(ProcessLookupError):
            os.killpg(running.process.pid, sign)
        after_kill(arena, outcome, running.end(), victim, sign, "all")
    settle(victim, arena.expected, outcome)
    return outcome


# -- changed between the kill and the next run


def set_to(arena: Arena, victim: Victim, **values: Any) -> None:
    victim.set({name.replace("__", "."): value for name, value in values.items()})


def edit(arena: Arena, victim: Victim, path: str, old: str, new: str) -> None:
    text = (victim.folder / path).read_text()
    if old not in text:
        raise SkipError(f"{path} has no {old!r} to change")
    (victim.folder / path).write_text(text.replace(old, new))


def publish_another(arena: Arena, victim: Victim) -> None:
    arena.source.body = arena.archives[1]
    victim.forget("download")


CHANGES = {
    "another archive at the same URL": (publish_another, ["download"]),
    "bands": (partial(set_to, bands=["B02", "B08"]), ["unpack", "preprocess"]),
    "preprocess.offset": (partial(set_to, preprocess__offset=50), ["preprocess", "train"]),
    "train.learning_rate": (partial(set_to, train__learning_rate=0.0003), ["train", "repeat"]),
    "evaluate.seed": (partial(set_to, evaluate__seed=1), ["baseline", "evaluate", "report"]),
    "the code of conversion": (
        partial(
            edit, path="landcover/dataset/conversion.py", old="PATCHES_PER_SHARD = 100", new="PATCHES_PER_SHARD = 7"
        ),
        ["preprocess"],
    ),
    "the code of training": (
        partial(edit, path="landcover/network/training.py", old='"fused": True', new='"fused": True, "eps": 1e-6'),
        ["train", "repeat"],
    ),
}


def changed(arena: Arena, rng: random.Random, *, stage: str, change: str) -> Outcome:
    """Kill a stage, change what it is made of, run again: nothing that the first run kept is in what comes out."""
    apply = partial(CHANGES[change][0], arena)
    try:
        expected = arena.expect(change, apply, stage)
        arena.source.body = arena.archives[0]
        outcome, victim = Outcome(), arena.victim(stage)
        running = victim.start("dvc", "repro", stage)
        if process := running.wait_for(stage):
            time.sleep(rng.uniform(0.3, 0.9) * arena.seconds[stage])
            outcome.injected += strike(running, process, signal.SIGKILL, rng.choice(["all", "stage"]))
        after_kill(arena, outcome, running.end(), victim, signal.SIGKILL, "all")
        with suppress(KeyError):  # dvc.lock has no download to forget any more
            apply(victim)
        settle(victim, expected, outcome, stage)
    finally:
        arena.source.body = arena.archives[0]
    return outcome


def orphaned(arena: Arena, rng: random.Random, *, sign: signal.Signals) -> Outcome:
    """End dvc alone in a long training, and run a short one: what the orphan then writes must not be taken for it."""
    short = partial(set_to, arena, train__epochs=2)
    expected, outcome, victim = arena.expect("train.epochs", short, "evaluate"), Outcome(), arena.victim()
    victim.set({"train.epochs": 400})
    running = victim.start("dvc", "repro", "evaluate")
    orphan = running.wait_for("train")
    time.sleep(rng.uniform(0.3, 0.7) * arena.seconds["train"])
    outcome.injected += strike(running, orphan, sign, "dvc")
    running.end()
    mend(victim, outcome)
    short(victim)
    # As if it had far more to do. (Not before dvc ended: that would have the kernel hang up on its stopped child.)
    orphan.suspend()
    running = victim.start("dvc", "repro", "evaluate")
    running.wait_for("train")
    deadline = time.monotonic() + LINGER
    while (now := running.stage()) and now[0] == "train" and time.monotonic() < deadline:
        time.sleep(0.05)
    orphan.resume()
    ended = running.end()
    orphan.wait(PATIENCE)
    if wrong := differences(victim.made(), expected):
        outcome.bad += [*wrong, f"though dvc repro ended with {ended.code}\n{ended.output}"]
    outcome.bad += victim.leftovers()
    return outcome


# -- full disks, folders that cannot be written to


def mount(*arguments: str | Path) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SkipError(f"may not mount: {done.stderr.strip()}")


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[int | None], None]]:
    """A disk of its own for a folder; yields a function that leaves so many bytes free on it, or all."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True, symlinks=True)
        mount("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder)
        shutil.copytree(aside, folder, dirs_exist_ok=True, symlinks=True)
    filler = folder / FILLER

    def leave(free: int | None) -> None:
        filler.unlink(missing_ok=True)
        if free is None:
            return
        with open(filler, "wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 20)):
                pass
        os.truncate(filler, max(0, filler.stat().st_size - free) // PAGE * PAGE)

    try:
        yield leave
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    mount("--bind", folder, folder)
    try:
        mount("-o", "remount,bind,ro", folder)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def forbidden(folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o555)
    yield
    folder.chmod(0o755)


def without_privilege() -> list[str]:
    """What a command is run by to respect the modes of files, which root does not."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        raise SkipError("root ignores the modes of files, and there is no setpriv to make it respect them")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def folders(victim: Victim, stage: str) -> dict[str, int]:
    """Where a stage writes, and about how many bytes."""
    found: dict[str, int] = {}
    for path in victim.outputs(stage):
        size = sum(p.stat().st_size for p in [path, *path.rglob("*")] if p.is_file())
        name = path.relative_to(victim.folder).parts[0]
        found[name] = found.get(name, 0) + size
    return found | ({".partial": max(found.values())} if stage in KEEPERS else {})


def refused(outcome: Outcome, arena: Arena, victim: Victim, stage: str, *prefix: str) -> None:
    """A stage that cannot write must say so in one line, and nothing is half there."""
    code, stderr = victim.call(stage, *prefix)
    if not code:
        return  # there was room enough
    outcome.injected += 1
    lines = [line for line in stderr.splitlines() if not line.startswith("resuming after epoch")]
    told = code == 1 and len(lines) == 1 and lines[0].startswith("error: ")
    harmed = [name for name, digest in victim.made().items() if arena.expected.get(name, "") != digest]
    parts = [str(path) for path in victim.folder.rglob(".*.part") if ".dvc" not in path.parts]
    outcome.bad += [] if told else [f"exited with {code} and printed:\n{stderr}"]
    outcome.bad += [f"half-written: {name}" for name in harmed if FILLER not in name]
    outcome.bad += [f"left behind: {path}" for path in parts]


def works(outcome: Outcome, arena: Arena, victim: Victim, stage: str) -> None:
    code, stderr = victim.call(stage)
    outcome.bad += [f"fails afterwards: {stderr}"] if code else differences(victim.made(), arena.expected)
    outcome.bad += victim.leftovers()


def unwritable(arena: Arena, rng: random.Random, *, stage: str, how: str, where: str = "") -> Outcome:
    """Refuse a stage each folder that it writes to, or one of them; once it may, it runs as ever."""
    outcome = Outcome()
    for name, size in folders(arena.finished, stage).items():
        if where not in ("", name):
            continue
        victim = arena.victim()
        folder = victim.folder / name
        bad = partial(refused, outcome, arena, victim, stage)
        if how == "full":
            with small_disk(folder) as leave:
                for free in (0, int(rng.uniform(0, size))):
                    leave(free)
                    bad()
                leave(None)
                works(outcome, arena, victim, stage)
            continue
        with read_only(folder) if how == "read-only" else forbidden(folder):
            bad(*([] if how == "read-only" else without_privilege()))
        works(outcome, arena, victim, stage)
    return outcome


def full_cache(arena: Arena, rng: random.Random) -> Outcome:
    """Fill the disk of DVC's cache: DVC fails, the cache keeps no half object, and with room it goes on."""
    outcome, victim = Outcome(), arena.victim()
    victim.forget()
    cache = victim.folder / ".dvc" / "cache"
    with small_disk(cache) as leave:
        leave(int(rng.uniform(0, 1.5 * len(arena.source.body))))
        ended = victim.repro()
        outcome.injected += bool(ended.code)
        after_kill(arena, outcome, ended, victim, signal.SIGKILL, "all")
        outcome.bad += damaged_objects(cache)
        leave(None)
        settle(victim, arena.expected, outcome)
    return outcome


# -- at once


def shared_cache(arena: Arena, rng: random.Random) -> Outcome:
    """Two clones run at once, with one cache and other parameters; one of them is killed and run again."""
    outcome, cache = Outcome(injected=1), arena.folder / f"cache-{rng.random()}"
    pairs = []
    for change in rng.sample(["bands", "preprocess.offset", "train.learning_rate"], 2):
        apply = partial(CHANGES[change][0], arena)
        expected = arena.expect(change, apply)
        victim = arena.victim()
        victim.forget()
        apply(victim)
        victim.run("dvc", "config", "--local", "cache.dir", str(cache))
        pairs.append((victim, expected))
    running = [victim.start("dvc", "repro") for victim, _ in pairs]
    time.sleep(rng.uniform(0, sum(arena.seconds.values())))
    os.killpg(running[0].process.pid, signal.SIGKILL)
    running[0].end()
    mend(pairs[0][0], outcome)
    running[0] = pairs[0][0].start("dvc", "repro")
    for (victim, expected), ended in zip(pairs, [each.end() for each in running], strict=True):
        if ended.code:
            outcome.bad.append(f"dvc repro fails beside another\n{ended.output}")
        outcome.bad += differences(victim.made(), expected) + victim.leftovers()
    for victim, expected in pairs:
        victim.remove("data/archive.tar.gz", "data/tensors", "models/model.safetensors")
        victim.run("dvc", "checkout")
        outcome.bad += differences(victim.made(), expected)
    outcome.bad += damaged_objects(cache)
    return outcome


def queued(arena: Arena, rng: random.Random) -> Outcome:
    """Three experiments in DVC's queue, two at a time: each has the reports of the same parameters run alone."""
    outcome, victim = Outcome(injected=3), arena.victim()
    rates = {f"rate-{rate}": rate for rate in rng.sample([0.0002, 0.0003, 0.0005, 0.001], 3)}
    for name, rate in rates.items():
        victim.run("dvc", "exp", "run", "--queue", "--name", name, "-S", f"train.learning_rate={rate}")
    victim.run("dvc", "exp", "run", "--run-all", "--jobs", "2")
    refs = victim.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").output.split()
    for name, rate in rates.items():
        expected = arena.expect(name, partial(set_to, arena, train__learning_rate=rate))
        matching = [ref for ref in refs if ref.endswith(f"/{name}")]
        if not matching:
            outcome.bad.append(f"{name} has no result")
            continue
        found = arena.victim()
        found.remove("reports", "dvc.lock")
        found.run("git", "fetch", "--quiet", str(victim.folder), matching[0])
        found.run("git", "checkout", "FETCH_HEAD", "--", "reports", "dvc.lock")
        both = [{key: value for key, value in made.items() if key.startswith(("reports", "dvc.lock"))}
                for made in (found.made(), expected)]  # fmt: skip
        outcome.bad += [f"{name}: {text}" for text in differences(*both)]
        shutil.rmtree(found.folder.parent)
    outcome.bad += victim.processes(PATIENCE)  # DVC's workers wait for more work before they end
    return outcome


# -- all of them


def plan(stages: list[str]) -> list[tuple[str, Fault]]:
    """Each fault with the row of the table that it belongs to, in the order in which they are tried."""
    found: list[tuple[str, Fault]] = []
    targets = {"all": "dvc and its stage", "stage": "the stage alone", "dvc": "dvc alone"}
    for stage in stages:
        for sign in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            for target, words in targets.items():
                if (sign, target) != (signal.SIGINT, "dvc"):  # which dvc ignores while a stage runs
                    found.append((f"{sign.name} to {words}", partial(killed, stage=stage, sign=sign, target=target)))
        for how, words in {
            "full": "a full disk",
            "read-only": "a read-only disk",
            "mode": "a folder of mode 555",
        }.items():
            found.append((words, partial(unwritable, stage=stage, how=how)))
    for change, (_, killed_in) in CHANGES.items():
        for stage in killed_in:
            found.append(("SIGKILL, then a change", partial(changed, stage=stage, change=change)))
    for sign in (signal.SIGKILL, signal.SIGTERM):
        found.append((f"{sign.name} to dvc alone, then a change", partial(orphaned, sign=sign)))
    found += [("any signal at any moment of a run from scratch", killed_anywhere)] * 3
    found += [("DVC's cache on a full disk", full_cache)] * 2
    found.append(("two concurrent runs with a shared cache, one killed", shared_cache))
    found.append(("three queued experiments, two at a time", queued))
    return found
