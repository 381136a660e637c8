"""A far side of WebSockets, by the `websockets` package: GraphQL's two subprotocols, and a chat that echoes. Says its two ports on one line."""

import asyncio
import json
import ssl

import websockets


def note(line):
    with open("messages.log", "a") as log:
        log.write(line.replace("\n", " ") + "\n")


async def graphql(socket):
    legacy = socket.subprotocol == "graphql-ws"
    start, data = ("start", "data") if legacy else ("subscribe", "next")
    async for text in socket:
        note(text)
        message = json.loads(text)
        if message["type"] == "connection_init":
            await socket.send(json.dumps({"type": "connection_ack"}))
        elif message["type"] == "ping":
            await socket.send(json.dumps({"type": "pong"}))
        elif message["type"] == start:
            answer = {"data": {"ran": message["payload"]["query"]}}
            await socket.send(json.dumps({"id": message["id"], "type": data, "payload": answer}))
            await socket.send(json.dumps({"id": message["id"], "type": "complete"}))


async def chat(socket):
    async for message in socket:
        note(message if isinstance(message, str) else f"{len(message)} bytes")
        await socket.send(message)


async def serve(socket, *_path):
    note(f"opened {socket.subprotocol} with extensions {[type(one).__name__ for one in socket.extensions]}")
    await (graphql(socket) if socket.subprotocol in ("graphql-transport-ws", "graphql-ws") else chat(socket))


async def main():
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain("cert.pem", "key.pem")
    options = {"subprotocols": ["graphql-transport-ws", "graphql-ws"], "max_size": 32 << 20}
    clear = await websockets.serve(serve, "127.0.0.1", 0, **options)
    secure = await websockets.serve(serve, "127.0.0.1", 0, ssl=tls, **options)
    print(clear.sockets[0].getsockname()[1], secure.sockets[0].getsockname()[1], flush=True)
    await asyncio.Future()


asyncio.run(main())
