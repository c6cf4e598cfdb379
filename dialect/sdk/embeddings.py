"""Holds the fixtures of embeddings against openai 3.57.0, google-genai 3.6.1 and cohere 7.3.1, and Bedrock's paths against botocore 1.44.8."""

import base64
import struct
import warnings

from shared import Server, fail, fixture, same, text  # first: it looks for packages elsewhere before here

import boto3
import cohere
import openai
from botocore.config import Config
from google import genai
from google.genai import types
from openai.types import CreateEmbeddingResponse

# The packages' types hold values that they do not describe, and warn when they are written.
warnings.filterwarnings("ignore", message="Pydantic serializer warnings")

TEXTS = ["one \U0001f600", "two"]
VECTORS = [[0.5, -0.25], [1.0, 0.0]]


def reply(_path, _body):
    return 200, "application/json", text(f"embeddings/{reply.name}.json")


def single(number):
    return struct.unpack("<f", struct.pack("<f", number))[0]


def main():
    server = Server(reply)

    client = openai.OpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0)
    request = fixture("embeddings/request-openai.json")
    reply.name = "surface-base64"
    got = client.embeddings.create(**request)
    same("request-openai by the client", request, server.body)
    if server.path != "/v1/embeddings":
        fail(f"the client asks at {server.path}")
    same("surface-base64", fixture("embeddings/surface-base64.json"), got.model_dump(mode="json"))
    # Without an encoding the client asks for base64 itself, and reads it.
    got = client.embeddings.create(model="m", input="a")
    floats = fixture("embeddings/surface-float.json")["data"]
    expected = [[single(number) for number in datum["embedding"]] for datum in floats]
    same("surface-base64 as the client reads it", expected, [datum.embedding for datum in got.data])
    for datum in fixture("embeddings/surface-base64.json")["data"]:
        raw = base64.b64decode(datum["embedding"], validate=True)
        same("surface-base64", expected[datum["index"]], list(struct.unpack(f"<{len(raw) // 4}f", raw)))
    for name in ("surface-float", "answer-openai"):
        ours = fixture(f"embeddings/{name}.json")
        same(name, ours, CreateEmbeddingResponse.model_validate(ours, strict=True).model_dump(mode="json"))

    options = types.HttpOptions(base_url=server.url, api_version="v1beta")
    client = genai.Client(api_key="k", vertexai=False, http_options=options)
    reply.name = "answer-gemini"
    config = types.EmbedContentConfig(output_dimensionality=256)
    got = client.models.embed_content(model="gemini-embedding-001", contents=TEXTS, config=config)
    theirs = server.body
    for one in theirs["requests"]:
        one["content"].pop("role", None)  # the client names the user, and the service does not look
    same("request-gemini by the client", fixture("embeddings/request-gemini.json"), theirs)
    if server.path != "/v1beta/models/gemini-embedding-001:batchEmbedContents":
        fail(f"the client asks at {server.path}")
    same("answer-gemini", VECTORS, [embedding.values for embedding in got.embeddings])
    same("answer-gemini", 6, got.usage_metadata.prompt_token_count)

    client = cohere.ClientV2(api_key="k", base_url=server.url)
    reply.name = "answer-cohere"
    request = fixture("embeddings/request-cohere.json")
    got = client.embed(**request, batching=False) if takes_batching(client) else client.embed(**request)
    same("request-cohere by the client", request, server.body)
    if server.path != "/v2/embed":
        fail(f"the client asks at {server.path}")
    same("answer-cohere", VECTORS, got.embeddings.float_)
    same("answer-cohere", 6.0, got.meta.billed_units.input_tokens)
    same("answer-cohere", fixture("embeddings/answer-cohere.json"), got.model_dump(mode="json", by_alias=True, exclude_unset=True))

    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id="a",
        aws_secret_access_key="s",
        config=Config(retries={"max_attempts": 0}),
    )
    reply.name = "answer-titan"
    client.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=text("embeddings/request-titan.json"))
    same("request-titan by the client", fixture("embeddings/request-titan.json"), server.body)
    if server.path != "/model/amazon.titan-embed-text-v2%3A0/invoke":
        fail(f"the client asks at {server.path}")

    server.close()
    print("embeddings: the fixtures are what openai, google-genai, cohere and botocore have")


def takes_batching(client):
    """Cohere's client splits long lists itself where it knows the word."""
    return "batching" in client.embed.__code__.co_varnames


main()
