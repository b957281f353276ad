import subprocess
import sys

import pytest
from google.protobuf import descriptor_pool

from cilium_proxy import api


def test_envoy_and_cilium_messages_come_from_one_pool():
    policy = api.messages("cilium.NetworkPolicy").DESCRIPTOR
    matcher = api.messages("envoy.config.route.v3.HeaderMatcher").DESCRIPTOR
    headers = api.messages("cilium.HttpNetworkPolicyRule").DESCRIPTOR.fields_by_name["headers"]
    assert policy.file.pool is matcher.file.pool
    assert headers.message_type is matcher


def test_nested_messages_are_found():
    filter_chain_match = api.messages("envoy.config.listener.v3.Filter")
    thresholds = api.messages("envoy.config.cluster.v3.CircuitBreakers.Thresholds")
    assert thresholds(max_retries={"value": 3}).max_retries.value == 3
    assert filter_chain_match(name="x").name == "x"


def test_the_dynamic_module_messages_of_the_pinned_envoy_are_there():
    for name in (
        "envoy.extensions.filters.listener.dynamic_modules.v3.DynamicModuleListenerFilter",
        "envoy.extensions.filters.network.dynamic_modules.v3.DynamicModuleNetworkFilter",
        "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
        "envoy.extensions.bootstrap.dynamic_modules.v3.DynamicModuleBootstrapExtension",
    ):
        assert api.messages(name).DESCRIPTOR.full_name == name


def test_an_unknown_message_is_an_error_with_its_name():
    with pytest.raises(api.UnknownMessageError, match=r"cilium\.Nonsense"):
        api.messages("cilium.Nonsense")


def test_nothing_enters_the_default_pool():
    api.messages("cilium.NetworkPolicy")
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("cilium.NetworkPolicy")


def test_importing_reads_no_descriptors():
    code = "import sys, cilium_proxy.api.descriptors as p; sys.exit(p.pool.cache_info().currsize)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
