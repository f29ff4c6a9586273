"""Checks within seconds of W&B's server and key; W&B itself would retry for a minute and a half."""

from __future__ import annotations

import threading

import requests

PATIENCE = 5.0
"""Seconds in which the server must answer."""


class ServerUnavailable(RuntimeError):
    """W&B's server cannot be reached, or there is no valid key for it."""


def server_url() -> str:
    """The address of W&B's server, by `WANDB_BASE_URL`, W&B's settings files, or its default."""
    import wandb  # here, because the import takes a second

    return str(wandb.setup().settings.base_url)


def check_server(url: str, seconds: float = PATIENCE) -> None:
    """Check that the server answers.

    Args:
        url: the server's address.
        seconds: time limit for the answer.

    Raises:
        ServerUnavailable: no answer within `seconds`, or an answer with a status of 500 or more.
    """
    problems: list[str] = []
    # In a thread, because resolving a host name may take longer than the time limit of requests.
    request = threading.Thread(target=lambda: problems.append(_problem(url, seconds)), daemon=True)
    request.start()
    request.join(seconds)
    problem = problems[0] if problems else f"no answer within {seconds:g} s"
    if problem:
        raise ServerUnavailable(f"W&B's server {url} cannot be reached: {problem}")


def check_key(url: str) -> None:
    """Check that there is a key (in `WANDB_API_KEY`, or stored by `wandb login`), without a prompt.

    Raises:
        ServerUnavailable: there is no key, or it does not have the form of one.
    """
    import wandb
    from wandb.sdk.lib import wbauth  # uses the same sources as wandb; wandb.login would prompt

    try:
        session = wbauth.authenticate_session(host=url, source="ntkode", prompt=False)
    except wandb.Error as error:
        raise ServerUnavailable(f"the key for W&B's server {url} is unusable: {error}") from error
    if not session:
        raise ServerUnavailable(f"there is no key for W&B's server {url}: run `wandb login`")


def _problem(url: str, seconds: float) -> str:
    """Why the server cannot be used; empty if it can."""
    try:
        with requests.get(url, timeout=seconds, stream=True) as answer:
            return f"it answers {answer.status_code} {answer.reason}" if answer.status_code >= 500 else ""
    except requests.RequestException as error:
        return _shortest(error)


def _shortest(error: BaseException) -> str:
    """The innermost cause in one line, without the layers in which requests wraps it."""
    while (inner := getattr(error, "reason", None) or next(iter(error.args), None)) and isinstance(
        inner, BaseException
    ):
        error = inner
    return str(error).rpartition(": ")[2] or type(error).__name__
