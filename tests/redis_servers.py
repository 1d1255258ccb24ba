"""Real Redis servers on loopback: one alone, with TLS, a primary with its replica under Sentinels, a Cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from conftest import find_program
from redis.crc import key_slot
from running import accepts, free_ports, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SERVICE = "wxsign-test"
SLOTS = 16384


class RedisServer:
    """A redis-server with a port and a unix socket that stay its own; it keeps nothing on disk."""

    def __init__(self, here: Path, *options: str | int, port: int = 0, tls_port: int = 0) -> None:
        here.mkdir(exist_ok=True)
        self.here = here
        self.port = port or free_ports(1)[0]
        self.tls_port = tls_port
        self.socket = here / "s"
        self._options = options
        self._stack = contextlib.ExitStack()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        """Start it, empty."""
        command = [find_program("redis-server"), *map(str, self.arguments())]
        started = running(command, lambda: accepts(self.port), log=self.here / "log")
        self.process = self._stack.enter_context(started)
        return self

    def arguments(self) -> Sequence[str | int | Path]:
        """What redis-server is started with."""
        place = ("--port", self.port, "--unixsocket", self.socket, "--bind", "127.0.0.1", "--dir", self.here)
        return (*place, "--save", "", "--repl-diskless-sync-delay", 0, *self._options)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def close(self) -> None:
        """End it for good, suspended or not."""
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
        self._stack.close()

    def ask(self, *command: str | float, **options: Any) -> Any:
        """Run a command as nobody's client in particular."""
        with redis.Redis(port=self.port, protocol=2, decode_responses=True, **options) as client:
            return client.execute_command(*command)

    @property
    def url(self) -> str:
        """Its address as a store."""
        return f"redis://127.0.0.1:{self.port}/0"


class LossyLine:
    """A way to a port of loopback that, told so, breaks off instead of passing on the next answer."""

    def __init__(self, target: int) -> None:
        self.losing = False
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._target)) as server:
            while asked := client.recv(65_536):
                server.sendall(asked)
                answer = server.recv(65_536)
                if self.losing:
                    self.losing = False
                    return
                client.sendall(answer)


@contextmanager
def lossy_line(target: int) -> Iterator[LossyLine]:
    """A `LossyLine` for the time of a test."""
    line = LossyLine(target)
    try:
        yield line
    finally:
        line.close()


@contextmanager
def folder() -> Iterator[Path]:
    """A short-named folder: the path of a unix socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="wxr") as path:
        yield Path(path)


@contextmanager
def redis_server(*options: str | int, port: int = 0) -> Iterator[RedisServer]:
    """A server while the block runs."""
    with folder() as here:
        server = RedisServer(here, *options, port=port)
        try:
            yield server.start()
        finally:
            server.close()


class Sentinel(RedisServer):
    """A Sentinel that watches the primary at a port, and needs another one's agreement."""

    def __init__(self, here: Path, port: int, primary: int) -> None:
        super().__init__(here, port=port)
        lines = (
            f"port {port}",
            "bind 127.0.0.1",
            f"dir {here}",
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 2000",
        )
        (here / "sentinel.conf").write_text("\n".join((*lines, "")))

    def arguments(self) -> Sequence[str | int | Path]:
        """A Sentinel keeps its state in its configuration file."""
        return (self.here / "sentinel.conf", "--sentinel")

    def knows_all(self) -> bool:
        """Say whether it has found the replica and the other two Sentinels."""
        answer = self.ask("SENTINEL", "MASTER", SERVICE)
        state = dict(zip(answer[::2], answer[1::2], strict=True))
        return (state["num-slaves"], state["num-other-sentinels"]) == ("1", "2")


class SentinelGroup:
    """A primary, its replica, and three Sentinels of which two must agree on a fail-over."""

    def __init__(self, here: Path, *options: str | int) -> None:
        ports = free_ports(5)
        self.primary = RedisServer(here / "primary", *options, port=ports[0])
        follow = ("--replicaof", f"127.0.0.1 {ports[0]}")
        self.replica = RedisServer(here / "replica", *follow, *options, port=ports[1])
        self.sentinels = [Sentinel(here / f"sentinel-{port}", port, ports[0]) for port in ports[2:]]

    def start(self) -> SentinelGroup:
        """Start all, and wait until the Sentinels know the replica and each other."""
        for server in (self.primary, self.replica, *self.sentinels):
            server.start()
        wait_until(lambda: self.replica.ask("INFO", "replication")["master_link_status"] == "up")
        for sentinel in self.sentinels:
            wait_until(sentinel.knows_all)
        return self

    def close(self) -> None:
        """End all."""
        for server in (*self.sentinels, self.replica, self.primary):
            server.close()

    @property
    def url(self) -> str:
        """Its address as a store."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{SERVICE}/0"


@contextmanager
def sentinel_group(*options: str | int) -> Iterator[SentinelGroup]:
    """Such a group while the block runs."""
    with folder() as here:
        group = SentinelGroup(here, *options)
        try:
            yield group.start()
        finally:
            group.close()


class Cluster:
    """Three primaries with a third of the slots each; the one that has the keys of a store has a replica."""

    def __init__(self, here: Path) -> None:
        ports = free_ports(4)
        options = (
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            1000,
            "--cluster-config-file",
            "nodes.conf",
        )
        # A node's bus is at its port + 10000 by default, which may not exist.
        buses = free_ports(4)
        self.nodes = [
            RedisServer(here / str(port), *options, "--cluster-port", bus, port=port)
            for port, bus in zip(ports, buses, strict=True)
        ]
        self._buses = buses
        self.owner = self.nodes[key_slot(b"{wxsign}") * 3 // SLOTS]
        self.replica = self.nodes[3]

    def start(self) -> Cluster:
        """Start all, give each its slots, and wait until every node sees a working Cluster."""
        for node in self.nodes:
            node.start()
        for third, node in enumerate(self.nodes[:3]):
            slots = [slot for slot in range(SLOTS) if slot * 3 // SLOTS == third]
            node.ask("CLUSTER", "ADDSLOTS", *slots)
        for node, bus in zip(self.nodes[1:], self._buses[1:], strict=True):
            self.nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        for node in self.nodes:
            wait_until(lambda node=node: len(node.ask("CLUSTER", "NODES").splitlines()) == 4)
        self.replica.ask("CLUSTER", "REPLICATE", self.owner.ask("CLUSTER", "MYID"))
        for node in self.nodes:
            wait_until(lambda node=node: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))
            wait_until(lambda node=node: "slave" in node.ask("CLUSTER", "NODES"))
        wait_until(lambda: self.replica.ask("INFO", "replication")["master_link_status"] == "up")
        return self

    def close(self) -> None:
        """End all."""
        for node in self.nodes:
            node.close()

    @property
    def url(self) -> str:
        """Its address as a store: the three primaries, wherever the keys may be."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:3])


@contextmanager
def redis_cluster() -> Iterator[Cluster]:
    """Such a Cluster while the block runs."""
    with folder() as here:
        cluster = Cluster(here)
        try:
            yield cluster.start()
        finally:
            cluster.close()


class Certificates:
    """A CA, and certificates that it signed: the server's for 127.0.0.1, a client's, and a stranger's by another CA."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self._openssl = find_program("openssl")
        for authority in ("ca", "other-ca"):
            self._make(
                "req", "-x509", "-subj", f"/CN={authority}", *self._key(authority), "-out", f"{authority}.pem"
            )
        self._signed("server", "ca", "IP:127.0.0.1")
        self._signed("elsewhere", "ca", "DNS:redis.example.com")
        self._signed("client", "ca", "DNS:client.example.com")
        self._signed("stranger", "other-ca", "DNS:client.example.com")

    def path(self, name: str) -> Path:
        """The file of that name."""
        return self.here / name

    def _signed(self, name: str, authority: str, alternative: str) -> None:
        self._make("req", "-subj", f"/CN={name}", *self._key(name), "-out", f"{name}.csr")
        (self.here / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        by = ("-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", "2")
        self._make(
            "x509", "-req", "-in", f"{name}.csr", *by, "-extfile", f"{name}.ext", "-out", f"{name}.pem"
        )

    def _key(self, name: str) -> Sequence[str]:
        return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")

    def _make(self, *arguments: str) -> None:
        subprocess.run(
            [self._openssl, *arguments], cwd=self.here, check=True, capture_output=True, timeout=60
        )


class TlsServer(RedisServer):
    """A server with a plain port and a TLS port that wants a client's certificate."""

    def __init__(self, certificates: Certificates, here: Path, name: str = "server") -> None:
        self.certificates = certificates
        plain, tls = free_ports(2)
        files = {"cert-file": f"{name}.pem", "key-file": f"{name}.key", "ca-cert-file": "ca.pem"}
        options = [
            word
            for option, file in files.items()
            for word in (f"--tls-{option}", str(certificates.path(file)))
        ]
        super().__init__(here, "--tls-port", tls, *options, port=plain, tls_port=tls)

    def tls_url(self, client: str = "client", ca: str = "ca", more: str = "") -> str:
        """The address of its TLS port as a store, with the certificate of `client` (empty for none)."""
        path = self.certificates.path
        query = f"ssl_ca_certs={path(f'{ca}.pem')}"
        if client:
            query += f"&ssl_certfile={path(f'{client}.pem')}&ssl_keyfile={path(f'{client}.key')}"
        return f"rediss://127.0.0.1:{self.tls_port}/0?{query}{more}"


@contextmanager
def tls_server(name: str = "server") -> Iterator[TlsServer]:
    """Such a server while the block runs, with the certificate of that name."""
    with folder() as here:
        (here / "tls").mkdir()
        server = TlsServer(Certificates(here / "tls"), here / "redis", name)
        try:
            server.start()
            yield server
        finally:
            server.close()
