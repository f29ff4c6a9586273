"""Whether W&B's server can be used, told within seconds."""

import socket
import time
from contextlib import closing, contextmanager

import pytest
from tests.tracking.wandb_fake import fake_server

from ntkode.tracking import wandb_server
from ntkode.tracking.wandb_server import ServerUnavailable, check_server


@contextmanager
def listening():
    """A server that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


def test_a_server_that_answers_is_fine():
    with fake_server() as server:
        check_server(server.url)


def test_a_closed_port_is_told_at_once():
    with listening() as url:
        pass
    with pytest.raises(ServerUnavailable, match=rf"{url} cannot be reached: .*Connection refused"):
        check_server(url)


def test_a_silent_server_is_given_up():
    began = time.monotonic()
    with listening() as url, pytest.raises(ServerUnavailable, match=url):
        check_server(url, seconds=0.3)
    assert time.monotonic() - began < 3


def test_a_name_that_takes_long_to_look_up_is_given_up(monkeypatch):
    def slow(*args, **kwargs):
        time.sleep(2)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    began = time.monotonic()
    with pytest.raises(ServerUnavailable, match=r"no answer within 0.2 s"):
        check_server("http://wandb.invalid", seconds=0.2)
    assert time.monotonic() - began < 1.5


def test_a_server_that_is_down_is_told(monkeypatch):
    with fake_server() as server:
        monkeypatch.setattr(server.RequestHandlerClass, "do_GET", lambda handler: handler.send_error(503))
        with pytest.raises(ServerUnavailable, match="answers 503 Service Unavailable"):
            check_server(server.url)


def test_without_a_key_it_says_how_to_get_one(monkeypatch):
    from wandb.sdk.lib import wbauth

    monkeypatch.setattr(wbauth, "authenticate_session", lambda **kwargs: None)
    with pytest.raises(ServerUnavailable, match=r"no key .*http://here: run `wandb login`"):
        wandb_server.check_key("http://here")
