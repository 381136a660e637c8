"""A gRPC server with calls of each kind, over TLS and HTTP/2; messages are plain bytes. It writes down each call that reaches it."""

import concurrent.futures
import threading
import time

import grpc

LOCK = threading.Lock()


def note(text):
    with LOCK, open("calls.log", "a") as log:
        log.write(text + "\n")


def end(context):
    context.set_trailing_metadata((("x-cost", "3"),))


def get(request, context):
    note(f"GetOrder {request.decode()}")
    context.send_initial_metadata((("x-region", "here"),))
    end(context)
    return b"order " + request


def delete(request, context):
    note(f"DeleteOrder {request.decode()}")
    return b"deleted " + request


def watch(request, context):
    note("WatchOrders")
    for number in range(3):
        yield b"event %d" % number
        time.sleep(0.1)
    end(context)


def upload(requests, context):
    note("UploadItems")
    count = sum(1 for _ in requests)
    note(f"uploaded {count}")
    return b"%d" % count


def echo(name):
    def serve(requests, context):
        note(name)
        for request in requests:
            yield request.upper()
        end(context)

    return serve


METHODS = {
    "GetOrder": grpc.unary_unary_rpc_method_handler(get),
    "DeleteOrder": grpc.unary_unary_rpc_method_handler(delete),
    "WatchOrders": grpc.unary_stream_rpc_method_handler(watch),
    "UploadItems": grpc.stream_unary_rpc_method_handler(upload),
    "SendMessages": grpc.stream_stream_rpc_method_handler(echo("SendMessages")),
    "WatchBoth": grpc.stream_stream_rpc_method_handler(echo("WatchBoth")),
    "PurgeAll": grpc.stream_stream_rpc_method_handler(echo("PurgeAll")),
}

server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.v1.Orders", METHODS),))
port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(open("key.pem", "rb").read(), open("cert.pem", "rb").read())]))
server.start()
print(port, flush=True)
server.wait_for_termination()
