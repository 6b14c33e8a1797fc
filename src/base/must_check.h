/*
 * must_check: for functions whose result says that something failed: to pass it over is an error of
 * compilation.
 */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))
