"""What stands before the page: who may ask, for what, how much and how long; and which files it looks at.

Gradio answers far more than this page needs, and looks at the files that a request names. So only the addresses that
the page itself asks for are answered, and only an uploaded file is opened, once.
"""

import asyncio
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gradio.routes import App

from affectnet_plus import MAX_IMAGE_BYTES

from ..images import read_regular
from ..sentences import in_one_line

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MOST_BYTES = MAX_IMAGE_BYTES + 100_000  # of a request: a picture, and the words around it
REQUEST_SECONDS = 120  # an upload at 170 kB a second
STREAM_SECONDS = 3600  # of the answers of a page that stays open, which asks again
_STREAMS = re.compile(r"/gradio_api/(heartbeat/\w+|queue/data)")
_ANSWERED = {
    "GET": re.compile(
        r"/|/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt)|/(assets|static|svelte)/.*"
        r"|/gradio_api/(startup-events|app_id|info|upload_progress|heartbeat/\w+|queue/data|file=/.*)"
    ),
    "POST": re.compile(r"/gradio_api/(upload|queue/join|cancel|reset)"),
}
_ANSWERED["HEAD"] = _ANSWERED["GET"]


class GuardedApp(App):
    """Gradio's application with a `Guard` before all of it, what gradio puts before itself included."""

    hosts: tuple[str, ...] | None = None

    def build_middleware_stack(self):
        return Guard(super().build_middleware_stack(), self.hosts)


class Guard:
    """An ASGI application that passes on what the page asks for, and refuses all else with a status and no word.

    A request that fails is one line of the log, and never a traceback: its words come from whoever asks.

    Args:
        hosts: the names, without port, under which the page may be asked for. Else a page elsewhere, whose name is
            made to lead to this machine, could read what only this machine should. None lets everybody ask who reaches
            the page: on the open network there is nothing here that a page elsewhere could not fetch by itself.
    """

    def __init__(self, app, hosts: Iterable[str] | None):
        self._app, self._hosts = app, None if hosts is None else frozenset(hosts)

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        headers = {name.decode("latin1"): value.decode("latin1") for name, value in scope["headers"]}
        wanted = _ANSWERED.get(scope["method"])
        if not self._may_ask(headers):
            return await _refuse(send, 403)
        if wanted is None or not wanted.fullmatch(scope["path"]):
            return await _refuse(send, 404)
        if not headers.get("content-length", "0").isdecimal() or int(headers.get("content-length", "0")) > MOST_BYTES:
            return await _refuse(send, 413)
        await self._answer(scope, receive, send)

    def _may_ask(self, headers: dict[str, str]) -> bool:
        if self._hosts is None:
            return True
        host, origin = headers.get("host", ""), headers.get("origin")
        known = re.sub(r":[0-9]{1,5}\Z", "", host) in self._hosts
        return known and (origin is None or (urlsplit(origin).scheme, urlsplit(origin).netloc) == ("http", host))

    async def _answer(self, scope, receive, send) -> None:
        seconds = STREAM_SECONDS if _STREAMS.fullmatch(scope["path"]) else REQUEST_SECONDS
        begun = received = 0

        async def limited():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MOST_BYTES:
                raise ValueError(f"the request has more than {MOST_BYTES} bytes")
            return message

        async def noted(message):
            nonlocal begun
            begun += 1
            await send(message)

        try:
            async with asyncio.timeout(seconds):
                await self._app(scope, limited, noted)
        except asyncio.CancelledError:  # the page is ended, and with it the streams of pages that are open
            await _end(send)
        except Exception as error:
            logger.error("a request failed: %s", one_line(error))
            await (_end(send) if begun else _refuse(send, 408 if isinstance(error, TimeoutError) else 400))


async def _refuse(send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def _end(send) -> None:
    """End an answer that has begun; where it had ended, or nobody listens any more, nothing is left to do."""
    try:
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except Exception as error:
        logger.debug("an answer that failed had ended: %s", one_line(error))


def one_line(error: BaseException) -> str:
    """An error for the log: its kind and its words in one line of bounded length."""
    return f"{type(error).__name__}: {in_one_line(error)[:300]!r}"


# --- the files that a request names ----------------------------------------------------------------------------------


def named_files(values) -> Iterator[Any]:
    """The paths that the values of a request name, however deep: whatever stands under `path`."""
    found = [values]
    while found:
        value = found.pop()
        if isinstance(value, dict):
            if "path" in value:
                yield value["path"]
            found += value.values()
        elif isinstance(value, list):
            found += value


def is_upload(path, folder: Path) -> bool:
    """Whether a path is that of a regular file under `folder`."""
    try:
        place = os.path.realpath(path, strict=True)
        return Path(place).is_relative_to(os.path.realpath(folder)) and stat.S_ISREG(os.stat(place).st_mode)
    except (OSError, ValueError, TypeError):  # a name with a zero byte; no text
        return False


def read_upload(path: str, folder: Path) -> bytes:
    """What an uploaded file holds, of more than `MAX_IMAGE_BYTES` bytes only one more; it is opened once.

    Raises:
        FileNotFoundError: it is not a regular file under `folder`. What else it is, and whether it is there at all,
            is not said.
    """
    try:
        place = os.path.realpath(path, strict=True)
        if Path(place).is_relative_to(os.path.realpath(folder)):
            return read_regular(place, os.O_NOFOLLOW)
    except (OSError, ValueError):
        pass
    raise FileNotFoundError("it is no uploaded file")
