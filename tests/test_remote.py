"""Run folders in object storage: run, stopped, gone on with and reported, as a local one is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from toy_studies import toy_study

from vlbias.errors import BadOption, BadStudy, BadTable
from vlbias.runs.events import Events
from vlbias.runs.remote import RemoteFolder, address_of
from vlbias.studies.lifecycle import run_plan, study_of
from vlbias.studies.reporting import report

pytestmark = pytest.mark.integration

UNMEDIATED = (
    'mediators = ["image_encoder", "text_encoder", "image_encoder/head.*[*]", "text_encoder/mlp.*"]',
    "mediators = []",
)
MEMORY = fsspec.filesystem("memory")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Path]:
    """An empty folder in a file system that lives in memory, as `Path` writes its address."""
    yield Path(f"memory://{tmp_path.name}/runs")
    if MEMORY.exists(f"/{tmp_path.name}"):
        MEMORY.rm(f"/{tmp_path.name}", recursive=True)


def names(bucket: Path, ending: str = "") -> list[str]:
    root = "/" + address_of(bucket).partition("://")[2]
    found = [path.removeprefix(root + "/") for path in MEMORY.find(root)]
    return sorted(name for name in found if name.endswith(ending))


def tables(folder: Path) -> dict[str, bytes]:
    every = sorted((folder / "report").rglob("*.csv"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in every}


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/runs/name/", "s3://bucket/runs/name"),
        (Path("s3://bucket/runs/name"), "s3://bucket/runs/name"),
        (Path("runs/name"), ""),
        ("/runs/s3", ""),
        ("C:/runs", ""),
    ],
)
def test_an_address_is_told_from_a_path(given: Path | str, address: str) -> None:
    assert address_of(given) == address


class StoppedHere(Exception):
    """Stands for what ends a process."""


def test_a_run_that_was_stopped_goes_on_and_is_reported(bucket: Path, tmp_path: Path) -> None:
    plan = toy_study(photos=600)
    local = run_plan(plan, tmp_path).folder

    def stop(done: int, total: int, samples: int) -> None:
        if done == 2:
            raise StoppedHere

    with pytest.raises(StoppedHere):
        run_plan(plan, bucket, workers=1, events=Events(cells=stop))
    assert len(names(bucket, ".sum")) == 2
    result = run_plan(plan, bucket)
    cells = len(list((local / "cells").glob("*.sum")))
    assert (result.done, result.skipped) == (cells - 2, 2)
    assert names(bucket, ".parquet") == sorted(
        path.relative_to(tmp_path).as_posix() for path in local.rglob("*.parquet")
    )
    page = report(bucket / "toy", draws=20)
    assert address_of(page.html) == f"{address_of(bucket)}/toy/report/index.html"
    report(local, draws=20)
    with RemoteFolder.copied(bucket / "toy", only=names(bucket / "toy")) as copy:
        assert (copy.local / "report" / "index.html").is_file()
        assert tables(copy.local) == tables(local)
    # nothing is lost by a second look, and nothing is done
    assert run_plan(plan, bucket).done == 0


def test_what_says_that_others_are_whole_comes_last(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: list[str] = []
    real = MEMORY.put_file

    def noted(source: str, target: str) -> None:
        put.append(target.rpartition("/runs/")[2])
        real(source, target)

    monkeypatch.setattr(MEMORY, "put_file", noted)
    with RemoteFolder.copied(bucket) as copy:
        (copy.local / "cells").mkdir()
        for name in ("manifest.json", "cells/a.sum", "cells/a.parquet", "cells/b.error.json"):
            (copy.local / name).write_text(name)
        (copy.local / ".working").write_text("of this process")
        copy.push()
        assert put == ["cells/a.parquet", "cells/b.error.json", "cells/a.sum", "manifest.json"]
        (copy.local / "cells" / "b.error.json").unlink()
        (copy.local / "cells" / "a.sum").write_text("anew")
        copy.push()
        assert put[4:] == ["cells/a.sum"]
    assert names(bucket) == ["cells/a.parquet", "cells/a.sum", "manifest.json"]
    with RemoteFolder.copied(bucket, only=("manifest.json",)) as copy:
        assert [path.name for path in copy.local.iterdir()] == ["manifest.json"]
        copy.push()
    assert len(names(bucket)) == 3


def test_refusals_name_the_address(bucket: Path, tmp_path: Path) -> None:
    address = address_of(bucket)
    with pytest.raises(BadTable, match=f"{address}/toy is no run folder"):
        study_of(bucket / "toy")
    plan = toy_study(photos=300)
    with pytest.raises(BadStudy, match=f"0/2 first.*{address}/toy"):
        run_plan(plan, bucket, shard=(1, 2))
    with pytest.raises(BadOption, match="an address that fsspec knows"):
        study_of(Path("nowhere://bucket/toy"))
    with pytest.raises(BadOption, match="a folder of this machine"):
        report(tmp_path, "memory://bucket/page")
    assert run_plan(plan, bucket, shard=(0, 2)).done == 1
    assert run_plan(plan, bucket, shard=(1, 2)).done == 1
    with pytest.raises(BadStudy, match=f"{address}/toy holds another study"):
        run_plan(toy_study(photos=300, seed=1), bucket)
    assert len(names(bucket, ".sum")) == 2


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server of the protocol on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> fsspec.AbstractFileSystem:
    """What s3:// leads to, with a bucket."""
    for name, value in (
        ("AWS_ENDPOINT_URL", server),
        ("AWS_ACCESS_KEY_ID", "mine"),
        ("AWS_SECRET_ACCESS_KEY", "mine"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    files.makedirs("bucket", exist_ok=True)
    return files


def vlbias(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "vlbias", *arguments]


@pytest.mark.slow
def test_a_killed_run_goes_on_from_the_bucket(
    s3: fsspec.AbstractFileSystem, study_file: Callable[..., Path], tmp_path: Path
) -> None:
    study = str(study_file(UNMEDIATED))
    whole = subprocess.run(
        vlbias("run", study, "-o", str(tmp_path / "here")), capture_output=True, text=True
    )
    assert whole.returncode == 0, whole.stderr
    (local,) = (tmp_path / "here").iterdir()
    remote = f"s3://bucket/runs/{local.name}"
    killed = subprocess.Popen(vlbias("run", study, "--workers", "1", "-o", "s3://bucket/runs"))
    while killed.poll() is None:
        s3.invalidate_cache()
        if any(path.endswith(".sum") for path in s3.find(f"bucket/runs/{local.name}")):
            os.kill(killed.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    assert killed.wait() == -signal.SIGKILL
    gone_on = subprocess.run(vlbias("resume", remote), capture_output=True, text=True)
    assert gone_on.returncode == 0, gone_on.stderr
    assert f"next: vlbias report {remote}" in gone_on.stdout
    page = subprocess.run(vlbias("report", remote, "--draws", "50"), capture_output=True, text=True)
    assert page.returncode == 0, page.stderr
    assert f"page: {remote}/report/index.html" in page.stdout
    own = subprocess.run(vlbias("report", str(local), "--draws", "50"), capture_output=True)
    assert own.returncode == 0
    s3.invalidate_cache()
    s3.get(f"bucket/runs/{local.name}/report", str(tmp_path / "there" / "report"), recursive=True)
    assert tables(tmp_path / "there") == tables(local)
    manifest = json.loads(s3.cat_file(f"bucket/runs/{local.name}/manifest.json"))
    assert manifest["cells"] == json.loads((local / "manifest.json").read_text())["cells"]


@pytest.mark.slow
def test_a_bucket_that_is_not_there_is_said(s3: fsspec.AbstractFileSystem) -> None:
    said = subprocess.run(vlbias("report", "s3://other/runs/name"), capture_output=True, text=True)
    assert said.returncode == 2
    assert "s3://other/runs/name" in said.stderr
    assert "Traceback" not in said.stderr
