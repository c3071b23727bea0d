"""Folders of installed packages are found, and nothing of the package runs."""

import pytest

from finetune.data.packages import package_folder
from finetune.errors import DataError


def test_a_folder_in_an_installed_package_is_found_without_importing_it(tmp_path, monkeypatch):
    folder = tmp_path / "somepackage" / "sets"
    folder.mkdir(parents=True)
    (tmp_path / "somepackage" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "train.csv").write_text("a\n1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert package_folder("package:somepackage/sets") == folder
    assert package_folder("package:somepackage.sets/train.csv") == folder / "train.csv"
    with pytest.raises(DataError, match="leaves the package"):
        package_folder("package:somepackage/../..")
    with pytest.raises(DataError, match="not installed"):
        package_folder("package:nosuchpackage/sets")
    with pytest.raises(DataError, match="did you mean `sets`"):
        package_folder("package:somepackage/sats")
