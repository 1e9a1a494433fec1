import gzip
import hashlib
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from server import File, Reply, Server, certificate, encrypted
from tiny import REPOSITORY

from landcover.archives import archive, source
from landcover.config import Dataset
from landcover.errors import InputError
from landcover.synthetic import writer
from stages import download

ARCHIVE = Path("data/archive")
PAGE = b"<!DOCTYPE html>\n<title>Log in</title>\n" + b" " * 200
WRONG = "0" * 32


def tar(seed: int) -> bytes:
    member = tarfile.TarInfo("tiny/tiny_meta.csv")
    member.size = 300_000
    with tarfile.open(fileobj=(file := io.BytesIO()), mode="w") as packed:
        packed.addfile(member, io.BytesIO(random.Random(seed).randbytes(300_000)))
    return file.getvalue()


BODY, OTHER = gzip.compress(tar(0), mtime=0), gzip.compress(tar(1), mtime=0)
MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    if "cache" not in request.fixturenames:
        monkeypatch.setattr(download, "copy_from_cache", lambda *_: False)
        monkeypatch.setattr(source, "copy_from_cache", lambda *_: False)


@pytest.fixture
def server():
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that a download would have waited between attempts."""
    waits = []
    monkeypatch.setattr(source, "sleep", waits.append)
    return waits


def fetch(source, **entry):
    dataset = Dataset.model_validate({"source": str(source), "split": {"method": "files"}, **entry})
    download.download(ARCHIVE, dataset="mine", datasets={"mine": dataset})


def refused(source, **entry) -> str:
    """The one line that a download fails with, which leaves the archive in place as it was."""
    ARCHIVE.parent.mkdir(exist_ok=True)
    ARCHIVE.write_bytes(b"old")
    with pytest.raises(InputError) as error:
        fetch(source, **entry)
    assert "\n" not in str(error.value)
    assert ARCHIVE.read_bytes() == b"old"
    assert os.listdir("data") == ["archive"]
    return str(error.value)


def partial_sizes() -> list[int]:
    return [path.stat().st_size for path in Path(".partial").glob("*.part")]


# -- from a URL


@pytest.mark.parametrize("md5", [None, MD5, MD5.upper()])
def test_url_is_downloaded_and_leaves_nothing_behind(server, capfd, md5):
    fetch(server.on("/a.tar.gz", File(BODY, headers={"Content-Encoding": "gzip"})), md5=md5)  # which is not decoded
    assert ARCHIVE.read_bytes() == BODY
    assert os.listdir("data") == ["archive"]
    assert partial_sizes() == []
    assert capfd.readouterr() == ("", "")  # no bar where there is no terminal
    assert server.seen[0].headers["User-Agent"] == source.USER_AGENT
    assert server.seen[0].headers["Accept-Encoding"] == "identity"


def test_user_agent_names_the_address_of_the_project():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert f"{project['name']} (+{project['urls']['Repository']})" == source.USER_AGENT


@pytest.mark.parametrize("chunked", [False, True])
def test_download_that_breaks_off_resumes(server, waits, chunked):
    fetch(server.on("/a.tar.gz", *(File(BODY, cut=cut, chunked=chunked) for cut in (100_000, 50_000, None))), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", "bytes=150000-"]
    assert {request.headers.get("If-Range") for request in server.seen} == {None, '"v1"'}
    assert waits == [1, 1]  # each attempt brought bytes, so the wait does not grow


def test_download_without_progress_ends_and_says_what_helps_offline(server, waits):
    # The whole is begun anew each time and breaks at the same byte.
    message = refused(server.on("/a.tar.gz", File(BODY, cut=1000, ranges=False)), md5=MD5)
    assert message.endswith(
        "check the network and run again, which resumes at byte 1000, or download the file in a browser and give "
        "its path"
    )
    assert len(waits) == source.ATTEMPTS - 1


def test_server_that_falls_silent_is_given_up(server, monkeypatch):
    monkeypatch.setattr(source, "TIMEOUT", (1, 0.05))
    monkeypatch.setattr(source, "ATTEMPTS", 2)
    assert "timed out" in refused(server.on("/a.tar.gz", File(BODY, cut=0, stall=True))).lower()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (File(BODY, cut=100_000), File(OTHER, etag='"v2"')),
        (File(BODY, etag='W/"weak"', cut=100_000), File(OTHER, etag='W/"weak"')),
        (File(BODY, None, {"Last-Modified": "Mon"}, cut=100_000), File(OTHER, None, {"Last-Modified": "Tue"})),
        (File(BODY, cut=100_000, ranges=False), File(OTHER, ranges=False)),
        (File(BODY, cut=100_000), File(OTHER, shift=10)),
    ],
    ids=["etag", "weak etag", "date", "no ranges", "wrong range"],
)
def test_another_version_of_the_file_is_never_continued(server, first, then):
    fetch(server.on("/a.tar.gz", first, then))
    assert ARCHIVE.read_bytes() == OTHER
    assert partial_sizes() == []


def test_login_page_does_not_cost_what_came(server):
    url = server.on("/a.tar.gz", File(BODY, cut=100_000), Reply(200, PAGE), File(BODY))
    assert "is a page of HTML or XML, perhaps of a login or a proxy, not a .tar.gz" in refused(url, md5=MD5)
    assert partial_sizes() == [100_000]


def test_retry_after_is_honoured_up_to_a_cap(server, waits):
    answers = [Reply(503, headers={"Retry-After": after}) for after in ("7", "86400", "soon")]
    fetch(server.on("/a.tar.gz", *answers, File(BODY)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert waits == [7, source.MAX_WAIT, 4]


@pytest.mark.parametrize(
    ("answer", "tries", "message"),
    [
        (Reply(404), 1, "responded with 404 Not Found; check the address in params.yaml, or download the"),
        (Reply(403), 1, "403 Forbidden (it may need a key, or refuse programs for a while, as Zenodo does at times)"),
        (Reply(429), 6, "429 Too Many Requests (it had too many requests from your address, or refuses programs"),
        (Reply(500), 6, "responded with 500 Internal Server Error; check the network and run again, or download"),
        (Reply(200), 1, "is empty, not a .tar.gz, .tar or .zip"),
        (Reply(302, headers={"Location": "ftp://127.0.0.1/a"}), 1, "check the address in params.yaml"),
        (Reply(302, headers={"Location": "/a.tar.gz"}), 31, "Exceeded 30 redirects"),
        (File(OTHER), 1, f"not {MD5}; get the file again, or correct md5 in params.yaml"),
    ],
)  # fmt: skip
def test_url_that_gives_no_archive_is_told(server, answer, tries, message):
    assert message in refused(server.on("/a.tar.gz", answer), md5=MD5)
    assert len(server.seen) == tries
    assert partial_sizes() == []


def test_truncated_file_without_md5_is_refused(server):
    assert "cannot be read as an archive" in refused(server.on("/a.tar.gz", File(BODY[:-9])))


def test_https_never_becomes_http(server, tmp_path, monkeypatch):
    known = certificate(tmp_path)
    with encrypted(known) as https:
        url = https.on("/a.tar.gz", File(BODY))
        assert re.search("CERTIFICATE_VERIFY_FAILED.*; check the clock, or name the certificate of", refused(url))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "nowhere.pem")
        assert refused(url).endswith("invalid path: nowhere.pem; correct REQUESTS_CA_BUNDLE")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(known))
        down = https.on("/b.tar.gz", Reply(302, headers={"Location": server.on("/a.tar.gz", File(BODY))}))
        assert "redirects from https to http" in refused(down)
        fetch(server.on("/up.tar.gz", Reply(302, headers={"Location": url})), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY


# -- from Zenodo


@pytest.fixture
def record(server, monkeypatch):
    """Let the server be Zenodo, with a record of one file; gives the file's URL."""
    pattern = source.RECORD.pattern.replace("https://(?:sandbox\\.)?zenodo\\.org", re.escape(server.origin))
    monkeypatch.setattr(source, "RECORD", re.compile(pattern))

    def publish(*, size: int = len(BODY), md5: str = MD5, name: str = "ben-ge 800.tar.gz") -> str:
        files = [{"key": name, "size": size, "checksum": f"md5:{md5}"}]
        server.on("/api/records/12", Reply(503), Reply(200, json.dumps({"files": files}).encode()))
        return server.on("/records/12/files/ben-ge%20800.tar.gz", File(BODY)) + "?download=1"

    return publish


def test_zenodos_size_and_md5_are_required(server, record):
    fetch(record())
    assert ARCHIVE.read_bytes() == BODY
    assert [request.path for request in server.seen[:2]] == ["/api/records/12"] * 2  # once more after an error
    assert f"its md5 is {MD5}, not {WRONG}" in refused(record(md5=WRONG))
    assert f"has {len(BODY)} bytes, not the published 99" in refused(record(size=99))
    assert f"its published md5 is {MD5}, not {WRONG}" in refused(record(), md5=WRONG)
    message = refused(record(name="ben-ge-8k.tar.gz"))
    assert message.endswith("its record has no file 'ben-ge 800.tar.gz'; choose from ben-ge-8k.tar.gz")


@pytest.mark.parametrize("answer", [Reply(200, PAGE), Reply(200, b"{}"), Reply(404)])
def test_zenodo_without_the_record_is_told(server, record, answer):
    url = record()
    server.on("/api/records/12", answer)
    assert "check the address in params.yaml" in refused(url)


# -- from DVC's cache


@pytest.fixture
def cache() -> Path:
    """DVC's cache, with the archive in it."""
    Path(".dvc").mkdir()
    Path(".dvc", "config").write_text("[core]\n    no_scm = True\n")
    cached = Path(".dvc", "cache", "files", "md5", MD5[:2], MD5[2:])
    cached.parent.mkdir(parents=True)
    cached.write_bytes(BODY)
    return cached


@pytest.mark.parametrize("known_by", ["the entry", "dvc.lock"])
def test_archive_in_dvcs_cache_needs_no_network(cache, known_by):
    url = "http://127.0.0.1:9/a.tar.gz"
    out = {"path": str(ARCHIVE), "hash": "md5", "md5": MD5}
    stage = {"params": {"params.yaml": {"datasets.other.source": url}}, "outs": [out]}
    if known_by == "dvc.lock":
        Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"download": stage}}))
    fetch(url, md5=MD5 if known_by == "the entry" else None)
    assert ARCHIVE.read_bytes() == BODY


def test_damaged_archive_in_dvcs_cache_is_downloaded_again(cache, server):
    cache.write_bytes(BODY[:-1])
    fetch(server.on("/a.tar.gz", File(BODY)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY


# -- from a file or a folder


def zipped(*contents: bytes) -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w") as packed:
        for number, content in enumerate(contents):
            packed.writestr(f"tiny/{number}.csv", content)
    return file.getvalue()


@pytest.mark.parametrize("content", [BODY, tar(0), zipped(b"x" * 999)], ids=["tar.gz", "tar", "zip"])
def test_local_archive_is_copied_whatever_its_name(content):
    Path("mine.dat").write_bytes(content)
    fetch("mine.dat")
    assert ARCHIVE.read_bytes() == content
    assert ARCHIVE.stat().st_nlink == 1  # DVC may protect its outputs


@pytest.mark.parametrize(
    ("content", "entry", "message"),
    [
        (BODY, {"md5": WRONG}, f"mine.dat: its md5 is {MD5}, not {WRONG}"),
        (BODY[:-9], {}, "mine.dat: cannot be read as an archive"),
        (tar(0)[:300_000], {}, "mine.dat: cannot be read as an archive"),
        (zipped(b"x" * 999).replace(b"xx", b"xy"), {}, "mine.dat: cannot be read as an archive: Bad CRC-32"),
        (b"\xfd7zXZ\0", {}, r"is another kind of file, which starts with b'\xfd7zXZ\x00', not a .tar.gz"),
        (None, {}, "'mine.dat': no such file; give sample, an http(s) URL, a .tar.gz, .tar or .zip, or an existing"),
    ],
)
def test_local_file_that_will_not_do_is_told(content, entry, message):
    if content is not None:
        Path("mine.dat").write_bytes(content)
    assert message in refused("mine.dat", **entry)


@pytest.fixture
def unpacked() -> Path:
    top = Path("my copy")
    for name in ("x_meta.csv", "._x_meta.csv", "sentinel-2/b_0_1/b_0_1_B02.tif", "sentinel-2/a_0_0/a_0_0_B02.tif"):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"content of {name}")
    return top


def test_folder_is_packed_with_the_same_bytes_wherever_and_whenever_it_is(unpacked):
    fetch(unpacked)
    first = ARCHIVE.read_bytes()
    with tarfile.open(ARCHIVE) as packed:
        names = ["x_meta.csv", "sentinel-2/a_0_0/a_0_0_B02.tif", "sentinel-2/b_0_1/b_0_1_B02.tif"]
        assert sorted(packed.getnames()) == sorted(f"x/{name}" for name in names)
        assert packed.extractfile("x/x_meta.csv").read() == b"content of x_meta.csv"
    moved = unpacked.rename("elsewhere")
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    fetch(moved.absolute(), md5=hashlib.md5(first).hexdigest())
    assert ARCHIVE.read_bytes() == first


def test_folder_with_links_or_two_tables_is_refused(unpacked):
    (unpacked / "sentinel-2").rename("outside")
    (unpacked / "sentinel-2").symlink_to(Path("outside").absolute())
    assert "sentinel-2: is a symbolic link, not followed" in refused(unpacked)
    (unpacked / "y_meta.csv").touch()
    assert "needs one <name>_meta.csv, has x_meta.csv, y_meta.csv; keep one" in refused(unpacked)


def test_folder_without_files_is_refused(unpacked):
    empty = unpacked.parent / "empty"
    (empty / "class").mkdir(parents=True)
    assert "has no files; correct source" in refused(empty)


def test_folder_in_another_layout_has_a_name_of_its_own_in_the_archive():
    for name in ("River/1.jpg", "Lake/1.jpg"):
        Path("tiles", name).parent.mkdir(parents=True)
        Path("tiles", name).touch()
    fetch("tiles")
    with tarfile.open(ARCHIVE) as packed:
        assert sorted(packed.getnames()) == ["dataset/Lake/1.jpg", "dataset/River/1.jpg"]


def test_sample_is_written(monkeypatch):
    monkeypatch.setattr(writer, "write_sample", lambda path, name: archive.write(path, [(name, b"")]))
    fetch("sample-spectral")
    with tarfile.open(ARCHIVE) as packed:
        assert packed.getnames() == ["sample-spectral"]


# -- the process


def test_killed_download_is_resumed_by_the_next(server):
    url = server.on("/a.tar.gz", File(BODY, cut=2000, stall=True), File(BODY))
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    entry = {"source": url, "md5": MD5, "split": {"method": "files"}}
    Path("params.yaml").write_text(json.dumps(params | {"dataset": "mine", "datasets": {"mine": entry}}))
    command = [sys.executable, "-m", "stages", "download", str(ARCHIVE)]
    options = {"env": os.environ | {"PYTHONPATH": str(REPOSITORY)}, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **options)
    deadline = time.monotonic() + 30
    while partial_sizes() != [2000]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert not ARCHIVE.exists()
    done = subprocess.run(command, **options, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=2000-"]


# -- what is secret


@pytest.mark.parametrize(
    "answer",
    [
        Reply(403), Reply(200, PAGE), Reply(503), File(BODY, cut=9, ranges=False), File(OTHER),
        Reply(302, headers={"Location": "http://u:s3cret@["}), Reply(302, headers={"Location": "/b?sig=s3cret"}),
        Reply(302, headers={"Location": "ftp://u:s3cret@127.0.0.1/b?sig=s3cret"}),
    ],
)  # fmt: skip
def test_no_message_tells_a_key(server, monkeypatch, capfd, answer):
    monkeypatch.setenv("SAS_TOKEN", "?sv=1&sig=s3cret")
    message = refused(server.on("/a.tar.gz", answer) + "?$SAS_TOKEN", md5=MD5)
    assert server.seen[0].path == "/a.tar.gz?sv=1&sig=s3cret"
    assert "127.0.0.1" in message
    assert "s3cret" not in message + "".join(capfd.readouterr())


def test_renewed_key_resumes_and_a_missing_one_is_told(server, monkeypatch):
    url = server.on("/a.tar.gz", File(BODY, cut=1000), Reply(403), File(BODY)) + "?$KEY"
    assert "its query variable $KEY is not set; export KEY=" in refused(url)
    monkeypatch.setenv("KEY", "old")
    assert "responded with 403" in refused(url)
    monkeypatch.setenv("KEY", "new")
    fetch(url)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges()[-1] == "bytes=1000-"
