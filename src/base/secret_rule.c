#include "base/secret_rule.h"

#include "base/log.h"

int secret_rule_apply(const struct secret_rule *rule, const char *path, struct secret_risk risk,
                      struct error *err) {
  if (risk.level == SECRET_RISK_NONE)
    return 0;
  if (risk.level == SECRET_RISK_FOREIGN || rule->is_strict)
    return error_set(err, ERR_FAILED_PRECONDITION, "%s \"%s\": %s%s", risk.who, path, risk.mend,
                     rule->remedy);
  log_warn(risk.who, KV("file", path), KV("advice", risk.mend));
  return 0;
}
