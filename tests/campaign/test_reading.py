"""YAML → data with lines; what is refused, and that nothing makes it slow or deep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.campaign.document import values_at
from orchestrator.campaign.reading import MAX_BYTES, parse_document, read_document
from orchestrator.errors import ConfigError


def complaints(text: str) -> list[str]:
    try:
        found = parse_document(text, "c.yaml").problems
    except ConfigError as error:
        found = error.problems
    return [str(problem) for problem in found]


def test_values_keep_their_lines() -> None:
    document = parse_document("a: 1\nb:\n  - x: 2\n    y: 3\n  - {z: 4}\n", "c.yaml")
    assert document.data == {"a": 1, "b": [{"x": 2, "y": 3}, {"z": 4}]}
    assert [document.line(place) for place in (("a",), ("b",), ("b", 0, "y"), ("b", 1, "z"))] == [1, 2, 4, 5]
    assert document.line(("b", 1, "not there")) == 5
    assert str(document.problem(("b", 1, "z"), "is wrong", "mend it")) == "c.yaml:5: b.2.z: is wrong (mend it)"


def test_plain_values_are_yaml_1_2_and_dates_stay_text() -> None:
    text = "a: yes\nb: true\nc: 2026-11-01\nd: 10:30\ne: 012\nf: 0.05\ng: '5'\nh: ~\ni: 10%\nj: !!str 5\nno: 1\n"
    assert parse_document(text, "c.yaml").data == {
        "a": "yes", "b": True, "c": "2026-11-01", "d": "10:30", "e": 12, "f": 0.05, "g": "5", "h": None, "i": "10%",
        "j": "5", "no": 1,
    }  # fmt: skip


def test_every_recoverable_problem_is_told_at_once() -> None:
    text = 'a: 1\na: 2\nb: &x [1]\nc: *x\nd: !foo 1\ne: .nan\nf: "\\0"\ng: ' + "9" * 5000 + "\n"
    found = complaints(text)
    assert found[0] == "c.yaml:2: a: this field is there twice (first on line 1: remove one of the two)"
    assert found[1] == "c.yaml:4: c: the alias *x is not supported (write the value out)"
    assert [line.split(" ")[0] for line in found[2:]] == ["c.yaml:5:", "c.yaml:6:", "c.yaml:7:", "c.yaml:8:"]


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("", "c.yaml:1: is empty"),
        ("# nothing\n", "c.yaml:1: is empty"),
        ("- a\n", "c.yaml:1: has to be fields"),
        ("name: [1\nb: 2\n", "c.yaml:2: is not YAML: expected ',' or ']'"),
        ("a: 1\nb: c: d\n", "c.yaml:2: is not YAML: mapping values are not allowed here"),
        ("a:\n\t- b\n", "c.yaml:2: is not YAML"),
        ("a: 1\nb: \x07\n", "c.yaml:2: is not YAML"),
        ("a: 'b\n", "c.yaml:1: is not YAML"),
        ("a: 1\n---\nb: 1\n", "c.yaml:2: has a second document"),
        ("? [a]\n: 1\n", "c.yaml:1: a field's name has to be text"),
        ("[" * 100_000, "c.yaml:1: nests deeper than 20 levels"),
        ("a: " + "[" * 25 + "]" * 25, "c.yaml:1: nests deeper"),
        ("a:\n" + "- 1\n" * 30_000, "c.yaml:20000: has more than 20,000 values"),
    ],
)
def test_what_cannot_be_read_names_its_line(text: str, start: str) -> None:
    assert complaints(text)[0].startswith(start), complaints(text)


def test_a_billion_laughs_costs_nothing() -> None:
    text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for one, two in zip("abcdefgh", "bcdefghi", strict=True):
        text += f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]\n"
    assert "the alias *a is not supported" in complaints(text)[0]


def test_a_file_of_ten_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.yaml"
    path.write_text("name: " + "x" * 10_000_000)
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    assert "10,000,006 bytes is too big" in str(caught.value)
    assert len(str(caught.value)) < 400


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ConfigError, match=r"c\.yaml:2: is not UTF-8 text"):
        read_document(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_document(tmp_path)
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(path).data == {"a": 1}


def test_values_at_finds_texts_whatever_else_is_wrong() -> None:
    data = {"steps": [{"t": "x"}, 7, {"t": 5}, {"t": "y"}], "name": None}
    assert list(values_at(data, "steps.*.t")) == [(("steps", 0, "t"), "x"), (("steps", 3, "t"), "y")]
    assert list(values_at(data, "name.*.t")) == []


plain = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text(st.characters(exclude_categories=["C", "Z"]))
nested = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc-"), inner), max_leaves=20)


@given(st.dictionaries(st.text("abcxyz", min_size=1), nested))
def test_json_is_yaml_too(data: dict[str, Any]) -> None:
    assert parse_document(json.dumps(data, ensure_ascii=False), "c.yaml").data == data


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_config_error(text: str) -> None:
    complaints(text)
    assert MAX_BYTES == 256 * 1024
