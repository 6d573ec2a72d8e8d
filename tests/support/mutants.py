"""How many small mistakes in rules, policy and the modules of policy the tests notice.

``python tests/support/mutants.py`` makes mutants of the shipped rules (all of them, in a minute),
of the shipped policy and of the modules that decide (a sample, always the same one), lets the tests
judge each, and prints what survived. The figures are in ``docs/mutants.md``.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from python_mutants import (
    POLICY_TESTS,
    TESTS,
    Copy,
    SourceMutant,
    module_mutants,
    policy_mutants,
)
from rule_mutants import RuleBookUnderTest

KINDS = ("rules", "policy", "modules")
COLUMNS = ("invalid", "caught", "survived")


def judged_rules(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each mutant of the rules in words, with its verdict."""
    book = RuleBookUnderTest()
    for mutant in book.mutants(names):
        yield f"{mutant.rule}: {mutant.what}", book.fate_of(mutant).verdict


def judged_sources(
    mutants: Sequence[SourceMutant], tests: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Each mutant of files of the tree in words, with its verdict."""
    with TemporaryDirectory() as folder:
        copy = Copy(Path(folder))
        if copy.fails(tests):
            raise SystemExit(f"{' '.join(tests)}: fails without any mutant")
        for mutant in mutants:
            yield mutant.what, "caught" if copy.notices(mutant, tests) else "survived"


def judged(kind: str, arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The mutants of one kind."""
    match kind:
        case "rules":
            return judged_rules(arguments.rule)
        case "policy":
            return judged_sources(policy_mutants(), POLICY_TESTS)
        case _:
            return judged_sources(module_mutants(arguments.sample), TESTS)


def main() -> int:
    """Judge the kinds that were asked for; 1 when a tenth or more of one kind survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("kind", nargs="*", help="of " + ", ".join(KINDS) + "; all by default")
    parser.add_argument("--rule", action="append", default=[], help="only this rule (repeatable)")
    parser.add_argument("--sample", type=int, default=200, help="how many of the modules' mutants")
    arguments = parser.parse_args()
    for kind in arguments.kind:
        if kind not in KINDS:
            parser.error(f"{kind!r} is none of {', '.join(KINDS)}")
    tables = {}
    for kind in arguments.kind or KINDS:
        counts = tables[kind] = Counter[str]()
        for what, verdict in judged(kind, arguments):
            counts[verdict] += 1
            if verdict == "survived":
                print(f"survived  {what}", flush=True)
    print(f"\n{'':10}{'mutants':>10}" + "".join(f"{name:>10}" for name in COLUMNS))
    for kind, counts in tables.items():
        figures = "".join(f"{counts[name]:>10}" for name in COLUMNS)
        print(f"{kind:10}{counts.total():>10}{figures}")
    return int(any(10 * c["survived"] >= c["caught"] + c["survived"] for c in tables.values()))


if __name__ == "__main__":
    raise SystemExit(main())
