"""Run SQLAlchemy's own ORM tests with and without batched loading, and compare.

    python -m tests.sqlalchemy_suite.run [--sqlalchemy 2.1.0]

The source distribution is downloaded, the tests run on SQLite in an environment of their own. Nothing may differ but
the number and the text of statements; every difference is in `differences.toml` with its reason. A difference that is
not listed fails the command, and so does a listed one that is gone. Tests that fail without batched loading do not count.
"""

from __future__ import annotations

import argparse
import sys
from importlib.metadata import version

from tests.sqlalchemy_suite.differences import Stamp, changes, listed
from tests.sqlalchemy_suite.environment import Environment
from tests.sqlalchemy_suite.outcomes import compare, read

_STAMPS: tuple[Stamp, ...] = ("mapping", "policy")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sqlalchemy_suite.run", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sqlalchemy", default=version("sqlalchemy"), help="the version (default: %(default)s, the installed one)"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    arguments = parser.parse_args()
    environment = Environment(arguments.sqlalchemy)
    environment.prepare()
    plain = read(environment.run(None, arguments.jobs))
    print(f"SQLAlchemy {arguments.sqlalchemy}, without batched loading: {plain.counts()}")
    faults = 0
    for stamp in _STAMPS:
        stamped = read(environment.run(stamp, arguments.jobs))
        found = compare(plain, stamped)
        print(f"batched, {stamp}: {stamped.counts()}; {stamped.touched} loaded on touch; {len(found)} differ")
        for change in changes(found, listed(stamp)):
            faults += 1
            print(f"  {change}")
    print("nothing differs but what is listed" if not faults else f"{faults} do not agree with differences.toml")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
