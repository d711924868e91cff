"""Computes every mart a second time, from the dumps alone, and compares.

    .services/bin/python tests/oracle --project FOLDER [--values]
    .services/bin/python tests/oracle --configuration pipelines.toml --dumps DIR --lake DIR --as-of T [--offers DIR]

Ends with 0 if every mart agrees, with 1 and the first differences of each column if not.
"""

import argparse
import datetime
import json
import sys
import time
from pathlib import Path

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
from compare import compare
from sources import Sources

REPOSITORY = Path(__file__).resolve().parents[2]

# In an order in which each mart's inputs are made before it.
MARTS = {
    mart.__name__: mart
    for mart in (
        base.orders, base.order_items, base.order_status_events, base.payments, base.deliveries, base.customers, base.stores,
        base.loyalty_ledger, coverage.coverage_orders, coverage.coverage_stores, coverage.coverage_gaps,
        personalization.customer_features, personalization.customer_values, personalization.category_affinities,
        personalization.customer_preferences, personalization.birthdays_due, personalization.offers, personalization.segment_birthdays,
        operations.operations_hourly, operations.customer_order_history, operations.finance_reconciliation, operations.loyalty_liability,
    )
}  # fmt: skip


class World:
    """What the marts are made from, and those that are made already."""

    def __init__(self, sources, parameters, key, as_of, previous_offers):
        self.sources, self.parameters, self.key, self.as_of = sources, parameters, key, as_of
        self.previous_offers, self.marts = previous_offers, {}
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
    parser.add_argument("--lake", type=Path, required=True, help="the lake's folder")
    parser.add_argument("--as-of", required=True, help="what the run called now, in RFC 3339")
    parser.add_argument("--offers", type=Path, help="the lake as it stood before this run, for the offers granted earlier")
    parser.add_argument("--parameter", action="append", default=[], metavar="NAME=VALUE", help="a parameter other than the configuration's")
    parser.add_argument("--only", action="append", help="compare only this mart")
    parser.add_argument("--values", action="store_true", help="show values of made-up data, not only keys")
    return parser.parse_args()


def instant(text):
    since = datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) - measures.EPOCH
    return since // datetime.timedelta(microseconds=1)


def main():
    options = arguments()
    configuration = tomllib.loads(options.configuration.read_text())
    parameters = {name: str(value) for name, value in configuration["parameters"].items()}
    parameters |= dict(pair.split("=", 1) for pair in options.parameter)
    key_file = configuration["profiles"]["local"]["project"]["privacy"]["key"].removeprefix("file:")
    key = (options.configuration.parent / key_file).read_text().strip().encode()
    declared = contracts(options.models)
    unknown = sorted(set(declared) ^ set(MARTS))
    if unknown:
        print(f"oracle: only one of the oracle and the models has: {', '.join(unknown)}")
        return 1

    def mart_rows(folder, mart):
        return lake.rows(folder / "marts" / mart, {name: column["type"] for name, column in declared[mart]["columns"].items()})

    before = mart_rows(options.offers, "offers") if options.offers else []
    begun = time.monotonic()
    world = World(Sources(options.dumps), parameters, key, instant(options.as_of), before)
    differences, table = [], []
    for mart, make in MARTS.items():
        world.marts[mart] = make(world)
        if options.only and mart not in options.only:
            continue
        result = compare(mart, declared[mart], mart_rows(options.lake, mart), world.marts[mart], options.values, skipped(mart))
        differences.extend(result.differences)
        table.append({"mart": mart, "rows": result.rows, "values": result.values, "differences": sum(result.counts.values())})
    for line in differences:
        print(line)
    print(f"{'mart':<24}{'rows':>9}{'values':>11}{'differences':>13}")
    for line in [*table, {"mart": "all", **{name: sum(row[name] for row in table) for name in ("rows", "values", "differences")}}]:
        print(f"{line['mart']:<24}{line['rows']:>9,}{line['values']:>11,}{line['differences']:>13,}")
    print(f"computed and compared in {time.monotonic() - begun:.1f} s")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
