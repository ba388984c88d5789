"""Whether the breaker held: counted here from what was done, not by the policy."""

from collections import Counter

from godwit.scheduler.health import breaker

from benchmarks.goodput.rows import Rows


def exceeded(rows: Rows) -> bool:
    """Whether more nodes were cordoned within the breaker's window than its share of the fleet or of a domain."""
    policy = rows.policy.health
    lately = {one.node_id: one.fabric_domain for one in rows.cordons if one.at > rows.now - policy.breaker_window_s}
    for domain, count in Counter(lately.values()).items():
        size = sum(node.offer.fabric_domain == domain for node in rows.nodes.values())
        if count > breaker.cap(policy.breaker_share, size):
            return True
    return len(lately) > breaker.cap(policy.breaker_share, len(rows.nodes))
