"""A bad line to the Hub: how long is waited, what is tried again, and what is said in the end, in one line."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from huggingface_hub import set_client_factory
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import httpx
from huggingface_hub.utils._http import default_client_factory

SILENCE = 120.0  # seconds without a byte; the library's own client waits for ever
PAUSES = (1, 2, 4, 8, 8)  # seconds before the second try and those after it, as the library has them for its uploads
LONGEST_PAUSE = 600  # seconds; the Hub counts requests in windows of five minutes
PASSING = (408, 429, 500, 502, 503, 504)


@contextmanager
def listening(what_is_there: str) -> Iterator[None]:
    """Let a silent Hub fail instead of hanging, and every failure of it be an OSError of one sentence with its cause.

    Args:
        what_is_there: a sentence on what the failure left on the Hub.

    Raises:
        PermissionError: the token is not accepted, or may not do this.
        TimeoutError: the Hub was silent for `SILENCE` seconds, at every try.
        ConnectionError: the connection broke, at every try, or the Hub asked for patience or had errors of its own.
        OSError: the Hub refused for another reason.
    """
    set_client_factory(_client)
    try:
        yield
    except (HfHubHTTPError, httpx.HTTPError, RuntimeError) as error:  # uploads of large files raise a RuntimeError
        kind, reason = _reason(error)
        raise kind(f"{reason}. {what_is_there}") from error
    finally:
        set_client_factory(default_client_factory)


def patiently(call: Callable, *given, **named) -> Any:
    """The answer of a call to the Hub that may be made twice; failures that pass are waited out, `PAUSES` long.

    A Retry-After of the Hub is honoured. Uploads of files are tried again by the library itself.
    """
    for pause in PAUSES:
        try:
            return call(*given, **named)
        except httpx.TransportError:
            time.sleep(pause)
        except HfHubHTTPError as error:
            wanted = _retry_after(error.response.headers.get("Retry-After")) or pause
            if error.response.status_code not in PASSING or wanted > LONGEST_PAUSE:
                raise
            time.sleep(wanted)
    return call(*given, **named)


def _client() -> httpx.Client:
    client = default_client_factory()
    hooks = client.event_hooks
    client.event_hooks = hooks | {"request": [*hooks["request"], _limit]}
    return client


def _limit(request: httpx.Request) -> None:
    """Limit a request itself: some calls of the library ask for no limit, whatever the client's own is."""
    request.extensions["timeout"] = httpx.Timeout(SILENCE).as_dict()


def _retry_after(header: str | None) -> float | None:
    """Seconds to wait, of a header that holds seconds or a date (RFC 9110, 10.2.3)."""
    if header is None or header.isdigit():
        return None if header is None else float(header)
    try:
        return max((parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):  # neither; and a date without a zone cannot be compared
        return None


def _reason(error: Exception) -> tuple[type[OSError], str]:
    """The kind of a failure and its cause in words, without the address, which may hold a key to upload with."""
    where = ""
    if isinstance(error, RuntimeError):
        where, error = f"{str(error).rstrip('.')}: ", error.__cause__ or error  # type: ignore[assignment]
    if isinstance(error, HfHubHTTPError):
        kind, said = _refusal(error.response.status_code, error.server_message)
    elif isinstance(error, httpx.TimeoutException):
        kind, said = TimeoutError, f"the Hub was silent for {SILENCE:g} seconds, at every try"
    elif isinstance(error, httpx.HTTPError):
        kind, said = ConnectionError, f"the connection to the Hub broke ({error or type(error).__name__})"
    else:
        kind, said = OSError, str(error).rstrip(".")
    return kind, where + said


def _refusal(status: int, message: str | None) -> tuple[type[OSError], str]:
    said = f"{status}" + (f": {' '.join(message.split()).rstrip('.')}" if message else "")
    if status == 401:
        return PermissionError, f"the Hub does not accept the token, or there is none ({said}); run: hf auth login"
    if status == 403:
        return PermissionError, f"this token may not write there ({said})"
    if status == 429:
        return ConnectionError, f"the Hub asks for patience, and did so at every try ({said})"
    if status in PASSING:
        return ConnectionError, f"the Hub had an error of its own, at every try ({said})"
    return OSError, f"the Hub refused ({said})"
