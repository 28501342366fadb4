"""Run as a program by a Python that has pip: ``python fetch_sdist.py NAME VERSION LIMIT`` writes one sdist to stdout.

``pip download`` runs the build back-end of what it downloads, on this machine. This takes pip's own finder and session
(so index, proxies, certificates and credentials are the user's) and stops before that. The first line on stdout is
JSON: ``{"file": name, "hash": [kind, digest] or null}`` or ``{"missing": why}``; the archive follows.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    name, version, limit = sys.argv[1], sys.argv[2], int(sys.argv[3])
    from pip._internal.commands import create_command
    from pip._vendor.packaging.specifiers import SpecifierSet

    out = sys.stdout.buffer
    sys.stdout = sys.stderr

    def say(answer: dict[str, Any]) -> None:
        out.write(json.dumps(answer).encode() + b"\n")

    command: Any = create_command("download")
    options, _ = command.parse_args(["--no-binary", ":all:", "--no-deps", "--quiet", name])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(options=options, session=session)
        versions = SpecifierSet(f"=={version}" if version else "")
        best = finder.find_best_candidate(name, versions).best_candidate
        if best is None:
            say({"missing": "the package index has no source distribution of it"})
            return
        link = best.link
        reply = session.get(link.url_without_fragment, headers={"Accept-Encoding": "identity"}, stream=True)
        reply.raise_for_status()
        data = reply.raw.read(limit + 1)
        if len(data) > limit:
            say({"missing": f"its archive is longer than {limit} bytes"})
            return
        say({"file": link.filename, "hash": [link.hash_name, link.hash] if link.hash_name else None})
        out.write(data)
        out.flush()


if __name__ == "__main__":
    main()
