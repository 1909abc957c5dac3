"""What of a store's address may be written down or shown: everything but who logs in, and with what.

The journal, messages and tags hold addresses without credentials. Who takes up a search again gives them
anew, by the address or by the variables that MLflow and PostgreSQL read.
"""

from __future__ import annotations

import base64
import os
import re
from urllib.parse import unquote, urlsplit

__all__ = ["HIDDEN", "authorization", "hidden", "login_remedy", "without_credentials"]

HIDDEN = "..."
"""What stands where a secret was."""

_SHORTEST = 3
"""Of what is hidden; to replace every single letter of a message would hide nothing but the message."""

_SECRET_KEY = re.compile(r"user|pass|token|secret|pwd", re.IGNORECASE)


def without_credentials(uri: str) -> str:
    """The address without user, password, and the parts of its query that are named like one."""
    if "://" not in uri:
        return uri
    scheme, _, rest = uri.partition("://")
    address, mark, query = rest[len(_login(uri)) :].partition("?")
    kept = [part for part in query.split("&") if part and not _SECRET_KEY.search(part.partition("=")[0])]
    return f"{scheme}://{address}{mark if kept else ''}{'&'.join(kept)}"


def hidden(text: str, uri: str) -> str:
    """The text without the credentials of `uri`, as they stand there or decoded, for instance in an error."""
    if "://" not in uri:
        return text
    login = _login(uri)
    secrets = {login, login[:-1].partition(":")[2]}
    for part in uri.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        secrets |= {part, value if "user" not in key.lower() else ""} if _SECRET_KEY.search(key) else set()
    secrets |= {unquote(each) for each in secrets}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, HIDDEN)
    return text


def authorization(uri: str) -> str | None:
    """The header with which an http store is asked: of the address, or of MLflow's own variables."""
    parts = urlsplit(uri)
    user, password = parts.username, parts.password
    if user is None:
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        password = os.environ.get("MLFLOW_TRACKING_PASSWORD")
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        if not (user and password):
            return f"Bearer {token}" if token else None
    pair = f"{unquote(user)}:{unquote(password or '')}".encode()
    return "Basic " + base64.b64encode(pair).decode("ascii")


def login_remedy(scheme: str) -> str:
    """How credentials are given to a store of this kind."""
    if scheme.startswith("http"):
        return (
            "give them in MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
            "or in --tracking-uri or MLFLOW_TRACKING_URI"
        )
    return "give them in --tracking-uri or MLFLOW_TRACKING_URI" + (
        ", or in PGUSER and PGPASSWORD" if scheme.startswith("postgresql") else ""
    )


def _login(uri: str) -> str:
    """What stands before the host, with its "@"; a password may hold a slash or "@", though it should not."""
    scheme, _, rest = uri.partition("://")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not scheme.startswith("http") and place:
        head = rest.partition("?")[0]
        return rest[: (head if "@" in head else rest).rfind("@") + 1]
    if re.search(r":(?!\d*$)", place.rpartition("@")[2]) and "]" not in place:
        return rest[: rest.rfind("@") + 1]
    return place[: place.rfind("@") + 1]
