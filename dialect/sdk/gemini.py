"""Holds the fixtures of Gemini's dialect against google-genai 3.6.1, whose types refuse fields that they do not know."""

import warnings
from typing import Optional

import pydantic
from google import genai
from google.genai import errors, types

from shared import Server, fail, fixture, names, payloads, same, text


# The package takes values that an enum does not have, and warns.
warnings.filterwarnings("error", message=".*is not a valid.*")


class Body(pydantic.BaseModel):
    """A body of generateContent, of the package's own types."""

    model_config = pydantic.ConfigDict(
        extra="forbid", alias_generator=pydantic.alias_generators.to_camel, val_json_bytes="base64"
    )
    contents: list[types.Content]
    system_instruction: Optional[types.Content] = None
    tools: Optional[list[types.Tool]] = None
    tool_config: Optional[types.ToolConfig] = None
    generation_config: Optional[types.GenerationConfig] = None


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def read(model, name, value):
    try:
        return model.model_validate(value)
    except (pydantic.ValidationError, UserWarning) as error:
        fail(f"{name}: {error}")


def reply(path, _body):
    if ":streamGenerateContent" in path:
        return 200, "text/event-stream", text(reply.name)
    return reply.status, "application/json", text(reply.name)


def main():
    server = Server(reply)
    # The package asks at v1 unless told otherwise; the dialect is v1beta's.
    options = types.HttpOptions(base_url=server.url, api_version="v1beta", retry_options=types.HttpRetryOptions(attempts=1))
    client = genai.Client(api_key="k", vertexai=False, http_options=options)
    reply.name, reply.status = "gemini/answer-text.json", 200

    for name in names("gemini", "request-*"):
        ours = fixture(name)
        body = read(Body, name, ours)
        same(name, ours, plain(body))
        # The package's own client writes the same body from the same values.
        config = dict(ours.get("generationConfig", {}))
        for field in ("systemInstruction", "tools", "toolConfig"):
            if field in ours:
                config[field] = ours[field]
        config["automaticFunctionCalling"] = {"disable": True}
        client.models.generate_content(
            model="gemini-2.5-flash",
            contents=body.contents,
            config=types.GenerateContentConfig.model_validate(config),
        )
        theirs = camel(server.body)
        if theirs.get("generationConfig") == {}:
            del theirs["generationConfig"]
        if "systemInstruction" in theirs:
            theirs["systemInstruction"].pop("role", None)  # the client names the user, and the service does not look
        same(f"{name} by the client", ours, theirs)
        if server.path != "/v1beta/models/gemini-2.5-flash:generateContent":
            fail(f"the client asks at {server.path}")

    for name in names("gemini", "answer-*"):
        ours = fixture(name)
        answer = read(types.GenerateContentResponse, name, ours)
        same(name, ours, plain(answer))
        reply.name = name
        got = client.models.generate_content(model="gemini-2.5-flash", contents="Hi")
        same(f"{name} by the client", ours, strip(plain(got)))

    for name in names("gemini", "stream-*"):
        for event in payloads(name):
            same(name, event, plain(read(types.GenerateContentResponse, name, event)))
        reply.name = name
        got = list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="Hi"))
        same(f"{name} by the client", payloads(name), [strip(plain(chunk)) for chunk in got])
        if server.path != "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse":
            fail(f"the client streams at {server.path}")

    reply.name, reply.status = "gemini/error-quota.json", 429
    try:
        client.models.generate_content(model="gemini-2.5-flash", contents="Hi")
        fail("the client did not see the error")
    except errors.ClientError as error:
        same("error", [429, "RESOURCE_EXHAUSTED"], [error.code, error.status])

    server.close()
    print("gemini: the fixtures are what google-genai has")


OPAQUE = ("args", "response", "parametersJsonSchema", "responseJsonSchema")


def camel(value):
    """The client writes some fields by their other name; Google's services take either. What is the caller's stays."""
    if isinstance(value, list):
        return [camel(element) for element in value]
    if not isinstance(value, dict):
        return value
    named = {pydantic.alias_generators.to_camel(name): field for name, field in value.items()}
    return {name: field if name in OPAQUE else camel(field) for name, field in named.items()}


def strip(answer):
    """Without what the client adds."""
    return {key: value for key, value in answer.items() if key not in ("sdkHttpResponse", "automaticFunctionCallingHistory", "parsed")}


main()
