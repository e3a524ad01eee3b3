"""Generate sdk/boraflow/api from protos/, deterministically. Run by ``make protos``.

The proto package equals the Python package, so nothing is rewritten. Stubs come from mypy-protobuf;
gRPC code only for ``*_service.proto``. The generator is pinned low (pyproject's dev group) because
generated code refuses an older protobuf runtime, and executors live in users' environments.

``--check`` writes nothing: it fails if what is committed is not what protos/ says (``make protos-check``).
"""

from __future__ import annotations

import os
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
OUT = ROOT.parent / "sdk"
API = OUT / "boraflow" / "api"


def generate(out: Path) -> int:
    """Generate the package ``boraflow.api`` below ``out``; return protoc's exit code."""
    # protoc finds its plugins (protoc-gen-mypy) on PATH; they stand beside this interpreter.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    sources = sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("boraflow/**/*.proto"))
    services = [s for s in sources if s.endswith("_service.proto")]
    base = ["protoc", f"-I{ROOT}", f"-I{files('grpc_tools') / '_proto'}"]
    code = protoc.main([*base, f"--python_out={out}", f"--mypy_out=quiet:{out}", *sources])
    code = code or protoc.main(
        [*base, f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}", *services]
    )
    api = out / "boraflow" / "api"
    for folder in [api, *(p for p in api.rglob("*") if p.is_dir())]:
        (folder / "__init__.py").write_text(
            '"""Generated from protos/ by `make protos`; do not edit."""\n'
        )
    return code


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in folder.rglob("*.py*")
        if "__pycache__" not in p.parts
    }


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        code = generate(Path(scratch))
        if code:
            return code
        wanted = contents(Path(scratch) / "boraflow" / "api")
    present = contents(API)
    stale = sorted(present.keys() - wanted.keys())
    changed = sorted(name for name, data in wanted.items() if present.get(name) != data)
    if "--check" in sys.argv[1:]:
        for name in (*changed, *stale):
            print(f"sdk/boraflow/api/{name} is not what protos/ says")
        if changed or stale:
            print("run `make protos` and commit the result")
        return int(bool(changed or stale))
    for name in stale:
        (API / name).unlink()
    for name in changed:
        (API / name).parent.mkdir(parents=True, exist_ok=True)
        (API / name).write_bytes(wanted[name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
