"""Computes every mart a second time, from the dumps alone, and compares.

    .services/bin/python tests/oracle --dumps DIR --as-of T --lake DIR [--before DIR]   with the marts of a lake
    .services/bin/python tests/oracle --dumps DIR --as-of T --answers FILE              with the generator's answers

Ends with 0 if everything agrees, with 1 and the first differences of each column if not, with 2 if it cannot tell.
"""

import argparse
import datetime
import json
import sys
import time
from decimal import Decimal
from pathlib import Path

try:
    try:
        import tomllib
    except ModuleNotFoundError:
        import tomli as tomllib

    import base
    import coverage
    import lake
    import measures
    import operations
    import personalization
    import segments
    from compare import compare
    from sources import Sources
except ModuleNotFoundError as error:
    sys.exit(f'error: package "{error.name}" is missing\n\nhint: Run `bash tests/services.sh`, then .services/bin/python tests/oracle.')

REPOSITORY = Path(__file__).resolve().parents[2]

# In an order in which each mart's inputs are made before it.
MARTS = {
    mart.__name__: mart
    for mart in (
        base.customer_first_orders, base.orders, base.order_items, base.order_status_events, base.payments, base.deliveries, base.customers,
        base.customers_history, base.stores, base.loyalty_ledger, coverage.coverage_orders, coverage.coverage_stores, coverage.coverage_gaps, coverage.coverage_orders_published,
        coverage.coverage_gaps_published,
        personalization.customer_features, personalization.customer_values, personalization.category_affinities,
        personalization.customer_preferences, personalization.birthdays_due, segments.discounts_due,
        personalization.offers, personalization.segment_birthdays, segments.segment_discounts,
        operations.operations_hourly, operations.customer_order_history, operations.finance_reconciliation, operations.loyalty_liability,
    )
}  # fmt: skip

# Marts whose former rows count.
PREVIOUS = ("customers_history", "offers", "discounts_due")

# What the answers list keys by.
KEYS = {
    "coverage_orders": ("business_date", "resolution", "cell", "currency", "orders"),
    "coverage_stores": ("business_date", "store_id", "currency", "orders"),
    "segment_birthdays": ("customer_id",),
}


class World:
    """What the marts are made from, and those that are made already."""

    def __init__(self, sources, configuration, key, as_of, previous):
        self.sources, self.key, self.as_of, self.marts = sources, key, as_of, {}
        self.parameters = {name: str(value) for name, value in configuration["parameters"].items()}
        self.rules = configuration.get("segments", {})
        # What some marts go by besides the sources: marts as they stood before the run.
        self.previous = previous
        sources.stores_by_id = {row["id"]: row for row in sources.stores}


def contracts(folder):
    return {path.stem: tomllib.loads(path.read_text()) for path in sorted(Path(folder).rglob("*.toml"))}


def skipped(mart):
    """Values of which the contract says that they mean nothing."""
    if mart == "customer_order_history":
        return lambda column, row: column == "customer_order_number" and row["customer_id"] is None
    return lambda column, row: False


def arguments():
    parser = argparse.ArgumentParser(prog="oracle", description="Computes every mart a second time and compares.")
    parser.add_argument("--configuration", type=Path, default=REPOSITORY / "pipelines.toml", help="for parameters and the privacy key")
    parser.add_argument("--models", type=Path, default=REPOSITORY / "sql", help="the folder of contracts")
    parser.add_argument("--dumps", type=Path, required=True, help="the folder with mongodb/ and postgres/")
    parser.add_argument("--as-of", required=True, help="what the run called now, in RFC 3339")
    parser.add_argument("--lake", type=Path, help="the lake's folder")
    parser.add_argument("--answers", type=Path, help="answers.json of the dumps")
    parser.add_argument("--before", type=Path, help="the lake as it stood before the run, for what was granted and known earlier")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter other than the configuration's")
    parser.add_argument("--values", action="store_true", help="show values of made-up data, not only keys")
    options = parser.parse_args()
    if not options.lake and not options.answers:
        parser.error("nothing to compare with: give --lake, --answers or both")
    return options


def instant(text):
    since = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) - measures.EPOCH
    return since // datetime.timedelta(microseconds=1)


def compare_answers(answers, world):
    """Where the generator's answers differ: rows and sums of source tables and marts, and listed keys."""
    differences, compared = [], 0

    def expect(what, found, expected):
        nonlocal compared
        compared += 1
        if found != expected:
            differences.append(f"{what} is {found} by the oracle, and {expected} by the answers")

    expect("shop.orders: rejected", world.sources.rejected, answers["tables"]["shop.orders"]["rejected"])
    for mart, answer in answers["marts"].items():
        rows = world.marts[mart]
        expect(f"{mart}: rows", len(rows), answer["rows"])
        for column, expected in answer["sums"].items():
            expect(f"{mart}: sum of {column}", sum(measures.known(row[column] for row in rows)), Decimal(expected))
        if keys := answer.get("keys"):
            columns = KEYS[mart]
            found = {tuple(str(row[column]) for column in columns) for row in rows}
            expected = {tuple(map(str, key if isinstance(key, list) else [key])) for key in keys}
            expect(f"{mart}: keys that only one has", found ^ expected, set())
    return differences, compared


def compare_lake(folder, declared, world, options):
    """Where the lake's marts differ, and a line for each of what was compared."""
    differences, table = [], []
    for mart, made in world.marts.items():
        found = lake.rows(folder / "marts" / mart, columns_of(declared[mart]))
        result = compare(mart, declared[mart], found, made, options.values, skipped(mart))
        differences.extend(result.differences)
        table.append({"mart": mart, "rows": result.rows, "values": result.values, "differences": sum(result.counts.values())})
    return differences, table


def columns_of(contract):
    return {name: column["type"] for name, column in contract["columns"].items()}


def main():
    options = arguments()
    configuration = tomllib.loads(options.configuration.read_text())
    configuration["parameters"] |= dict(pair.split("=", 1) for pair in options.parameter)
    key_file = configuration["profiles"]["local"]["project"]["privacy"]["key"].removeprefix("file:")
    key = (options.configuration.parent / key_file).read_text().strip().encode()
    declared = contracts(options.models)
    if unknown := sorted(set(declared) - set(MARTS)):
        print(f"the oracle does not know {', '.join(unknown)}")
        print("hint: Write the mart's second implementation into tests/oracle, and name it in MARTS of __main__.py.")
        return 1

    begun = time.monotonic()
    known = {mart for mart in PREVIOUS if options.before and mart in declared}
    previous = {mart: lake.rows(options.before / "marts" / mart, columns_of(declared[mart])) if mart in known else [] for mart in PREVIOUS}
    world = World(Sources(options.dumps), configuration, key, instant(options.as_of), previous)
    for mart, make in MARTS.items():
        if mart in declared:
            world.marts[mart] = make(world)
    differences = []
    if options.answers:
        found, compared = compare_answers(json.loads(options.answers.read_text()), world)
        differences.extend(found)
        print(f"compared {compared:,} figures with the answers")
    if options.lake:
        found, table = compare_lake(options.lake, declared, world, options)
        differences.extend(found)
        print(f"{'mart':<24}{'rows':>9}{'values':>11}{'differences':>13}")
        for line in [*table, {"mart": "all", **{name: sum(row[name] for row in table) for name in ("rows", "values", "differences")}}]:
            print(f"{line['mart']:<24}{line['rows']:>9,}{line['values']:>11,}{line['differences']:>13,}")
    for line in differences:
        print(line)
    print(f"computed and compared in {time.monotonic() - begun:.1f} s: {'different' if differences else 'equal'}")
    return 1 if differences else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (OSError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        print("\nhint: --dumps is a folder that `pipeline demo generate` wrote, --lake the one that the run wrote.", file=sys.stderr)
        sys.exit(2)
