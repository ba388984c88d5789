"""Whether the breaker held: counted here from what was done, not by the policy."""

from collections import Counter

from godwit.scheduler.health import breaker

from benchmarks.goodput.rows import Rows


def exceeded(rows: Rows) -> bool:
    """Whether more nodes were cordoned within the breaker's window than its share of the fleet or of a domain.

    What was cordoned in that window and is given back since counts on, on both sides: the share is of what there was.
    """
    policy = rows.policy.health
    lately = {one.node_id: one.fabric_domain for one in rows.cordons if one.at > rows.now - policy.breaker_window_s}
    given_back = Counter(domain for node_id, domain in lately.items() if node_id not in rows.nodes)
    for domain, count in Counter(lately.values()).items():
        if count > breaker.cap(policy.breaker_share, rows.sizes[domain or ""] + given_back[domain]):
            return True
    return len(lately) > breaker.cap(policy.breaker_share, len(rows.nodes) + given_back.total())
