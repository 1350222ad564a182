"""Reading a message's folder: what is taken, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.content.defaults import read_defaults
from orchestrator.content.files import read_folder
from orchestrator.errors import ConfigError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "templates"
    (folder / "lunch" / "dish").mkdir(parents=True)
    (folder / "lunch" / "dish" / "sms.en.j2").write_text("hi", encoding="utf-8")
    (folder / "lunch" / "defaults.yaml").write_text("user.name: there", encoding="utf-8")
    (folder / "defaults.yaml").write_text("user.x: 1", encoding="utf-8")
    (tmp_path / "defaults.yaml").write_text("outside: 1", encoding="utf-8")
    return folder


def test_the_folder_and_its_parents_defaults(root: Path) -> None:
    assert set(read_folder(root, "lunch/dish")) == {"lunch/dish/sms.en.j2", "lunch/defaults.yaml", "defaults.yaml"}


@pytest.mark.parametrize("message", ["../x", "/etc", "lunch/../..", "", "lunch//dish", "a" * 10_000 + "/.."])
def test_a_name_that_is_no_folder(root: Path, message: str) -> None:
    with pytest.raises(ConfigError, match="is no message folder"):
        read_folder(root, message)


def test_a_missing_folder_names_the_nearest(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such message folder \(did you mean 'lunch/dish'\?\)"):
        read_folder(root, "lunch/dihs")


def test_a_link_out_of_the_folder_is_refused(root: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("token", encoding="utf-8")
    (root / "lunch" / "dish" / "push.en.j2").symlink_to(secret)
    with pytest.raises(ConfigError, match="leads out of the templates folder"):
        read_folder(root, "lunch/dish")


def test_not_utf_8_and_too_large_are_told_together(root: Path) -> None:
    (root / "lunch" / "dish" / "push.en.j2").write_bytes(b"title: a\n\xff")
    (root / "lunch" / "dish" / "sms.zh.j2").write_bytes(b"a" * 10_000_000)
    with pytest.raises(ConfigError) as caught:
        read_folder(root, "lunch/dish")
    assert [(problem.line, problem.message) for problem in caught.value.problems] == [
        (2, "is not UTF-8 text"),
        (0, "is larger than 64 KB"),
    ]


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("user.name: {en: a\n", 2, "is no YAML"),
        ("- a", 1, "has lines like"),
        ("\nuser: x", 2, "is no fact"),
        ("user.a: [1]", 1, "has no value"),
        ("user.a: ", 1, "has no value"),
        ("user.a: {english!: x}", 1, "is no locale"),
        ("user.a: {en: {x: y}}", 1, "has no value for en"),
        ("user.a: 1\nuser.a: 2", 2, "twice"),
        ("user.a: " + "[" * 5000, 0, "is no YAML"),
        ("x: " + "a" * 70_000, 0, "larger than 64 KB"),
        ("user.a: !!python/object:os.system x", 1, "has no value"),
    ],
)
def test_problems_of_defaults(source: str, line: int, words: str) -> None:
    _, problems = read_defaults("d.yaml", source)
    assert problems
    assert words in problems[0].message
    assert line in {0, problems[0].line}


def test_defaults_keep_their_kinds() -> None:
    values, problems = read_defaults("d.yaml", "user.a: 1\nuser.b: 1.5\nuser.c: true\nuser.d: {no: hei, zh_CN: '1'}\n")
    assert problems == []
    assert values == {
        "user.a": {"": 1},
        "user.b": {"": 1.5},
        "user.c": {"": True},
        "user.d": {"no": "hei", "zh-cn": "1"},
    }
