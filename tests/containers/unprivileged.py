"""A script: as root become an ordinary user, and attack bubblewrap's sandboxes from there. Prints findings as JSON.

The interpreter that runs the tests may lie where an ordinary user cannot read: all is imported beforehand.
"""

import ctypes
import json
import os
import sys
from dataclasses import asdict

from agentgym.containers import backends, docker, new_sandbox
from agentgym.containers.probes import LIMITS, run_probes

USER = 65534


def main() -> None:
    docker.refusal()  # loads the SDK
    os.setgroups([])
    os.setgid(USER)
    os.setuid(USER)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable again, as a process of that user would be
    sys.executable = "/usr/bin/python3"  # for the controls
    os.chdir("/")
    (here,) = [b for b in backends() if b.name == "bubblewrap"]
    with new_sandbox("bubblewrap", limits=LIMITS) as box:
        map_text = box.exec("cat /proc/self/uid_map; id -u").out.text
    found = run_probes(lambda: new_sandbox("bubblewrap", limits=LIMITS), sys.argv[1:], cannot=here.unbounded)
    print(json.dumps({"here": asdict(here), "map": map_text, "found": [asdict(f) for f in found]}))


main()
