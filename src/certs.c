#include "certs.h"

#include "base/log.h"

static enum tls_clients clients_of(enum config_client_certs setting) {
  switch (setting) {
  case CONFIG_CLIENTS_OPTIONAL:
    return TLS_CLIENTS_OPTIONAL;
  case CONFIG_CLIENTS_REQUIRED:
    return TLS_CLIENTS_REQUIRED;
  default:
    return TLS_CLIENTS_ANONYMOUS;
  }
}

int certs_load(struct tls_context **context, const struct config *config, struct error *err) {
  const struct tls_options options = {
      .cert_file = config->tls.cert_file,
      .key_file = config->tls.key_file,
      .client_ca_file = config->tls.client_ca_file,
      .clients = clients_of(config->tls.client_certificates),
      .max_handshakes = config->tls.max_handshakes,
      .is_key_private = config->server.environment == CONFIG_PRODUCTION,
  };
  if (options.cert_file[0] == '\0')
    return 0;
  int rc = *context ? tls_context_reload(*context, &options, err)
                    : tls_context_new(context, &options, err);
  if (rc < 0)
    error_prefix(err, "tls");
  else
    log_info("TLS certificate read", KV("file", options.cert_file));
  return rc;
}
