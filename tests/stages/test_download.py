import contextlib
import datetime
import gzip
import hashlib
import ipaddress
import json
import os
import random
import re
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import termios
import time
from pathlib import Path

import pytest
import requests
import yaml
from server import File, Reply, Server

from landcover import files
from landcover.archives import source
from landcover.config import Dataset
from landcover.constants import SAMPLES
from landcover.errors import InputError
from landcover.synthetic import writer
from stages import download

ROOT = Path(download.__file__).parents[1]
ARCHIVE = Path("data/archive.tar.gz")
BODY = gzip.compress(random.Random(0).randbytes(300_000), mtime=0)
OTHER = gzip.compress(random.Random(1).randbytes(300_000), mtime=0)
SIZE, MD5 = len(BODY), hashlib.md5(BODY).hexdigest()
WRONG = "0" * 32
PAGE = b"<!DOCTYPE html>\n<title>Log in</title>\n" + b" " * 200


@pytest.fixture(autouse=True)
def _clean_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)


@pytest.fixture
def server():
    with Server() as server:
        yield server


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that the stage would have waited between attempts."""
    waits = []
    monkeypatch.setattr(source, "sleep", waits.append)
    return waits


def fetch(source, **entry):
    dataset = Dataset.model_validate({"source": str(source), "split": {"method": "files"}, **entry})
    download.download(ARCHIVE, dataset="mine", datasets={"mine": dataset})


def refused(source, **entry) -> str:
    """The one line that `fetch` fails with, having put nothing in place."""
    with pytest.raises(InputError) as error:
        fetch(source, **entry)
    assert "\n" not in str(error.value)
    assert not ARCHIVE.exists()
    assert list(Path().rglob("*.part")) == []
    return str(error.value)


def kept() -> list[int]:
    """The sizes of the partial files."""
    return [path.stat().st_size for path in Path(".partial").glob("*.tar.gz")]


def is_clean() -> bool:
    return os.listdir("data") == ["archive.tar.gz"] and not list(Path(".partial").glob("*"))


# -- a URL


def test_url_is_fetched_whole_and_leaves_nothing_behind(server, capfd):
    fetch(server.on("/a.tar.gz", File(BODY)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert is_clean()
    assert capfd.readouterr() == ("", "")  # no bar where there is no terminal
    assert server.seen[0].headers["Accept-Encoding"] == "identity"
    assert "Range" not in server.seen[0].headers


def test_md5_may_be_written_in_capitals(server):
    fetch(server.on("/a.tar.gz", File(BODY)), md5=MD5.upper())
    assert ARCHIVE.read_bytes() == BODY


def test_url_without_md5_tells_the_md5_to_pin(server, capfd):
    url = server.on("/a.tar.gz", File(BODY))
    fetch(url)
    assert f"add md5: {MD5} to its entry" in capfd.readouterr().out


def test_broken_off_transfers_go_on_where_they_stopped(server, waits):
    url = server.on("/a.tar.gz", File(BODY, cut=100_000), File(BODY, cut=50_000), File(BODY, cut=7), File(BODY))
    fetch(url, md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert is_clean()
    assert server.ranges() == [None, "bytes=100000-", "bytes=150000-", "bytes=150007-"]
    assert [request.headers.get("If-Range") for request in server.seen] == [None, '"v1"', '"v1"', '"v1"']
    assert sum(request.sent for request in server.seen) == SIZE  # no byte twice
    assert waits == [source.BACKOFF] * 3  # each made progress, so the wait does not grow


def test_progress_renews_the_attempts(server):
    cuts = [File(BODY, cut=1000)] * (3 * source.ATTEMPTS)
    fetch(server.on("/a.tar.gz", *cuts, File(BODY)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert len(server.seen) == 3 * source.ATTEMPTS + 1


def test_transfer_that_never_gets_further_ends(server):
    # Each time the whole is begun anew and breaks at the same byte: moving bytes is no progress.
    message = refused(server.on("/a.tar.gz", File(BODY, cut=1000, ranges=False)), md5=MD5)
    assert (
        f"({source.ATTEMPTS} attempts failed); check the network and run again later to resume at byte 1000" in message
    )
    assert len(server.seen) == 1 + source.ATTEMPTS
    assert kept() == [1000]


def test_chunked_body_that_breaks_off_goes_on(server):
    fetch(server.on("/a.tar.gz", File(BODY, chunked=True, cut=100_000), File(BODY, chunked=True)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-"]


def test_chunked_body_that_breaks_off_after_its_last_byte_is_whole(server):
    # Its length was never told, so only the 416 says that nothing is missing.
    fetch(server.on("/a.tar.gz", File(BODY, chunked=True, cut=SIZE), File(BODY)))
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, f"bytes={SIZE}-"]
    assert sum(request.sent for request in server.seen) == SIZE


def test_server_that_sends_ranges_in_slices_is_followed(server):
    fetch(server.on("/a.tar.gz", File(BODY, cut=100_000), File(BODY, most=150_000)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", "bytes=250000-"]


def test_server_without_ranges_starts_again(server):
    fetch(server.on("/a.tar.gz", File(BODY, cut=100_000), File(BODY, ranges=False)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-"]


def test_wrong_range_starts_again(server):
    fetch(server.on("/a.tar.gz", File(BODY, cut=100_000), File(BODY, shift=10), File(BODY)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", None]


def test_range_beyond_the_end_starts_again(server):
    shrunk = OTHER[:1000]
    answers = File(BODY, cut=100_000), File(shrunk, if_range=False), File(BODY)
    fetch(server.on("/a.tar.gz", *answers), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=100000-", None]


@pytest.mark.parametrize("if_range", [True, False])
def test_file_that_changed_meanwhile_is_not_spliced(server, if_range):
    changed = File(OTHER, etag='"v2"', if_range=if_range)
    fetch(server.on("/a.tar.gz", File(BODY, cut=100_000), changed))
    assert ARCHIVE.read_bytes() == OTHER
    assert server.ranges() == [None, "bytes=100000-"] + [None] * (not if_range)


def test_last_modified_guards_where_there_is_no_strong_etag(server):
    dated = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT", "ETag": 'W/"weak"'}
    url = server.on("/a.tar.gz", File(BODY, None, dated, cut=100_000), File(BODY, None, dated, if_range=False))
    fetch(url)
    assert ARCHIVE.read_bytes() == BODY
    assert server.seen[1].headers["If-Range"] == dated["Last-Modified"]
    assert server.seen[1].headers["Range"] == "bytes=100000-"


@pytest.mark.parametrize(("md5", "ranges"), [(None, [None, None]), (MD5, [None, "bytes=100000-"])])
def test_file_without_validator_goes_on_only_if_a_checksum_will_tell(server, md5, ranges):
    fetch(server.on("/a.tar.gz", File(BODY, None, cut=100_000), File(BODY, None)), md5=md5)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == ranges


def test_content_encoding_is_not_decoded(server):
    labelled = {"Content-Encoding": "gzip"}
    fetch(server.on("/a.tar.gz", File(BODY, headers=labelled, cut=100_000), File(BODY, headers=labelled)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY


def test_client_errors_fail_at_once(server, waits):
    message = refused(server.origin + "/none.tar.gz")
    assert message.startswith(f"{server.origin}/none.tar.gz: responded with 404 Not Found; check source")
    assert len(server.seen) == 1
    assert waits == []


def test_a_later_client_error_keeps_what_came(server):
    refused(server.on("/a.tar.gz", File(BODY, cut=100_000), Reply(403)))
    assert kept() == [100_000]


def test_server_errors_are_retried_with_growing_waits_and_then_given_up(server, waits):
    message = refused(server.on("/a.tar.gz", Reply(500)))
    assert (
        "responded with 500 Internal Server Error (6 attempts failed); check the network and run again later" in message
    )
    assert len(server.seen) == source.ATTEMPTS == 6
    assert waits == [1, 2, 4, 8, 16]


def test_retry_after_is_honoured_up_to_a_cap(server, waits):
    answers = [Reply(429, headers={"Retry-After": after}) for after in ("7", "86400", "soon")]
    fetch(server.on("/a.tar.gz", *answers, File(BODY)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert waits == [7, source.MAX_WAIT, 4]


def test_nobody_listening_is_given_up(waits):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, not listening
        message = refused(f"http://127.0.0.1:{free.getsockname()[1]}/a.tar.gz")
    assert "Connection refused" in message
    assert len(waits) == source.ATTEMPTS - 1


def test_server_that_falls_silent_is_given_up(server, monkeypatch):
    monkeypatch.setattr(source, "TIMEOUT", (1, 0.05))
    monkeypatch.setattr(source, "ATTEMPTS", 2)
    start = time.monotonic()
    message = refused(server.on("/a.tar.gz", File(BODY, cut=0, stall=True)))
    assert "Read timed out" in message
    assert time.monotonic() - start < 4
    assert len(server.seen) == 2


# -- redirects


def to(location: str) -> Reply:
    return Reply(302, headers={"Location": location})


@pytest.mark.parametrize("absolute", [True, False])
def test_redirect_is_followed(server, absolute):
    there = server.on("/there/a.tar.gz", File(BODY, cut=100_000), File(BODY))
    fetch(server.on("/a.tar.gz", to(there if absolute else "there/a.tar.gz")), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    # The range is asked for through the redirect too.
    assert server.ranges() == [None, None, "bytes=100000-", "bytes=100000-"]


def test_redirects_in_a_circle_end(server):
    message = refused(server.on("/a.tar.gz", to("/a.tar.gz")))
    assert f"Exceeded {source.MAX_REDIRECTS} redirects" in message
    assert len(server.seen) == source.MAX_REDIRECTS + 1


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/a.tar.gz"])
def test_redirect_out_of_http_is_refused(server, location):
    message = refused(server.on("/a.tar.gz", to(location)))
    assert f"refused a redirect from http to {location.split(':')[0]};" in message


@pytest.mark.parametrize(
    ("source", "location", "allowed"),
    [
        ("http://a/x", "https://b/x", True),
        ("http://a/x", "http://b/x", True),
        ("https://a/x", "https://b/x", True),
        ("https://a/x", "/y", True),
        ("https://a/x", "http://a/x", False),
        ("https://a/x", "HTTP://a/x", False),
    ],
)
def test_redirect_never_leaves_https(source, location, allowed):
    response = requests.Response()
    response.url, response.status_code = source, 302
    response.headers["Location"] = location
    with source._Session() as session:
        if allowed:
            assert session.get_redirect_target(response) == location
        else:
            with pytest.raises(InputError, match="refused a redirect from https to http;"):
                session.get_redirect_target(response)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> Path:
    """A key and the certificate for 127.0.0.1 that it signed itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "loopback.pem"
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, *plain)
    path.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture
def https(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server(context) as server:
        yield server


def test_certificate_that_is_not_trusted_fails_at_once(https, waits):
    assert "certificate is not trusted" in refused(https.on("/a.tar.gz", File(BODY)))
    assert https.seen == []
    assert waits == []


def test_http_may_lead_to_https_and_not_back(server, https, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    up = server.on("/up.tar.gz", to(https.on("/a.tar.gz", File(BODY))))
    down = https.on("/down.tar.gz", to(server.on("/a.tar.gz", File(BODY))))
    assert "refused a redirect from https to http;" in refused(down)
    fetch(up, md5=MD5)
    assert ARCHIVE.read_bytes() == BODY


# -- what came is not what was published


def test_wrong_md5_is_told_and_thrown_away(server):
    message = refused(server.on("/a.tar.gz", File(BODY)), md5=WRONG)
    assert f"its md5 is {MD5}, not {WRONG}" in message
    assert list(Path(".partial").glob("*")) == []


def test_login_page_is_recognised(server):
    message = refused(server.on("/a.tar.gz", Reply(200, PAGE)), md5=MD5)
    assert "is not a .tar.gz but starts with '<!DOCTYPE html> <title>Log in</title>'" in message


def test_login_page_in_mid_transfer_does_not_cost_what_came(server):
    url = server.on("/a.tar.gz", File(BODY, cut=100_000), Reply(200, PAGE), File(BODY))
    refused(url, md5=MD5)
    assert kept() == [100_000]
    fetch(url, md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges()[-1] == "bytes=100000-"


def test_empty_answer_is_recognised(server):
    assert "is not a .tar.gz but is empty" in refused(server.on("/a.tar.gz", Reply(200)))


def test_truncated_gzip_without_md5_is_recognised(server):
    assert "is damaged" in refused(server.on("/a.tar.gz", File(BODY[:-9])))


def test_archive_in_place_survives_a_failure(server):
    ARCHIVE.parent.mkdir()
    ARCHIVE.write_bytes(b"old")
    with pytest.raises(InputError):
        fetch(server.on("/a.tar.gz", File(OTHER)), md5=MD5)
    assert ARCHIVE.read_bytes() == b"old"


def test_partial_without_its_note_is_not_trusted(server):
    url = server.on("/a.tar.gz", File(BODY, cut=100_000), Reply(403), File(BODY))
    refused(url)
    (note,) = Path(".partial").glob("*.json")
    note.write_text("")  # as after a power cut
    fetch(url)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges()[-1] is None


def test_partial_never_goes_with_the_note_of_another_version(server, monkeypatch):
    url = server.on("/a.tar.gz", File(BODY, cut=100_000), File(OTHER, etag='"v2"'))

    @contextlib.contextmanager
    def killed_after(path, replacing=files.replacing):
        with replacing(path) as part:
            yield part
        if "v2" in path.read_text():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files, "replacing", killed_after)
        with pytest.raises(KeyboardInterrupt):
            fetch(url)
    fetch(url)
    assert ARCHIVE.read_bytes() == OTHER
    assert server.ranges() == [None, "bytes=100000-", None]


def test_partial_is_of_one_url(server):
    refused(server.on("/a.tar.gz", File(BODY, cut=100_000), Reply(403)))
    fetch(server.on("/b.tar.gz", File(OTHER)))
    assert ARCHIVE.read_bytes() == OTHER
    assert server.ranges()[-1] is None


# -- a record of Zenodo, or of another InvenioRDM


NAME, ENCODED = "ben-ge 800.tar.gz", "ben-ge%20800.tar.gz"


def record(server, *, size=SIZE, md5=MD5, name=NAME, path=f"/records/12/files/{ENCODED}") -> str:
    """A record with one file, which its publisher says to be of that size and md5; returns the file's URL."""
    files = [{"key": name, "size": size, "checksum": f"md5:{md5}", "links": {"self": "unused"}}]
    server.on("/api/records/12", Reply(200, json.dumps({"id": 12, "files": files}).encode()))
    return server.on(path, File(BODY))


@pytest.mark.parametrize("path", [f"/records/12/files/{ENCODED}", f"/record/12/files/{ENCODED}"])
def test_record_is_verified(server, path, capfd):
    fetch(record(server, path=path) + "?download=1")
    assert ARCHIVE.read_bytes() == BODY
    assert [request.path for request in server.seen] == ["/api/records/12", path + "?download=1"]
    assert capfd.readouterr() == ("", "")  # nothing to pin


def test_record_with_a_mapping_of_files_is_verified(server):
    url = record(server)
    entries = {NAME: {"key": NAME, "size": 1, "checksum": f"md5:{MD5}"}}
    server.on("/api/records/12", Reply(200, json.dumps({"files": {"enabled": True, "entries": entries}}).encode()))
    assert f"has {SIZE} bytes, not the published 1" in refused(url)


def test_record_with_another_md5_is_refused(server):
    assert f"its md5 is {MD5}, not {WRONG}" in refused(record(server, md5=WRONG))
    assert list(Path(".partial").glob("*")) == []


def test_record_with_another_size_is_refused(server):
    assert f"has {SIZE} bytes, not the published 99" in refused(record(server, size=99))
    assert list(Path(".partial").glob("*")) == []


def test_record_without_the_file_names_those_it_has(server):
    message = refused(record(server, name="ben-ge-8k.tar.gz"))
    assert message.endswith(f"its record has no file '{NAME}'; choose from ben-ge-8k.tar.gz")


def test_record_that_changed_since_it_was_pinned_is_refused_before_the_transfer(server):
    message = refused(record(server), md5=WRONG)
    assert f"its published md5 is {MD5}, not {WRONG} as in params.yaml" in message
    assert [request.path for request in server.seen] == ["/api/records/12"]


def test_record_is_asked_for_again_after_a_server_error(server, waits):
    url = record(server)
    good = server.next_answer("/api/records/12")
    server.on("/api/records/12", Reply(503, headers={"Retry-After": "9"}), good)
    fetch(url)
    assert ARCHIVE.read_bytes() == BODY
    assert waits == [9]


@pytest.mark.parametrize("answer", [Reply(404), Reply(200, PAGE), Reply(200, b"[]"), Reply(200, b'{"files": [{}]}')])
def test_path_like_a_record_elsewhere_may_lack_the_record(server, answer, capfd):
    url = record(server)
    server.on("/api/records/12", answer)
    fetch(url)
    assert ARCHIVE.read_bytes() == BODY
    assert f"add md5: {MD5}" in capfd.readouterr().out


def test_zenodo_must_have_the_record(server, monkeypatch):
    monkeypatch.setattr(source, "ZENODO", (server.origin.removeprefix("http://"),))
    url = record(server)
    server.on("/api/records/12", Reply(404))
    assert "/api/records/12: responded with 404 Not Found, without files and checksums" in refused(url)


# -- a local .tar.gz


@pytest.mark.parametrize("entry", [{}, {"md5": MD5}])
def test_local_archive_is_copied_not_linked(entry):
    Path("mine.tar.gz").write_bytes(BODY)
    fetch("mine.tar.gz", **entry)
    assert ARCHIVE.read_bytes() == BODY
    assert not ARCHIVE.is_symlink()
    assert ARCHIVE.stat().st_nlink == 1
    assert os.listdir("data") == ["archive.tar.gz"]


@pytest.mark.parametrize(
    ("content", "entry", "message"),
    [
        (BODY, {"md5": WRONG}, f"mine.tar.gz: its md5 is {MD5}, not {WRONG}"),
        (BODY[:-9], {}, "mine.tar.gz: is damaged"),
        (b"plain", {}, "mine.tar.gz: is not a .tar.gz but starts with 'plain'"),
        (b"PK\x03\x04", {}, "mine.tar.gz: is a .zip, not a .tar.gz; unpack it, then give the folder or"),
        (b"\x28\xb5\x2f\xfd", {}, "mine.tar.gz: is a .tar.zst, not a .tar.gz"),
        (tarfile.TarInfo("a").tobuf(), {}, "mine.tar.gz: is a .tar, not a .tar.gz"),
        (None, {}, "'mine.tar.gz': no such file"),
    ],
)
def test_local_archive_that_will_not_do(content, entry, message):
    if content is not None:
        Path("mine.tar.gz").write_bytes(content)
    assert message in refused("mine.tar.gz", **entry)


# -- an unpacked directory


@pytest.fixture
def unpacked() -> Path:
    top = Path("my copy")
    for name in (
        "ben-ge-x_meta.csv",
        "ben-ge-x_esaworldcover.csv",
        "._ben-ge-x_meta.csv",
        "README.md",
        "splits/ben-ge-x_train.csv",
        "splits/notes.txt",
        "sentinel-1/S1_2/S1_2_VV.tif",
        "sentinel-2/b_0_1/b_0_1_B02.tif",
        "sentinel-2/a_0_0/a_0_0_B02.tif",
        "sentinel-2/a_0_0/a_0_0_B03.tif",
        "sentinel-2/a_0_0/a_0_0_labels_metadata.json",
        "sentinel-2/stray.csv",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(f"content of {name}")
    return top


def test_directory_is_packed_with_what_preprocess_reads(unpacked):
    fetch(unpacked)
    with tarfile.open(ARCHIVE) as tar:
        contents = {member.name: tar.extractfile(member).read().decode() for member in tar}
    assert list(contents) == [
        "ben-ge-x/ben-ge-x_esaworldcover.csv",
        "ben-ge-x/ben-ge-x_meta.csv",
        "ben-ge-x/sentinel-1/S1_2/S1_2_VV.tif",
        "ben-ge-x/sentinel-2/a_0_0/a_0_0_B02.tif",
        "ben-ge-x/sentinel-2/a_0_0/a_0_0_B03.tif",
        "ben-ge-x/sentinel-2/b_0_1/b_0_1_B02.tif",
        "ben-ge-x/splits/ben-ge-x_train.csv",
    ]
    assert contents["ben-ge-x/splits/ben-ge-x_train.csv"] == "content of splits/ben-ge-x_train.csv"


def test_directory_gives_the_same_bytes_wherever_and_whenever_it_is(unpacked):
    fetch(unpacked)
    first = ARCHIVE.read_bytes()
    moved = unpacked.rename("elsewhere")
    for path in moved.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    fetch(moved.absolute(), md5=hashlib.md5(first).hexdigest())
    assert ARCHIVE.read_bytes() == first
    assert os.listdir("data") == ["archive.tar.gz"]


def test_directory_with_another_md5_is_refused(unpacked):
    assert f"not {WRONG}" in refused(unpacked, md5=WRONG)


@pytest.mark.parametrize("link", ["sentinel-2", "splits", "sentinel-2/a_0_0", "sentinel-2/b_0_1/b_0_1_B02.tif"])
def test_directory_with_links_is_refused(unpacked, link):
    (unpacked / link).rename("outside")
    (unpacked / link).symlink_to(Path("outside").absolute())
    assert f"{unpacked / link}: is a symbolic link" in refused(unpacked)


@pytest.mark.parametrize("missing", ["*_meta.csv", "sentinel-*/*/*.tif"])
def test_directory_that_is_no_dataset_is_refused(unpacked, missing):
    for path in unpacked.glob(missing):
        path.unlink()
    assert "needs one <name>_meta.csv and sentinel-2/<patch_id>/*.tif" in refused(unpacked)


# -- the choice of the dataset


@pytest.mark.parametrize("source", SAMPLES)
def test_a_sample_is_written_by_its_module(source, monkeypatch):
    monkeypatch.setattr(writer, "write_sample", lambda path, name: path.write_bytes({source: BODY}[name]))
    fetch(source, md5=MD5)
    assert ARCHIVE.read_bytes() == BODY


def lock(source: str, md5: str) -> None:
    """What dvc.lock says after a download of this source."""
    archive = {"path": str(ARCHIVE), "hash": "md5", "md5": md5}
    download = {"params": {"params.yaml": {"datasets.mine.source": source}}, "outs": [archive]}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"download": download}}))


def test_the_archive_in_dvc_lock_and_dvcs_cache_needs_no_network(server):
    url = server.on("/a.tar.gz", File(BODY))
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
    cached = Path(".dvc", "cache", "files", "md5", MD5[:2], MD5[2:])
    cached.parent.mkdir(parents=True)
    cached.write_bytes(BODY)
    lock(url, MD5)
    fetch(url)
    assert ARCHIVE.read_bytes() == BODY
    assert server.seen == []
    for text in ("", "a: [", "stages: 3", "stages: {download: {}}"):
        Path("dvc.lock").write_text(text)
        ARCHIVE.unlink()
        fetch(url)
    assert len(server.seen) == 4


# -- the process: killed, interrupted, and as DVC calls it


def start(source: str, md5: str = MD5, stderr: int = subprocess.PIPE) -> subprocess.Popen:
    entry = {"source": source, "md5": md5, "split": {"method": "files"}}
    defaults = yaml.safe_load((ROOT / "params.yaml").read_text())
    Path("params.yaml").write_text(json.dumps(defaults | {"dataset": "mine", "datasets": {"mine": entry}}))
    return subprocess.Popen(
        [sys.executable, "-m", "stages", "download", str(ARCHIVE)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def stop_in_mid_transfer(server, url: str, sign: signal.Signals) -> tuple[int, str, str]:
    process = start(url)
    deadline = time.monotonic() + 30
    while kept() != [2000]:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, kept()
        time.sleep(0.01)
    process.send_signal(sign)
    return finish(process)


@pytest.mark.parametrize(
    ("sign", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 130)]
)
def test_stopped_process_is_resumed_by_the_next(server, sign, status):
    url = server.on("/a.tar.gz", File(BODY, cut=2000, stall=True), File(BODY))
    code, _, err = stop_in_mid_transfer(server, url, sign)
    assert code == status
    assert "Traceback" not in err
    assert not ARCHIVE.exists()
    assert kept() == [2000]

    assert finish(start(url)) == (0, "", "")
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=2000-"]
    assert sum(request.sent for request in server.seen) == SIZE
    assert is_clean()


def test_process_stopped_between_the_last_byte_and_the_check_asks_for_nothing_more(server, monkeypatch):
    url = server.on("/a.tar.gz", File(BODY))
    with monkeypatch.context() as patch:
        patch.setattr(source, "verify", lambda *_, **__: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            fetch(url)
    assert kept() == [SIZE]
    fetch(url)
    assert ARCHIVE.read_bytes() == BODY
    assert len(server.seen) == 1


def test_process_fails_in_one_line(server):
    code, out, err = finish(start(server.on("/a.tar.gz", File(BODY)), md5=WRONG))
    assert (code, out) == (1, "")
    assert re.fullmatch(r"error: http://127\.0\.0\.1:\d+/a\.tar\.gz: its md5 is [^\n]*\n", err)


def test_bar_is_shown_on_a_terminal(server):
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with open(ours, "rb", buffering=0) as screen:
        process = start(server.on("/a.tar.gz", File(BODY)), stderr=theirs)
        os.close(theirs)
        assert finish(process)[0] == 0
        assert b"download: 100%" in screen.read(1 << 16)


def test_import_is_light():
    heavy = "{'torch', 'numpy', 'pandas', 'rasterio', 'sklearn', 'matplotlib'}"
    code = f"import sys, stages.download; print(*{heavy} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "\n"


@pytest.mark.parametrize("damaged", [False, True])
def test_an_archive_in_dvcs_cache_is_not_fetched_again(server, damaged):
    """A new split of a dataset reruns this stage; its archive is in the cache already, under its md5."""
    subprocess.run(["dvc", "init", "--no-scm", "--quiet"], check=True)
    cached = Path(".dvc", "cache", "files", "md5", MD5[:2], MD5[2:])
    cached.parent.mkdir(parents=True)
    cached.write_bytes(BODY[:-1] if damaged else BODY)
    fetch(server.on("/a.tar.gz", File(BODY)), md5=MD5)
    assert ARCHIVE.read_bytes() == BODY
    assert len(server.seen) == (1 if damaged else 0)


# -- what is secret


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("SAS_TOKEN", "?sv=1&sig=s3cret")


@pytest.mark.parametrize(
    "answers",
    [
        [Reply(403)], [Reply(200, PAGE)], [Reply(503)], [File(BODY, cut=9, ranges=False)], [File(OTHER)],
        [Reply(302, headers={"Location": "/b.tar.gz?sig=s3cret"})], [Reply(302, headers={"Location": "http://u:s3cret@["})],
        [Reply(302, headers={"Location": "ftp://u:s3cret@127.0.0.1/b?sig=s3cret"})],
    ],
)  # fmt: skip
def test_no_message_tells_a_key(server, key, capfd, answers):
    server.on("/b.tar.gz", Reply(302, headers={"Location": "/b.tar.gz?sig=s3cret"}))
    url = server.on("/a.tar.gz", *answers) + "?$SAS_TOKEN"
    message = refused(url, md5=MD5)
    assert server.seen[0].path == "/a.tar.gz?sv=1&sig=s3cret"
    assert "127.0.0.1" in message
    assert "s3cret" not in message + "".join(capfd.readouterr())


def test_a_key_that_was_renewed_goes_on_where_the_old_one_stopped(server, monkeypatch):
    url = server.on("/a.tar.gz", File(BODY, cut=1000), Reply(403), File(BODY)) + "?$KEY"
    monkeypatch.setenv("KEY", "old")
    assert "responded with 403" in refused(url)
    monkeypatch.setenv("KEY", "new")
    fetch(url)
    assert ARCHIVE.read_bytes() == BODY
    assert server.ranges() == [None, "bytes=1000-", "bytes=1000-"]


def test_a_key_that_is_not_there_is_told(monkeypatch):
    monkeypatch.delenv("SAS_TOKEN", raising=False)
    assert "its query variable $SAS_TOKEN is not set" in refused("http://127.0.0.1/a.tar.gz?$SAS_TOKEN")


def test_netrc_names_user_and_password(server, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password s3cret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    fetch(server.on("/a.tar.gz", File(BODY)))
    assert server.seen[0].headers["Authorization"].startswith("Basic ")
