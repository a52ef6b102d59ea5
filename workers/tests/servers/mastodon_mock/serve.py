"""A stateful mock of Mastodon's API, which somebody else wrote, on a port of 127.0.0.1.

The environment says MOCK_PORT and MOCK_DATA, a folder in which statuses and keys outlast a kill.
Its one account is `testuser`, with the token `mock_token`.
"""

import os
import socket
import sys
import threading

import uvicorn
from mastodon_mock.app import create_app
from mastodon_mock.config import MastodonMockConfig


def end_with_the_test() -> None:
    """Ends this process when whoever started it does, however that comes."""
    sys.stdin.buffer.read()
    os._exit(0)


data = os.environ["MOCK_DATA"]
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", int(os.environ["MOCK_PORT"])))
port = listener.getsockname()[1]

config = MastodonMockConfig()
config.database.path = os.path.join(data, "mock.sqlite")
config.media_storage_path = os.path.join(data, "media")
config.domain = f"127.0.0.1:{port}"
config.url_scheme = "http"
app = create_app(config)

listener.listen(256)
threading.Thread(target=end_with_the_test, daemon=True).start()
print(f"listening http://127.0.0.1:{port}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False)).run(sockets=[listener])
