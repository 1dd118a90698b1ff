"""What goes wrong on the way to a Hub and in it: `hub.faults.append(Fault("PUT", "/lfs/", drop="request"))`."""

from dataclasses import dataclass, field, replace
from threading import Event

from .repository import HubError
from .routing import Reply, Request


@dataclass
class Fault:
    """Happens to the next `times` requests of a method whose path holds `part`.

    Args:
        status: the Hub answers with this status and these headers, and does nothing.
        drop: "request": the connection breaks when half of the body has arrived, so nothing is done; "answer": it
            breaks when all was done, so that the client cannot know.
        stall: seconds of silence in the middle of the answer.
        corrupt: one byte of the body is another when it arrives.
    """

    method: str
    part: str
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "Something went wrong"
    drop: str | None = None
    stall: float = 0
    corrupt: bool = False


def claim(faults: list[Fault], method: str, path: str) -> Fault | None:
    """The fault that is to happen to a request, if any; it counts this time."""
    for fault in faults:
        if fault.method == method and fault.part in path and fault.times:
            fault.times -= 1
            return fault
    return None


def refusal(fault: Fault) -> Reply:
    """The answer of a fault that has a status."""
    assert fault.status is not None
    return Reply.refusal(HubError(fault.status, None, fault.message, fault.headers))


def corrupted(request: Request) -> Request:
    """The request with another last byte."""
    body = bytearray(request.body)
    body[-1] ^= 1
    return replace(request, body=bytes(body))


def silence(seconds: float) -> None:
    """Wait, whatever became of `time.sleep`, which tests may have shortened."""
    Event().wait(seconds)
