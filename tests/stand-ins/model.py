"""A stand-in for model APIs: it orders one step of script.json after the other, and writes down what came of each.

Anthropic's Messages (`/v1/messages`) and OpenAI's Responses (`/v1/responses`), both streamed, as their clients want them.
"""

import base64
import hashlib
import http.server
import json
import ssl
import struct
import threading

STEPS = json.load(open("script.json"))
LOCK = threading.Lock()
DONE = {}


def note(name, value):
    with LOCK, open(name, "a") as file:
        file.write(json.dumps(value) + "\n")


def text_of(content):
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(text_of(part.get("text") or part.get("content") or "") for part in content if isinstance(part, dict))
    return json.dumps(content)


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def plain(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        if self.headers.get("upgrade", "").lower() == "websocket" and self.path.split("?")[0].endswith("/responses"):
            return self.conversation()
        note("others.log", [self.command, self.path])
        self.plain({"data": [], "models": []})

    do_HEAD = do_GET

    def do_POST(self):
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.split("?")[0]
        try:
            asked = json.loads(body or b"{}")
        except ValueError:
            note("others.log", [self.command, self.path])
            return self.plain({})
        if path.endswith("/count_tokens"):
            return self.plain({"input_tokens": 10})
        if path.endswith("/messages"):
            return self.answer_messages(asked)
        if path.endswith("/responses"):
            return self.answer_responses(asked)
        note("others.log", [self.command, self.path])
        self.plain({})

    def conversation(self):
        """The Responses over a WebSocket (RFC 6455): each text of the client asks, each event is a text."""
        key = self.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True

        def frame(opcode, data):
            length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data)) if len(data) < 1 << 16 else b"\x7f" + struct.pack(">Q", len(data))
            self.wfile.write(bytes([0x80 | opcode]) + length + data)
            self.wfile.flush()

        text = b""
        while head := self.rfile.read(2):
            length = head[1] & 0x7F
            if length > 125:
                length = int.from_bytes(self.rfile.read(2 if length == 126 else 8), "big")
            mask = self.rfile.read(4)
            data = self.rfile.read(length)
            data = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
            opcode = head[0] & 0x0F
            if opcode == 8:
                return frame(8, data[:2])
            if opcode == 9:
                frame(10, data)
            if opcode in (0, 1):
                text += data
                if head[0] & 0x80:
                    asked, text = json.loads(text), b""
                    note("spoken.log", {name: value for name, value in asked.items() if name in ("type", "model")})
                    self.answer_responses(asked, lambda name, value: frame(1, json.dumps({"type": name, **value}).encode()))

    def stream(self):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()

        def chunk(data):
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def event(name, value):
            chunk(f"event: {name}\ndata: {json.dumps({'type': name, **value})}\n\n".encode())
            if name in ("message_stop", "response.completed"):
                chunk(b"")

        return event

    def next_step(self, results):
        """What comes after these results, by the numbers of their calls; each is written down once. Some clients send all of a
        conversation each time, some only what is new."""
        with LOCK:
            new = {call: text_of(result) for call, result in results if call not in DONE}
            DONE.update(new)
            at = len(DONE)
        for result in new.values():
            note("results.log", result)
        return (at, STEPS[at]) if at < len(STEPS) else (at, None)

    def answer_messages(self, asked):
        tools = {tool.get("name") for tool in asked.get("tools", [])}
        results = [
            (part.get("tool_use_id"), part.get("content"))
            for message in asked.get("messages", [])
            if isinstance(message.get("content"), list)
            for part in message["content"]
            if part.get("type") == "tool_result"
        ]
        at, step = self.next_step(results) if "Bash" in tools else (0, None)
        if step is None:
            block, deltas, stop = {"type": "text", "text": ""}, [{"type": "text_delta", "text": "Done."}], "end_turn"
        else:
            name, value = step.get("tool") or ["Bash", {"command": step["command"], "description": "a step"}]
            block = {"type": "tool_use", "id": f"toolu_{at:04}", "name": name, "input": {}}
            deltas, stop = [{"type": "input_json_delta", "partial_json": json.dumps(value)}], "tool_use"
        usage = {"input_tokens": 10, "output_tokens": 1}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked.get("model"), "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
        if not asked.get("stream"):
            filled = {"type": "text", "text": "Done."} if step is None else {**block, "input": value}
            return self.plain({**message, "content": [filled], "stop_reason": stop})
        event = self.stream()
        event("message_start", {"message": message})
        event("content_block_start", {"index": 0, "content_block": block})
        for delta in deltas:
            event("content_block_delta", {"index": 0, "delta": delta})
        event("content_block_stop", {"index": 0})
        event("message_delta", {"delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 5}})
        event("message_stop", {})

    def answer_responses(self, asked, event=None):
        names = [tool.get("name") or tool.get("type") for tool in asked.get("tools", [])]
        items = asked.get("input") if isinstance(asked.get("input"), list) else []
        results = [(item.get("call_id"), item.get("output")) for item in items if str(item.get("type", "")).endswith("_call_output")]
        at, step = self.next_step(results)
        if step is None:
            item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Done.", "annotations": []}]}
        else:
            call = f"call_{at:04}"
            command = step["command"]
            shapes = {
                "exec_command": {"cmd": command, "yield_time_ms": 30000},
                "shell_command": {"command": command, "timeout_ms": 60000},
                "shell": {"command": ["bash", "-c", command], "timeout_ms": 60000},
            }
            name = next((name for name in shapes if name in names), "shell")
            item = {"type": "function_call", "id": f"fc_{at:04}", "call_id": call, "name": name, "arguments": json.dumps(shapes[name]), "status": "completed"}
        response = {"id": f"resp_{at}", "object": "response", "status": "in_progress", "model": asked.get("model"), "output": []}
        event = event or self.stream()
        event("response.created", {"response": response})
        event("response.output_item.added", {"output_index": 0, "item": item})
        event("response.output_item.done", {"output_index": 0, "item": item})
        usage = {"input_tokens": 10, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 15}
        event("response.completed", {"response": {**response, "status": "completed", "output": [item], "usage": usage}})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
