"""HAProxy and nginx with the ten-rule check, and nginx as everyone's backend."""

from __future__ import annotations

from pathlib import Path

from bench.http.rules import RULES


def haproxy_config(port: int, backend: int) -> str:
    """HAProxy with one thread; a request that no rule allows gets a 403."""
    allows = "\n".join(
        f"    http-request allow if {{ method {method} }} {{ path_reg ^{path}$ }}" for method, path in RULES
    )
    return f"""\
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend bench
    bind 127.0.0.1:{port}
{allows}
    http-request deny deny_status 403
    default_backend app
backend app
    server app 127.0.0.1:{backend}
"""


def nginx_config(port: int, backend: int, directory: Path) -> str:
    """nginx with one worker and keep-alive to the backend; a request that no rule allows gets a 403."""
    cases = "\n".join(f'        "~^{method} {path}$" 1;' for method, path in RULES)
    return _nginx(
        directory,
        f"""
    map "$request_method $uri" $allowed {{
        default 0;
{cases}
    }}
    upstream app {{
        server 127.0.0.1:{backend};
        keepalive 128;
    }}
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{
            if ($allowed = 0) {{ return 403; }}
            proxy_pass http://app;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}""",
    )


def backend_config(port: int, directory: Path) -> str:
    """The backend: nginx, one worker, a small body from memory."""
    return _nginx(
        directory,
        f"""
    server {{
        listen 127.0.0.1:{port} reuseport;
        location / {{ return 200 "0123456789012345678901234567890123456789"; }}
    }}""",
    )


def tls_backend_config(port: int, directory: Path, certificate: tuple[Path, Path]) -> str:
    """As `backend_config`, with TLS, and the files of the directory below `/files/`."""
    chain, key = certificate
    return _nginx(
        directory,
        f"""
    ssl_certificate {chain};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.3;
    server {{
        listen 127.0.0.1:{port} ssl reuseport;
        location / {{ return 200 "0123456789012345678901234567890123456789"; }}
        location /files/ {{ alias {directory}/; }}
    }}""",
    )


def _nginx(directory: Path, body: str) -> str:
    return f"""\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    # It takes these over for its workers.
    client_body_temp_path {directory}/nginx;
    proxy_temp_path {directory}/nginx;
    fastcgi_temp_path {directory}/nginx;
    uwsgi_temp_path {directory}/nginx;
    scgi_temp_path {directory}/nginx;
{body}
}}
"""
