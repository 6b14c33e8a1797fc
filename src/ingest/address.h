/*
 * address: an IP address as events have it, and what stands in the way of one that isn't.
 *
 * inet_pton() alone decides: no prefix length, zone, port, bracket or short form. What logs write
 * about an address, and addresses that others read otherwise, is told with what to write instead.
 */
#pragma once

#include "base/str.h"
#include "pg/binary.h"

bool address_parse(struct str text, struct pg_inet *ret_address);

#define ADDRESS_PROBLEM_SIZE 384

/* What is wrong with a `text` that address_parse() refused, and the remedy, as a caller is told:
 * '"10.0.0.1:80" has a port, which is no part of an address: leave out ":80"'. */
void address_problem(struct str text, char ret_problem[ADDRESS_PROBLEM_SIZE]);
