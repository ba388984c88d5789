"""The least that a proxy can be, beside the gateway: `python -m benchmarks.gateway.peers PORT TARGET_PORT`."""

import sys
from typing import Any

import aiohttp
import uvicorn
import yarl


class Plain:
    """The least that an asyncio reverse proxy can be: what the gateway is built on, and nothing of the gateway."""

    def __init__(self, target: str) -> None:
        self._target = yarl.URL(target)
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        async with self._session.request(scope["method"], self._target, headers=headers, data=body or None) as response:
            head = list(response.raw_headers)
            await send({"type": "http.response.start", "status": response.status, "headers": head})
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def main(port: int, target_port: int) -> None:
    """Serve until told to stop."""
    app = Plain(f"http://127.0.0.1:{target_port}/")
    uvicorn.run(app, port=port, log_level="error", access_log=False, server_header=False, date_header=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
