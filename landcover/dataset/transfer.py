"""From a URL to a file that is whole: resumed where it broke off, and verified against what its publisher says.

Requests and a loop, because a transfer that broke off should go on where it stopped: pooch verifies and moves
atomically but throws the part away, and zenodo_get, which knows Zenodo's records only, skips the files that are
whole but begins a broken one anew. DVC empties its outputs when a stage starts, so the part waits in `.partial/`,
with the version of the file that it is of beside it.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from time import sleep
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote, urljoin, urlsplit

import requests
import urllib3
from tqdm import tqdm

from landcover.ground import files
from landcover.ground.errors import InputError, redact
from landcover.ground.params import PARAMS
from landcover.ground.partial import PARTIAL

TIMEOUT = (15, 60)  # seconds: to connect, and between two reads
ATTEMPTS = 6  # in a row without a new byte
BACKOFF = 0.5  # seconds, doubled with each attempt
MAX_WAIT = 120  # seconds, whatever a Retry-After asks for
MAX_REDIRECTS = 10
CHUNK = 1 << 20

# InvenioRDM, the software of Zenodo and of other repositories, has one layout on any host: (origin, host, id, name).
RECORD = re.compile(r"(https?://([^/?#]+))/(?:api/)?records?/([a-z0-9-]+)/files/([^/?#]+)", re.IGNORECASE)
ZENODO = ("zenodo.org", "sandbox.zenodo.org")
CONTENT_RANGE = re.compile(r"bytes (\d+)-")

GZIP_MAGIC = b"\x1f\x8b"
HEAD = 512  # bytes looked at to tell what a file is
# Other archives, by where their first bytes have what.
OTHERS = {"tar": (257, b"ustar"), "tar.zst": (0, b"\x28\xb5\x2f\xfd"), "zip": (0, b"PK"), "tar.xz": (0, b"\xfd7zXZ"),
          "tar.bz2": (0, b"BZh"), "7z": (0, b"7z\xbc\xaf")}  # fmt: skip

T = TypeVar("T")


class _TransientError(Exception):
    """Something that may go better next time, `retry_after` seconds from now or later."""

    def __init__(self, message: str, retry_after: float = 0):
        super().__init__(message)
        self.retry_after = retry_after


def _insist(attempt: Callable[[], T], reached: Callable[[], int] = lambda: 0) -> T:
    """Repeat `attempt` over transient errors, until ATTEMPTS in a row did not push `reached` (bytes) further."""
    furthest, failures = reached(), 0
    while True:
        try:
            return attempt()
        except _TransientError as error:
            failures = 0 if reached() > furthest else failures + 1
            furthest = max(furthest, reached())
            if failures == ATTEMPTS:
                goal = f", to go on from byte {reached()}" if reached() else ""
                raise InputError(
                    f"{error}, {ATTEMPTS} times in vain; check the network, run again later{goal}"
                ) from None
            wait = min(MAX_WAIT, max(error.retry_after, BACKOFF * 2**failures))
            print(redact(f"{error}; trying again in {wait:.1f} s"), file=sys.stderr)
            sleep(wait)


class _Session(requests.Session):
    """Asks for bytes as they are stored, and follows a redirect to http(s) only, never from https down to http."""

    def __init__(self):
        super().__init__()
        self.max_redirects = MAX_REDIRECTS
        self.headers["Accept-Encoding"] = "identity"

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            scheme, came_by = urlsplit(urljoin(resp.url, target)).scheme, urlsplit(resp.url).scheme
            if scheme not in {"https", came_by}:
                raise InputError(f"{resp.url}: redirects from {came_by} to {scheme}, refused; give the final address")
        return target


def _get(session: _Session, url: str, *, stream: bool, headers: dict[str, str] | None = None) -> requests.Response:
    """GET with every failure sorted into transient (429, 5xx, connection) and final; other statuses are returned."""
    try:
        response = session.get(url, headers=headers, stream=stream, timeout=TIMEOUT)
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        cause = error.args[0] if error.args else error
        reason = " ".join(str(getattr(cause, "reason", cause)).split())
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            remedy = "check the clock, or name your proxy's certificate in REQUESTS_CA_BUNDLE"
            raise InputError(f"{url}: its certificate is not trusted; {remedy}") from None
        raise _TransientError(f"{url}: {reason}") from None
    except (requests.RequestException, ValueError) as error:
        raise InputError(f"{url}: {error}; check source in {PARAMS}") from None
    if response.status_code in (408, 429) or response.status_code >= 500:
        response.close()
        seconds = 0.0
        with suppress(urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            seconds = urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", "0"))
        raise _TransientError(f"{url}: answers {response.status_code} {response.reason}", seconds)
    return response


def _published(session: _Session, url: str) -> tuple[int | None, str | None]:
    """Size and md5 of `url` by the record that it is a file of; None where the publisher tells nothing."""
    if not (record := RECORD.match(url)):
        return None, None
    origin, host, number, name = record.groups()
    name = unquote(name)
    api = f"{origin}/api/records/{number}"
    response = _insist(lambda: _get(session, api, stream=False))
    try:
        listed = response.json()["files"]
        # Zenodo has a list, InvenioRDM itself a mapping.
        listed = {file["key"]: file for file in (listed["entries"].values() if isinstance(listed, dict) else listed)}
        if name not in listed:
            raise InputError(f"{url}: its record has no file '{name}'; choose from {', '.join(sorted(listed))}")
        algorithm, digest = listed[name]["checksum"].split(":")
        return int(listed[name]["size"]), digest.lower() if algorithm == "md5" else None
    except (ValueError, KeyError, TypeError, AttributeError):
        if host.lower() in ZENODO:
            problem = f"answers {response.status_code} {response.reason} without files and checksums"
            raise InputError(f"{api}: {problem}; check the record's number in source") from None
        return None, None


class _Partial:
    """What came so far of a file: its bytes, and beside them which version of the file they are of.

    Bytes go before their version does, and come after it: the two agree whenever the process is killed.
    """

    def __init__(self, url: str, md5: str | None):
        key = hashlib.sha256(f"{url} {md5}".encode()).hexdigest()[:16]
        self.path, self._note = PARTIAL / f"{key}.tar.gz", PARTIAL / f"{key}.json"
        try:
            self.version = json.loads(self._note.read_text())
        except (OSError, ValueError):
            self.remove()

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.version = {"validator": None, "total": None}

    def restart(self, version: dict[str, Any]) -> None:
        self.path.unlink(missing_ok=True)
        with files.replacing(self._note) as part:
            part.write_text(json.dumps(version))
        self.version = version


def _version(headers: Mapping[str, str]) -> dict[str, Any]:
    """The validator that If-Range takes and the length of the whole file; None for what the server does not tell."""
    etag = headers.get("ETag", "")
    length = headers.get("Content-Range", headers.get("Content-Length", "")).rpartition("/")[2]
    return {
        "validator": etag if etag.startswith('"') else headers.get("Last-Modified"),  # no weak ETag
        "total": int(length) if length.isdecimal() else None,
    }


def _transfer(session: _Session, url: str, partial: _Partial, *, verifiable: bool) -> None:
    """One request for the bytes that `partial` lacks; returns when it has them all.

    Raises:
        _TransientError: it broke off, or the server would not go on where the partial ends.
        InputError: the server does not give the file.
    """
    offset, known = partial.size, partial.version
    if offset and offset == known["total"]:
        return  # the last run ended between the last byte and the check
    headers = {}
    # Without a validator, a file that was changed meanwhile would be spliced, which only a checksum can tell.
    if offset and (known["validator"] or verifiable):
        headers = {"Range": f"bytes={offset}-"} | ({"If-Range": known["validator"]} if known["validator"] else {})
    with _get(session, url, stream=True, headers=headers) as response:
        came = _version(response.headers)
        if response.status_code == 416 and offset and offset == came["total"]:
            return
        if response.status_code in (206, 416):
            start = CONTENT_RANGE.match(response.headers.get("Content-Range", ""))  # none in a 416
            changed = any(None not in (known[key], came[key]) and known[key] != came[key] for key in known)
            if not start or int(start[1]) != offset or changed:
                partial.remove()
                raise _TransientError(f"{url}: does not go on from byte {offset}, so starting afresh")
        elif response.status_code != 200:
            refusal = f"answers {response.status_code} {response.reason}"
            raise InputError(f"{url}: {refusal}; check source in {PARAMS}, or open it in a browser")
        try:
            if response.status_code == 200:
                # Looked at before the partial goes: a proxy's login page must not cost what came so far.
                head = response.raw.read(HEAD, decode_content=False)
                _demand_gzip(head, url)
                partial.restart(came)
                partial.path.write_bytes(head)
            total = came["total"] or known["total"]
            bar = tqdm(desc="download", total=total, initial=partial.size, unit="B", unit_scale=True, disable=None)
            with bar, open(partial.path, "ab") as file:
                # Not decoded, since some servers label a .tar.gz as encoded; read1, since read drops what it has of
                # a chunk when the connection breaks.
                while chunk := response.raw.read1(CHUNK, decode_content=False):
                    file.write(chunk)
                    file.flush()
                    bar.update(len(chunk))
        except urllib3.exceptions.HTTPError as error:
            raise _TransientError(f"{url}: broke off at byte {partial.size} ({error})") from None
    if total is not None and partial.size != total:
        raise _TransientError(f"{url}: stopped at byte {partial.size} of {total}")


def _demand_gzip(head: bytes, what: str) -> None:
    for kind, (start, magic) in OTHERS.items():
        if head.startswith(magic, start):
            raise InputError(f"{what}: is a .{kind}, not a .tar.gz; unpack it, and give its folder or tar -czf of that")
    if not head.startswith(GZIP_MAGIC):
        start = " ".join(head.decode(errors="replace").split())[:40]
        found = f"starts with {start!r}" if head else "is empty"
        remedy = f"check source in {PARAMS}, in case a login page or a proxy answered in its place"
        raise InputError(f"{what}: is not a .tar.gz but {found}; {remedy}")


@contextmanager
def watched(path: Path, what: str) -> Iterator[BinaryIO]:
    """The file at `path`, to read, with a bar that says how far `what` has come; it goes when it is done."""
    size = path.stat().st_size
    with open(path, "rb") as file, tqdm.wrapattr(file, "read", size, desc=what, disable=None, leave=False) as found:
        yield found


def md5_of(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with watched(path, "md5") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def verify(path: Path, what: str, *, md5: str | None, size: int | None = None) -> str:
    """Check the file at `path`, which came from `what`, by md5 or else by gzip's own checksum; return its md5.

    Raises:
        InputError: it is not what was published; tells what was expected and what came.
    """
    with open(path, "rb") as file:
        _demand_gzip(file.read(HEAD), what)
        came = path.stat().st_size
        if size not in (None, came):
            raise InputError(f"{what}: has {came} bytes, not the published {size}; run again, or tell its publisher")
    digest = md5_of(path)
    if md5 not in (None, digest):
        raise InputError(f"{what}: its md5 is {digest}, not {md5}; run again, or correct md5 in {PARAMS}")
    if md5 is None:
        # Else DVC would record a truncated archive as whole, and not run this stage again.
        try:
            with watched(path, "verify") as file, gzip.open(file) as stream:
                while stream.read(CHUNK):
                    pass
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{what}: is damaged ({error}); run again, or check it with gzip -t") from None
    return digest


def _copy_from_cache(md5: str, path: Path) -> bool:
    """Take the archive from DVC's cache, which goes by md5 too: a new split of a dataset needs no new transfer."""
    try:
        done = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True)
    except FileNotFoundError:
        return False
    cached = Path(done.stdout.strip(), "files", "md5", md5[:2], md5[2:])
    if done.returncode or not cached.is_file():
        return False
    try:
        verify(cached, str(cached), md5=md5)
    except InputError:
        return False  # damaged there, so it is fetched anew
    with files.replacing(path) as part:
        shutil.copyfile(cached, part)
    return True


def fetch(url: str, path: Path, pinned: str | None) -> None:
    """URL -> `path`, by way of a partial file that outlives the process.

    Args:
        url: its query may be $NAME, a variable of the environment. What is asked for, redirects included, may hold
            keys, so no message tells a query.
        pinned: the md5 that the file must have, if params.yaml names one.

    Raises:
        InputError: the server does not give the file, or it is not what was published or pinned.
    """
    address, _, query = url.partition("?$")
    if query and not os.environ.get(query):
        raise InputError(f"{address}: its query, ${query}, is not in the environment; export {query}=...")
    try:
        _fetch(f"{address}?{os.environ[query].removeprefix('?')}" if query else url, path, pinned)
    except InputError as error:
        raise InputError(redact(str(error))) from None


def _fetch(url: str, path: Path, pinned: str | None) -> None:
    if pinned and _copy_from_cache(pinned, path):
        return
    with _Session() as session:
        size, md5 = _published(session, url)
        if None not in (pinned, md5) and pinned != md5:
            changed = f"its published md5 is {md5}, not {pinned} as in {PARAMS}"
            raise InputError(f"{url}: {changed}; it has changed since, so set md5 if that is wanted")
        md5 = md5 or pinned
        if md5 and _copy_from_cache(md5, path):
            return
        partial = _Partial(redact(url), md5)  # a key that was renewed leaves the file the same
        _insist(lambda: _transfer(session, url, partial, verifiable=bool(md5)), lambda: partial.size)
    try:
        digest = verify(partial.path, url, md5=md5, size=size)
    except InputError:
        partial.remove()
        raise
    if md5 is None:
        print(f"{redact(url)}: no checksum is published; to pin what came, add md5: {digest} to its entry in {PARAMS}")
    with files.replacing(path) as part:
        shutil.move(partial.path, part)  # copies where .partial is on another disk
    partial.remove()
