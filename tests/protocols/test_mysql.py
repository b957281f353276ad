"""MariaDB with a client in Python and its own."""

import contextlib
import os
import subprocess

import mysql.connector
import pymysql
import pytest
from pymysql.constants import CLIENT, ER
from tests.integration.addresses import free_port
from tests.integration.files import LIMIT, example
from tests.integration.proxy import eventually
from tests.protocols.conftest import Server, command

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("mysql")]

PASSWORD = "correct horse"
READING = """\
          rules:
            l7proto: envoy.filters.network.mysql_proxy
            l7: [{ships.empire: select}]"""
RULES = example("MySQL")
WITH_TLS = f"""{READING[:-1]}, {{$tls: upgrade}}]"""


class Database(Server):
    """A server with tables `ships` and `landings`, which clients may read, and `plans`, which they may not."""

    def __init__(self, scratch):
        server, install = (
            command("mariadbd", "mariadb-server-core"),
            command("mariadb-install-db", "mariadb-server-core"),
        )
        data, socket = scratch / "mysql", scratch / "mysql.sock"
        user = ["--user=root"] if os.getuid() == 0 else []
        base = ["--no-defaults", f"--datadir={data}", *user]
        options = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        made = subprocess.run([install, *base, *options], capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        self.key(scratch)
        port = free_port()
        listen = ["--bind-address=127.0.0.1", f"--port={port}", f"--socket={socket}", "--skip-networking=0"]
        tls = [f"--ssl-cert={scratch / 'cert.pem'}", f"--ssl-key={scratch / 'key.pem'}"]
        small = ["--innodb-buffer-pool-size=16M", "--skip-log-bin", f"--pid-file={scratch / 'mysql.pid'}"]
        super().__init__([server, *base, *listen, *tls, *small], port, scratch / "mysql.log")
        self.wait()
        with pymysql.connect(unix_socket=str(socket), user="root") as connection, connection.cursor() as cursor:
            for statement in [
                "CREATE DATABASE empire",
                "CREATE TABLE empire.ships (name VARCHAR(20) PRIMARY KEY, crew INT)",
                "CREATE TABLE empire.landings (ship VARCHAR(20))",
                "CREATE TABLE empire.plans (secret VARCHAR(20))",
                "INSERT INTO empire.plans VALUES ('exhaust port')",
                f"CREATE USER pilot IDENTIFIED BY '{PASSWORD}'",
                "GRANT ALL ON *.* TO pilot",
            ]:
                cursor.execute(statement)

    def key(self, scratch):
        files = ["-keyout", str(scratch / "key.pem"), "-out", str(scratch / "cert.pem")]
        subject = ["-subj", "/CN=localhost", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
        subprocess.run(
            [command("openssl", "openssl"), "req", "-x509", *subject, *files], check=True, capture_output=True
        )


@pytest.fixture(scope="session")
def database(scratch):
    database = Database(scratch)
    yield database
    database.stop()


@pytest.fixture
def proxied(database, start):
    return lambda rules=RULES: start(database.port, rules)


def connect(files, **options):
    options = {"ssl_disabled": True, "database": "empire", "read_timeout": LIMIT, **options}
    return pymysql.connect(host=files.host, port=files.port, user="pilot", password=PASSWORD, **options)


@contextlib.contextmanager
def cursor(files, **options):
    with connect(files, autocommit=True, **options) as connection, connection.cursor() as made:
        yield made


def denied():
    return pytest.raises(pymysql.err.OperationalError, match="denied by policy")


def test_what_is_allowed_works(proxied):
    with cursor(proxied()) as sql:
        sql.execute("REPLACE INTO ships VALUES ('tie', 1), ('x', 2)")
        sql.execute("UPDATE ships SET crew = crew + 1 WHERE name = %s", ("tie",))
        sql.execute("SELECT name, crew FROM empire.ships ORDER BY name")
        assert sql.fetchall() == (("tie", 2), ("x", 2))
        sql.execute("SELECT COUNT(*) FROM ships s LEFT JOIN landings l ON l.ship = s.name")
        assert sql.fetchone() == (2,)
        sql.executemany(
            "INSERT INTO ships VALUES (%s, %s) ON DUPLICATE KEY UPDATE crew = VALUES(crew)", [("a", 1)] * 200
        )
        sql.execute("WITH crews AS (SELECT crew FROM ships) SELECT COUNT(*) FROM crews")
        assert sql.fetchone() == (3,)
        sql.execute("SET NAMES utf8mb4, @@SESSION.sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
        sql.execute("SELECT @@version, DATABASE()")
        assert sql.fetchone()[1] == "empire"
        long = "y" * 1_000_000
        sql.execute("SELECT %s FROM ships LIMIT 1", (long,))
        assert sql.fetchone() == (long,)


DENIED = [
    "SELECT * FROM plans",
    "SELECT * FROM empire.plans",
    "SELECT s.name FROM ships s, plans p",
    "SELECT name FROM ships WHERE name IN (SELECT secret FROM plans)",
    "SELECT name FROM ships UNION SELECT secret FROM plans",
    "INSERT INTO ships SELECT secret, 1 FROM plans",
    "INSERT INTO landings VALUES ('tie')",
    "DELETE FROM ships",
    "DROP TABLE ships",
    "CREATE TABLE copies AS SELECT * FROM plans",
    "SELECT * FROM mysql.user",
    "WITH ships AS (SELECT * FROM plans) SELECT * FROM ships",
    "SHOW TABLES",
    "DESCRIBE plans",
    "GRANT ALL ON *.* TO pilot",
    "SELECT LOAD_FILE('/etc/passwd')",
]


def test_what_is_not_allowed_is_an_access_error(proxied):
    with cursor(proxied()) as sql:
        for statement in DENIED:
            with denied() as raised:
                sql.execute(statement)
            assert raised.value.args[0] == ER.TABLEACCESS_DENIED_ERROR, statement
            # The connection stays in step.
            sql.execute("SELECT 42")
            assert sql.fetchone() == (42,)


def test_one_of_several_statements_is_enough_to_deny(proxied):
    with cursor(proxied(), client_flag=CLIENT.MULTI_STATEMENTS) as sql:
        sql.execute("SELECT 1; SELECT 2")
        assert sql.nextset()
        assert sql.fetchone() == (2,)
        with denied():
            sql.execute("SELECT 1; SELECT * FROM plans")


def test_statements_that_are_not_understood_are_syntax_errors(proxied):
    with cursor(proxied()) as sql, pytest.raises(pymysql.err.ProgrammingError, match="policy cannot be applied"):
        sql.execute("SELECT /*!50000 secret FROM plans */")


def test_another_database_has_other_tables(proxied):
    files = proxied()
    with connect(files) as connection:
        connection.select_db("mysql")
        with connection.cursor() as sql:
            with denied():
                sql.execute("SELECT * FROM user")
            sql.execute("SELECT * FROM empire.ships")
            sql.execute("USE empire")
            sql.execute("SELECT * FROM ships")


def test_tls_closes_unless_the_policy_allows_it(proxied):
    files = proxied()
    tls = {"ssl_disabled": False, "ssl": {"check_hostname": False}}
    with pytest.raises(pymysql.err.OperationalError):
        connect(files, **tls)
    files.policy(WITH_TLS)
    files.proxy.wait_for("in force")
    with cursor(files, **tls) as sql:
        sql.execute("SELECT secret FROM plans")
        assert sql.fetchone() == ("exhaust port",)


def test_compression_closes(proxied):
    files = proxied()
    with pytest.raises(pymysql.err.OperationalError):
        connect(files, client_flag=CLIENT.COMPRESS)


def test_a_changed_policy_counts_for_an_open_connection(proxied):
    files = proxied()
    with cursor(files) as sql:
        sql.execute("UPDATE ships SET crew = 0")
        files.policy(READING)
        files.proxy.wait_for("in force")
        with denied():
            sql.execute("UPDATE ships SET crew = 0")
        sql.execute("SELECT * FROM ships")


def own_client(files, *arguments):
    """MariaDB's client; with prepared statements of the text protocol, its own greeting and warnings."""
    options = ["--no-defaults", "-h", files.host, "-P", str(files.port), "-u", "pilot", f"-p{PASSWORD}", "--skip-ssl"]
    return subprocess.run(
        [command("mariadb", "mariadb-client-core"), *options, "--batch", "empire", *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )


def test_the_own_client_agrees(proxied):
    files = proxied()
    with cursor(files) as sql:
        sql.execute("REPLACE INTO ships VALUES ('falcon', 2)")
    assert "falcon" in own_client(files, "-e", "SELECT name FROM ships").stdout
    refused = own_client(files, "-e", "SELECT * FROM plans")
    assert refused.returncode == 1
    assert "ERROR 1142 (42000)" in refused.stderr
    prepared = own_client(files, "-e", "PREPARE p FROM 'SELECT * FROM plans'; EXECUTE p")
    assert prepared.returncode == 1
    assert "exhaust" not in prepared.stdout


def test_the_access_log_names_tables_and_operations(proxied):
    files = proxied()
    with cursor(files) as sql:
        sql.execute("SELECT * FROM ships")
        with denied():
            sql.execute("SELECT * FROM plans, ships")

    def logged():
        entries = [entry for entry in files.entries() if entry.get("genericL7", {}).get("fields", {}).get("tables")]
        return [(entry["entryType"], entry["genericL7"]["fields"]["tables"]) for entry in entries]

    eventually(lambda: len(logged()) == 2)
    assert logged() == [("Request", "ships.empire: select"), ("Denied", "plans.empire: select, ships.empire: select")]


def test_prepared_statements_are_decided_on(proxied):
    files = proxied()
    login = {"host": files.host, "port": files.port, "user": "pilot", "password": PASSWORD, "database": "empire"}
    options = {"ssl_disabled": True, "use_pure": True, "connection_timeout": LIMIT}
    with contextlib.ExitStack() as opened:
        connection = opened.enter_context(contextlib.closing(mysql.connector.connect(**login, **options)))
        sql = opened.enter_context(connection.cursor(prepared=True))
        sql.execute("REPLACE INTO ships VALUES (%s, %s)", ("prepared", 7))
        sql.execute("SELECT crew FROM ships WHERE name = %s", ("prepared",))
        assert sql.fetchall() == [(7,)]
        with pytest.raises(mysql.connector.errors.ProgrammingError, match="denied by policy"):
            sql.execute("SELECT secret FROM plans WHERE secret != %s", ("x",))
        sql.execute("SELECT crew FROM ships WHERE name = %s", ("prepared",))
        assert sql.fetchall() == [(7,)]
