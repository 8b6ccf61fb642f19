#!/usr/bin/env python3
"""Makes a container image without a container runtime: an archive for `docker load`, `ctr images import` or `kind load`.

The image has one layer with the given files, the shared libraries that they need, and directories. The same files
give the same bytes.
"""

import argparse
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def arguments():
    parser = argparse.ArgumentParser(prog="image", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", action="append", required=True, metavar="NAME:TAG", help="name of the image; may be repeated")
    parser.add_argument("--output", required=True, metavar="ARCHIVE", help="where to write it")
    parser.add_argument("--user", default="65532:65532", metavar="UID:GID", help="who runs it (default %(default)s)")
    parser.add_argument("--directory", action="append", default=[], metavar="PATH", help="a directory that everybody can write to")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a label of the image")
    parser.add_argument("files", nargs="+", metavar="FILE[:PATH]", help="the first one is what the image runs; PATH is /FILE's name if not given")
    return parser.parse_args()


def libraries(path):
    """What `path` is linked to: pairs of the path in the image and the file here."""
    with open(path, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return
    # For a static program, ldd says so and fails.
    for line in subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout.splitlines():
        if line.endswith("not found"):
            sys.exit(f"image: {path} needs a library that is not here: {line.strip()}")
        if match := re.fullmatch(r"\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)", line):
            yield match[1], match[1]


def layer(contents, directories):
    """The bytes of a tar archive with `contents` (path in the image to file here)."""
    made = set()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:

        def directory(path, mode=0o755):
            if path in made or path == "/":
                return
            directory(os.path.dirname(path))
            made.add(path)
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)

        for path in sorted(directories):
            directory(path, 0o1777)
        for path, source in sorted(contents.items()):
            directory(os.path.dirname(path))
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = os.path.getsize(source)
            entry.mode = 0o755 if os.access(source, os.X_OK) else 0o644
            with open(source, "rb") as file:
                tar.addfile(entry, file)
    return buffer.getvalue()


def main():
    given = arguments()
    contents = {}
    for pair in given.files:
        source, _, path = pair.partition(":")
        if not os.path.isfile(source):
            sys.exit(f"image: no file {source}")
        contents[path or "/" + os.path.basename(source)] = source
    entrypoint = next(iter(contents))
    for source in list(contents.values()):
        for path, library in libraries(source):
            contents.setdefault(path, library)
    data = layer(contents, given.directory)
    digest = hashlib.sha256(data).hexdigest()
    config = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {
                "Entrypoint": [entrypoint],
                "User": given.user,
                "WorkingDir": "/",
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
                "Labels": dict(label.split("=", 1) for label in given.label),
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        },
        sort_keys=True,
    ).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    layer_name = digest + ".tar"
    manifest = json.dumps([{"Config": config_name, "RepoTags": given.name, "Layers": [layer_name]}]).encode()
    unfinished = f"{given.output}.{os.getpid()}"
    with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in [(config_name, config), (layer_name, data), ("manifest.json", manifest)]:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    os.replace(unfinished, given.output)


main()
