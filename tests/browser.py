"""Headless Chromium, controlled by its DevTools protocol over a pipe."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FOUND = next((path for name in NAMES if (path := shutil.which(name))), None)
PATIENCE = 60  # seconds for any answer


class Browser:
    """Headless Chromium with one tab at a time."""

    def __init__(self, profile: Path) -> None:
        ours, its = os.pipe(), os.pipe()  # it reads from 3 and writes to 4
        words = [FOUND, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        words += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run"]
        words += ["--disable-background-networking", "about:blank"]
        shell = f'exec "$@" 3<&{ours[0]} 4>&{its[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", shell, "browser", *map(str, words)],
            pass_fds=(ours[0], its[1]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(ours[0])
        os.close(its[1])
        self.to, self.out = ours[1], its[0]
        self.rest = b""
        self.number = 0
        self.session: str | None = None
        self.events: list[dict[str, Any]] = []

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the messages of the browser as they arrive."""
        until = time.monotonic() + PATIENCE
        while True:
            while b"\0" in self.rest:
                one, self.rest = self.rest.split(b"\0", 1)
                yield json.loads(one)
            ready, _, _ = select.select([self.out], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self.out, 1 << 20)
            assert piece, "the browser ended"
            self.rest += piece

    def call(self, method: str, **given: Any) -> Any:
        """Call a method and return its result; events that arrive meanwhile go to `events`."""
        self.number += 1
        said = {"id": self.number, "method": method, "params": given}
        if self.session:
            said["sessionId"] = self.session
        os.write(self.to, json.dumps(said).encode() + b"\0")
        for message in self.messages():
            if message.get("id") == self.number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)
        raise AssertionError

    def see(self, page: Path, width: int, scheme: str) -> None:
        """Open a page in a new tab of this width, light or dark, and wait until it is loaded."""
        self.session, self.events = None, []
        tab = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=tab, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(next(self.messages()))

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    def heard(self, method: str) -> list[dict[str, Any]]:
        """Return the parameters of this tab's events of one kind."""
        return [event["params"] for event in self.events if event["method"] == method]

    def picture(self) -> bytes:
        """Return the whole page as PNG."""
        said = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(said["data"])


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser, and end it afterwards."""
    one = Browser(profile)
    try:
        yield one
    finally:
        one.process.terminate()
        one.process.wait(PATIENCE)
        os.close(one.to)
        os.close(one.out)
