"""The content of an http(s) address, within a time, a size and a number of redirects. Travels with every model.

The time is that of the whole fetch, redirects and body included, and not of each wait, so that a server that sends a
byte now and then ends with it too; so do a name that is looked for in vain, and one that has many addresses.
"""

import http.client
import io
import queue
import socket
import threading
import time
import urllib.error
import urllib.request

REDIRECTS = 5
WIRE = 1 << 20  # bytes beside the body: heads, and what marks the chunks


def fetch(address: str, timeout: float, most: int) -> bytes:
    """The body of the answer.

    Args:
        timeout: seconds for all of it.
        most: bytes that the body may have.

    Raises:
        ValueError: it is no http(s) address, or the answer has more bytes.
        OSError, http.client.HTTPException: it cannot be fetched, in this time or at all.
    """
    if not address.lower().startswith(("http://", "https://")):
        raise ValueError("only http and https addresses are fetched")
    bounds = _Bounds(time.monotonic() + timeout, timeout, most)
    handlers = (
        urllib.request.ProxyHandler(),
        _OpenHttp(bounds),
        _OpenHttps(bounds),
        _Redirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    )
    opener = urllib.request.OpenerDirector()  # without those for files, ftp and data
    for handler in handlers:
        opener.add_handler(handler)
    try:
        with opener.open(address, timeout=timeout) as response:
            body = response.read(most + 1)
    except urllib.error.HTTPError:
        raise
    except urllib.error.URLError as error:  # it wraps what a connection raised
        raise error.reason if isinstance(error.reason, OSError) else error from None
    if len(body) > most:
        raise ValueError(f"it has more than {most} bytes")
    return body


class _Bounds:
    """What is left of the time and the bytes of one fetch, over all its connections."""

    def __init__(self, end: float, timeout: float, most: int):
        self._end, self._timeout, self._most = end, timeout, most
        self._left = most + WIRE

    def seconds(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.over()
        return left

    def over(self) -> TimeoutError:
        return TimeoutError(f"it took more than {self._timeout:g} seconds")

    def count(self, received: int) -> int:
        self._left -= received
        if self._left < 0:
            raise ValueError(f"it sent more than {self._most} bytes")
        return received

    def connect(self, address: tuple[str, int], *_) -> socket.socket:
        """In place of `socket.create_connection`, which looks for the name as long as it takes, and then has its time
        for each address of it."""
        failed: OSError = OSError(f"{address[0]} has no address")
        for family, kind, protocol, _, place in self._addresses(*address):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self.seconds())
                sock.connect(place)
                return sock
            except OSError as error:
                failed = error
                sock.close()
        raise self.over() if isinstance(failed, TimeoutError) else failed

    def _addresses(self, host: str, port: int) -> list:
        """Asked in a thread of its own, as the system takes no time for it; an answer that comes later is lost."""
        answers: queue.SimpleQueue = queue.SimpleQueue()

        def ask():
            try:
                answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except Exception as error:  # raised where it is waited for
                answers.put(error)

        threading.Thread(target=ask, daemon=True).start()
        try:
            found = answers.get(timeout=self.seconds())
        except queue.Empty:
            raise self.over() from None
        if isinstance(found, Exception):
            raise found
        return found


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = REDIRECTS


class _Received(io.RawIOBase):
    """What a socket receives."""

    def __init__(self, sock: socket.socket, bounds: _Bounds):
        self._sock, self._bounds = sock, bounds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self._sock.settimeout(self._bounds.seconds())
        try:
            return self._bounds.count(self._sock.recv_into(buffer))
        except TimeoutError:
            self._bounds.seconds()  # which says how many there were
            raise

    def close(self) -> None:
        if not self.closed:
            self._sock.close()
        super().close()


class _Bounded:
    """What `http.client` asks of a socket."""

    def __init__(self, sock: socket.socket, bounds: _Bounds):
        self._sock, self._bounds = sock, bounds
        self._read = False

    def sendall(self, data) -> None:
        self._sock.settimeout(self._bounds.seconds())
        self._sock.sendall(data)

    def makefile(self, mode: str):
        self._read = True
        return io.BufferedReader(_Received(self._sock, self._bounds))

    def close(self) -> None:
        if not self._read:  # else the response goes on reading, and closes it
            self._sock.close()


class _Http(http.client.HTTPConnection):
    bounds: _Bounds

    def connect(self):
        self.timeout, self._create_connection = self.bounds.seconds(), self.bounds.connect
        super().connect()
        self.sock = _Bounded(self.sock, self.bounds)


class _Https(http.client.HTTPSConnection):
    bounds: _Bounds

    def connect(self):
        self.timeout, self._create_connection = self.bounds.seconds(), self.bounds.connect
        super().connect()
        self.sock = _Bounded(self.sock, self.bounds)


class _OpenHttp(urllib.request.HTTPHandler):
    def __init__(self, bounds: _Bounds):
        super().__init__()
        self._connection = type("Connection", (_Http,), {"bounds": bounds})

    def http_open(self, request):
        return self.do_open(self._connection, request)


class _OpenHttps(urllib.request.HTTPSHandler):
    def __init__(self, bounds: _Bounds):
        super().__init__()
        self._connection = type("Connection", (_Https,), {"bounds": bounds})

    def https_open(self, request):
        return self.do_open(self._connection, request)
