"""An address is fetched within a time, a size and a number of redirects, whatever the server does."""

import contextlib
import socket
import threading
import time

import pytest

from affectnet_plus_modeling.vit.fetching import REDIRECTS, fetch

HEAD = b"HTTP/1.1 200 OK\r\n"
WHOLE = HEAD + b"Content-Length: 3\r\n\r\nabc"


def drop(connection, data: bytes, pause: float) -> None:
    for place in range(len(data)):
        connection.sendall(data[place : place + 1])
        time.sleep(pause)


def for_ever(connection, data: bytes) -> None:
    while True:
        connection.sendall(data)


HOSTILE = {
    "says nothing": lambda connection: time.sleep(5),
    "a slow head": lambda connection: drop(connection, HEAD * 9, 0.05),
    "a slow body": lambda connection: (connection.sendall(HEAD + b"\r\n"), drop(connection, bytes(100), 0.05)),
    "slow chunks": lambda connection: (
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        drop(connection, b"1\r\nx\r\n" * 20, 0.05),
    ),
    "continue and continue": lambda connection: drop(connection, b"HTTP/1.1 100 Continue\r\n\r\n" * 9, 0.02),
}
TOO_MUCH = {
    "continue at full speed": lambda connection: for_ever(connection, b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
    "chunks of a byte": lambda connection: (
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n"),
        for_ever(connection, b"1\r\nx\r\n" * 99),
    ),
    "a body without an end": lambda connection: (connection.sendall(HEAD + b"\r\n"), for_ever(connection, bytes(999))),
    "more than it says": lambda connection: connection.sendall(HEAD + b"Content-Length: 2001\r\n\r\n" + bytes(2001)),
}


@contextlib.contextmanager
def serving(answer):
    """The address of a server that does `answer` on each connection, once it has heard a request."""

    def take():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:  # it was closed
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection):
        with connection:
            connection.recv(9999)
            try:
                answer(connection)
            except OSError:  # the other side has left
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_slow_server_is_left_when_the_time_is_over(name):
    with serving(HOSTILE[name]) as address:
        began = time.monotonic()
        with pytest.raises(TimeoutError, match="it took more than 0.3 seconds"):
            fetch(f"{address}/face.jpg", 0.3, 1000)
        assert time.monotonic() - began < 2  # without the bound it lasts for 5 s


def test_a_name_is_looked_for_no_longer_and_its_addresses_have_one_time_together(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")

    def timed(error, match: str):
        began = time.monotonic()
        with pytest.raises(error, match=match):
            fetch("http://faces.test/face.jpg", 0.3, 1000)
        return time.monotonic() - began

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(5))
        assert timed(TimeoutError, "it took more than 0.3 seconds") < 2
        patch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
        timed(OSError, "faces.test has no address")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as waiting:
        for _ in range(4):  # as many as wait to be taken, and more: the next one is not answered
            other = waiting.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(full.getsockname())
        place = (socket.AF_INET, socket.SOCK_STREAM, 0, "", full.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [place] * 10)
        assert timed(TimeoutError, "it took more than 0.3 seconds") < 2


def test_a_name_is_found(monkeypatch):
    with serving(lambda connection: connection.sendall(WHOLE)) as address:
        monkeypatch.setenv("no_proxy", "*")
        assert fetch(address.replace("127.0.0.1", "localhost"), 10, 3) == b"abc"
        with pytest.raises(OSError):
            fetch("http://faces.invalid/", 10, 3)


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_sends_too_much_is_left(name):
    with serving(TOO_MUCH[name]) as address, pytest.raises(ValueError, match="more than 2000 bytes"):
        fetch(f"{address}/face.jpg", 60, 2000)


def test_redirects_are_followed_a_few_times_within_one_time_and_to_http_alone():
    def to(place: str):
        head = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
        return lambda connection: (time.sleep(0.1), connection.sendall(head))

    counted = []

    def round_and_round(connection):
        counted.append(1)
        to(f"/{len(counted)}")(connection)

    with serving(lambda connection: connection.sendall(WHOLE)) as good, serving(to(f"{good}/face.jpg")) as address:
        assert fetch(address, 10, 3) == b"abc"
    with serving(round_and_round) as address:
        with pytest.raises(OSError, match="redirect"):
            fetch(address, 10, 1000)
        assert len(counted) == REDIRECTS + 1
        with pytest.raises(TimeoutError):
            fetch(address, 0.25, 1000)
    for place in ("file:///etc/hostname", "ftp://127.0.0.1/face.jpg"):
        with serving(to(place)) as address, pytest.raises(OSError, match="[Rr]edirection|unknown url type"):
            fetch(address, 10, 1000)
