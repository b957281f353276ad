import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.observe.conftest import TIME, MakeEntry

from cilium_proxy.api import from_dict
from cilium_proxy.observe import InvalidLineError, parse_line, print_line


def test_a_line_has_the_json_names_and_all_fields(make_entry: MakeEntry) -> None:
    fields = json.loads(print_line(make_entry()))
    assert list(fields) == list(json.loads(print_line(make_entry(entry_type="Denied", cilium_rule_ref="why"))))
    assert fields["timestamp"] == str(TIME)
    assert fields["entryType"] == "Request"
    assert fields["isIngress"] is True
    assert fields["destinationSecurityId"] == 0
    assert fields["http"]["httpProtocol"] == "HTTP11"
    assert fields["http"]["missingHeaders"] == []


def test_a_line_is_one_line(make_entry: MakeEntry) -> None:
    assert "\n" not in print_line(make_entry(http={"path": "/\n"}))


def test_field_names_of_the_proto_file_and_unknown_fields_are_read() -> None:
    entry = parse_line('{"policy_name": "a", "isIngress": true, "later": {"x": 1}}')
    assert (entry.policy_name, entry.is_ingress) == ("a", True)


@pytest.mark.parametrize(
    "line", ["", "Nov 23 10:00:00.123: compact", "[]", '{"timestamp": "x"}', b"\xff", "[" * 100_000]
)
def test_what_is_no_entry_is_refused(line: str | bytes) -> None:
    with pytest.raises(InvalidLineError):
        parse_line(line)


@given(
    st.fixed_dictionaries(
        {
            "timestamp": st.integers(0, 2**64 - 1),
            "entry_type": st.sampled_from(["Request", "Response", "Denied"]),
            "cilium_rule_ref": st.text(),
            "http": st.fixed_dictionaries(
                {"path": st.text(), "headers": st.lists(st.fixed_dictionaries({"key": st.text()}))}
            ),
        }
    )
)
def test_any_entry_comes_back_as_it_was(fields: dict[str, object]) -> None:
    entry = from_dict("cilium.LogEntry", fields)
    assert parse_line(print_line(entry)) == entry
