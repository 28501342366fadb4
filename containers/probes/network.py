"""Probes: ways out over a network or a socket."""

from __future__ import annotations

from agentgym.containers.probes.probe import Host, Seen, on_host, probe, python
from agentgym.containers.sandbox import RunnerSandbox

_OWN = """
server = socket.create_server(("127.0.0.1", 0))
tell("own", attempt(socket.create_connection, server.getsockname(), 3))
"""


@probe("net-host", "connect to a server on the host's loopback")
def host_server(box: RunnerSandbox, host: Host) -> Seen:
    code = f'tell("host", attempt(socket.create_connection, ("127.0.0.1", {host.port}), 3))\n'
    out = python(box, code + _OWN).out.text
    outside = on_host(code)
    held = "host 0" not in out and "host E" in out
    return Seen(held, "own 0" in out and "host 0" in outside, out)


@probe("net-outside", "send to addresses outside, by TCP and UDP")
def outside(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
for address in ("192.0.2.1", "8.8.8.8", "169.254.169.254", "10.0.0.1", "172.17.0.1"):
    tell("tcp", attempt(socket.create_connection, (address, 80), 3))
    tell("udp", attempt(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto, b"x", (address, 53)))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
tell("own", attempt(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto, b"x", udp.getsockname()))
""",
    ).out.text
    held = out.count("ENETUNREACH") == 10
    return Seen(held, "own 0" in out, " ".join(sorted(set(out.splitlines()))))


@probe("net-interfaces", "find a network interface besides loopback")
def interfaces(box: RunnerSandbox, host: Host) -> Seen:
    code = 'print(" ".join(name for _, name in socket.if_nameindex()))'
    out = python(box, code).out.text.split()
    return Seen(out == ["lo"], len(on_host(code).split()) > 1 or None, f"interfaces: {out}")


@probe("net-dns", "resolve a name that is not its own")
def dns(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
for name in ("localhost", "example.com"):
    try:
        print(name, socket.getaddrinfo(name, 80)[0][4][0])
    except OSError as error:
        print(name, "fails", error)
""",
    ).out.text
    return Seen("example.com fails" in out, "localhost fails" not in out and "localhost" in out, out)


@probe("net-raw", "open raw and packet sockets")
def raw(box: RunnerSandbox, host: Host) -> Seen:
    code = """
tell("raw", attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1))
tell("packet", attempt(socket.socket, 17, socket.SOCK_RAW, 3))
tell("udp", attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM))
"""
    out = python(box, code).out.text
    held = "raw 0" not in out and "packet 0" not in out and "raw E" in out
    return Seen(held, "udp 0" in out and (True if "raw 0" in on_host(code) else None), out)


@probe("net-families", "open sockets outside the network namespace: vsock, the kernel's crypto, Bluetooth")
def families(box: RunnerSandbox, host: Host) -> Seen:
    code = """
for name, family in (("vsock", 40), ("alg", 38), ("bluetooth", 31), ("can", 29), ("tipc", 30), ("xdp", 44)):
    tell(name, call("socket", family, 1 if name != "alg" else 5, 0))
tell("unix", call("socket", 1, 1, 0))
"""
    out = python(box, code).out.text
    held = out.count(" EPERM") == 6
    outside = on_host(code)
    return Seen(
        held, "unix E" not in out and (True if "vsock E" not in outside or "alg E" not in outside else None), out
    )


@probe("net-abstract", "connect to an abstract socket of the host")
def abstract(box: RunnerSandbox, host: Host) -> Seen:
    code = f'tell("host", attempt(socket.socket(socket.AF_UNIX).connect, "\\0{host.abstract}"))\n'
    own = """
server = socket.socket(socket.AF_UNIX)
server.bind("\\0own")
server.listen()
tell("own", attempt(socket.socket(socket.AF_UNIX).connect, "\\0own"))
"""
    out = python(box, code + own).out.text
    return Seen("host E" in out, "own 0" in out and "host 0" in on_host(code), out)


@probe("net-docker", "reach the Docker engine, or any socket in a file")
def docker_socket(box: RunnerSandbox, host: Host) -> Seen:
    code = f"""
paths = ["/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", {str(host.socket)!r}]
for path in paths:
    tell(path, attempt(socket.socket(socket.AF_UNIX).connect, path))
"""
    own = """
server = socket.socket(socket.AF_UNIX)
server.bind("socket")
server.listen()
tell("own", attempt(socket.socket(socket.AF_UNIX).connect, "socket"))
"""
    out = python(box, code + own).out.text
    elsewhere = f"-not -path '/proc/*' -not -path '{box.session.workdir}/*'"
    found = box.exec(f"find / -xdev -type s {elsewhere} 2>/dev/null").out.text.split()
    held = out.count("sock ENOENT") == 3 and f"{host.socket} E" in out and not found
    return Seen(held, "own 0" in out and f"{host.socket} 0" in on_host(code), f"{out} sockets found: {found}")
