#!/usr/bin/env bash
# Makes .venv with what requirements.txt names, and the Python code of proto/auditstore/v1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

python3 -m venv .venv
.venv/bin/pip install --quiet -r requirements.txt
.venv/bin/python -m grpc_tools.protoc -I ../../proto --python_out=. --grpc_python_out=. \
  auditstore/v1/event.proto auditstore/v1/ledger.proto auditstore/v1/audit_store.proto
