import os
import re
import subprocess
from pathlib import Path
from unittest import mock

import pytest
import rasterio
import requests
from conftest import python
from rasterio.errors import RasterioIOError
from server import certificate, encrypted
from tiny import REPOSITORY

from landcover import cli
from landcover.commands import predict
from landcover.errors import InputError

FOREIGN = {"GIT_DIR": "x", "GIT_INDEX_FILE": "x", "GIT_QUARANTINE_PATH": "x", "GIT_CONFIG_PARAMETERS": "x"}
FOREIGN |= {"PROJ_LIB": "x", "PROJ_DATA": "x", "GDAL_DATA": "x", "PYTHONSAFEPATH": "1"}
OWN = {"GIT_AUTHOR_NAME": "x", "GIT_COMMITTER_EMAIL": "x", "GIT_CONFIG_COUNT": "0", "GIT_CONFIG_GLOBAL": "x"}


def test_other_programs_variables_are_removed_and_the_users_kept():
    with mock.patch.dict(os.environ, FOREIGN | OWN):
        cli.clear_environment()
        assert FOREIGN.keys() & os.environ.keys() == set()
        assert {name: os.environ[name] for name in OWN} == OWN


@pytest.mark.skipif(not Path(rasterio.__file__).with_name("proj_data").is_dir(), reason="rasterio has no own data")
def test_the_data_of_another_proj_are_not_read(tmp_path):
    """Where PROJ_LIB leads there is no database, as there is an old one in an active conda environment."""
    code = "from rasterio.crs import CRS; print(CRS.from_epsg(32633).is_projected)"
    before = f"import os; os.environ['PROJ_LIB'] = {str(tmp_path)!r}; from landcover import cli; "
    assert python(tmp_path, "-c", before + code).returncode != 0
    assert python(tmp_path, "-c", before + "cli.clear_environment(); " + code).stdout == "True\n"


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_certificates_for_requests_reach_gdal(tmp_path, name, kind):
    known = certificate(tmp_path)
    if kind == "folder":  # a folder, in which OpenSSL finds certificates by their hashes
        command = ["openssl", "x509", "-noout", "-hash", "-in", str(known)]
        given = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        (tmp_path / f"{given}.0").write_bytes(known.read_bytes())
        known = tmp_path
    with mock.patch.dict(os.environ), encrypted(tmp_path / "loopback.pem") as server:
        for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GDAL_CURL_CA_BUNDLE", "GDAL_HTTP_CAPATH"):
            os.environ.pop(other, None)
        os.environ[name] = str(known)
        cli.clear_environment()
        os.environ.setdefault("GDAL_CURL_CA_BUNDLE", requests.certs.where())  # as rasterio does when it is imported
        with pytest.raises(RasterioIOError, match="404"), rasterio.Env(CPL_VSIL_CURL_USE_HEAD="NO"):
            rasterio.open(f"/vsicurl/{server.origin}/x.tif")


BARE = """
import runpy, sys
sys.path.append({root!r})
sys.argv = ["landcover", "predict", "x"]
runpy.run_module("landcover", run_name="__main__")
"""


def test_a_python_without_the_libraries_is_told_in_one_line(tmp_path):
    done = python(tmp_path, "-I", "-S", "-c", BARE.format(root=str(REPOSITORY)))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert re.search(r"^error: .*python.* has no (pandas|pydantic); activate the environment", done.stderr)


def test_an_interrupted_command_ends_while_a_thread_waits(tmp_path):
    code = """
import threading
from landcover import cli

def command():
    threading.Thread(target=threading.Event().wait).start()  # without an end, as for a host that stalls
    raise KeyboardInterrupt("the first is kept")

cli.run(command)
"""
    done = python(tmp_path, "-c", code)
    assert (done.returncode, done.stderr) == (130, "interrupted: run the same command again; the first is kept\n")


def test_our_own_missing_module_is_a_bug():
    with pytest.raises(ModuleNotFoundError, match="nonsense"), cli.imports():
        import landcover.nonsense  # noqa: F401
    with pytest.raises(InputError, match="has no nonsense; activate"), cli.imports():
        import nonsense  # noqa: F401


def test_help_needs_no_docstrings(monkeypatch, capsys):
    """As with PYTHONOPTIMIZE=2."""
    monkeypatch.setattr(predict, "__doc__", None)
    with pytest.raises(SystemExit, match=r"^0$"):
        predict.main(["--help"])
    assert "--threshold" in capsys.readouterr().out
