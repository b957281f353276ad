import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.observe.conftest import TIME, MakeEntry

from cilium_proxy.api import from_dict, pool
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


TEXT_PAIRS = st.lists(st.fixed_dictionaries({"key": st.text(), "value": st.text()}), max_size=3)
INT32 = st.integers(-(2**31), 2**31 - 1)
UINT32 = st.integers(0, 2**32 - 1)

HTTP = st.fixed_dictionaries(
    {
        "http_protocol": st.sampled_from(["HTTP10", "HTTP11", "HTTP2", 7]),
        "scheme": st.text(),
        "host": st.text(),
        "path": st.text(),
        "method": st.text(),
        "headers": TEXT_PAIRS,
        "status": UINT32,
        "missing_headers": TEXT_PAIRS,
        "rejected_headers": TEXT_PAIRS,
    }
)
KAFKA = st.fixed_dictionaries(
    {
        "correlation_id": INT32,
        "error_code": INT32,
        "api_version": INT32,
        "api_key": INT32,
        "topics": st.lists(st.text(), max_size=3),
    }
)
GENERIC = st.fixed_dictionaries({"proto": st.text(), "fields": st.dictionaries(st.text(), st.text(), max_size=3)})


@given(
    st.fixed_dictionaries(
        {
            "timestamp": st.integers(0, 2**64 - 1),
            "is_ingress": st.booleans(),
            "entry_type": st.sampled_from(["Request", "Response", "Denied", 7]),
            "policy_name": st.text(),
            "cilium_rule_ref": st.text(),
            "proxy_id": UINT32,
            "source_security_id": UINT32,
            "destination_security_id": UINT32,
            "source_address": st.text(),
            "destination_address": st.text(),
        }
    ),
    st.one_of(
        st.just({}),
        st.fixed_dictionaries({"http": HTTP}),
        st.fixed_dictionaries({"kafka": KAFKA}),
        st.fixed_dictionaries({"generic_l7": GENERIC}),
    ),
)
def test_any_entry_is_printed_as_protobuf_does_and_comes_back(fields: dict[str, Any], l7: dict[str, Any]) -> None:
    entry = from_dict("cilium.LogEntry", fields | l7)
    line = print_line(entry)
    expected = json_format.MessageToDict(entry, always_print_fields_with_no_presence=True, descriptor_pool=pool())
    assert line == json.dumps(expected, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    assert parse_line(line) == entry
