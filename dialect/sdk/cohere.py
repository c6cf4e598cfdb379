"""Holds the fixtures of Cohere's dialect against cohere 7.3.1. Its types take fields that they do not know, so those are looked for."""

import warnings

from shared import Server, fail, fixture, names, payloads, same, text  # first: it looks for packages elsewhere before here

import cohere
import pydantic
from cohere.core.unchecked_base_model import construct_type
from cohere.types import ChatMessages, ResponseFormatV2, Thinking, ToolV2
from cohere.v2 import V2ChatResponse, V2ChatStreamResponse

# The packages' types hold values that they do not describe, and warn when they are written.
warnings.filterwarnings("ignore", message="Pydantic serializer warnings")

PARTS = {"messages": ChatMessages, "tools": list[ToolV2], "response_format": ResponseFormatV2, "thinking": Thinking}


def unknown(what, value):
    """Fails at the first field that the types do not have."""
    if isinstance(value, pydantic.BaseModel):
        if value.model_extra:
            fail(f"{what}: {type(value).__name__} has no {sorted(value.model_extra)}")
        for name in type(value).model_fields:
            unknown(f"{what}.{name}", getattr(value, name))
    elif isinstance(value, list):
        for at, element in enumerate(value):
            unknown(f"{what}[{at}]", element)


def plain(value):
    if isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return [plain(element) for element in value] if isinstance(value, list) else value


def check(what, annotation, ours):
    """Reads strictly, then as the package reads; nothing is unknown, nothing is lost."""
    try:
        pydantic.TypeAdapter(annotation).validate_python(ours)
    except pydantic.ValidationError as error:
        fail(f"{what}: {error}")
    read = construct_type(type_=annotation, object_=ours)
    unknown(what, read)
    same(what, ours, plain(read))
    return read


def reply(_path, body):
    kind = "text/event-stream" if body.get("stream") else "application/json"
    return reply.status, kind, text(reply.name)


def main():
    server = Server(reply)
    client = cohere.ClientV2(api_key="k", base_url=server.url)
    reply.status = 200

    for name in names("cohere", "request-*"):
        ours = fixture(name)
        for field, annotation in PARTS.items():
            if field in ours:
                check(f"{name} {field}", annotation, ours[field])
        arguments = {key: value for key, value in ours.items() if key != "stream"}
        if ours["stream"]:
            reply.name = "cohere/stream-text.sse"
            list(client.chat_stream(**arguments))
        else:
            reply.name = "cohere/answer-text.json"
            client.chat(**arguments)
        same(f"{name} by the client", ours, server.body)
        if server.path != "/v2/chat":
            fail(f"the client asks at {server.path}")

    for name in names("cohere", "answer-*"):
        ours = fixture(name)
        check(name, V2ChatResponse, ours)
        reply.name = name
        got = client.chat(model="m", messages=[{"role": "user", "content": "Hi"}])
        same(f"{name} by the client", ours, plain(got))

    for name in names("cohere", "stream-*"):
        for event in payloads(name):
            check(name, V2ChatStreamResponse, event)
        reply.name = name
        got = list(client.chat_stream(model="m", messages=[{"role": "user", "content": "Hi"}]))
        same(f"{name} by the client", payloads(name), [plain(event) for event in got])

    server.close()
    print("cohere: the fixtures are what cohere has")


main()
