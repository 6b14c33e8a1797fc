/*
 * secret_rule: what the daemon makes of a risk that secret_file tells of.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/must_check.h"
#include "base/secret_file.h"

struct secret_rule {
  const char *remedy; /* behind the advice: ", and change the password if it was ever used so" */
  bool is_strict;     /* others that may read or change it are an error, and not only warned of */
};

/* ERR_FAILED_PRECONDITION: another user's file, or one that the rule refuses; the text names it. */
MUST_CHECK int secret_rule_apply(const struct secret_rule *rule, const char *path,
                                 struct secret_risk risk, struct error *err);
