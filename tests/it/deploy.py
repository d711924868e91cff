"""Holds the manifests of a folder to what those who read them publish: Kubernetes' schemas, and the service model of Amazon ECS."""

import json
import pathlib
import sys

import botocore.session
import botocore.validate
import kubernetes_validate
import yaml

KUBERNETES = "1.34"

folder = pathlib.Path(sys.argv[1])
kinds = []
for path in sorted((folder / "kubernetes").glob("*.yaml")):
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
        kinds.append(document["kind"])

shape = botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
families = []
for path in sorted((folder / "ecs").glob("*.json")):
    task = json.loads(path.read_text(encoding="utf-8"))
    report = botocore.validate.ParamValidator().validate(task, shape)
    unknown = set(task) - set(shape.members)
    if report.has_errors() or unknown:
        sys.exit(f"{path.name}: {report.generate_report()} {unknown or ''}")
    families.append(task["family"])

lines = [
    [container.get("args") or container.get("command")]
    for path in sorted((folder / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    if document["kind"] == "Deployment"
    for container in document["spec"]["template"]["spec"]["containers"]
]
print(json.dumps({"kinds": kinds, "families": families, "lines": [line[0] for line in lines]}))
