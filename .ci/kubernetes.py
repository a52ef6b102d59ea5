"""Checks Kubernetes manifests against the schemas of the API, strictly; those of KEDA, which has none
here, against what Postworks uses of it."""

import sys

import jsonschema
import kubernetes_validate
import yaml

VERSION = "1.34"


def of(properties, required, **more):
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False, **more}


TEXT, COUNT = {"type": "string"}, {"type": "integer", "minimum": 0}
NAME = of({"name": TEXT}, ["name"])
META = of({"name": TEXT, "labels": {"type": "object"}}, ["name"])
STABLE = of({"stabilizationWindowSeconds": COUNT}, ["stabilizationWindowSeconds"])
TRIGGER = of(
    {
        "type": {"const": "metrics-api"},
        "metricType": {"enum": ["AverageValue", "Value"]},
        "metadata": of(
            {"url": TEXT, "valueLocation": TEXT, "targetValue": TEXT, "authMode": {"const": "bearer"}},
            ["url", "valueLocation", "targetValue", "authMode"],
        ),
        "authenticationRef": NAME,
    },
    ["type", "metadata", "authenticationRef"],
)
BEHAVIOR = of({"behavior": of({"scaleUp": STABLE, "scaleDown": STABLE}, [])}, [])
KEDA = {
    "ScaledObject": of(
        {
            "scaleTargetRef": NAME,
            "pollingInterval": COUNT,
            "minReplicaCount": COUNT,
            "maxReplicaCount": COUNT,
            "fallback": of({"failureThreshold": COUNT, "replicas": COUNT}, ["failureThreshold", "replicas"]),
            "advanced": of({"horizontalPodAutoscalerConfig": BEHAVIOR}, []),
            "triggers": {"type": "array", "items": TRIGGER, "minItems": 1},
        },
        ["scaleTargetRef", "triggers"],
    ),
    "TriggerAuthentication": of(
        {
            "secretTargetRef": {
                "type": "array",
                "items": of({"parameter": TEXT, "name": TEXT, "key": TEXT}, ["parameter", "name", "key"]),
            }
        },
        ["secretTargetRef"],
    ),
}


def check(manifest):
    if manifest["apiVersion"] == "keda.sh/v1alpha1":
        fields = {"apiVersion": TEXT, "kind": TEXT, "metadata": META, "spec": KEDA[manifest["kind"]]}
        jsonschema.validate(manifest, of(fields, list(fields)))
    else:
        kubernetes_validate.validate(manifest, VERSION, strict=True)


def main():
    faults = 0
    for path in sys.argv[1:]:
        with open(path) as file:
            for number, manifest in enumerate(yaml.safe_load_all(file), 1):
                try:
                    check(manifest)
                except Exception as error:  # each library has its own
                    faults += 1
                    print(f"{path}, document {number}: {getattr(error, 'message', error)}")
    return 1 if faults else 0


sys.exit(main())
