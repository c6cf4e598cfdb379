"""An MCP server that is made with the protocol project's package for Python, at a port of loopback."""

import sys

from mcp.server import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("sums")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("it does not work")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def look(at: str) -> list[str]:
    """Looks at something."""
    return [at, "horizon"]


server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
