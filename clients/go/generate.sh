#!/usr/bin/env bash
# Makes the Go code of proto/auditstore/v1, with protoc and the generators that go.mod names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

protoc -I ../../proto --go_out=. --go_opt=paths=source_relative \
  --go-grpc_out=. --go-grpc_opt=paths=source_relative \
  --plugin=protoc-gen-go="$(go tool -n protoc-gen-go)" \
  --plugin=protoc-gen-go-grpc="$(go tool -n protoc-gen-go-grpc)" \
  auditstore/v1/event.proto auditstore/v1/ledger.proto auditstore/v1/audit_store.proto
