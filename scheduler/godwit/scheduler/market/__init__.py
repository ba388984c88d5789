"""What to buy when the fleet cannot hold a gang, and what an hour of work costs there."""

from godwit.scheduler.market.purchase import Purchase
from godwit.scheduler.market.purchases import COMING, MOST_NODES, Market
from godwit.scheduler.market.shelf import cheapest
from godwit.scheduler.market.stock import Stock

__all__ = ["COMING", "MOST_NODES", "Market", "Purchase", "Stock", "cheapest"]
