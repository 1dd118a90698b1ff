"""An object store on this machine that speaks S3, and answers 503 on demand."""

import threading
from collections.abc import Callable

import boto3
import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


class ObjectStore:
    """A bucket `faces`. `busy(method, path, count)` says which requests get a 503; `count` is of all before."""

    def __init__(self):
        self.busy: Callable[[str, str, int], bool] = lambda method, path, count: False
        self.count = self.refused = 0
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.endpoint = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.client = boto3.client("s3", endpoint_url=self.endpoint)
        self.client.create_bucket(Bucket="faces")

    def _answer(self, environ, start_response):
        count, self.count = self.count, self.count + 1
        if self.busy(environ["REQUEST_METHOD"], environ["PATH_INFO"], count):
            self.refused += 1
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(BUSY)))])
            return [BUSY]
        return self._app(environ, start_response)

    def address(self, folder: str) -> str:
        return f"s3://faces/{folder}?endpoint_override={self.endpoint.removeprefix('http://')}&scheme=http"

    def names(self, prefix: str) -> list[str]:
        found = self.client.list_objects_v2(Bucket="faces", Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", ())]

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture(scope="module")
def object_store():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        store = ObjectStore()
        yield store
        store.close()
