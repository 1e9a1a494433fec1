"""Downloads: resumed where they were interrupted, and verified against the published size and checksum.

This uses requests and a loop, because an interrupted transfer should resume where it stopped: pooch verifies and moves
atomically but discards partial files, and zenodo_get, which supports only Zenodo, skips complete files but restarts
partial ones. DVC empties its outputs when a stage starts, so the partial file waits in `.partial/`, with the version of
the file beside it.
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

from landcover import files
from landcover.checkpoints import PARTIAL
from landcover.config import PARAMS
from landcover.errors import CHOICES, InputError, few, redact

TIMEOUT = (15, 60)  # seconds: to connect, and between two reads
ATTEMPTS = 6  # in a row without a new byte
BACKOFF = 0.5  # seconds, doubled with each attempt
MAX_WAIT = 120  # seconds, even if Retry-After asks for more
MAX_REDIRECTS = 10
CHUNK = 1 << 20

# InvenioRDM, the software of Zenodo and other repositories, uses the same URLs on any host: (origin, host, id, name).
RECORD = re.compile(r"(https?://([^/?#]+))/(?:api/)?records?/([a-z0-9-]+)/files/([^/?#]+)", re.IGNORECASE)
ZENODO = ("zenodo.org", "sandbox.zenodo.org")
CONTENT_RANGE = re.compile(r"bytes (\d+)-")

GZIP_MAGIC = b"\x1f\x8b"
HEAD = 512  # bytes used to detect the type of a file
# Other archive types, by the position and value of their magic bytes.
OTHERS = {"tar": (257, b"ustar"), "tar.zst": (0, b"\x28\xb5\x2f\xfd"), "zip": (0, b"PK"), "tar.xz": (0, b"\xfd7zXZ"),
          "tar.bz2": (0, b"BZh"), "7z": (0, b"7z\xbc\xaf")}  # fmt: skip

T = TypeVar("T")


class _TransientError(Exception):
    """A failure that may succeed on retry, after at least `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float = 0):
        super().__init__(message)
        self.retry_after = retry_after


def _insist(attempt: Callable[[], T], reached: Callable[[], int] = lambda: 0) -> T:
    """Repeat `attempt` after transient errors, until ATTEMPTS in a row fail to increase `reached` (bytes)."""
    furthest, failures = reached(), 0
    while True:
        try:
            return attempt()
        except _TransientError as error:
            failures = 0 if reached() > furthest else failures + 1
            furthest = max(furthest, reached())
            if failures == ATTEMPTS:
                goal = f" to resume at byte {reached()}" if reached() else ""
                raise InputError(
                    f"{error} ({ATTEMPTS} attempts failed); check the network and run again later{goal}"
                ) from None
            wait = min(MAX_WAIT, max(error.retry_after, BACKOFF * 2**failures))
            print(redact(f"{error}; retrying in {wait:.1f} s"), file=sys.stderr)
            sleep(wait)


class _Session(requests.Session):
    """Requests bytes as stored, and follows redirects to http(s) only, never from https to http."""

    def __init__(self):
        super().__init__()
        self.max_redirects = MAX_REDIRECTS
        self.headers["Accept-Encoding"] = "identity"

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            scheme, came_by = urlsplit(urljoin(resp.url, target)).scheme, urlsplit(resp.url).scheme
            if scheme not in {"https", came_by}:
                raise InputError(f"{resp.url}: refused a redirect from {came_by} to {scheme}; give the final address")
        return target


def _get(session: _Session, url: str, *, stream: bool, headers: dict[str, str] | None = None) -> requests.Response:
    """GET, with failures divided into transient (429, 5xx, connection) and final; other statuses are returned."""
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
        raise _TransientError(f"{url}: responded with {response.status_code} {response.reason}", seconds)
    return response


def _published(session: _Session, url: str) -> tuple[int | None, str | None]:
    """Size and md5 of `url` from its repository record; None if not published."""
    if not (record := RECORD.match(url)):
        return None, None
    origin, host, number, name = record.groups()
    name = unquote(name)
    api = f"{origin}/api/records/{number}"
    response = _insist(lambda: _get(session, api, stream=False))
    try:
        listed = response.json()["files"]
        # Zenodo returns a list, InvenioRDM itself a mapping.
        listed = {file["key"]: file for file in (listed["entries"].values() if isinstance(listed, dict) else listed)}
        if name not in listed:
            raise InputError(f"{url}: its record has no file '{name}'; choose from {few(sorted(listed), CHOICES)}")
        algorithm, digest = listed[name]["checksum"].split(":")
        return int(listed[name]["size"]), digest.lower() if algorithm == "md5" else None
    except (ValueError, KeyError, TypeError, AttributeError):
        if host.lower() in ZENODO:
            problem = f"responded with {response.status_code} {response.reason}, without files and checksums"
            raise InputError(f"{api}: {problem}; check the record number in source") from None
        return None, None


class _Partial:
    """A partial file: its bytes so far, and a note of the file's version.

    Bytes are removed before the note and written after it, so that the two agree whenever the process is killed.
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
    """The validator for If-Range and the length of the whole file; None if the server does not send them."""
    etag = headers.get("ETag", "")
    length = headers.get("Content-Range", headers.get("Content-Length", "")).rpartition("/")[2]
    return {
        "validator": etag if etag.startswith('"') else headers.get("Last-Modified"),  # no weak ETag
        "total": int(length) if length.isdecimal() else None,
    }


def _transfer(session: _Session, url: str, partial: _Partial, *, verifiable: bool) -> None:
    """Request the bytes that `partial` lacks; return when it is complete.

    Raises:
        _TransientError: the connection broke, or the server did not resume where the partial file ends.
        InputError: the server does not provide the file.
    """
    offset, known = partial.size, partial.version
    if offset and offset == known["total"]:
        return  # the last run ended after the last byte and before the check
    headers = {}
    # Without a validator, a file that changed meanwhile would be spliced, which only a checksum can detect.
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
                raise _TransientError(f"{url}: does not resume at byte {offset}; starting over")
        elif response.status_code != 200:
            refusal = f"responded with {response.status_code} {response.reason}"
            raise InputError(f"{url}: {refusal}; check source in {PARAMS}, or open it in a browser")
        try:
            if response.status_code == 200:
                # Checked before the partial file is removed, so that a proxy's login page does not destroy it.
                head = response.raw.read(HEAD, decode_content=False)
                _demand_gzip(head, url)
                partial.restart(came)
                partial.path.write_bytes(head)
            total = came["total"] or known["total"]
            bar = tqdm(desc="download", total=total, initial=partial.size, unit="B", unit_scale=True, disable=None)
            with bar, open(partial.path, "ab") as file:
                # Not decoded, since some servers label a .tar.gz as encoded; read1, since read discards an incomplete
                # chunk when the connection breaks.
                while chunk := response.raw.read1(CHUNK, decode_content=False):
                    file.write(chunk)
                    file.flush()
                    bar.update(len(chunk))
        except urllib3.exceptions.HTTPError as error:
            raise _TransientError(f"{url}: the connection broke at byte {partial.size} ({error})") from None
    if total is not None and partial.size != total:
        raise _TransientError(f"{url}: stopped at byte {partial.size} of {total}")


def _demand_gzip(head: bytes, what: str) -> None:
    for kind, (start, magic) in OTHERS.items():
        if head.startswith(magic, start):
            raise InputError(
                f"{what}: is a .{kind}, not a .tar.gz; unpack it, then give the folder or repack it with tar -czf"
            )
    if not head.startswith(GZIP_MAGIC):
        start = " ".join(head.decode(errors="replace").split())[:40]
        found = f"starts with {start!r}" if head else "is empty"
        remedy = f"check source in {PARAMS}; a login page or a proxy may have answered instead"
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
    """Verify the file at `path`, downloaded from `what`, by md5 or else by gzip's own checksum; return its md5.

    Raises:
        InputError: it differs from what was published; says how.
    """
    with open(path, "rb") as file:
        _demand_gzip(file.read(HEAD), what)
        came = path.stat().st_size
        if size not in (None, came):
            raise InputError(f"{what}: has {came} bytes, not the published {size}; run again, or contact its publisher")
    digest = md5_of(path)
    if md5 not in (None, digest):
        raise InputError(f"{what}: its md5 is {digest}, not {md5}; run again, or correct md5 in {PARAMS}")
    if md5 is None:
        # Otherwise DVC would record a truncated archive as complete and not run this stage again.
        try:
            with watched(path, "verify") as file, gzip.open(file) as stream:
                while stream.read(CHUNK):
                    pass
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(f"{what}: is damaged ({error}); run again, or check it with gzip -t") from None
    return digest


def copy_from_cache(md5: str, path: Path) -> bool:
    """Copy the archive from DVC's cache, which is indexed by md5: a new split of a dataset needs no new download."""
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
        return False  # damaged in the cache, so download it again
    with files.replacing(path) as part:
        shutil.copyfile(cached, part)
    return True


def fetch(url: str, path: Path, pinned: str | None) -> None:
    """Download a URL to `path`, through a partial file that outlives the process.

    Args:
        url: its query may be $NAME, an environment variable. Requested URLs, including redirects, may contain keys, so
            no message shows a query.
        pinned: the required md5, if params.yaml names one.

    Raises:
        InputError: the server does not provide the file, or it differs from what was published or pinned.
    """
    address, _, query = url.partition("?$")
    if query and not os.environ.get(query):
        raise InputError(f"{address}: its query variable ${query} is not set; export {query}=...")
    try:
        _fetch(f"{address}?{os.environ[query].removeprefix('?')}" if query else url, path, pinned)
    except InputError as error:
        raise InputError(redact(str(error))) from None


def _fetch(url: str, path: Path, pinned: str | None) -> None:
    with _Session() as session:
        size, md5 = _published(session, url)
        if None not in (pinned, md5) and pinned != md5:
            changed = f"its published md5 is {md5}, not {pinned} as in {PARAMS}"
            raise InputError(f"{url}: {changed}; to accept the changed file, update md5")
        md5 = md5 or pinned
        if md5 and copy_from_cache(md5, path):
            return
        partial = _Partial(redact(url), md5)  # a renewed key does not change the file
        _insist(lambda: _transfer(session, url, partial, verifiable=bool(md5)), lambda: partial.size)
    try:
        digest = verify(partial.path, url, md5=md5, size=size)
    except InputError:
        partial.remove()
        raise
    if md5 is None:
        print(f"{redact(url)}: no checksum is published; to pin this file, add md5: {digest} to its entry in {PARAMS}")
    with files.replacing(path) as part:
        shutil.move(partial.path, part)  # copies where .partial is on another disk
    partial.remove()
