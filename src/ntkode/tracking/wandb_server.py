"""Whether W&B's server can be used: told within seconds, where W&B itself tries for a minute and a half."""

from __future__ import annotations

import threading

import requests

PATIENCE = 5.0
"""Seconds in which the server must answer."""


class ServerUnavailable(RuntimeError):
    """W&B's server does not answer, or there is no key for it."""


def server_url() -> str:
    """The server that W&B's settings name (`WANDB_BASE_URL`, its settings files, or its own default)."""
    import wandb  # takes a second

    return str(wandb.setup().settings.base_url)


def check_server(url: str, seconds: float = PATIENCE) -> None:
    """Ask the server for anything.

    Raises:
        ServerUnavailable: no answer within `seconds`, or one that says that it is down.
    """
    found: list[str] = []
    # In a thread, because looking up a name may take longer, and cannot be told not to.
    asking = threading.Thread(target=lambda: found.append(_complaint(url, seconds)), daemon=True)
    asking.start()
    asking.join(seconds)
    complaint = found[0] if found else f"no answer within {seconds:g} s"
    if complaint:
        raise ServerUnavailable(f"W&B's server {url} cannot be reached: {complaint}")


def check_key(url: str) -> None:
    """Look for a key (`WANDB_API_KEY`, or what `wandb login` stored), without asking for one.

    Raises:
        ServerUnavailable: there is none, or it does not look like one.
    """
    import wandb
    from wandb.sdk.lib import wbauth  # looks where wandb itself does; wandb.login would prompt

    try:
        found = wbauth.authenticate_session(host=url, source="ntkode", prompt=False)
    except wandb.Error as error:
        raise ServerUnavailable(f"the key for W&B's server {url} is unusable: {error}") from error
    if not found:
        raise ServerUnavailable(f"there is no key for W&B's server {url}: run `wandb login`")


def _complaint(url: str, seconds: float) -> str:
    """What keeps the server from being used; empty where nothing does."""
    try:
        with requests.get(url, timeout=seconds, stream=True) as answer:
            return f"it answers {answer.status_code} {answer.reason}" if answer.status_code >= 500 else ""
    except requests.RequestException as error:
        return _shortest(error)


def _shortest(error: BaseException) -> str:
    """The innermost cause in one line: requests wraps it in the names of its own parts."""
    while (inner := getattr(error, "reason", None) or next(iter(error.args), None)) and isinstance(
        inner, BaseException
    ):
        error = inner
    return str(error).rpartition(": ")[2] or type(error).__name__
