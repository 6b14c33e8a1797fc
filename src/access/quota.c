#include "access/quota.h"

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_US 1000

static int64_t later(int64_t a, int64_t b) {
  return a > b ? a : b;
}

/* How long it takes to pay it off. Amounts are those of one request: far from an overflow, but for
 * what nobody sends. */
static int64_t cost_ns(struct quota_share share) {
  int64_t cost = 0;
  if (__builtin_mul_overflow(share.amount, NS_PER_S, &cost))
    return INT64_MAX / 4 / share.per_second;
  return cost / share.per_second;
}

static int64_t owed_ns(const struct quota *quota, struct quota_share share, int64_t now_us) {
  bool is_same_rate = quota->per_second == share.per_second;
  return is_same_rate ? later(quota->free_at_ns - now_us * NS_PER_US, 0) : 0;
}

/* Whatever it costs: were the cost to fit as well, small requests would keep large ones out. */
int64_t quota_wait_us(const struct quota *quota, struct quota_share share, int64_t now_us) {
  const struct quota_share one = {1, share.per_second};
  if (share.per_second == 0)
    return 0;
  int64_t wait = owed_ns(quota, share, now_us) + cost_ns(one) - NS_PER_S;
  return wait > 0 ? (wait + NS_PER_US - 1) / NS_PER_US : 0;
}

void quota_take(struct quota *quota, struct quota_share share, int64_t now_us) {
  if (share.per_second == 0)
    return;
  quota->free_at_ns = now_us * NS_PER_US + owed_ns(quota, share, now_us) + cost_ns(share);
  quota->per_second = share.per_second;
}
