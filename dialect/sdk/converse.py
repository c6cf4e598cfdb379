"""Holds the fixtures of `dialect/fixtures/converse` against botocore (botocore 1.44.8, see requirements.txt).

Bodies must pass the validation of parameters and be what botocore itself sends for them; answers, streams and the frames that are encoded in
our tests must be what botocore reads.
"""

import base64
import json
import re

import botocore.config
import botocore.exceptions
import botocore.session
from botocore.eventstream import EventStreamBuffer
from botocore.validate import ParamValidator

from shared import Server, fail, fixture, names, raw, same

# What the server answers next.
to_send = []


def check_text(value, shape):
    """What botocore leaves to the service."""
    if shape.enum and value not in shape.enum:
        fail(f"{shape.name} has no {value}")
    rules = shape.metadata
    fits = rules.get("min", 0) <= len(value) <= rules.get("max", len(value))
    if not fits or not re.fullmatch(rules.get("pattern", r"[\s\S]*"), value):
        fail(f"{shape.name} is not {value!r}")


def with_bytes(value, shape):
    """JSON as botocore has it: blobs are bytes, and fields that the shape lacks are an error."""
    if shape.type_name == "structure" and not getattr(shape, "is_document_type", False):
        unknown = value.keys() - shape.members.keys() - {"p"}  # padding that Bedrock adds to events
        if unknown:
            fail(f"{shape.name} has no {unknown}")
        return {key: with_bytes(item, shape.members[key]) for key, item in value.items() if key in shape.members}
    if shape.type_name == "map":
        for key in value:
            check_text(key, shape.key)
        return {key: with_bytes(item, shape.value) for key, item in value.items()}
    if shape.type_name == "list":
        return [with_bytes(item, shape.member) for item in value]
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    if shape.type_name == "string":
        check_text(value, shape)
    return value


def main():
    session = botocore.session.get_session()
    server = Server(lambda _path, _body: (200, *to_send.pop(0)))
    client = session.create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=server.url,
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )
    model = client.meta.service_model
    whole, streamed = model.operation_model("Converse"), model.operation_model("ConverseStream")
    stream_shape = streamed.output_shape.members["stream"]
    answer = raw("converse/provider-answer.json")
    frames = raw("converse/stream.bin")
    sent = fixture("converse/provider-stream.json")
    shown = [{name: with_bytes(payload, stream_shape.members[name])} for name, payload in sent]

    bodies = names("converse", "request-*.json")
    for name in bodies:
        body = fixture(name)
        for operation, call in ((whole, client.converse), (streamed, client.converse_stream)):
            params = {"modelId": "m", **with_bytes(body, operation.input_shape)}
            report = ParamValidator().validate(params, operation.input_shape)
            if report.has_errors():
                fail(f"{name}: {report.generate_report()}")
            if operation is whole:
                to_send.append(("application/json", answer))
                read = call(**params)
                read.pop("ResponseMetadata")
                same("provider-answer.json", read, with_bytes(json.loads(answer), whole.output_shape))
            else:
                to_send.append(("application/vnd.amazon.eventstream", frames))
                same("stream.bin", list(call(**params)["stream"]), shown)
            same(name, body, server.body)

    for name, path, stream_path in fixture("converse/paths.json"):
        for call, expected, kind, content in (
            (client.converse, path, "application/json", answer),
            (client.converse_stream, stream_path, "application/vnd.amazon.eventstream", frames),
        ):
            to_send.append((kind, content))
            call(modelId=name, messages=[{"role": "user", "content": [{"text": "hi"}]}])
            same(f"path of {name}", expected, server.path)

    for name, code, message in (
        ("stream-exception.bin", "throttlingException", "slow"),
        ("stream-error.bin", "InternalFailure", 'say "no"'),
    ):
        to_send.append(("application/vnd.amazon.eventstream", raw(f"converse/{name}")))
        try:
            list(client.converse_stream(modelId="m", messages=[])["stream"])
            fail(f"{name} is no error to botocore")
        except botocore.exceptions.EventStreamError as error:
            same(name, [error.response["Error"]["Code"], error.response["Error"]["Message"]], [code, message])

    buffer = EventStreamBuffer()
    buffer.add_data(raw("converse/headers.bin"))
    headers = [message.headers for message in buffer]
    same("headers.bin", [len(headers), len(headers[0]), headers[0][":event-type"]], [1, 10, "hi"])
    server.close()
    print("converse: the fixtures are what botocore has")


main()
