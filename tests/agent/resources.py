"""Resources as a Cilium agent makes them: redirect listeners, Gateway API sets and the chart's bootstrap."""

from dataclasses import dataclass, field

from cilium_proxy import api

MYSQL = "type.googleapis.com/envoy.extensions.filters.network.mysql_proxy.v3.MySQLProxy"
ACCESS_LOG = "/var/run/cilium/envoy/sockets/access_log.sock"

_NETWORK = "envoy.extensions.filters.network."
_HTTP = "envoy.extensions.filters.http."
_MANAGER = _NETWORK + "http_connection_manager.v3.HttpConnectionManager"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_LOCAL = {"10.0.0.0": 8, "172.16.0.0": 12, "192.168.0.0": 16, "127.0.0.1": 32, "::1": 128}


def extension(name, message, **fields):
    """A filter or socket with its typed configuration."""
    return {"name": name, "typed_config": {"@type": api.type_url(message), **fields}}


def agent_source():
    """A config source that leads to the agent, as agents write it into resources."""
    return {
        "initial_fetch_timeout": "30s",
        "resource_api_version": "V3",
        "api_config_source": {
            "api_type": "GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc-cilium"}}],
        },
    }


def ads_source():
    """As `agent_source`, over the aggregated stream."""
    return {"initial_fetch_timeout": "30s", "resource_api_version": "V3", "ads": {}}


@dataclass(frozen=True)
class Agent:
    """What differs between nodes and tests."""

    host: str = "127.0.0.1"
    port: int = 10000
    additional: tuple[str, ...] = ("::1",)
    access_log: str = ACCESS_LOG
    # Of connections to the backends of Gateways; their policy is bound to it.
    source_address: str = "10.244.0.100"
    # That policy is enforced on what Gateways balance.
    enforces: bool = True
    source: dict = field(default_factory=agent_source)
    # In the place of these, NPHDS is used.
    bpf: dict | None = field(default_factory=lambda: {"bpf_root": "/sys/fs/bpf", "ipcache_name": "cilium_ipcache_v2"})

    def listener(self, name, filters, chains, **fields):
        """A listener, as a message."""
        return _listener(
            {
                "name": name,
                "address": _address(self.host, self.port),
                "listener_filters": [
                    extension(
                        "envoy.filters.listener.tls_inspector",
                        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
                    ),
                    filters,
                ],
                "filter_chains": chains,
                **fields,
            }
        )

    def metadata(self, **fields):
        """`cilium.bpf_metadata`."""
        identities = self.bpf if self.bpf is not None else {"use_nphds": True}
        return extension("cilium.bpf_metadata", "cilium.BpfMetadata", **identities, **fields)

    def redirect(self, name, chains, ingress):
        """A listener that the datapath redirects to."""
        direction = {"is_ingress": True} if ingress else {}
        metadata = self.metadata(proxy_id=self.port, use_original_source_address=True, **direction)
        additional = [{"address": _address(host, self.port)} for host in self.additional]
        return self.listener(name, metadata, chains, **({"additional_addresses": additional} if additional else {}))

    def http(self, ingress):
        """Redirect listener for HTTP rules."""
        direction = "ingress" if ingress else "egress"
        raw = {"filters": [network(), self._manager(direction)]}
        tls = _wrapped(
            {"filter_chain_match": {"transport_protocol": "tls"}}, network(), self._manager(direction, "-tls")
        )
        return self.redirect(f"cilium-http-{direction}", [raw, tls], ingress)

    def tls_ingress(self, name="cilium-tls-ingress"):
        """Redirect listener for TLS interception, towards the pod."""
        chains = [
            {
                "filter_chain_match": {"transport_protocol": "raw_buffer"},
                "filters": [self._logged(), tcp("ingress-cluster")],
            },
            _wrapped({"filter_chain_match": {"transport_protocol": "tls"}}, self._logged(), tcp("ingress-cluster-tls")),
        ]
        return self.redirect(name, chains, ingress=True)

    def _logged(self):
        return network(access_log_path=self.access_log)

    def tcp(self, name="cilium-tls-egress"):
        """Redirect listener for TLS interception and for L7 parsers."""
        parsers = {"access-log-path": "/var/run/cilium/access_log.sock", "xds-path": "/var/run/cilium/xds.sock"}
        plain = network(proxylib="libcilium.so", proxylib_params=parsers)
        logged = network(access_log_path="/var/run/cilium/access_log.sock")
        mysql = extension("envoy.filters.network.mysql_proxy", MYSQL.rpartition("/")[2], stat_prefix="mysql")
        mongo = extension(
            "envoy.filters.network.mongo_proxy",
            _NETWORK + "mongo_proxy.v3.MongoProxy",
            stat_prefix="mongo",
            emit_dynamic_metadata=True,
        )
        chains = [
            {"filter_chain_match": {"transport_protocol": "raw_buffer"}, "filters": [plain, tcp("egress-cluster")]},
            _wrapped({"filter_chain_match": {"transport_protocol": "tls"}}, plain, tcp("egress-cluster-tls")),
        ]
        for filter_ in (mysql, mongo):
            match = {"transport_protocol": "raw_buffer", "application_protocols": [filter_["name"]]}
            chains.append({"filter_chain_match": match, "filters": [filter_, logged, tcp("egress-cluster")]})
        return self.redirect(name, chains, ingress=False)

    def parsers(self, name, parameters, **fields):
        """Redirect listener of ingress for L7 parsers alone; `fields` of `cilium.network`."""
        parsers = network(proxylib="libcilium.so", proxylib_params=parameters, **fields)
        return self.redirect(name, [{"filters": [parsers, tcp("ingress-cluster")]}], ingress=True)

    def _manager(self, direction, suffix=""):
        def route(match):
            action = {
                "cluster": f"{direction}-cluster{suffix}",
                "timeout": "3600s",
                "retry_policy": {"num_retries": 3, "per_try_timeout": "0s", "retry_on": "5xx"},
            }
            if "grpc" in match:
                action["max_stream_duration"] = {"grpc_timeout_header_max": "0s"}
            return {"match": match, "route": action}

        routes = [route({"grpc": {}, "prefix": "/"}), route({"prefix": "/"})]
        hosts = [{"name": "default_route", "domains": ["*"], "routes": routes}]
        return _manager(
            "proxy",
            [self._l7policy(), extension("envoy.filters.http.router", _HTTP + "router.v3.Router")],
            route_config={"virtual_hosts": hosts},
            merge_slashes=True,
            normalize_path=True,
            path_with_escaped_slashes_action="UNESCAPE_AND_REDIRECT",
            skip_xff_append=True,
        )

    def _l7policy(self):
        return extension("cilium.l7policy", "cilium.L7Policy", access_log_path=self.access_log)

    # Gateway API.

    def gateway(self, *, secure=None):
        """The listener of a Gateway; `secure`: name of the secret of its HTTPS side."""
        chains = [self._gateway_chain("raw_buffer", "listener-insecure")]
        if secure:
            chain = self._gateway_chain("tls", "listener-secure")
            chain["transport_socket"] = extension(
                "envoy.transport_sockets.tls",
                "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                common_tls_context={
                    "tls_certificate_sds_secret_configs": [{"name": secure, "sds_config": self.source}]
                },
            )
            chains.append(chain)
        return self._balancing("default/cilium-gateway-my-gateway/listener", chains)

    def passthrough(self, server_name="foo.com"):
        """The listener of a Gateway that passes TLS on."""
        match = {"transport_protocol": "tls", "server_names": [server_name]}
        chain = {"filter_chain_match": match, "filters": [network(), tcp(SERVICE)]}
        return self._balancing("default/cilium-gateway-my-gateway/listener", [chain])

    def routes(self, name="listener-insecure", path="/bar"):
        """The routes of a Gateway's listener."""
        route = {
            "match": {"path_separated_prefix": path},
            "route": {"cluster": SERVICE, "max_stream_duration": {"max_stream_duration": "0s"}},
        }
        host = {"name": "default/cilium-gateway-my-gateway/*", "domains": ["*"], "routes": [route]}
        fields = {"name": f"default/cilium-gateway-my-gateway/{name}", "virtual_hosts": [host]}
        return api.from_dict("envoy.config.route.v3.RouteConfiguration", fields)

    def service(self, filters="policy"):
        """The cluster of a Gateway's backend. `filters`: upstream ones; `policy`, `others`, `none`, or no options."""
        codec = extension("envoy.filters.http.upstream_codec", _HTTP + "upstream_codec.v3.UpstreamCodec")
        mutation = {"header": {"key": "x-upstream", "value": "yes"}}
        others = extension(
            "envoy.filters.http.header_mutation",
            _HTTP + "header_mutation.v3.HeaderMutation",
            mutations={"request_mutations": [{"append": mutation}]},
        )
        options = {
            "@type": api.type_url(_HTTP_OPTIONS),
            "common_http_protocol_options": {"idle_timeout": "60s"},
            "use_downstream_protocol_config": {"http2_protocol_options": {}},
            "http_filters": {"policy": [self._l7policy(), codec], "others": [others, codec]}.get(filters, []),
        }
        fields = {
            "name": SERVICE,
            "type": "EDS",
            "circuit_breakers": {"thresholds": [{"max_retries": 128}]},
            "eds_cluster_config": {"service_name": BACKEND, "eds_config": self.source},
            "outlier_detection": {"split_external_local_origin_errors": True},
            "typed_extension_protocol_options": {} if filters is None else {_HTTP_OPTIONS: options},
        }
        return api.from_dict("envoy.config.cluster.v3.Cluster", fields)

    def _gateway_chain(self, protocol, routes):
        manager = _manager(
            routes,
            [
                extension("envoy.filters.http.grpc_web", _HTTP + "grpc_web.v3.GrpcWeb"),
                extension(
                    "envoy.filters.http.grpc_stats",
                    _HTTP + "grpc_stats.v3.FilterConfig",
                    emit_filter_state=True,
                    enable_upstream_stats=True,
                ),
                self._l7policy(),
                extension("envoy.filters.http.router", _HTTP + "router.v3.Router"),
            ],
            rds={"config_source": self.source, "route_config_name": f"default/cilium-gateway-my-gateway/{routes}"},
            common_http_protocol_options={"max_stream_duration": "0s"},
        )
        return {"filter_chain_match": {"transport_protocol": protocol}, "filters": [network(), manager]}

    def _balancing(self, name, chains):
        metadata = self.metadata(
            is_l7lb=True,
            enforce_policy_on_l7lb=self.enforces,
            ipv4_source_address=self.source_address,
            proxy_id=self.port,
        )
        keepalive = [(1, 9, 1), (6, 4, 10), (6, 5, 5), (6, 6, 10)]
        options = [{"level": level, "name": option, "int_value": value} for level, option, value in keepalive]
        return self.listener(name, metadata, chains, socket_options=options)


SERVICE = "default/cilium-gateway-my-gateway/default:my-service:8080"
BACKEND = "default/my-service:8080"


def endpoints(host, port, name=BACKEND):
    """The backends of a service."""
    backend = {"endpoint": {"address": _address(host, port)}}
    return api.from_dict(
        "envoy.config.endpoint.v3.ClusterLoadAssignment",
        {"cluster_name": name, "endpoints": [{"lb_endpoints": [backend]}]},
    )


def empty_cluster(name):
    """A cluster without endpoints."""
    return api.from_dict("envoy.config.cluster.v3.Cluster", {"name": name, "type": "STATIC"})


def policy(ip, number=7, rules=None, port=0, egress=False):
    """A NetworkPolicy for one endpoint with one port entry; no rules: the port is open."""
    entry = {"port": port, "rules": rules or []}
    direction = "egress_per_port_policies" if egress else "ingress_per_port_policies"
    ips = [ip] if isinstance(ip, str) else list(ip)
    return api.from_dict("cilium.NetworkPolicy", {"endpoint_ips": ips, "endpoint_id": number, direction: [entry]})


def path_rule(path, remote=None, **fields):
    """A rule that allows an exact path."""
    match = {"name": ":path", "string_match": {"exact": path}}
    remotes = {"remote_policies": [remote]} if remote else {}
    return {**remotes, "http_rules": {"http_rules": [{"headers": [match]}]}, **fields}


def hosts(identity, *addresses):
    """The addresses of an identity."""
    return api.from_dict("cilium.NetworkPolicyHosts", {"policy": identity, "host_addresses": list(addresses)})


def bootstrap(xds, admin, source=None, *, ads=None, metrics=9964, health=9878, port=None):
    """The chart's bootstrap. `ads`: api_type of the aggregated stream; `port`: where clusters connect to, in place of
    the original destination's port."""
    source = source or agent_source()
    override = {"original_dst_lb_config": {"upstream_port_override": port}} if port else {}
    names = ["ingress-cluster", "egress-cluster-tls", "egress-cluster", "ingress-cluster-tls"]
    wrapper = extension("cilium.tls_wrapper", "cilium.UpstreamTlsWrapperContext")
    agent_options = {"explicit_http_config": {"http2_protocol_options": {}}}
    clusters = [
        *(
            _original_destination(name, {"transport_socket": wrapper} if "tls" in name else {}, override)
            for name in names
        ),
        {
            **_static("xds-grpc-cilium", xds),
            "typed_extension_protocol_options": {
                _HTTP_OPTIONS: {"@type": api.type_url(_HTTP_OPTIONS), **agent_options}
            },
        },
        _static("/envoy-admin", admin),
    ]
    dynamic = {"lds_config": source, "cds_config": source}
    if ads:
        dynamic["ads_config"] = {
            **agent_source()["api_config_source"],
            "api_type": ads,
        }
    return {
        "node": {"id": "host~127.0.0.1~no-id~localdomain", "cluster": "ingress-cluster"},
        "static_resources": {
            "listeners": [
                _admin_listener(
                    "envoy-prometheus-metrics-listener", "0.0.0.0", metrics, "/metrics", "/stats/prometheus"
                ),
                _admin_listener("envoy-health-listener", "127.0.0.1", health, "/healthz", "/ready"),
            ],
            "clusters": clusters,
        },
        "dynamic_resources": dynamic,
        "bootstrap_extensions": [
            extension(
                "envoy.bootstrap.internal_listener",
                "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
            )
        ],
        "overload_manager": {
            "resource_monitors": [
                extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections="50000",
                )
            ]
        },
        "application_log_config": {"log_format": {"text_format": "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"}},
        "admin": {"address": {"pipe": {"path": str(admin)}}},
    }


# Parts.


def _listener(fields):
    """A listener, with filters stock Envoy's descriptors do not know."""
    unknown = []
    for index, chain in enumerate(fields["filter_chains"]):
        for place, item in enumerate(chain["filters"]):
            if item["typed_config"]["@type"] == MYSQL:
                unknown.append((index, place))
                chain["filters"][place] = {"name": item["name"]}
    message = api.from_dict("envoy.config.listener.v3.Listener", fields)
    for index, place in unknown:
        # stat_prefix: "mysql"
        message.filter_chains[index].filters[place].typed_config.type_url = MYSQL
        message.filter_chains[index].filters[place].typed_config.value = b"\x0a\x05mysql"
    return message


def _address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def network(**fields):
    """`cilium.network`."""
    return extension("cilium.network", "cilium.NetworkFilter", **fields)


def tcp(cluster):
    """A TCP proxy."""
    return extension(
        "envoy.filters.network.tcp_proxy", _NETWORK + "tcp_proxy.v3.TcpProxy", cluster=cluster, stat_prefix="tcp_proxy"
    )


def _wrapped(chain, *filters):
    wrapper = extension("cilium.tls_wrapper", "cilium.DownstreamTlsWrapperContext")
    return {**chain, "filters": list(filters), "transport_socket": wrapper}


def _manager(prefix, filters, **fields):
    return extension(
        "envoy.filters.network.http_connection_manager",
        _MANAGER,
        stat_prefix=prefix,
        http_filters=filters,
        internal_address_config={
            "cidr_ranges": [{"address_prefix": address, "prefix_len": bits} for address, bits in _LOCAL.items()]
        },
        stream_idle_timeout="300s",
        upgrade_configs=[{"upgrade_type": "websocket"}],
        use_remote_address=True,
        **fields,
    )


def _original_destination(name, socket, override):
    options = {
        "@type": api.type_url(_HTTP_OPTIONS),
        "common_http_protocol_options": {
            "idle_timeout": "60s",
            "max_connection_duration": "0s",
            "max_requests_per_connection": 0,
        },
        "use_downstream_protocol_config": {},
        **({"upstream_http_protocol_options": {}} if socket else {}),
    }
    return {
        "name": name,
        "type": "ORIGINAL_DST",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [{"max_retries": 128}]},
        "lb_policy": "CLUSTER_PROVIDED",
        "cleanup_interval": "2.500s",
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
        **socket,
        **override,
    }


def _static(name, path):
    backend = {"endpoint": {"address": {"pipe": {"path": str(path)}}}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [backend]}]},
    }


def _admin_listener(name, host, port, path, target):
    route = {"name": name, "match": {"prefix": path}, "route": {"cluster": "/envoy-admin", "prefix_rewrite": target}}
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        _MANAGER,
        stat_prefix=name,
        stream_idle_timeout="300s",
        http_filters=[extension("envoy.filters.http.router", _HTTP + "router.v3.Router")],
        internal_address_config={"cidr_ranges": [{"address_prefix": "127.0.0.1", "prefix_len": 32}]},
        route_config={"virtual_hosts": [{"name": name, "domains": ["*"], "routes": [route]}]},
    )
    return {"name": name, "address": _address(host, port), "filter_chains": [{"filters": [manager]}]}


def certificate_secret(name, certificate):
    """A secret with a certificate and its key."""
    fields = {
        "certificate_chain": {"inline_string": certificate.chain},
        "private_key": {"inline_string": certificate.key},
    }
    secret = {"name": name, "tls_certificate": fields}
    return api.from_dict("envoy.extensions.transport_sockets.tls.v3.Secret", secret)
