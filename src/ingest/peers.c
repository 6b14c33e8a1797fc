#include "ingest/peers.h"

#define COMPETES_US 1000000

void peers_note(struct peers *peers, uint64_t peer, int64_t now_us) {
  if (peer == 0)
    return;
  if (peers->last != peer && peers->last != 0)
    peers->other_us = peers->last_us;
  peers->last = peer;
  peers->last_us = now_us;
}

bool peers_compete(const struct peers *peers, int64_t now_us) {
  return peers->other_us > 0 && now_us - peers->other_us < COMPETES_US;
}
