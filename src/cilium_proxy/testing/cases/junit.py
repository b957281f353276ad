"""Outcomes as a JUnit XML report, which CI systems read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from cilium_proxy.testing.cases.run import Outcome


def write(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Writes the report; a test suite per file of cases. Raises OSError."""
    by_file: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_file.setdefault(outcome.case.mark.file, []).append(outcome)
    root = ElementTree.Element("testsuites", name="cilium-proxy test")
    for file, found in by_file.items():
        failures = sum(not outcome.passed for outcome in found)
        suite = ElementTree.SubElement(root, "testsuite", name=file, tests=str(len(found)), failures=str(failures))
        for outcome in found:
            mark = outcome.case.mark
            case = ElementTree.SubElement(
                suite, "testcase", classname=file, name=outcome.case.name, file=file, line=str(mark.line)
            )
            if not outcome.passed:
                failure = ElementTree.SubElement(case, "failure", message=_clean("; ".join(outcome.differences)))
                failure.text = _clean(f"{outcome.verdict.reason}\n{outcome.explanation}")
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _clean(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(
        char if char in "\t\n" or (char >= " " and not 0xD800 <= ord(char) < 0xE000) else "?" for char in text
    )
