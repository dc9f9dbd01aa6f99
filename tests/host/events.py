"""The host's websocket: what ran, how far it is, what its previews show."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import aiohttp

PREVIEW_WITH_METADATA = 4
CONNECT_SECONDS = 20
ENDS = ("execution_success", "execution_error", "execution_interrupted")


@dataclass(frozen=True)
class Event:
    """One message. time: seconds on the monotonic clock. kind: the host's name for it, or "preview" (data: node and JPEG bytes)."""

    time: float
    kind: str
    data: dict[str, Any]


class EventListener:
    """Collects a client's messages in a thread of its own, by prompt id."""

    def __init__(self, port: int, client_id: str) -> None:
        self._url = f"ws://127.0.0.1:{port}/ws?clientId={client_id}"
        self._events: dict[str, list[Event]] = defaultdict(list)
        self._done: set[str] = set()
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name="host-events", daemon=True)
        self._thread.start()
        if not self._connected.wait(CONNECT_SECONDS):
            raise RuntimeError("no websocket to the host")

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._task = self._loop.create_task(self._listen())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        # max_msg_size 0: a preview may be larger than aiohttp's limit of 4 MB
        async with aiohttp.ClientSession() as session, session.ws_connect(self._url, max_msg_size=0) as socket:
            # with this the host sends previews with the prompt and node that they belong to
            await socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
            self._connected.set()
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._text(json.loads(message.data))
                elif message.type is aiohttp.WSMsgType.BINARY:
                    self._binary(message.data)

    def _text(self, message: dict[str, Any]) -> None:
        kind, data = message.get("type", ""), message.get("data") or {}
        prompt_id = data.get("prompt_id")
        if not prompt_id:
            return
        with self._lock:
            self._events[prompt_id].append(Event(time.monotonic(), kind, data))
            # The host sends this last, when the result is in its history.
            if kind == "executing" and data.get("node") is None:
                self._done.add(prompt_id)

    def _binary(self, message: bytes) -> None:
        kind, length = struct.unpack(">II", message[:8])
        if kind != PREVIEW_WITH_METADATA:
            return
        about = json.loads(message[8:8 + length])
        event = Event(time.monotonic(), "preview", {"node": about["node_id"], "image": message[8 + length:]})
        with self._lock:
            self._events[about["prompt_id"]].append(event)

    def of(self, prompt_id: str) -> list[Event]:
        with self._lock:
            return list(self._events[prompt_id])

    def finished(self, prompt_id: str) -> bool:
        with self._lock:
            return prompt_id in self._done

    def wait_for(self, prompt_id: str, kind: str, timeout: float, count: int = 1) -> Event:
        """The count-th message of a kind. Raises TimeoutError, also where the prompt ends without it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            over = self.finished(prompt_id)
            found = [event for event in self.of(prompt_id) if event.kind == kind]
            if len(found) >= count:
                return found[count - 1]
            if over:
                break
            time.sleep(0.005)
        raise TimeoutError(f"no {kind!r} number {count} among {[event.kind for event in self.of(prompt_id)]}")

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join(5)
