"""The Hugging Face hub: a local server, a silent server, no server, and the cache."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

from ntkode.data import CIFAR10, MNIST, AGNews, DataError
from ntkode.data.hub import HUB_SECONDS, _answers

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def hub_of(folder: Path, path: str = "ylecun/mnist/resolve/main/mnist") -> type[BaseHTTPRequestHandler]:
    """Handler that serves the files of a data set at branch main, like the hub's `resolve` addresses."""
    prefix = f"/datasets/{path}/"

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer()

        def do_GET(self) -> None:
            self.wfile.write(self.answer())

        def answer(self) -> bytes:
            if self.path == "/":
                return self.head(200, b"")
            file = folder / self.path.removeprefix(prefix)
            if not self.path.startswith(prefix) or not file.is_file():
                return self.head(404, b"")
            return self.head(200, file.read_bytes())

        def head(self, status: int, content: bytes) -> bytes:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            return content

        def log_message(self, *_: Any) -> None:
            pass

    return Hub


@pytest.fixture
def use_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Function that directs the hub's client to an address, with an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.removeprefix(constants.ENDPOINT)

    def use(address: str) -> None:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + template)

    return use


def test_from_the_hub_and_then_from_its_cache(
    common: dict[str, Any],
    write_parquet: Callable[..., Path],
    use_endpoint: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = write_parquet()
    with serve(hub_of(folder)) as address:
        use_endpoint(address)
        online = MNIST(**common, source="hub")
        online.setup()
    assert online.description["source"] == f"hub:ylecun/mnist@{COMMIT}"
    local = MNIST(**common, data_dir=folder)
    local.setup()
    assert online.description["sha256"] == local.description["sha256"]
    for offline in (False, True):  # without a server, then with HF_HUB_OFFLINE too
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        again = MNIST(**common, source="hub")
        again.setup()
        assert again.description == online.description


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (CIFAR10, "uoft-cs/cifar10/resolve/main/plain_text"),
        (AGNews, "fancyzhx/ag_news/resolve/main/data"),
    ],
)
def test_others_come_from_the_hub_unless_a_folder_is_named(
    common: dict[str, Any],
    hub_folders: dict[str, Path],
    use_endpoint: Callable[[str], None],
    kind: Any,
    path: str,
) -> None:
    with serve(hub_of(hub_folders[kind.name], path)) as address:
        use_endpoint(address)
        online = kind(**common)
        online.setup()
    assert online.description["source"] == f"hub:{kind.hub.repository}@{COMMIT}"
    local = kind(**common, data_dir=hub_folders[kind.name])
    local.setup()
    assert online.description["sha256"] == local.description["sha256"]


@pytest.mark.parametrize("kind", [CIFAR10, AGNews])
def test_no_hub_and_no_embedded_copy(
    common: dict[str, Any], use_endpoint: Callable[[str], None], kind: Any
) -> None:
    use_endpoint("http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"is out of reach, and .*@main is not in") as caught:
        kind(**common).setup()
    assert "dataset.data_dir=PATH" in caught.value.remedy
    assert "embedded" not in caught.value.remedy


def test_a_revision_that_the_hub_does_not_have(
    common: dict[str, Any], write_parquet: Callable[..., Path], use_endpoint: Callable[[str], None]
) -> None:
    with serve(hub_of(write_parquet())) as address:
        use_endpoint(address)
        with pytest.raises(DataError, match="refused ylecun/mnist@v9") as caught:
            MNIST(**common, source="hub", revision="v9").setup()
    assert "dataset.revision=main" in caught.value.remedy
    assert "\n" not in str(caught.value)


def test_offline_and_not_in_the_cache(
    common: dict[str, Any], use_endpoint: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_endpoint("http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE is set, and ylecun/mnist@main is not in"):
        MNIST(**common, source="hub").setup()


def test_a_refused_connection_fails_at_once_with_what_to_do(
    common: dict[str, Any], use_endpoint: Callable[[str], None]
) -> None:
    use_endpoint("http://127.0.0.1:9")  # the discard port, where nothing listens
    started = time.monotonic()
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9 is out of reach") as caught:
        MNIST(**common, source="hub").setup()
    assert time.monotonic() - started < 5
    for override in ("dataset.data_dir=PATH", "dataset.source=embedded", "HF_HUB_OFFLINE=1"):
        assert override in caught.value.remedy


def test_a_host_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    # As with a name server that drops packets: no timeout of the HTTP client applies.
    released = threading.Event()

    class Silent:
        def head(self, *_: Any, **__: Any) -> None:
            released.wait(60)

    monkeypatch.setattr(huggingface_hub, "get_session", Silent)
    started = time.monotonic()
    assert not _answers("http://nowhere", 0.2)
    assert time.monotonic() - started < 2
    released.set()


def test_the_hub_itself_out_of_reach(
    common: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if _answers(constants.ENDPOINT, HUB_SECONDS):
        pytest.skip(f"{constants.ENDPOINT} is within reach")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(DataError, match=r"dataset\.data_dir=PATH"):
        MNIST(**common, source="hub").setup()
    assert time.monotonic() - started < 5
