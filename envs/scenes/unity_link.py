"""The line to Unity: a gRPC server for this machine alone, in which Unity waits, call by call, for our answer.

Unity is the client: each of its calls brings what happened and stays open until we say what to do next. So at any
moment either Unity computes, and we wait for its call, or it waits for our answer.
"""

import queue
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc

from .unity_wire import METHOD, OK, QUIT, SERVICE, UnityMessage

HOST = "127.0.0.1"      # Unity asks for localhost; nobody else has any business here
SLICE = 0.2             # s between looks whether the player still lives, while it is waited for
UNLIMITED = -1          # gRPC's own limit is 4 MB, less than one picture of 640x640 in floats


class PlayerError(ConnectionError):
    """The player is lost, or says what cannot be understood. The text says which, and what to do."""


class DaemonPool(futures.Executor):
    """A few threads that the interpreter does not wait for. concurrent.futures' own, held in an open call, would keep
    a program for ever that ends by an exception."""

    def __init__(self, count: int):
        """Start them."""
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name="unity-link", daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future:
        """Run it as soon as a thread is free."""
        future: futures.Future = futures.Future()

        def work() -> None:
            try:
                future.set_result(function(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        self._work.put(work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the threads, each after what it is doing."""
        for _ in self._threads:
            self._work.put(None)
        if wait:
            for thread in self._threads:
                thread.join(timeout=5)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()


class UnityLink:
    """One call at a time: `receive` a message, `answer` it. Thread-safe towards gRPC; to be used from one thread."""

    def __init__(self, port: int, *, alive: Callable[[], str] = str):
        """port: 0 chooses a free one. alive: why the player is no more; empty while it lives."""
        self._alive, self.closed = alive, False
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._call: _Call | None = None         # the one that waits for our answer
        self._lock = threading.Lock()
        self._open: _Call | None = None         # whichever is in a handler now
        self._pool = DaemonPool(2)              # a call, and a stranger's
        self._server = grpc.server(self._pool, options=[
            ("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", UNLIMITED),
            ("grpc.max_send_message_length", UNLIMITED)])
        handler = grpc.unary_unary_rpc_method_handler(self._handle)     # bytes in, bytes out
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler}),))
        try:
            self.port = self._server.add_insecure_port(f"{HOST}:{port}")
        except RuntimeError as error:
            self._pool.shutdown()
            raise ValueError(f"port {port} is in use on this machine: another environment or trainer listens there; "
                             "close it or choose another port") from error
        self._server.start()

    def receive(self, timeout: float, what: str) -> Any:
        """Unity's next message, its status looked at. PlayerError when none comes in time; what: is waited for."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                call = self._calls.get(timeout=min(SLICE, max(0.0, deadline - time.monotonic())))
                break
            except queue.Empty:
                gone = self._alive()
                if gone:
                    self.fail(gone)
                if time.monotonic() >= deadline:
                    self.fail(f"no {what} from Unity within {timeout:g} s")
        self._call = call
        if call.lost:
            self.fail("Unity closed the connection")
        try:
            message = UnityMessage.FromString(call.request)
        except Exception as error:      # protobuf's own DecodeError, in whichever of its implementations
            self.fail(f"Unity sent {len(call.request)} bytes that are no message of ML-Agents ({error})")
        if message.header.status == QUIT:
            self.fail("Unity quit" + (f": {message.header.message}" if message.header.message else ""))
        if message.header.status != OK:
            self.fail(f"Unity sent the status {message.header.status}, which is none of ML-Agents' ({OK}, {QUIT})")
        return message.output

    def answer(self, message: Any) -> None:
        """Let Unity go on."""
        if self.closed or self._call is None:
            raise PlayerError("the connection to Unity is closed; make the environment anew")
        call, self._call = self._call, None
        if call.lost:
            self.fail("Unity closed the connection while it waited for an answer")
        call.reply.put(message.SerializeToString())

    def fail(self, why: str) -> None:
        """Close, and raise PlayerError."""
        self.close()
        raise PlayerError(why)

    def close(self) -> None:
        """Tell Unity to quit, where it waits, and stop listening. May be called again."""
        if self.closed:
            return
        self.closed = True
        with self._lock:
            if self._open is not None:
                self._open.reply.put(_status(QUIT))
        self._call = None
        self._server.stop(grace=1.0).wait(timeout=3)
        self._pool.shutdown()

    def _handle(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """In a thread of gRPC's: hand the call over and stay in it until it is answered."""
        call = _Call(request)
        with self._lock:
            if self.closed or self._open is not None:       # a second Unity: there is one line only
                return _status(QUIT)
            self._open = call
        if context.add_callback(call.over):
            self._calls.put(call)
        else:
            call.over()
        reply = call.reply.get()
        with self._lock:
            self._open = None
        return reply


class _Call:
    """One of Unity's calls, open until it is answered or broken off."""

    def __init__(self, request: bytes):
        self.request, self.lost = request, False
        self.reply: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def over(self) -> None:
        """gRPC is done with the call; where nobody had answered it, Unity is gone."""
        self.lost = True
        self.reply.put(b"")


def _status(status: int) -> bytes:
    message = UnityMessage()
    message.header.status = status
    return message.SerializeToString()
