import sys
import unicodedata

import pytest
from tests.unit.observe.conftest import TIME, MakeEntry

from cilium_proxy.api import from_dict
from cilium_proxy.observe import CompactPrinter, Names

REQUEST_ID = [{"key": "x-request-id", "value": "id"}]

IN_FLIGHT = 3 * 4096
"""More requests without response than are remembered."""


def test_a_denied_request_has_its_reason_behind_it(make_entry: MakeEntry) -> None:
    names = Names({}, {"127.0.0.2": "api"})
    line = CompactPrinter(names)(make_entry(entry_type="Denied", cilium_rule_ref="no rule allows identity 16777217"))
    assert line == (
        "Nov 23 10:00:00.123: 127.0.0.3:41234 (ID:16777217) -> 127.0.0.2:8080 (api) "
        "http-request DROPPED (HTTP/1.1 GET http://host/path): no rule allows identity 16777217"
    )


def test_a_forwarded_request_has_no_reason(make_entry: MakeEntry) -> None:
    line = CompactPrinter()(make_entry(cilium_rule_ref="rule 1"))
    assert line.endswith("http-request FORWARDED (HTTP/1.1 GET http://host/path)")


def test_a_response_keeps_its_ends_and_turns_the_arrow(make_entry: MakeEntry) -> None:
    printer = CompactPrinter()
    printer(make_entry(http={"headers": REQUEST_ID}))
    response = make_entry(
        entry_type="Response", timestamp=TIME + 3_900_000, http={"headers": REQUEST_ID, "status": 200}
    )
    line = printer(response)
    assert "127.0.0.3:41234 (ID:16777217) <- 127.0.0.2:8080 (unknown) http-response FORWARDED" in line
    assert line.endswith("(HTTP/1.1 200 3ms (GET http://host/path))")


def test_latency_is_left_out_when_the_request_was_not_seen(make_entry: MakeEntry) -> None:
    response = make_entry(entry_type="Response", http={"headers": REQUEST_ID, "status": 503})
    assert CompactPrinter()(response).endswith("(HTTP/1.1 503 (GET http://host/path))")


def test_latency_is_left_out_when_the_clock_went_back(make_entry: MakeEntry) -> None:
    printer = CompactPrinter()
    printer(make_entry(http={"headers": REQUEST_ID}))
    response = make_entry(entry_type="Response", timestamp=TIME - 1, http={"headers": REQUEST_ID, "status": 200})
    assert "ms" not in printer(response)


def test_requests_without_response_are_forgotten_in_time(make_entry: MakeEntry) -> None:
    printer = CompactPrinter()
    for number in range(IN_FLIGHT + 1):
        printer(make_entry(http={"headers": [{"key": "x-request-id", "value": str(number)}]}))
    first, last = (
        make_entry(entry_type="Response", http={"headers": [{"key": "x-request-id", "value": str(number)}]})
        for number in (0, IN_FLIGHT)
    )
    assert "ms" not in printer(first)
    assert "0ms" in printer(last)


@pytest.mark.parametrize(
    ("identity", "shown"), [(0, "unknown"), (1, "host"), (2, "world"), (7, "kube-apiserver"), (4242, "ID:4242")]
)
def test_identities_are_called_by_name_or_number(make_entry: MakeEntry, identity: int, shown: str) -> None:
    assert f"127.0.0.3:41234 ({shown}) ->" in CompactPrinter()(make_entry(source_security_id=identity))


def test_the_local_end_of_egress_is_the_source(make_entry: MakeEntry) -> None:
    names = Names({9000: "db"}, {"127.0.0.2": "api"})
    entry = make_entry(is_ingress=False, destination_security_id=9000)
    assert "127.0.0.3:41234 (api) -> 127.0.0.2:8080 (db)" in CompactPrinter(names)(entry)


def test_a_connection_without_l7_part_is_a_connection(make_entry: MakeEntry) -> None:
    entry = make_entry(entry_type="Denied", cilium_rule_ref="why")
    entry.ClearField("http")
    assert CompactPrinter()(entry).endswith("connection DROPPED (TCP): why")


def test_other_protocols_show_what_their_parser_reports() -> None:
    generic = {"proto": "mongo", "fields": {"op": "[1]", "db": "x"}}
    entry = from_dict("cilium.LogEntry", {"timestamp": TIME, "generic_l7": generic})
    assert CompactPrinter()(entry).endswith("l7-request FORWARDED (mongo db=x op=[1])")
    kafka = from_dict("cilium.LogEntry", {"timestamp": TIME, "kafka": {"api_key": 1, "topics": ["a"]}})
    assert CompactPrinter()(kafka).endswith("kafka-request FORWARDED (Kafka request key 1 topic 'a')")


def test_a_day_below_ten_is_padded(make_entry: MakeEntry) -> None:
    assert CompactPrinter()(make_entry(timestamp=0)).startswith("Jan  1 00:00:00.000: ")


def test_a_time_far_ahead_is_printed(make_entry: MakeEntry) -> None:
    assert CompactPrinter()(make_entry(timestamp=2**64 - 1)).startswith("Jul 21 23:34:33.709: ")


def test_a_path_cannot_write_lines_or_move_the_cursor(make_entry: MakeEntry) -> None:
    line = CompactPrinter()(make_entry(http={"path": "/a\nb\x1b[2J\u2028ü"}))
    assert "http://host/a\\nb\\x1b[2J\\u2028ü" in line


def test_of_all_characters_those_stay_that_python_calls_printable(make_entry: MakeEntry) -> None:
    # But for surrogates, which no UTF-8 has. Python's Unicode may be older: what it does not know may stay or not.
    known = [
        one
        for one in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(one) != "Cs" and (unicodedata.category(one) != "Cn" or ord(one) & 0xFFFE == 0xFFFE)
    ]
    escaped = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in known)
    line = CompactPrinter()(make_entry(http={"host": "", "path": "".join(known)}))
    assert line.partition("GET http://")[2] == escaped + ")"
