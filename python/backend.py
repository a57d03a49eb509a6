"""backend.py - how the package is built: by scikit-build-core, whose source is the whole tree above this folder. A
source distribution is that tree (what the library, its adapters and the package are made of) with this folder's
pyproject.toml at its top, so that a wheel can be made of it alone."""
from __future__ import annotations

import io
import pathlib
import tarfile
from typing import Any

from scikit_build_core.build import *  # noqa: F401,F403  # the hooks

HERE = pathlib.Path(__file__).resolve().parent
TREE = HERE.parent
PARTS = ("CMakeLists.txt", "LICENSE", "pgenrm.pc.in", "cmake", "cmd", "include", "models", "src", "clients/python/src",
         "python/src", "python/declare.py", "python/backend.py", "python/README.md")
MOVED = (('cmake.source-dir = ".."', 'cmake.source-dir = "."'),
         ('build-dir = "../build-python"', 'build-dir = "build"'),
         ('pgenrm = "src/pgenrm"', 'pgenrm = "python/src/pgenrm"'), ('"../clients/', '"clients/'),
         ('readme = "README.md"', 'readme = "python/README.md"'), ('backend-path = ["."]', 'backend-path = ["python"]'))


def _project() -> str:
    """pyproject.toml as it reads at the top of the tree."""
    text = (HERE / "pyproject.toml").read_text(encoding="utf-8")
    for here, there in MOVED:
        if text.count(here) != 1:
            raise SystemExit(f"pyproject.toml: found {here!r} {text.count(here)} times, expected it once")
        text = text.replace(here, there)
    return text


def _add(tar: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    return None if "__pycache__" in info.name else info


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    project = _project()
    version = project.split('\nversion = "')[1].split('"')[0]
    root = f"pgenrm-{version}"
    with tarfile.open(pathlib.Path(sdist_directory, f"{root}.tar.gz"), "w:gz") as tar:
        _add(tar, f"{root}/pyproject.toml", project)
        _add(tar, f"{root}/PKG-INFO", f"Metadata-Version: 2.1\nName: pgenrm\nVersion: {version}\n")
        for part in (*PARTS, *(f"tools/{p.name}" for p in sorted((TREE / "tools").glob("*.cmake")))):
            tar.add(TREE / part, f"{root}/{part}", filter=_plain)
    return f"{root}.tar.gz"
