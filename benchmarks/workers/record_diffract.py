"""All of Diffract's fields that are numbers of a layer or of a model, as CSV. Runs in benchmarks/.envs/diffract.

python record_diffract.py MODEL.safetensors LAYERS.csv MODEL.csv "FIELD …" "AGGREGATE …"
"""

import csv
import logging
import sys
import warnings

import diffract
import numpy as np
from safetensors.numpy import load_file

warnings.simplefilter("ignore")
logging.disable(logging.ERROR)


def main():
    """Compute and write."""
    path, layers_out, model_out, layer_fields, model_fields = sys.argv[1:]
    layer_fields, model_fields = layer_fields.split(), model_fields.split()
    tensors = load_file(path)
    weights = {name: w for name, w in tensors.items() if w.ndim == 2 and np.issubdtype(w.dtype, np.floating)}
    with diffract.Session(profile="ram") as session:
        session.models.add(weights, model_id="model")
        session.compute.apply(*layer_fields, *model_fields)
        table = session.results.export_metrics(*layer_fields, export_format="dict")
        whole = session.results.export_aggregates(*model_fields, export_format="dict")
    with open(layers_out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *layer_fields])
        for entry in table.values():
            writer.writerow([entry["metadata"]["name"], *(entry["fields"].get(field) for field in layer_fields)])
    with open(model_out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["field", "value"])
        writer.writerows([entry["field"], entry["value"]] for entry in whole)


if __name__ == "__main__":
    main()
