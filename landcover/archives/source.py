"""Downloads: resumed where they stopped, even by a later run, and verified by md5 or by reading them to the end.

pooch verifies, but starts anew after an interruption. DVC empties its outputs when a stage starts, so the partial file
waits in `.partial/`, beside it what the server calls its version: no other file is continued.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import TypeVar
from urllib.parse import unquote, urljoin

import requests
import urllib3

from landcover import terminal
from landcover.archives import archive
from landcover.config import PARAMS
from landcover.errors import CHOICES, UNTRUSTED, InputError, few, redact

# Zenodo refuses programs that do not say what they are. The address is that of pyproject.toml.
USER_AGENT = "landcover (+https://github.com/landcover-dvc/landcover)"
PARTIAL = Path(".partial")  # which Git and DVC ignore
TIMEOUT = (15, 60)  # seconds: to connect, and between two reads
ATTEMPTS = 6  # in a row without a new byte
MAX_WAIT = 120  # seconds, even if Retry-After asks for more
CHUNK = 1 << 20
LOCAL = "download the file in a browser and give its path"
REFUSALS = {
    403: " (it may need a key, or refuse programs for a while, as Zenodo does at times)",
    429: " (it had too many requests from your address, or refuses programs for a while)",
}
RECORD = re.compile(r"(https://(?:sandbox\.)?zenodo\.org)/(?:api/)?records?/(\d+)/files/([^/?#]+)", re.IGNORECASE)

T = TypeVar("T")


class _TransientError(Exception):
    """A failure that may pass after `wait` seconds; of the file, `kept` bytes came so far."""

    def __init__(self, message: str, *, wait: float = 0, kept: int = 0):
        super().__init__(message)
        self.wait, self.kept = wait, kept


def _retrying(request: Callable[[], T]) -> T:
    """Repeat a request after transient errors, until ATTEMPTS in a row bring no new byte."""
    most = failures = 0
    while True:
        try:
            return request()
        except _TransientError as error:
            failures = 1 if error.kept > most else failures + 1
            most = max(most, error.kept)
            if failures == ATTEMPTS:
                resumed = f", which resumes at byte {most}" if most else ""
                raise InputError(f"{error}; check the network and run again{resumed}, or {LOCAL}") from None
            wait = min(MAX_WAIT, max(error.wait, 2 ** (failures - 1)))
            print(redact(f"{error}; trying again in {wait:.0f} s"), file=sys.stderr)
            sleep(wait)


def _stay_encrypted(response: requests.Response, **_) -> None:
    """A hook of requests, before it follows a redirect."""
    if response.is_redirect and response.url.startswith("https:"):
        target = urljoin(response.url, response.headers["Location"])
        if not target.lower().startswith("https:"):
            raise InputError(f"{response.url}: redirects from https to {target}; refused, give the final address")


def _get(session: requests.Session, url: str, *, stream: bool = True, **headers: str) -> requests.Response:
    """GET; an answer other than 200, 206 or 416 is an error, transient or not."""
    try:
        response = session.get(url, headers=headers, stream=stream, timeout=TIMEOUT)
    except requests.exceptions.SSLError as error:
        raise InputError(f"{url}: no encrypted connection ({reason(error)}); {UNTRUSTED}") from None
    except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
        raise _TransientError(f"{url}: {reason(error)}") from None
    except (requests.RequestException, ValueError) as error:
        raise InputError(f"{url}: {error}; check the address in {PARAMS}") from None
    except OSError as error:  # the file of certificates is not there
        raise InputError(f"{url}: {error}; correct REQUESTS_CA_BUNDLE") from None
    status = response.status_code
    if status in (200, 206, 416):
        return response
    response.close()
    problem = f"{url}: responded with {status} {response.reason}{REFUSALS.get(status, '')}"
    if status in (408, 429) or status >= 500:
        after = response.headers.get("Retry-After", "")
        raise _TransientError(problem, wait=int(after) if after.isdecimal() else 0)
    raise InputError(f"{problem}; check the address in {PARAMS}, or {LOCAL}")


def reason(error: OSError) -> str:
    """What went wrong, without the pool of connections that it went wrong in."""
    cause = error.args[0] if error.args else error
    return " ".join(str(getattr(cause, "reason", cause)).split())


def _published(session: requests.Session, url: str) -> tuple[int | None, str | None]:
    """Size and md5 that Zenodo's record states for a file; None for other URLs."""
    if not (record := RECORD.match(url)):
        return None, None
    origin, number, name = record[1], record[2], unquote(record[3])
    api = f"{origin}/api/records/{number}"
    try:
        listed = {file["key"]: file for file in _retrying(lambda: _get(session, api, stream=False)).json()["files"]}
        if name not in listed:
            raise InputError(f"{url}: its record has no file {name!r}; choose from {few(sorted(listed), CHOICES)}")
        return int(listed[name]["size"]), listed[name]["checksum"].removeprefix("md5:").lower()
    except (ValueError, KeyError):  # a page instead, or a record of restricted files
        raise InputError(f"{api}: lists no size and checksum of {name!r}; check the address in {PARAMS}") from None


def _transfer(
    session: requests.Session, url: str, partial: Path, size: int | None, md5: str | None, archived: bool
) -> None:
    """Download a file, or the rest of it, to `partial`."""
    version_path = partial.with_suffix(".version")
    kept = partial.stat().st_size if partial.exists() else 0
    version = version_path.read_text() if kept else ""
    ranged = {"Range": f"bytes={kept}-"} | ({"If-Range": version} if version else {})
    # Without version and md5, a file that changed would be spliced unnoticed.
    with _get(session, url, **(ranged if kept and (version or md5) else {})) as response:
        if response.status_code == 416:  # all of it is here
            return
        resumes = response.status_code == 206
        if resumes and not response.headers.get("Content-Range", "").startswith(f"bytes {kept}-"):
            partial.unlink()
            raise _TransientError(f"{url}: does not resume at byte {kept}")
        kept, length = kept if resumes else 0, response.headers.get("Content-Length", "")
        total = kept + int(length) if length.isdecimal() else size
        if size not in (None, total):
            raise InputError(f"{url}: has {total} bytes, not the published {size}; run again, or ask its publisher")
        try:
            piece = response.raw.read(archive.HEAD, decode_content=False)
            if not resumes:
                if archived:
                    archive.detect(piece, url)
                partial.parent.mkdir(exist_ok=True)
                partial.unlink(missing_ok=True)
                etag = response.headers.get("ETag", "")
                is_strong = etag.startswith('"')
                version_path.write_text(etag if is_strong else response.headers.get("Last-Modified", ""))
            bar = terminal.progress(desc="download", total=total, initial=kept, unit="B", unit_scale=True)
            with bar, open(partial, "ab", buffering=0) as file:
                while piece:
                    kept += file.write(piece)
                    bar.update(len(piece))
                    # Not decoded, since some servers label a .tar.gz as encoded; read1, since read discards an
                    # incomplete piece when the connection breaks.
                    piece = response.raw.read1(CHUNK, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise _TransientError(f"{url}: the connection broke at byte {kept} ({error})", kept=kept) from None
    if kept < (total or 0):
        raise _TransientError(f"{url}: stopped at byte {kept} of {total}", kept=kept)


def md5_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def verify(path: Path, what: str, md5: str | None) -> None:
    """Verify an archive by its md5 or, where none is known, by reading it to its end.

    Otherwise DVC would record a truncated archive as complete.

    Raises:
        InputError: it is another file, or damaged; names it `what`.
    """
    if md5 is None:
        archive.verify(path, what)
    elif (digest := md5_of(path)) != md5:
        raise InputError(f"{what}: its md5 is {digest}, not {md5}; get the file again, or correct md5 in {PARAMS}")


def copy_from_cache(md5: str, path: Path) -> bool:
    """Copy the file with this md5 from DVC's cache, if it is there: a new split of an archive needs no new download."""
    done = subprocess.run([sys.executable, "-m", "dvc", "cache", "dir"], capture_output=True, text=True)
    cached = Path(done.stdout.strip(), "files", "md5", md5[:2], md5[2:])
    if done.returncode or not cached.is_file() or md5_of(cached) != md5:
        return False
    shutil.copyfile(cached, path)
    return True


def fetch(url: str, path: Path, md5: str | None, *, archived: bool = True) -> None:
    """Download a URL to `path` and verify it, through a partial file that outlives the process.

    Args:
        url: its query may be $NAME, an environment variable. It may hold a key, so no message shows a query.
        md5: the required one; for a file on Zenodo, the published one is always required.
        archived: it is an archive; another file is not verified without an md5.

    Raises:
        InputError: the server does not provide the file, or another one than was published or required.
    """
    address, _, variable = url.partition("?$")
    if variable:
        if not os.environ.get(variable):
            raise InputError(f"{address}: its query variable ${variable} is not set; export {variable}=...")
        address = f"{address}?{os.environ[variable].removeprefix('?')}"
    # The key is no part of the name: a renewed one does not change the file.
    partial = PARTIAL / f"download-{hashlib.sha256(url.encode()).hexdigest()[:16]}.part"
    try:
        with requests.Session() as session:
            session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "identity"})
            session.hooks["response"].append(_stay_encrypted)
            size, published = _published(session, address)
            if None not in (md5, published) and md5 != published:
                raise InputError(f"{url}: its published md5 is {published}, not {md5}; correct md5 in {PARAMS}")
            md5 = published or md5
            if published and copy_from_cache(md5, path):
                return
            _retrying(lambda: _transfer(session, address, partial, size, md5, archived))
        try:
            if archived or md5:
                verify(partial, address, md5)
        except InputError:
            partial.unlink()
            raise
    except InputError as error:
        raise InputError(redact(str(error))) from None
    shutil.move(partial, path)
    partial.with_suffix(".version").unlink()
