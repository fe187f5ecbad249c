"""What loading the definitions costs and refuses."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "composer", "pyspark", "mlflow", "bentoml", "whylogs", "dagster_mlflow", "sklearn", "onnxruntime"]


def test_definitions_import_nothing_heavy():
    code = (
        "import sys, json; from mosaic_assets.definitions import defs; graph = defs().resolve_asset_graph(); "
        "json.dump([sorted(sys.modules), len(graph.executable_asset_keys)], sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    modules, num_assets = json.loads(done.stdout)
    assert [name for name in HEAVY if name in modules] == []
    assert num_assets > 30


def test_mosaic_assets_knows_flights_only_in_its_story():
    for file in (ROOT / "mosaic_assets").rglob("*.py"):
        if "defs" not in file.parts and "template" not in file.parts:
            assert "tailnum" not in file.read_text(), file


def test_no_file_holds_the_address_of_a_registry():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert re.search(r"^torch==2\.7\.0", lock, re.M)
    assert all(
        line.startswith(("    --hash", "    # ")) or "==" in line or not line.strip() for line in lock.splitlines()
    )
