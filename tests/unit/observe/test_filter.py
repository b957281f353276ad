from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.observe.conftest import MakeEntry

from cilium_proxy.observe import Filter, InvalidFilterError, Names

NOW = datetime(2026, 11, 23, 10, 0, 0, 123_000, UTC)


@pytest.mark.parametrize(
    ("options", "fields", "expected"),
    [
        ({}, {}, True),
        ({"verdict": "denied"}, {"entry_type": "Denied"}, True),
        ({"verdict": "denied"}, {"entry_type": "Response"}, False),
        ({"verdict": "forwarded"}, {"entry_type": "Denied"}, False),
        ({"verdict": "forwarded"}, {"entry_type": "Response"}, True),
        ({"endpoint": "127.0.0.2"}, {}, True),
        ({"endpoint": "api"}, {}, True),
        ({"endpoint": "api"}, {"policy_name": "127.0.0.9"}, False),
        ({"path": "^/pa"}, {}, True),
        ({"path": "ath$"}, {}, True),
        ({"path": "^ath"}, {}, False),
        ({"method": "get"}, {}, True),
        ({"method": "POST"}, {}, False),
        ({"since": NOW}, {}, True),
        ({"since": NOW + timedelta(milliseconds=1)}, {}, False),
        ({"verdict": "denied", "path": "/"}, {}, False),
    ],
)
def test_all_that_is_given_must_match(
    make_entry: MakeEntry, options: dict[str, Any], fields: dict[str, Any], expected: bool
) -> None:
    names = Names({}, {"127.0.0.2": "api"})
    assert Filter(names=names, **options).matches(make_entry(**fields)) is expected


@pytest.mark.parametrize("options", [{"path": ""}, {"method": "GET"}])
def test_a_connection_has_no_path_and_no_method(make_entry: MakeEntry, options: dict[str, Any]) -> None:
    entry = make_entry()
    entry.ClearField("http")
    assert not Filter(**options).matches(entry)


def test_a_path_that_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(InvalidFilterError, match="is not a regular expression"):
        Filter(path="(")
