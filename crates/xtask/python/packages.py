"""Packages that are the same bytes in every recording."""

import json
import uuid

from coremltools.proto import Model_pb2


def settle(folder, name):
    """Makes the package in folder the same in every run: ids from the name, maps in order, no date."""
    file = folder / "Manifest.json"
    manifest = json.loads(file.read_text())
    items = {}
    for old, item in sorted(manifest["itemInfoEntries"].items(), key=lambda entry: entry[1]["name"]):
        new = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name}/{item['name']}")).upper()
        items[new] = item
        if manifest["rootModelIdentifier"] == old:
            manifest["rootModelIdentifier"] = new
    manifest["itemInfoEntries"] = items
    file.write_text(json.dumps(manifest, indent=4, sort_keys=True) + "\n")
    for file in folder.glob("Data/*/model.mlmodel"):
        model = Model_pb2.Model.FromString(file.read_bytes())
        model.description.metadata.userDefined.pop("com.github.apple.coremltools.conversion_date", None)
        file.write_bytes(model.SerializeToString(deterministic=True))
    for weights in folder.glob("Data/*/weights"):
        if not any(weights.iterdir()):
            (weights / ".gitkeep").touch()
