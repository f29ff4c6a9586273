"""Checks of W&B's server and key."""

import re
import socket
import threading
from contextlib import closing, contextmanager

import pytest
from tests.tracking.wandb_fake import fake_server

from ntkode.tracking import wandb_server
from ntkode.tracking.wandb_server import ServerUnavailable, check_server


@contextmanager
def listening():
    """A server that accepts connections and never answers."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        yield f"http://127.0.0.1:{silent.getsockname()[1]}"


def test_a_server_that_answers_is_fine():
    with fake_server() as server:
        check_server(server.url)


def test_a_closed_port_is_an_error():
    with listening() as url:
        pass
    with pytest.raises(ServerUnavailable, match=rf"{url} cannot be reached: .*Connection refused"):
        check_server(url)


def test_a_silent_server_is_given_up():
    # The check returns although the server never answers, and the message names the limit.
    with listening() as url, pytest.raises(ServerUnavailable, match=rf"{re.escape(url)} .*\b0\.3\b"):
        check_server(url, seconds=0.3)


def test_a_name_that_takes_long_to_look_up_is_given_up(monkeypatch):
    given_up = threading.Event()

    def slow(*args, **kwargs):
        given_up.wait()  # longer than the check
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(ServerUnavailable, match=r"no answer within 0.2 s"):
        check_server("http://wandb.invalid", seconds=0.2)
    given_up.set()


def test_a_server_that_is_down_is_an_error(monkeypatch):
    with fake_server() as server:
        monkeypatch.setattr(server.RequestHandlerClass, "do_GET", lambda handler: handler.send_error(503))
        with pytest.raises(ServerUnavailable, match="answers 503 Service Unavailable"):
            check_server(server.url)


def test_without_a_key_the_error_names_wandb_login(monkeypatch):
    from wandb.sdk.lib import wbauth

    monkeypatch.setattr(wbauth, "authenticate_session", lambda **kwargs: None)
    with pytest.raises(ServerUnavailable, match=r"no key .*http://here: run `wandb login`"):
        wandb_server.check_key("http://here")
