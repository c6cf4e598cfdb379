"""What the scripts beside this one share: fixtures, comparisons that say where two values differ, strict checks by a vendor's types, and a server on
the loopback.

The tests in Rust write the fixtures (CONTRIBUTING.md says how) and compare them ever after; the scripts hold them against the vendors' packages. The
first difference ends a script, and `all.py` runs all of them."""

import contextlib
import importlib
import json
import pathlib
import pkgutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FIXTURES = pathlib.Path(__file__).resolve().parent.parent / "fixtures"

# Files of this folder have the names of packages: those are looked for elsewhere first.
sys.path = sys.path[1:] + sys.path[:1]


def raw(name):
    return (FIXTURES / name).read_bytes()


def text(name):
    return raw(name).decode("utf-8")


def fixture(name):
    return json.loads(text(name))


def names(dialect, pattern):
    """The fixtures of a dialect whose names match."""
    found = sorted(path.name for path in (FIXTURES / dialect).glob(pattern))
    if not found:
        fail(f"no fixtures {dialect}/{pattern}")
    return [f"{dialect}/{name}" for name in found]


def events(name):
    """The events of a stream: their types, if they have some, and data."""
    for block in text(name).replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if "data" in fields:
            yield fields.get("event"), fields["data"]


def payloads(name):
    """The data of each event of a stream of JSON."""
    return [json.loads(data) for _, data in events(name)]


def fail(message):
    print(message, file=sys.stderr)
    sys.exit(1)


def same(what, ours, theirs, path=""):
    """Compares two values. A number is a number, whole or not."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours.keys() | theirs.keys():
            if key not in ours or key not in theirs:
                fail(f"{what}: {path}.{key} is only in {'ours' if key in ours else 'theirs'}")
            same(what, ours[key], theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            fail(f"{what}: {path} has {len(ours)} elements in ours, {len(theirs)} in theirs")
        for at, (one, other) in enumerate(zip(ours, theirs)):
            same(what, one, other, f"{path}[{at}]")
    elif isinstance(ours, bool) != isinstance(theirs, bool) or ours != theirs:
        fail(f"{what}: {path} is {ours!r} in ours, {theirs!r} in theirs")


def forbid_unknown_fields(package):
    """Makes every TypedDict of a package refuse fields that it does not name.

    Its iterables become lists: pydantic checks the items of an iterable only when they are taken, and its iterator panics in nested ones.
    """
    from pydantic import ConfigDict
    from typing_extensions import is_typeddict

    root = importlib.import_module(package)
    for found in pkgutil.walk_packages(root.__path__, package + "."):
        module = importlib.import_module(found.name)
        if hasattr(module, "Iterable"):
            module.Iterable = list
        for value in list(vars(module).values()):
            if is_typeddict(value):
                value.__pydantic_config__ = ConfigDict(extra="forbid")


def check_params(kind, name, body=None):
    """Checks a request's body by the types of its parameters."""
    from pydantic import TypeAdapter

    body = fixture(name) if body is None else body
    try:
        found = TypeAdapter(kind).validate_python(body)
    except Exception as error:
        fail(f"{name} is no request of the SDK: {error}")
    same(name, body, found)


def check_model(model, name, body):
    """Checks that a type reads a body strictly and writes the same one."""
    from pydantic import TypeAdapter

    try:
        read = TypeAdapter(model).validate_json(json.dumps(body), strict=True)
    except Exception as error:
        fail(f"{name} is no {model}: {error}")
    same(name, body, read.model_dump(mode="json", by_alias=True, exclude_unset=True))


class Server:
    """Answers every request with what `answer(path, body)` gives (status, type, bytes or text) and keeps what it was asked."""

    def __init__(self, answer):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers.get("content-length", 0))
                outer.asked.append((self.path, json.loads(self.rfile.read(length))))
                status, kind, body = answer(*outer.asked[-1])
                content = body.encode("utf-8") if isinstance(body, str) else body
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.asked = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def path(self):
        return self.asked[-1][0]

    @property
    def body(self):
        return self.asked[-1][1]

    def close(self):
        self.server.shutdown()


@contextlib.contextmanager
def plays(dialect):
    """A server that answers with the fixture that a request names as its model."""

    def answer(_path, body):
        name = body["model"]
        kind = "text/event-stream" if name.endswith(".sse") else "application/json"
        return 429 if name == "error.json" else 200, kind, raw(f"{dialect}/{name}")

    server = Server(answer)
    try:
        yield server
    finally:
        server.close()
