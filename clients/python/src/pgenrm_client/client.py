"""client.py - one pgenrm server, or several that share a store: requests, retries, errors."""
from __future__ import annotations

import base64
import http.client
import json
import os
import random
import socket
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterable, Mapping, Sequence

RETRIED = (429, 502, 503, 504)
MOST_WAIT = 30.0


class PgenrmError(Exception):
    """The server refused, or could not be reached. status: its HTTP status; 0: there was no answer."""

    def __init__(self, message: str, status: int = 0):
        super().__init__(message)
        self.status = status


def _wait(attempt: int, retry_after: str | None) -> float:
    try:
        return float(min(max(float(retry_after or ""), 0.0), MOST_WAIT))
    except (TypeError, ValueError):
        return float(min(0.25 * 2**attempt, MOST_WAIT)) * (0.5 + random.random() / 2)


def _message(body: bytes, status: int) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace").strip()[:200] or http.client.responses.get(status, "")


class _Address:
    """Where a server is: "http://HOST:PORT[/PATH]"; a user and a token may stand before the host."""

    def __init__(self, url: str, token: str | None):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r}: expected an address like http://127.0.0.1:8300")
        self.shown = f"{parts.scheme}://{parts.netloc.rsplit('@', 1)[-1]}"
        self.kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.host, self.port, self.path = parts.hostname, parts.port, parts.path.rstrip("/")
        self.headers = {"Content-Type": "application/json"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        elif parts.password:
            pair = f"{urllib.parse.unquote(parts.username or '')}:{urllib.parse.unquote(parts.password)}"
            self.headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()


class _Kept(dict):  # type: ignore[type-arg]  # of the number of an address
    """A thread's connections by address; they end with the thread or the client."""

    def close(self) -> None:
        while self:
            self.popitem()[1].close()

    __del__ = close


class Client:
    """Threads may share one: each has connections of its own.

    url      of the server, or several (a list, or separated by commas): a call that one cannot answer goes to the next.
             Default: $PGENRM_URL, else http://127.0.0.1:8300
    token    default: $PGENRM_TOKEN, else the one in the url, else none
    timeout  seconds that a call may take, all tries together
    tries    how often it is asked: again after 429, 502 to 504 and cut connections, with growing waits
    """

    def __init__(self, url: str | Sequence[str] | None = None, token: str | None = None, timeout: float = 120.0,
                 tries: int = 5):
        urls = url or os.environ.get("PGENRM_URL") or "http://127.0.0.1:8300"
        if isinstance(urls, str):
            urls = [u.strip() for u in urls.split(",") if u.strip()]
        token = token or os.environ.get("PGENRM_TOKEN")
        self.addresses = [_Address(u, token) for u in urls]
        self.timeout, self.tries = timeout, max(1, tries)
        self._own = threading.local()
        self._first = 0

    # ---- judging ----

    def score(self, *, responses: Sequence[str], user: str | Mapping[str, Any] | None = None, query: str | None = None,
              messages: Sequence[Mapping[str, str]] | None = None, **settings: Any) -> dict[str, Any]:
        """One result object (docs/requests.md). user: an id in the server's store, or an object with a history.
        settings: ind, pro, history, seed, chains, deadline_s and the like; those that are None are left out."""
        body: dict[str, Any] = {"responses": list(responses)}
        if user is not None:
            body["user"] = {"id": user} if isinstance(user, str) else dict(user)
        if messages is not None:
            body["messages"] = [dict(m) for m in messages]
        if query is not None:
            body["query"] = query
        body.update({k: v for k, v in settings.items() if v is not None})
        return self._object("POST", "/v1/personal/score", body)

    def score_many(self, requests: Iterable[Mapping[str, Any]],
                   concurrency: int = 16) -> list[dict[str, Any] | PgenrmError]:
        """Each request's result, or its error, in their order; the server judges them in one batch."""

        def one(request: Mapping[str, Any]) -> dict[str, Any] | PgenrmError:
            try:
                return self.score(**request)
            except PgenrmError as e:
                return e

        with ThreadPoolExecutor(max(1, concurrency)) as pool:
            return list(pool.map(one, requests))

    def get_reward(self, queries: Sequence[str], prompts: Sequence[str], labels: Sequence[Any]) -> dict[str, Any]:
        """OpenRLHF's remote reward model (docs/rewards.md)."""
        return self._object("POST", "/get_reward",
                            {"query": list(queries), "prompts": list(prompts), "labels": list(labels)})

    # ---- users ----

    def feedback(self, user: str, chosen: str, rejected: str, query: str | None = None,
                 context: Sequence[Mapping[str, str]] | None = None) -> dict[str, Any]:
        """A new pair of the user's, which the next request knows."""
        body: dict[str, Any] = {"user": user, "chosen": chosen, "rejected": rejected}
        if context is not None:
            body["context"] = [dict(m) for m in context]
        if query is not None:
            body["query"] = query
        return self._object("POST", "/v1/personal/feedback", body)

    def put_user(self, user: str, **what: Any) -> dict[str, Any]:
        """history, criteria, demographics: what is new of it is added."""
        return self._object("PUT", self._user(user), what)

    def get_user(self, user: str) -> dict[str, Any]:
        return self._object("GET", self._user(user))

    def forget(self, user: str) -> dict[str, Any]:
        """All that is stored of the user goes, his bytes in the file too."""
        return self._object("DELETE", self._user(user))

    @staticmethod
    def _user(user: str) -> str:
        return "/v1/personal/users/" + urllib.parse.quote(user, safe="")

    # ---- the wire ----

    def _object(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        out: dict[str, Any] = self.call(method, path, body)
        return out

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that the server answers with."""
        data = None if body is None else json.dumps(body).encode()
        end, why = time.monotonic() + self.timeout, PgenrmError("no time")
        for attempt in range(self.tries):
            at = (self._first + attempt) % len(self.addresses)
            left = end - time.monotonic()
            if left <= 0:
                break
            status, retry_after, answer = self._ask(at, method, path, data, left)
            if 200 <= status < 300:
                self._first = at
                return self._parse(at, path, answer)
            why = PgenrmError(f"{self.addresses[at].shown}{path}: {_message(answer, status)}", status)
            if status and status not in RETRIED:
                raise why
            if attempt + 1 < self.tries and (attempt + 1) % len(self.addresses) == 0:
                time.sleep(max(0.0, min(_wait(attempt, retry_after), end - time.monotonic())))
        raise why

    def _parse(self, at: int, path: str, answer: bytes) -> Any:
        try:
            return json.loads(answer) if answer else {}
        except ValueError:
            raise PgenrmError(f"{self.addresses[at].shown}{path}: found no JSON in the answer", 200) from None

    def _ask(self, at: int, method: str, path: str, data: bytes | None, left: float) -> tuple[int, str | None, bytes]:
        """Status (0: no answer), Retry-After, body. A connection that was kept and has gone stale is made anew."""
        address, kept = self.addresses[at], self._kept()
        for fresh in (at not in kept, True):
            if fresh and at in kept:
                kept.pop(at).close()
            if at not in kept:
                kept[at] = address.kind(address.host, address.port, timeout=left)
            connection = kept[at]
            try:
                if connection.sock:
                    connection.sock.settimeout(left)
                connection.request(method, address.path + path, body=data, headers=address.headers)
                answer = connection.getresponse()
                return answer.status, answer.getheader("Retry-After"), answer.read()
            except (OSError, http.client.HTTPException) as e:
                kept.pop(at).close()
                if fresh or isinstance(e, socket.timeout):
                    return 0, None, (str(e) or type(e).__name__).encode()
        raise AssertionError("unreachable")

    def _kept(self) -> _Kept:
        if not hasattr(self._own, "connections"):
            self._own.connections = _Kept()
        kept: _Kept = self._own.connections
        return kept
