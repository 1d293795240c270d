"""Reads a scrape in OpenMetrics from standard input, by the strict parser of Prometheus' library for Python, and prints
what it found: how many families, samples and exemplars, the total of requests, and each exemplar's trace."""

import json
import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

families = list(text_string_to_metric_families(sys.stdin.read()))
samples = [sample for family in families for sample in family.samples]
exemplars = [sample.exemplar for sample in samples if sample.exemplar]
requests = [sample.value for sample in samples if sample.name == "http_server_request_duration_seconds_count"]
json.dump(
    {
        "families": len(families),
        "samples": len(samples),
        "units": sorted({family.unit for family in families if family.unit}),
        "infos": sorted(family.name for family in families if family.type == "info"),
        "created": sum(sample.name.endswith("_created") for sample in samples),
        "requests": sum(requests),
        "traces": [exemplar.labels["trace_id"] for exemplar in exemplars],
    },
    sys.stdout,
)
