"""Documents with positions."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cilium_proxy.yaml import (
    MAX_DEPTH,
    MAX_VALUES,
    Fields,
    Mapping,
    Mark,
    Problem,
    Problems,
    Scalar,
    parse,
    plain,
    read,
)


def problems_of(text: str) -> list[str]:
    problems = Problems()
    parse(text, "p.yaml", problems)
    return [str(problem) for problem in problems.found]


def document(text: str) -> object:
    problems = Problems()
    values = parse(text, "p.yaml", problems)
    assert not problems
    return plain(values[0])


def test_a_value_knows_its_line_and_column() -> None:
    (value,) = parse("a:\n  - b: 1\n", "p.yaml", Problems())
    assert isinstance(value, Mapping)
    assert value.keys["a"] == Mark("p.yaml", 1, 1)
    (item,) = value.items["a"].items  # type: ignore[union-attr]
    assert item.items["b"].mark == Mark("p.yaml", 2, 8)  # type: ignore[union-attr]


def test_several_documents_are_read() -> None:
    values = parse("a: 1\n---\n---\nb: 2\n", "p.yaml", Problems())
    assert [plain(value) for value in values] == [{"a": 1}, None, {"b": 2}]


def test_a_duplicate_key_is_a_problem_at_the_second_one() -> None:
    assert problems_of("a: 1\nb: 2\na: 3\n") == ["p.yaml:3:1: duplicate key `a`, first on line 1; keep one of them"]


def test_a_syntax_error_names_line_and_column() -> None:
    (problem,) = problems_of("a: [1, 2\nb: 3\n")
    assert problem.startswith("p.yaml:2:2: not valid YAML:")


def test_aliases_are_resolved() -> None:
    assert document("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


def test_an_alias_to_nothing_is_a_problem() -> None:
    assert problems_of("a: *x\n") == ["p.yaml:1:4: alias *x stands for nothing; define &x before it"]


def test_an_alias_to_itself_is_a_problem() -> None:
    (problem,) = problems_of("a: &x [*x]\n")
    assert "alias *x stands for nothing" in problem


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    (problem,) = problems_of("\n".join(lines))
    assert f"more than {MAX_VALUES} values" in problem


@pytest.mark.parametrize("opening", ["[", "- ", "{a: "])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert f"nested more than {MAX_DEPTH} levels deep" in problems_of(opening * 100_000)[0]


def test_merge_keys_and_foreign_tags_are_problems() -> None:
    assert "merge keys" in problems_of("a: &x {b: 1}\nc: {<<: *x}\n")[0]
    assert "YAML tag !!python/object" in problems_of("a: !!python/object:os.system x\n")[0].replace(
        "tag:yaml.org,2002:", "!!"
    )


def test_keys_that_look_like_booleans_stay_strings() -> None:
    assert document("on: 1\nyes: 2\n80: 3\n") == {"on": 1, "yes": 2, "80": 3}


def test_a_file_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"a: \xff\n")
    problems = Problems()
    assert read(file, problems) == []
    assert "is not UTF-8" in str(problems.found[0])


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    problems = Problems()
    read(tmp_path / "none.yaml", problems)
    assert str(problems.found[0]).startswith(f"{tmp_path}/none.yaml: cannot be read: No such file")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"])),
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON)
def test_json_is_read_as_json(value: object) -> None:
    assert document(json.dumps(value, ensure_ascii=False)) == value


@given(JSON)
def test_yaml_is_read_as_pyyaml_reads_it(value: object) -> None:
    assert document(yaml.safe_dump(value, allow_unicode=True)) == value


@given(st.text())
def test_any_text_gives_values_or_problems_but_no_exception(text: str) -> None:
    problems = Problems()
    values = parse(text, "p.yaml", problems)
    assert values or problems or not text.strip() or text.lstrip().startswith(("#", "%", "-", ".", "\ufeff"))


def test_an_unknown_field_suggests_the_nearest() -> None:
    problems = Problems()
    (value,) = parse("endpointSelektor: {}\n", "p.yaml", problems)
    fields = Fields(value, "spec", problems)
    fields.value("endpointSelector")
    fields.finish()
    expected = Problem(
        Mark("p.yaml", 1, 1), "spec.endpointSelektor", "unknown field", "did you mean `endpointSelector`?"
    )
    assert problems.found == [expected]


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("5s", 5), ("2m", 120), ("1h", 3600), ("7", 7), ("0", 0)]
)
def test_durations(text: str, seconds: float) -> None:
    problems = Problems()
    value = Mapping(Mark("p"), {"t": Scalar(Mark("p"), text, text)}, {"t": Mark("p")})
    assert Fields(value, "", problems).seconds("t") == seconds


@pytest.mark.parametrize("text", ["", "-1s", "5 parsecs", "nan", "inf", "ms", "1e999"])
def test_wrong_durations(text: str) -> None:
    problems = Problems()
    value = Mapping(Mark("p"), {"t": Scalar(Mark("p"), text, text)}, {"t": Mark("p")})
    assert Fields(value, "", problems).seconds("t") is None
    assert problems
