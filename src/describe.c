#include "describe.h"

#include "auditstore/v1/admin.descriptor.h"
#include "auditstore/v1/audit_store.descriptor.h"
#include "google/rpc/error_details.descriptor.h"
#include "google/rpc/status.descriptor.h"
#include "grpc/health/v1/health.descriptor.h"
#include "grpc/reflection/v1/reflection.descriptor.h"
#include "grpc/reflection/v1alpha/reflection.descriptor.h"

static const char about[] =
    "auditstored " AUDITSTORE_VERSION
    " speaks gRPC here.\n"
    "\n"
    "Any gRPC client can call it, with code made from proto/auditstore/v1; grpcurl and the tool\n"
    "auditstore do so from the command line. Metrics and readiness are on another port: "
    "http.listen.\n";

void describe_services(struct grpc_server *server, const struct config_server *config) {
  const struct str sets[] = {
      str_of(auditstore_v1_audit_store_descriptor_set,
             auditstore_v1_audit_store_descriptor_set_len),
      str_of(auditstore_v1_admin_descriptor_set, auditstore_v1_admin_descriptor_set_len),
      str_of(grpc_health_v1_health_descriptor_set, grpc_health_v1_health_descriptor_set_len),
      str_of(grpc_reflection_v1_reflection_descriptor_set,
             grpc_reflection_v1_reflection_descriptor_set_len),
      str_of(grpc_reflection_v1alpha_reflection_descriptor_set,
             grpc_reflection_v1alpha_reflection_descriptor_set_len),
      str_of(google_rpc_status_descriptor_set, google_rpc_status_descriptor_set_len),
      str_of(google_rpc_error_details_descriptor_set, google_rpc_error_details_descriptor_set_len),
  };
  grpc_server_set_about(server, about);
  if (config->reflection)
    grpc_server_reflect(server, sets, sizeof(sets) / sizeof(sets[0]));
}
