"""Where YAML is found: in the installed package first, else in the source tree."""

from __future__ import annotations

from finetune.config import places


def test_the_packaged_folder_is_preferred_to_the_source_tree(tmp_path, monkeypatch):
    package = tmp_path / "finetune"
    (tmp_path / "conf").mkdir()
    package.mkdir()
    monkeypatch.setattr(places, "PACKAGE", package)
    assert places.shipped("conf") == tmp_path / "conf"
    (package / "conf").mkdir()
    assert places.shipped("conf") == package / "conf"


def test_our_own_recipes_are_not_searched_twice_from_the_source_tree(monkeypatch):
    monkeypatch.chdir(places.shipped("recipes").parent)
    assert len(places.recipe_folders()) == 1


def test_hidden_files_are_no_choices(tmp_path):
    (tmp_path / ".x.yaml").touch()
    (tmp_path / "a.yaml").touch()
    (tmp_path / "b.txt").touch()
    assert places.names_in(tmp_path) == ["a"]
    assert places.names_in(tmp_path / "none") == []


def test_what_a_file_says_of_itself_is_its_opening_comment(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("# What it is\nx: 1\n", encoding="utf-8")
    assert places.first_line(file) == "What it is"
    file.write_text("x: 1\n", encoding="utf-8")
    assert places.first_line(file) == ""


def test_every_shipped_yaml_opens_with_what_it_is():
    for folder in ("conf", "recipes"):
        for name in places.names_in(places.shipped(folder)):
            assert places.first_line(places.shipped(folder) / f"{name}.yaml"), name
