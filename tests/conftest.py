from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# spinning barriers of two processes on two cores cost ten times the work itself
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # a process a core: each works with one thread, and so do the commands that it starts
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny model by name: of `tiny_models.HF`, of `tiny_detectors.DETECTORS`, or "openclip"."""
    import tiny_detectors
    import tiny_models

    root, made = tmp_path_factory.mktemp("models"), {}

    def folder(name: str) -> Path:
        if name not in made:
            if name == "openclip":
                made[name] = tiny_models.write_openclip(root / name)
            elif name in tiny_detectors.DETECTORS:
                made[name] = tiny_detectors.write_detector(name, root / name)
            else:
                made[name] = tiny_models.write_hf(name, root / name)
        return made[name]

    return folder


@pytest.fixture(scope="session")
def load(model_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """The loaded model of a folder, one for the whole session: no test may change it."""
    from vlbias.models import load_model

    loaded: dict[str, Any] = {}

    def model(name: str) -> Any:
        if name not in loaded:
            loaded[name] = load_model("toy" if name == "toy" else str(model_folder(name)))
        return loaded[name]

    return model


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny language model by its family's name."""
    from tiny_language import write_language

    root, made = tmp_path_factory.mktemp("language"), {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_language(kind, root / kind)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def language(language_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """The loaded model of such a folder, one for all tests: none may change it."""
    from vlbias.models import load_model

    loaded: dict[str, Any] = {}

    def model(kind: str) -> Any:
        if kind not in loaded:
            loaded[kind] = load_model(str(language_folder(kind)))
        return loaded[kind]

    return model


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COCO layout of 24 photos; no test may change it."""
    import tiny_photos

    return tiny_photos.write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of the toy study, whose answer is known; no test may change its tables."""
    from toy_studies import toy_study

    from vlbias.studies.lifecycle import run_plan

    return run_plan(toy_study(photos=600), tmp_path_factory.mktemp("runs")).folder


@pytest.fixture
def study_file(
    tmp_path: Path, model_folder: Callable[[str], Path], photos: Path
) -> Callable[..., Path]:
    """Writes the tiny study, with text of it replaced: study_file(("old", "new"), …)."""
    import tiny_photos

    def write(*changes: tuple[str, str], photos: Path = photos, model: Path | None = None) -> Path:
        return tiny_photos.write_study(
            tmp_path / "study.toml", model or model_folder("dinov2-bert"), photos, **dict(changes)
        )

    return write


@pytest.fixture(scope="session")
def lm_data() -> Path:
    """The folder with the published language-model files; the test is skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "lm"
    folder = Path(os.environ.get("VLBIAS_LM", beside))
    if not (folder / "professions.json").is_file():
        pytest.skip(f"no published language-model data in {folder}; set VLBIAS_LM")
    return folder
