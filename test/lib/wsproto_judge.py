# wsproto_judge.py - a second opinion: what python3-wsproto, as a server, makes of the same bytes after the handshake.
# SPDX-License-Identifier: PostgreSQL
#
# stdin: a JSON list of cases, each a list of chunks in hex. stdout: a list of {"messages", "pings", "close": code or null, "is_error"}.
import json
import sys

from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage
from wsproto.utilities import RemoteProtocolError


def judge(chunks):
    connection = Connection(ConnectionType.SERVER)
    verdict = {"messages": 0, "pings": 0, "close": None, "is_error": False}
    for chunk in chunks:
        if verdict["close"] is not None:
            break
        try:
            connection.receive_data(bytes.fromhex(chunk))
            for event in connection.events():
                if isinstance(event, (TextMessage, BytesMessage)) and event.message_finished:
                    verdict["messages"] += 1
                elif isinstance(event, Ping):
                    verdict["pings"] += 1
                elif isinstance(event, CloseConnection):
                    verdict["close"] = event.code
                    # the state says whether the other side closed, or its bytes were bad
                    verdict["is_error"] = connection.state.name == "OPEN"
                    break
        except RemoteProtocolError as error:
            verdict["close"] = getattr(error.event_hint, "code", 1002)
            verdict["is_error"] = True
    return verdict


print(json.dumps([judge(case) for case in json.load(sys.stdin)]))
