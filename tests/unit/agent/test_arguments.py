"""Command lines of Cilium's charts."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilium_proxy.supervisor.agent_arguments import ArgumentsError, envoy_arguments, starter_arguments

CONFIG = Path("/var/run/cilium/envoy/bootstrap-config.json")


def test_the_chart_s_command_line():
    arguments = starter_arguments(
        ["--keep-cap-net-bind-service", "--", f"-c {CONFIG}", "--base-id 0", "--log-level info"]
    )
    assert arguments.keep_net_bind_service
    assert arguments.config == CONFIG
    assert arguments.envoy == ("--base-id 0", "--log-level info")


@pytest.mark.parametrize(
    "form", [["-c", str(CONFIG)], [f"-c {CONFIG}"], ["--config-path", str(CONFIG)], [f"--config-path {CONFIG}"]]
)
@pytest.mark.parametrize("delimiter", [[], ["--"]])
def test_every_form_of_the_configuration_is_found(form, delimiter):
    arguments = starter_arguments([*delimiter, "--log-level", "debug", *form, "--concurrency", "2"])
    assert arguments.config == CONFIG
    assert arguments.envoy == ("--log-level", "debug", "--concurrency", "2")


def test_older_charts_run_envoy_itself():
    arguments = envoy_arguments(["-c", str(CONFIG), "--log-format", "[%t] %v", "--base-id", "0"])
    assert arguments.config == CONFIG
    assert arguments.envoy == ("--log-format", "[%t] %v", "--base-id", "0")


def test_yaml_on_the_command_line_is_kept_apart():
    arguments = envoy_arguments(["--config-yaml", "node: {id: a}"])
    assert (arguments.config, arguments.config_yaml, arguments.envoy) == (None, "node: {id: a}", ())


def test_at_files_are_replaced_by_their_content_as_one_argument(tmp_path):
    (tmp_path / "level").write_text("\n --log-level trace \n")
    assert starter_arguments(["--", f"@{tmp_path / 'level'}"]).envoy == ("--log-level trace",)
    assert starter_arguments([f"@{tmp_path / 'level'}"]).envoy == ("--log-level trace",)
    (tmp_path / "config").write_text(f"-c {CONFIG}\n")
    assert starter_arguments(["--", f"@{tmp_path / 'config'}"]).config == CONFIG


def test_two_ats_stand_for_one():
    assert starter_arguments(["--", "@@name"]).envoy == ("@name",)


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--what", "--"], "unknown starter argument '--what'"),
        (["--", "@"], "@ needs the path"),
        (["--", "@/nowhere/at/all"], "/nowhere/at/all: No such file"),
        (["--", "-c"], "-c needs a value"),
        (["--", "--config-path "], "--config-path  needs a value"),
    ],
)
def test_what_cannot_be_used_is_named(argv, problem):
    with pytest.raises(ArgumentsError, match=problem):
        starter_arguments(argv)


def test_only_the_first_delimiter_counts():
    assert starter_arguments(["--", "--", "-l", "info"]).envoy == ("--", "-l", "info")


@pytest.mark.parametrize(
    ("argv", "validate"),
    [(["--mode", "validate"], True), (["--mode validate"], True), (["--mode", "serve"], False), ([], False)],
)
def test_validation_is_recognised(argv, validate):
    assert envoy_arguments(argv).validate is validate


@pytest.mark.parametrize("argv", [["--service-zone", "z1"], ["--service-zone z1"], ["-l", "info", "--service-zone z1"]])
def test_values_of_options_are_found_in_both_forms(argv):
    assert envoy_arguments(argv).value("--service-zone") == "z1"
    assert envoy_arguments(argv).value("--service-node") is None


@pytest.mark.parametrize("argument", ["--version", "--help", "-h", "--hot-restart-version"])
def test_questions_to_envoy_are_recognised(argument):
    assert envoy_arguments([argument]).information


@given(st.lists(st.text(max_size=12).filter(lambda text: not text.startswith(("-c", "--c", "--print")))))
def test_all_other_arguments_reach_envoy_as_they_are(argv):
    assert envoy_arguments(argv).envoy == tuple(argv)
