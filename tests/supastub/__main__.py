"""A whole local project on a port, for trying by hand and for journeys: `python -m tests.supastub`.

The first line it prints is JSON with the address, the keys, the people and the database's DSN. It runs until Ctrl-C.
"""

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import time
from collections.abc import Sequence

from tests.supastub.cluster import ClusterFailed, running_cluster
from tests.supastub.rig import Project, Rig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a local project with all migrations; its data is gone at the end."""
    parser = argparse.ArgumentParser(prog="python -m tests.supastub", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="of the gateway (default: a free one)")
    parser.add_argument("--person", action="append", default=[], metavar="EMAIL", help="add somebody")
    parser.add_argument("--operator", action="append", default=[], metavar="EMAIL", help="add an operator")
    parser.add_argument(
        "--largest-file", type=int, metavar="BYTES", help="that Storage takes (default: 50 MiB)"
    )
    parser.add_argument(
        "--obey", action="store_true", help="obey lines on standard input (stop, start); end with it"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        try:
            rig = Rig(stack.enter_context(running_cluster(autovacuum=True)))
        except ClusterFailed as error:
            print(error, file=sys.stderr)
            return 1
        stack.callback(rig.close)
        project = stack.enter_context(rig.project(options.port))
        if options.largest_file:
            project.settings.object_bytes = options.largest_file
        people = [project.add_person(email=email) for email in options.person]
        people += [project.add_person(email=email, operator=True) for email in options.operator]
        print(
            json.dumps(described(project) | {"people": [dataclasses.asdict(person) for person in people]}),
            flush=True,
        )
        with contextlib.suppress(KeyboardInterrupt):
            if options.obey:
                obey(project)
            while not options.obey:
                time.sleep(3600)
    return 0


def described(project: Project) -> dict[str, str]:
    """Return what a client, a test or psql needs."""
    return {
        "url": project.url,
        "publishable_key": project.publishable_key,
        "secret_key": project.secret_key,
        "jwt_secret": project.keys.jwt_secret,
        "dsn": project.dsn,
    }


def obey(project: Project) -> None:
    """Do what the lines of standard input say, and answer each with a line."""
    for line in sys.stdin:
        {"stop": project.stop_gateway, "start": project.start_gateway}[line.strip()]()
        print("done", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
