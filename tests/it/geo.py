"""Reads what `pipeline map` wrote for other programs, with a reader that is not ours, and checks it against the standards.

Usage: geo.py FOLDER. Prints what it counted as JSON; fails if a file breaks RFC 7946 or GeoParquet 1.1."""

import decimal
import json
import pathlib
import struct
import sys

import pyarrow.parquet

folder = pathlib.Path(sys.argv[1])


def area(ring):
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:])) / 2


def check_ring(ring):
    assert len(ring) >= 4 and ring[0] == ring[-1], f"a ring is not closed: {ring}"
    assert all(-180 <= lng <= 180 and -90 <= lat <= 90 for lng, lat in ring), f"not on earth: {ring}"
    assert area(ring) > 0, f"an outer ring goes clockwise: {ring}"
    assert max(lng for lng, _ in ring) - min(lng for lng, _ in ring) < 1, f"a cell is wide: {ring}"


def polygons(geometry):
    kind, coordinates = geometry["type"], geometry["coordinates"]
    return [coordinates] if kind == "Polygon" else coordinates if kind == "MultiPolygon" else []


def geojson(name):
    collection = json.loads((folder / name).read_text("utf-8"), parse_float=decimal.Decimal)
    assert set(collection) == {"type", "features"} and collection["type"] == "FeatureCollection"
    for feature in collection["features"]:
        assert set(feature) == {"type", "geometry", "properties"} and feature["type"] == "Feature"
        for polygon in polygons(feature["geometry"]):
            for ring in polygon:
                check_ring(ring)
    return [feature["properties"] | {"_geometry": feature["geometry"]} for feature in collection["features"]]


class Bytes:
    """Well-known binary."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        value = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return value if len(value) > 1 else value[0]

    def geometry(self):
        assert self.take("B") == 1, "little-endian"
        kind = self.take("I")
        if kind == 1:
            return {"type": "Point", "coordinates": list(self.take("dd"))}
        if kind == 3:
            return {"type": "Polygon", "coordinates": [[list(self.take("dd")) for _ in range(self.take("I"))] for _ in range(self.take("I"))]}
        assert kind == 6, f"geometry type {kind}"
        return {"type": "MultiPolygon", "coordinates": [self.geometry()["coordinates"] for _ in range(self.take("I"))]}


def geoparquet(name):
    table = pyarrow.parquet.read_table(folder / name)
    geo = json.loads(pyarrow.parquet.read_metadata(folder / name).metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["primary_column"] == "geometry"
    column = geo["columns"]["geometry"]
    assert column["encoding"] == "WKB" and "crs" not in column and column["edges"] == "planar" and column["orientation"] == "counterclockwise"
    rows = table.to_pylist()
    found, corners = set(), []
    for row in rows:
        data = Bytes(row["geometry"])
        row["_geometry"] = data.geometry()
        assert data.at == len(row["geometry"]), "bytes are left"
        found.add(row["_geometry"]["type"])
        for polygon in polygons(row["_geometry"]):
            for ring in polygon:
                check_ring(ring)
                corners += ring
        if row["_geometry"]["type"] == "Point":
            corners.append(row["_geometry"]["coordinates"])
    assert found == set(column["geometry_types"]), (found, column)
    assert column["bbox"] == [min(x for x, _ in corners), min(y for _, y in corners), max(x for x, _ in corners), max(y for _, y in corners)]
    return rows


def amount(rows, column):
    return str(sum((row[column] for row in rows if row[column] is not None), decimal.Decimal(0)))


cells, same = geojson("map.geojson"), geoparquet("map.parquet")
assert len(cells) == len(same)
for a, b in zip(cells, same):
    for key in a.keys() - {"_geometry"}:
        x, y = a[key], b[key]
        assert x == y or abs(float(x) - y) < 1e-9, (key, x, y)
    for p, q in zip(polygons(a["_geometry"]), polygons(b["_geometry"])):
        assert all(abs(float(u) - v) < 1e-8 for r, s in zip(p, q) for c, d in zip(r, s) for u, v in zip(c, d))
assert amount(cells, "revenue_PLN") == amount(same, "revenue_PLN")
gaps, stores = geojson("gaps.geojson"), geoparquet("stores.parquet")
assert [gap["opportunity_rank"] for gap in gaps] == sorted(gap["opportunity_rank"] for gap in gaps)
print(json.dumps({
    "cells": len(cells), "orders": sum(cell["orders"] for cell in cells), "revenue_PLN": amount(same, "revenue_PLN"),
    "gaps": len(gaps), "stores": len(stores),
}))
